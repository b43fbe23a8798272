"""Tasks with time-outs against the reference model, with every choice made by Hypothesis.

The event loop is a real one in simulated time, so that the breaker's own time-outs strike among
cancellations, answers and failures exactly when they are due.
"""

import asyncio
from dataclasses import dataclass

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from libs.circuit_breaker import BreakerPolicy, CircuitBreaker, CircuitOpenError, Outcome, State
from tests.unit.circuit_breaker.dependency import Dependency
from tests.unit.circuit_breaker.model import CHANCE, OUTCOMES, Model, classify, policies
from tests.unit.circuit_breaker.simulated_time import SimulatedLoop

TIMEOUT = 4.0


@dataclass
class TaskUnderWay:
    task: asyncio.Task[str]
    answer: asyncio.Future[str]
    period: int
    began: float


class TaskMachine(RuleBasedStateMachine):
    @initialize(policy=policies(call_timeout_seconds=TIMEOUT))
    def make(self, policy: BreakerPolicy) -> None:
        self.loop = SimulatedLoop()
        self.dependency = Dependency()
        self.under_way: list[TaskUnderWay] = []
        self.model = Model(policy, self.loop.time())
        self.breaker = CircuitBreaker(
            "modelled", policy, classify=classify, clock=self.loop.time, random=lambda: CHANCE
        )

    @rule(count=st.integers(1, 5))
    def tasks_begin(self, count: int) -> None:
        for _ in range(count):
            admitted = self.model.begin()
            reached = len(self.dependency.calls)
            task = self.loop.create_task(self.breaker.call(self.dependency))
            self._pass(0)
            assert len(self.dependency.calls) == reached + admitted
            if admitted:
                self.under_way.append(
                    TaskUnderWay(
                        task, self.dependency.calls[-1], self.model.period, self.loop.time()
                    )
                )
            else:
                assert isinstance(task.exception(), CircuitOpenError)

    @rule(seconds=st.integers(0, 7))
    def time_passes(self, seconds: int) -> None:
        until = self.model.now + seconds
        # Those that began at the same moment also end so, and are alike: their order is no
        # matter.
        due = [call for call in self.under_way if call.began + TIMEOUT <= until]
        for call in sorted(due, key=lambda call: call.began):
            self.model.now = call.began + TIMEOUT
            self.model.end(call.period, Outcome.FAILURE, call.began)
            self.under_way.remove(call)
        self._pass(seconds)
        self.model.now = self.loop.time()
        assert self.model.now == until
        for call in due:
            assert isinstance(call.task.exception(), TimeoutError)
            assert call.answer.cancelled()

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), ending=st.sampled_from([None, *sorted(OUTCOMES, key=str)]))
    def a_task_ends(self, data: st.DataObject, ending: type[Exception] | None) -> None:
        call = self._taken(data)
        if ending is None:
            call.answer.set_result("answer")
        else:
            call.answer.set_exception(ending())
        self._pass(0)
        if ending is None:
            assert call.task.result() == "answer"
        else:
            assert type(call.task.exception()) is ending
        outcome = Outcome.SUCCESS if ending is None else OUTCOMES[ending]
        self.model.end(call.period, outcome, call.began)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def a_task_is_cancelled(self, data: st.DataObject) -> None:
        call = self._taken(data)
        call.task.cancel()
        self._pass(0)
        assert call.task.cancelled()
        self.model.end(call.period, Outcome.IGNORE, call.began)

    @precondition(lambda self: self.model.state is State.OPEN)
    @rule()
    def open_time_ends(self) -> None:
        while self.model.now < self.model.open_until:
            self.time_passes(1)

    @invariant()
    def they_agree(self) -> None:
        if hasattr(self, "model"):
            self.model.agrees_with(self.breaker.snapshot())

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for call in self.under_way:
            call.task.cancel()
        self._pass(0)
        self.loop.close()

    def _taken(self, data: st.DataObject) -> TaskUnderWay:
        return self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))

    def _pass(self, seconds: int) -> None:
        async def wait() -> None:
            if seconds:
                await asyncio.sleep(seconds)
            for _ in range(5):  # a time-out is a timer, a cancellation and a wake-up
                await asyncio.sleep(0)

        self.loop.run_until_complete(wait())


TaskMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, derandomize=True, database=None
)

TestTasksAgainstModel = TaskMachine.TestCase
