"""The state machine: pybreaker, through its public API, and what moves it.

Owns which outcomes open and close a circuit. Knows neither calls nor time-outs nor permits, and
is told of an outcome only when it belongs to the present state. Why the rates are counted here
and not by pybreaker: docs/adr/0040-rates-are-ours-transitions-are-pybreakers.md.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn, Protocol

import pybreaker

from libs.circuit_breaker._events import State
from libs.circuit_breaker._policy import BreakerPolicy, SlidingWindowType
from libs.circuit_breaker._window import CountWindow, SlidingWindow, TimeWindow, WindowFigures

_STATES: Final = {
    pybreaker.STATE_CLOSED: State.CLOSED,
    pybreaker.STATE_OPEN: State.OPEN,
    pybreaker.STATE_HALF_OPEN: State.HALF_OPEN,
}

StateListener = Callable[[State], None]


class StateMachine(Protocol):
    """wants_successes: whether a success would change anything while the circuit is closed.

    trials_decide_together: whether half-open makes its permitted calls once, instead of so many
    at a time.
    """

    wants_successes: bool
    trials_decide_together: bool

    @property
    def consecutive_failures(self) -> int: ...

    def record(self, *, failed: bool, slow: bool) -> None:
        """May change the state, and then calls the listener before it returns."""

    def half_open(self) -> None: ...

    def close(self) -> None:
        """Closes from any state and forgets what was counted."""

    def figures(self) -> WindowFigures | None: ...


def create_state_machine(
    policy: BreakerPolicy, clock: Callable[[], float], changed: StateListener
) -> StateMachine:
    """A closed circuit under the policy; `changed` hears of each new state."""
    if policy.sliding_window_type is SlidingWindowType.NONE:
        return _ConsecutiveFailures(policy, changed)
    return _WindowRates(policy, clock, changed)


class _ConsecutiveFailures:
    """pybreaker counts and decides."""

    trials_decide_together = False

    def __init__(self, policy: BreakerPolicy, changed: StateListener) -> None:
        self.wants_successes = False
        self._machine = pybreaker.CircuitBreaker(
            fail_max=policy.failure_threshold,
            success_threshold=policy.success_threshold,
            listeners=[_StateObserver(changed)],
            throw_new_error_on_trip=False,
        )
        self.half_open = self._machine.half_open

    @property
    def consecutive_failures(self) -> int:
        return self._machine.fail_counter

    def record(self, *, failed: bool, slow: bool) -> None:
        # A success is of interest only after a failure: most calls skip the report.
        self.wants_successes = failed
        if failed:
            with suppress(_ReportedError):
                self._machine.call(_fail)
        else:
            self._machine.call(_succeed)

    def close(self) -> None:
        self.wants_successes = False
        self._machine.close()

    def figures(self) -> None:
        return None


class _WindowRates:
    """A sliding window counts, its rates decide, pybreaker makes the transitions."""

    wants_successes = True
    trials_decide_together = True

    def __init__(
        self, policy: BreakerPolicy, clock: Callable[[], float], changed: StateListener
    ) -> None:
        self._clock = clock
        self._policy = policy
        self._failure_rate = policy.failure_rate_threshold
        self._slow_call_rate = policy.slow_call_rate_threshold
        self._half_open = False
        self._changed = changed
        self._window = self._closed_window()
        self._minimum = policy.minimum_number_of_calls
        self._machine = pybreaker.CircuitBreaker(
            # Never told of an outcome; were it ever, it should not decide by itself.
            fail_max=sys.maxsize,
            listeners=[_StateObserver(self._state_changed)],
            throw_new_error_on_trip=False,
        )
        self.half_open = self._machine.half_open
        self.close = self._machine.close

    @property
    def consecutive_failures(self) -> int:
        return 0

    def record(self, *, failed: bool, slow: bool) -> None:
        window = self._window
        window.record(failed=failed, slow=slow)
        if self._half_open:
            # Of all the trials, those that are yet to end included: what fails now can't be
            # made good by them, so there is nothing to wait for.
            if self._reached(self._policy.permitted_calls_in_half_open):
                self._machine.open()
            elif window.calls >= self._policy.permitted_calls_in_half_open:
                self._machine.close()
        elif window.calls >= self._minimum and self._reached(window.calls):
            self._machine.open()

    def figures(self) -> WindowFigures:
        return self._window.figures()

    def _reached(self, calls: int) -> bool:
        window = self._window
        if window.failures * 100 >= self._failure_rate * calls:
            return True
        rate = self._slow_call_rate
        return rate is not None and window.slow_calls * 100 >= rate * calls

    def _state_changed(self, new: State) -> None:
        self._half_open = new is State.HALF_OPEN
        if new is State.HALF_OPEN:
            self._window = CountWindow(self._policy.permitted_calls_in_half_open)
        elif new is State.CLOSED:
            self._window = self._closed_window()
        self._changed(new)

    def _closed_window(self) -> SlidingWindow:
        size = self._policy.sliding_window_size
        if self._policy.sliding_window_type is SlidingWindowType.TIME_BASED:
            return TimeWindow(size, self._clock)
        return CountWindow(size)


class _StateObserver(pybreaker.CircuitBreakerListener):
    """Hears of transitions inside pybreaker's own call, before anything else can run."""

    def __init__(self, changed: StateListener) -> None:
        self._changed = changed

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: object,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        self._changed(_STATES[new_state.name])


class _ReportedError(Exception):
    """Stands in for the real exception in front of pybreaker, whose frames would otherwise end
    up in that one's traceback."""


def _succeed() -> None:
    return None


def _fail() -> NoReturn:
    raise _ReportedError
