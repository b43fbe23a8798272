"""Interleaved calls against a plain reference model, with every choice made by Hypothesis.

The calls are driven by hand, without an event loop: each is a coroutine that waits until a rule
ends it, so an interleaving is exactly what Hypothesis wrote down.
"""

import asyncio
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from libs.circuit_breaker import (
    BreakerEvent,
    BreakerPolicy,
    CallRejected,
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    State,
    StateChanged,
)
from libs.circuit_breaker.testing import ManualClock


class UnwellError(Exception):
    pass


class NotFoundError(Exception):
    """An exception that means success."""


class CallerMistakeError(Exception):
    """An exception that says nothing about the dependency."""


OUTCOMES: dict[type[BaseException], Outcome] = {
    UnwellError: Outcome.FAILURE,
    NotFoundError: Outcome.SUCCESS,
    CallerMistakeError: Outcome.IGNORE,
}


class Answer:
    """Suspends its caller until the test sends or throws something in."""

    def __await__(self) -> Generator[None, str, str]:
        return (yield)


async def dependency() -> str:
    return await Answer()


@dataclass
class Model:
    """The breaker as one would explain it on a whiteboard. No pybreaker, no asyncio."""

    policy: BreakerPolicy
    now: float
    state: State = State.CLOSED
    period: int = 0
    failures: int = 0
    successes: int = 0
    under_way: int = 0
    opened_at: float = 0.0
    rejected: int = 0
    late: int = 0
    changes: list[tuple[State, State]] = field(default_factory=list)

    def begin(self) -> bool:
        """Whether a call is admitted."""
        if self.state is State.OPEN and self.now >= self.opened_at + self.policy.open_seconds:
            self._go(State.HALF_OPEN)
        admitted = self.state is State.CLOSED or (
            self.state is State.HALF_OPEN
            and self.under_way < self.policy.permitted_calls_in_half_open
        )
        if not admitted:
            self.rejected += 1
        elif self.state is State.HALF_OPEN:
            self.under_way += 1
        return admitted

    def end(self, period: int, outcome: Outcome) -> None:
        if period != self.period:
            self.late += outcome is not Outcome.IGNORE
            return
        if self.state is State.HALF_OPEN:
            self.under_way -= 1
        if outcome is Outcome.FAILURE:
            self.failures += 1
            if self.state is State.HALF_OPEN or self.failures >= self.policy.failure_threshold:
                self._go(State.OPEN)
        elif outcome is Outcome.SUCCESS:
            self.failures = 0
            self.successes += 1
            if self.state is State.HALF_OPEN and self.successes >= self.policy.success_threshold:
                self._go(State.CLOSED)

    def _go(self, state: State) -> None:
        self.changes.append((self.state, state))
        self.state = state
        self.period += 1
        self.successes = 0
        self.under_way = 0
        self.opened_at = self.now


@dataclass
class CallUnderWay:
    coroutine: Coroutine[Any, Any, str]
    period: int


class BreakerMachine(RuleBasedStateMachine):
    calls = Bundle("calls")

    @initialize(
        policy=st.builds(
            BreakerPolicy,
            failure_threshold=st.integers(1, 4),
            open_seconds=st.integers(1, 10),
            permitted_calls_in_half_open=st.integers(1, 3),
            success_threshold=st.integers(1, 4),
        )
    )
    def make(self, policy: BreakerPolicy) -> None:
        self.clock = ManualClock()
        self.events: list[BreakerEvent] = []
        self.model = Model(policy, self.clock.now)
        self.breaker = CircuitBreaker(
            "modelled",
            policy,
            classify=lambda exception: OUTCOMES[type(exception)],
            clock=self.clock,
        )
        self.breaker.add_listener(self.events.append)

    @rule(seconds=st.integers(0, 12))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.model.now = self.clock.now

    @rule(target=calls, count=st.integers(1, 5))
    def calls_begin(self, count: int) -> Any:
        begun = []
        for _ in range(count):
            coroutine = self.breaker.call(dependency)
            if self.model.begin():
                coroutine.send(None)
                begun.append(CallUnderWay(coroutine, self.model.period))
            else:
                with pytest.raises(CircuitOpenError) as refused:
                    coroutine.send(None)
                assert refused.value.retry_after_seconds > 0
        return multiple(*begun)

    @rule(call=consumes(calls))
    def a_call_succeeds(self, call: CallUnderWay) -> None:
        with pytest.raises(StopIteration) as finished:
            call.coroutine.send("answer")
        assert finished.value.value == "answer"
        self.model.end(call.period, Outcome.SUCCESS)

    @rule(call=consumes(calls), exception=st.sampled_from(sorted(OUTCOMES, key=str)))
    def a_call_raises(self, call: CallUnderWay, exception: type[BaseException]) -> None:
        raised = exception()
        with pytest.raises(exception) as caught:
            call.coroutine.throw(raised)
        assert caught.value is raised
        self.model.end(call.period, OUTCOMES[exception])

    @rule(call=consumes(calls))
    def a_call_is_cancelled(self, call: CallUnderWay) -> None:
        with pytest.raises(asyncio.CancelledError):
            call.coroutine.throw(asyncio.CancelledError())
        self.model.end(call.period, Outcome.IGNORE)

    @rule(call=consumes(calls))
    def a_call_is_dropped(self, call: CallUnderWay) -> None:
        call.coroutine.close()
        self.model.end(call.period, Outcome.IGNORE)

    @precondition(lambda self: self.model.state is State.OPEN)
    @rule()
    def open_time_ends(self) -> None:
        """Straight to where most of the trouble is; plain waiting rarely gets there."""
        self.time_passes(int(self.model.policy.open_seconds))

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        model, snapshot = self.model, self.breaker.snapshot()
        assert self.breaker.state is snapshot.state is model.state
        assert snapshot.consecutive_failures == model.failures
        assert snapshot.permits_in_use == model.under_way
        assert snapshot.rejected_calls == model.rejected
        assert snapshot.late_outcomes == model.late
        left = max(0.0, model.opened_at + model.policy.open_seconds - model.now)
        assert snapshot.retry_after_seconds == (left if model.state is State.OPEN else 0.0)
        changes = [(e.old, e.new) for e in self.events if isinstance(e, StateChanged)]
        assert changes == model.changes
        rejections = [event for event in self.events if isinstance(event, CallRejected)]
        assert len(rejections) == model.rejected


BreakerMachine.TestCase.settings = settings(
    max_examples=300, stateful_step_count=60, deadline=None, derandomize=True, database=None
)

TestBreakerAgainstModel = BreakerMachine.TestCase
