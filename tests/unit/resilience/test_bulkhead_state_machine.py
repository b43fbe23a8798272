"""The bulkhead against a plain model, with every choice made by Hypothesis.

Tasks of a real event loop, in simulated time. Most rules let the loop come to rest and then compare
with the model exactly; a burst acts several times between two turns of the loop, or none, which is
where `asyncio.Semaphore` lost wake-ups and let newcomers pass, and then checks what must hold
whatever the order was: never too many inside, first come first served, no slot lost.
"""

import asyncio
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from libs.resilience import (
    Bulkhead,
    BulkheadFullError,
    BulkheadPolicy,
    DeadlineExceededError,
    deadline_scope,
)
from tests.unit.circuit_breaker.simulated_time import SimulatedLoop


@dataclass(eq=False)
class Caller:
    number: int
    task: "asyncio.Task[None]"
    end: "asyncio.Future[None]"
    gives_up_at: float
    has_deadline: bool
    inside: bool = field(default=False)


class BulkheadMachine(RuleBasedStateMachine):
    @initialize(
        concurrent=st.integers(1, 3), queued=st.integers(0, 4), wait=st.sampled_from([0, 2, 5])
    )
    def make(self, concurrent: int, queued: int, wait: int) -> None:
        self.loop = SimulatedLoop()
        self.policy = BulkheadPolicy(concurrent, queued, wait)
        self.bulkhead = Bulkhead("modelled", self.policy)
        self.running: list[Caller] = []
        self.waiting: list[Caller] = []
        self.entered: list[int] = []
        self.asked: list[int] = []
        self.inside = 0
        self.numbers = 0
        self.rejected = 0

    @rule(deadline=st.sampled_from([None, 1, 3]))
    def one_arrives(self, deadline: int | None) -> None:
        caller = self._arrive(deadline)
        self._settle()
        policy = self.policy
        if len(self.running) < policy.max_concurrent_calls:
            self.running.append(caller)
        elif len(self.waiting) < policy.max_queued_calls and policy.max_wait_seconds > 0:
            self.waiting.append(caller)
        else:
            assert isinstance(caller.task.exception(), BulkheadFullError)
            self.rejected += 1
        self._agree()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), fails=st.booleans())
    def one_ends(self, data: st.DataObject, fails: bool) -> None:
        caller = self._one_of(data, self.running)
        if fails:
            caller.end.set_exception(LookupError())
        else:
            caller.end.set_result(None)
        self._settle()
        self._left(caller)
        self._agree()

    @precondition(lambda self: self.running or self.waiting)
    @rule(data=st.data())
    def one_is_cancelled(self, data: st.DataObject) -> None:
        caller = self._one_of(data, self.running + self.waiting)
        caller.task.cancel()
        self._settle()
        assert caller.task.cancelled()
        self._left(caller)
        self._agree()

    @rule(seconds=st.integers(1, 4))
    def time_passes(self, seconds: int) -> None:
        until = self.loop.time() + seconds
        due = [caller for caller in self.waiting if caller.gives_up_at <= until]
        self._settle(seconds)
        for caller in due:
            self.waiting.remove(caller)
            expected = DeadlineExceededError if caller.has_deadline else BulkheadFullError
            assert isinstance(caller.task.exception(), expected)
            self.rejected += not caller.has_deadline
        self._agree()

    @rule(data=st.data(), deeds=st.lists(st.sampled_from("aect"), min_size=2, max_size=8))
    def a_burst(self, data: st.DataObject, deeds: list[str]) -> None:
        """Arrivals, endings and cancellations between single turns of the loop."""
        known = self.running + self.waiting
        touched: list[Caller] = []
        for deed in deeds:
            undone = [caller for caller in known if not caller.task.done()]
            if deed == "a":
                known.append(self._arrive(None))
            elif deed == "t":
                self._turn()
            elif deed == "e" and (inside := [c for c in undone if c.inside and not c.end.done()]):
                caller = self._one_of(data, inside)
                caller.end.set_result(None)
                touched.append(caller)
            elif deed == "c" and undone:
                caller = self._one_of(data, undone)
                caller.task.cancel()
                touched.append(caller)
        self._settle()
        left = [caller for caller in known if not caller.task.done()]
        self.running = [caller for caller in left if caller.inside]
        self.waiting = [caller for caller in left if not caller.inside]
        for caller in known:
            if caller.task.done() and caller not in touched:
                # Nobody else may have ended: refused, for a full queue.
                assert isinstance(caller.task.exception(), BulkheadFullError)
                self.rejected += 1
            elif caller.task.done() and not caller.task.cancelled():
                error = caller.task.exception()
                self.rejected += isinstance(error, BulkheadFullError)
        for caller in self.waiting:
            assert caller.number in self.asked
        self._agree()

    @invariant()
    def first_come_first_served(self) -> None:
        if hasattr(self, "entered"):
            order = {number: place for place, number in enumerate(self.asked)}
            places = [order[number] for number in self.entered]
            assert places == sorted(places)

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for caller in self.running + self.waiting:
            caller.task.cancel()
        self._settle()
        snapshot = self.bulkhead.snapshot()
        assert (snapshot.running, snapshot.queued, self.inside) == (0, 0, 0), "a slot was lost"
        self.loop.close()

    def _arrive(self, deadline: int | None) -> Caller:
        number = self.numbers
        self.numbers += 1
        end: asyncio.Future[None] = self.loop.create_future()

        async def call() -> None:
            self.asked.append(number)
            if deadline is None:
                await self.bulkhead.call(inside)
            else:
                with deadline_scope(deadline, clock=self.loop.time):
                    await self.bulkhead.call(inside)

        async def inside() -> None:
            self.inside += 1
            caller.inside = True
            self.entered.append(number)
            assert self.inside <= self.policy.max_concurrent_calls, "too many inside"
            try:
                await end
            finally:
                self.inside -= 1

        patience = self.policy.max_wait_seconds
        has_deadline = deadline is not None and deadline < patience
        caller = Caller(
            number,
            self.loop.create_task(call()),
            end,
            self.loop.time() + min(patience, deadline or patience),
            has_deadline,
        )
        return caller

    def _left(self, caller: Caller) -> None:
        if caller in self.waiting:
            self.waiting.remove(caller)
            return
        self.running.remove(caller)
        if self.waiting:
            self.running.append(self.waiting.pop(0))

    def _agree(self) -> None:
        snapshot = self.bulkhead.snapshot()
        assert snapshot.running == len(self.running) == self.inside
        assert snapshot.queued == len(self.waiting)
        assert snapshot.rejected_calls == self.rejected
        assert all(caller.inside and not caller.task.done() for caller in self.running)
        assert not any(caller.inside or caller.task.done() for caller in self.waiting)
        if self.waiting:
            assert len(self.running) == self.policy.max_concurrent_calls, "a slot was lost"

    def _one_of(self, data: st.DataObject, callers: list[Caller]) -> Caller:
        return callers[data.draw(st.integers(0, len(callers) - 1))]

    def _turn(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def _settle(self, seconds: int = 0) -> None:
        async def wait() -> None:
            if seconds:
                await asyncio.sleep(seconds)
            for _ in range(8):
                await asyncio.sleep(0)

        self.loop.run_until_complete(wait())
        for caller in self.running + self.waiting:
            if caller.task.done() and not caller.task.cancelled():
                caller.task.exception()


BulkheadMachine.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, derandomize=True, database=None
)

TestBulkheadAgainstModel = BulkheadMachine.TestCase
