"""Interleaved calls against a plain reference model, with every choice made by Hypothesis.

The calls are driven by hand, without an event loop: each is a coroutine that waits until a rule
ends it, so an interleaving is exactly what Hypothesis wrote down.
"""

import asyncio
import math
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
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
    SlowCall,
    State,
    StateChanged,
)
from libs.circuit_breaker.testing import ManualClock
from tests.unit.circuit_breaker.model import CHANCE, OUTCOMES, Model, classify, policies


class Answer:
    """Suspends its caller until the test sends or throws something in."""

    def __await__(self) -> Generator[None, str, str]:
        return (yield)


async def dependency() -> str:
    return await Answer()


@dataclass
class CallUnderWay:
    coroutine: Coroutine[Any, Any, str]
    period: int
    began: float


class BreakerMachine(RuleBasedStateMachine):
    calls = Bundle("calls")

    @initialize(policy=policies())
    def make(self, policy: BreakerPolicy) -> None:
        self.clock = ManualClock()
        self.events: list[BreakerEvent] = []
        self.model = Model(policy, self.clock.now)
        self.breaker = CircuitBreaker(
            "modelled", policy, classify=classify, clock=self.clock, random=lambda: CHANCE
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
                begun.append(CallUnderWay(coroutine, self.model.period, self.clock.now))
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
        self.model.end(call.period, Outcome.SUCCESS, call.began)

    @rule(call=consumes(calls), exception=st.sampled_from(sorted(OUTCOMES, key=str)))
    def a_call_raises(self, call: CallUnderWay, exception: type[BaseException]) -> None:
        raised = exception()
        with pytest.raises(exception) as caught:
            call.coroutine.throw(raised)
        assert caught.value is raised
        self.model.end(call.period, OUTCOMES[exception], call.began)

    @rule(call=consumes(calls))
    def a_call_is_cancelled(self, call: CallUnderWay) -> None:
        with pytest.raises(asyncio.CancelledError):
            call.coroutine.throw(asyncio.CancelledError())
        self.model.end(call.period, Outcome.IGNORE, call.began)

    @rule(call=consumes(calls))
    def a_call_is_dropped(self, call: CallUnderWay) -> None:
        call.coroutine.close()
        self.model.end(call.period, Outcome.IGNORE, call.began)

    @precondition(lambda self: self.model.state is State.OPEN)
    @rule()
    def open_time_ends(self) -> None:
        """Straight to where most of the trouble is; plain waiting rarely gets there."""
        self.time_passes(math.ceil(self.model.open_until - self.model.now))

    @precondition(lambda self: self.model.state is State.FORCED_OPEN)
    @rule()
    def somebody_resets_it(self) -> None:
        self.breaker.reset()
        self.model.go(State.CLOSED)

    @rule(decision=st.sampled_from([State.CLOSED, State.FORCED_OPEN, State.DISABLED]))
    def somebody_decides(self, decision: State) -> None:
        if decision is State.CLOSED:
            self.breaker.reset()
            self.model.go(State.CLOSED)
        elif decision is State.FORCED_OPEN:
            self.breaker.force_open()
            self.model.force(decision)
        else:
            self.breaker.disable()
            self.model.force(decision)

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        assert self.breaker.state is model.state
        model.agrees_with(self.breaker.snapshot())
        changes = [(e.old, e.new) for e in self.events if isinstance(e, StateChanged)]
        assert changes == model.changes
        rejections = [event for event in self.events if isinstance(event, CallRejected)]
        assert len(rejections) == model.rejected
        slow = [event for event in self.events if isinstance(event, SlowCall)]
        assert len(slow) == model.slow_calls


BreakerMachine.TestCase.settings = settings(
    max_examples=500, stateful_step_count=60, deadline=None, derandomize=True, database=None
)

TestBreakerAgainstModel = BreakerMachine.TestCase
