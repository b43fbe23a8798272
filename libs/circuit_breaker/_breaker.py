"""The asyncio adapter over pybreaker's public API.

pybreaker keeps the state machine: the counters, the thresholds, the transitions. It can't be
given a coroutine (its decorator sees only that a coroutine object was made), so the call is
awaited here and its outcome reported by a plain function that returns or raises. This module
adds what concurrency needs: permits, generations, neutral cancellation, the time-out and a
monotonic clock.

Between the checks of `call` and its await nothing suspends, so one event loop needs no lock.
A breaker belongs to one event loop.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NoReturn, ParamSpec, TypeVar

import pybreaker

from libs.circuit_breaker._events import (
    BreakerEvent,
    BreakerListener,
    BreakerSnapshot,
    CallRejected,
    State,
    StateChanged,
)
from libs.circuit_breaker._policy import (
    BreakerPolicy,
    Classifier,
    Outcome,
    every_exception_is_a_failure,
)

T = TypeVar("T")
P = ParamSpec("P")

_log: Final = logging.getLogger(__name__)

_STATES: Final = {
    pybreaker.STATE_CLOSED: State.CLOSED,
    pybreaker.STATE_OPEN: State.OPEN,
    pybreaker.STATE_HALF_OPEN: State.HALF_OPEN,
}


class CircuitOpenError(Exception):
    """The call was refused without reaching the dependency.

    name: the breaker that refused.
    retry_after_seconds: when a call may be admitted again; for a half-open circuit, when the
    outcome of the calls under way is expected.
    """

    def __init__(self, name: str, retry_after_seconds: float) -> None:
        super().__init__(f"circuit {name} is open, retry after {retry_after_seconds:.3f} s")
        self.name = name
        self.retry_after_seconds = retry_after_seconds


class CircuitBreaker:
    """Guards the calls to one dependency's operation class, for example "dynamodb:read"."""

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        *,
        classify: Classifier = every_exception_is_a_failure,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: seconds, never going backwards; the wall clock would stretch or cut open time."""
        if not name:
            raise ValueError("a circuit breaker needs a name")
        self.name: Final = name
        self.policy: Final = policy
        self.classify: Final = classify
        self._clock = clock
        self._timeout = policy.call_timeout_seconds
        self._state = State.CLOSED
        self._generation = 0
        self._permits = 0
        self._opened_at = 0.0
        # Whether a success would change anything while closed; most calls skip the report.
        self._failing = False
        self._rejected_calls = 0
        self._late_outcomes = 0
        self._listeners: list[BreakerListener] = []
        self._undelivered: deque[BreakerEvent] = deque()
        self._machine = pybreaker.CircuitBreaker(
            fail_max=policy.failure_threshold,
            success_threshold=policy.success_threshold,
            listeners=[_StateObserver(self._state_changed)],
            name=name,
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> State:
        """An open circuit stays OPEN until the first call after `open_seconds`."""
        return self._state

    def add_listener(self, listener: BreakerListener) -> None:
        self._listeners.append(listener)

    def snapshot(self) -> BreakerSnapshot:
        half_open = self._state is State.HALF_OPEN
        return BreakerSnapshot(
            name=self.name,
            state=self._state,
            consecutive_failures=self._machine.fail_counter,
            permits_in_use=(
                self.policy.permitted_calls_in_half_open - self._permits if half_open else 0
            ),
            retry_after_seconds=(
                max(0.0, self._open_seconds_left()) if self._state is State.OPEN else 0.0
            ),
            rejected_calls=self._rejected_calls,
            late_outcomes=self._late_outcomes,
        )

    async def call(
        self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Awaits `function(*args, **kwargs)` when the circuit admits it, and gives its result.

        Raises CircuitOpenError without calling the function when the circuit is open, or is
        half-open with every permit taken. Raises TimeoutError, and counts a failure, when the
        policy's `call_timeout_seconds` have passed. Whatever the function raises is re-raised
        as it was. A cancellation, and with it the expiry of a time-out outside the breaker,
        counts neither way.
        """
        holds_permit = self._state is not State.CLOSED
        if holds_permit:
            self._take_permit()
        generation = self._generation
        scope: asyncio.Timeout | None = None
        try:
            if self._timeout is None:
                result = await function(*args, **kwargs)
            else:
                async with asyncio.timeout(self._timeout) as scope:
                    result = await function(*args, **kwargs)
        except BaseException as error:
            outcome = Outcome.IGNORE
            try:
                if isinstance(error, Exception):
                    timed_out = scope is not None and scope.expired()
                    outcome = Outcome.FAILURE if timed_out else self._outcome_of(error)
            finally:
                self._settle(generation, outcome, holds_permit=holds_permit)
            raise
        if scope is not None and scope.expired():
            # The function caught the cancellation and answered all the same: too late to be
            # called healthy, but the answer is the caller's.
            self._settle(generation, Outcome.FAILURE, holds_permit=holds_permit)
        elif holds_permit or self._failing or generation != self._generation:
            self._settle(generation, Outcome.SUCCESS, holds_permit=holds_permit)
        return result

    def _take_permit(self) -> None:
        if self._state is State.OPEN:
            left = self._open_seconds_left()
            if left > 0:
                self._reject(left)
            self._machine.half_open()
            # Before the permit is taken: not even a listener that exits can keep one.
            self._deliver_events()
        if self._permits == 0:
            timeout = self._timeout
            wait = self.policy.open_seconds
            self._reject(wait if timeout is None else min(wait, timeout))
        self._permits -= 1

    def _reject(self, retry_after_seconds: float) -> NoReturn:
        self._rejected_calls += 1
        self._undelivered.append(CallRejected(self.name, self._state, retry_after_seconds))
        self._deliver_events()
        raise CircuitOpenError(self.name, retry_after_seconds)

    def _outcome_of(self, error: Exception) -> Outcome:
        try:
            outcome = self.classify(error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            _log.exception("classifier of circuit %s raised", self.name)
            return Outcome.FAILURE
        return outcome

    def _settle(self, generation: int, outcome: Outcome, *, holds_permit: bool) -> None:
        """Gives the permit back and tells the state machine the outcome, if it is still of
        interest: a call that began before the last state change says nothing about this state.
        """
        if generation != self._generation:
            if outcome is not Outcome.IGNORE:
                self._late_outcomes += 1
            return
        if holds_permit:
            self._permits += 1
        if outcome is Outcome.SUCCESS:
            self._failing = False
            self._machine.call(_succeed)
        elif outcome is Outcome.FAILURE:
            self._failing = True
            with suppress(_ReportedError):
                self._machine.call(_fail)
        self._deliver_events()

    def _state_changed(self, new: State) -> None:
        old, self._state = self._state, new
        self._generation += 1
        if new is State.OPEN:
            self._opened_at = self._clock()
        elif new is State.HALF_OPEN:
            self._permits = self.policy.permitted_calls_in_half_open
        self._undelivered.append(StateChanged(self.name, old, new))

    def _open_seconds_left(self) -> float:
        return self._opened_at + self.policy.open_seconds - self._clock()

    def _deliver_events(self) -> None:
        while self._undelivered:
            event = self._undelivered.popleft()
            for listener in tuple(self._listeners):
                try:
                    listener(event)
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException:
                    # BaseException: a listener that reads a cancelled future must not cancel
                    # the caller of the breaker.
                    _log.exception("listener of circuit %s raised", self.name)


class _StateObserver(pybreaker.CircuitBreakerListener):
    """Hears of transitions inside pybreaker's own call, before anything else can run."""

    def __init__(self, changed: Callable[[State], None]) -> None:
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
