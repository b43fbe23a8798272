"""The asyncio adapter over the state machine.

pybreaker can't be given a coroutine (its decorator sees only that a coroutine object was made),
so the call is awaited here and the state machine hears of its outcome. This module adds what
concurrency needs: permits, generations, neutral cancellation, the time-out and a monotonic
clock; and the two states that somebody decides on, forced open and disabled.

Between the checks of `call` and its await nothing suspends, so one event loop needs no lock.
A breaker belongs to one event loop.
"""

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from random import random as uniform_random
from typing import Final, NoReturn, ParamSpec, TypeVar

from libs.circuit_breaker._events import (
    BreakerEvent,
    BreakerListener,
    BreakerSnapshot,
    CallRejected,
    SlowCall,
    State,
    StateChanged,
)
from libs.circuit_breaker._machine import create_state_machine
from libs.circuit_breaker._open_time import OpenTime
from libs.circuit_breaker._policy import (
    BreakerMode,
    BreakerPolicy,
    Classifier,
    Outcome,
    every_exception_is_a_failure,
)
from libs.circuit_breaker._timeout import SharedTimeout, TimeoutScope

T = TypeVar("T")
P = ParamSpec("P")

_log: Final = logging.getLogger(__name__)

_FIRST_STATES: Final = {
    BreakerMode.NORMAL: State.CLOSED,
    BreakerMode.FORCED_OPEN: State.FORCED_OPEN,
    BreakerMode.DISABLED: State.DISABLED,
}


class CircuitOpenError(Exception):
    """The call was refused without reaching the dependency.

    name: the breaker that refused.
    retry_after_seconds: when a call may be admitted again; for a half-open circuit, when the
    outcome of the calls under way is expected; for one forced open, when to ask again.
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
        random: Callable[[], float] = uniform_random,
    ) -> None:
        """clock: seconds, never going backwards; the wall clock would stretch or cut open time.

        random: at least 0, below 1; for the jitter of open time.
        """
        if not name:
            raise ValueError("a circuit breaker needs a name")
        self.name: Final = name
        self.policy: Final = policy
        self.classify: Final = classify
        self._clock = clock
        timeout = policy.call_timeout_seconds
        self._timeout = None if timeout is None else SharedTimeout(timeout)
        self._slow_seconds = policy.slow_call_duration_threshold_seconds
        self._state = _FIRST_STATES[policy.mode]
        self._generation = 0
        self._permits = 0
        self._open_time = OpenTime(policy, random)
        self._open_until = 0.0
        self._rejected_calls = 0
        self._slow_calls = 0
        self._late_outcomes = 0
        self._listeners: list[BreakerListener] = []
        self._undelivered: deque[BreakerEvent] = deque()
        self._machine = create_state_machine(policy, clock, self._state_changed)

    @property
    def state(self) -> State:
        """An open circuit stays OPEN until the first call after its open time."""
        return self._state

    def add_listener(self, listener: BreakerListener) -> None:
        self._listeners.append(listener)

    def force_open(self) -> None:
        """Refuses every call from now on, until `disable` or `reset`."""
        self._decide(State.FORCED_OPEN)

    def disable(self) -> None:
        """Lets every call through and counts nothing from now on, until the others."""
        self._decide(State.DISABLED)

    def reset(self) -> None:
        """Closes the circuit, whatever its state, and forgets what was counted.

        Calls under way say nothing any more about the circuit, and neither do they after
        `force_open` and `disable`.
        """
        self._machine.close()
        self._deliver_events()

    def snapshot(self) -> BreakerSnapshot:
        half_open = self._state is State.HALF_OPEN
        return BreakerSnapshot(
            name=self.name,
            state=self._state,
            consecutive_failures=self._machine.consecutive_failures,
            window=self._machine.figures(),
            permits_in_use=(
                self.policy.permitted_calls_in_half_open - self._permits if half_open else 0
            ),
            retry_after_seconds=(
                max(0.0, self._open_seconds_left()) if self._state is State.OPEN else 0.0
            ),
            rejected_calls=self._rejected_calls,
            slow_calls=self._slow_calls,
            late_outcomes=self._late_outcomes,
        )

    def refuse_unless_admitted(self) -> None:
        """Raises CircuitOpenError, and counts a rejection, where `call` would now; takes nothing.

        For whoever would wait before the call: there is no queue in front of an open circuit.
        """
        state = self._state
        if state is State.CLOSED or state is State.DISABLED:
            return
        if state is State.FORCED_OPEN:
            self._reject(self.policy.open_seconds)
        if state is State.OPEN:
            left = self._open_seconds_left()
            if left > 0:
                self._reject(left)
        elif self._permits == 0:
            timeout = self.policy.call_timeout_seconds
            wait = self.policy.open_seconds
            self._reject(wait if timeout is None else min(wait, timeout))

    async def call(
        self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Awaits `function(*args, **kwargs)` when the circuit admits it, and gives its result.

        Raises CircuitOpenError without calling the function when the circuit is open, or is
        half-open with every permit taken, or was forced open. Raises TimeoutError, and counts a
        failure, when the policy's `call_timeout_seconds` have passed. Whatever the function raises is re-raised
        as it was. A cancellation, and with it the expiry of a time-out outside the breaker,
        counts neither way.
        """
        holds_permit = self._state is not State.CLOSED and self._state is not State.DISABLED
        if holds_permit:
            self._take_permit()
        generation = self._generation
        began = 0.0 if self._slow_seconds is None else self._clock()
        scope: TimeoutScope | None = None
        try:
            if self._timeout is None:
                result = await function(*args, **kwargs)
            else:
                with self._timeout.scope() as scope:
                    result = await function(*args, **kwargs)
        except BaseException as error:
            outcome = Outcome.IGNORE
            try:
                if isinstance(error, Exception):
                    timed_out = scope is not None and scope.expired
                    outcome = Outcome.FAILURE if timed_out else self._outcome_of(error)
            finally:
                self._settle(generation, outcome, began, holds_permit=holds_permit)
            raise
        if scope is not None and scope.expired:
            # The function caught the cancellation and answered all the same: too late to be
            # called healthy, but the answer is the caller's.
            self._settle(generation, Outcome.FAILURE, began, holds_permit=holds_permit)
        elif (
            self._machine.wants_successes
            or holds_permit
            or generation != self._generation
            or self._slow_seconds is not None
        ):
            self._settle(generation, Outcome.SUCCESS, began, holds_permit=holds_permit)
        return result

    def _take_permit(self) -> None:
        self.refuse_unless_admitted()
        if self._state is State.OPEN:
            self._machine.half_open()
            # Before the permit is taken: not even a listener that exits can keep one.
            self._deliver_events()
            self.refuse_unless_admitted()
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

    def _settle(
        self, generation: int, outcome: Outcome, began: float, *, holds_permit: bool
    ) -> None:
        """Gives the permit back and tells the state machine the outcome, if it is still of
        interest: a call that began before the last state change says nothing about this state.
        """
        if generation != self._generation:
            if outcome is not Outcome.IGNORE:
                self._late_outcomes += 1
            return
        if self._state is State.DISABLED:
            return
        counts = outcome is not Outcome.IGNORE
        if holds_permit and not (counts and self._machine.trials_decide_together):
            self._permits += 1
        if counts:
            limit = self._slow_seconds
            slow = limit is not None and self._is_slow(began, limit)
            if slow or outcome is Outcome.FAILURE or holds_permit or self._machine.wants_successes:
                self._machine.record(failed=outcome is Outcome.FAILURE, slow=slow)
        if self._undelivered:
            self._deliver_events()

    def _is_slow(self, began: float, limit: float) -> bool:
        duration = self._clock() - began
        if duration <= limit:
            return False
        self._slow_calls += 1
        self._undelivered.append(SlowCall(self.name, duration))
        return True

    def _decide(self, new: State) -> None:
        if self._state is not new:
            self._state_changed(new)
        self._deliver_events()

    def _state_changed(self, new: State) -> None:
        old, self._state = self._state, new
        self._generation += 1
        if new is State.OPEN:
            self._open_until = self._clock() + self._open_time.draw()
        elif new is State.HALF_OPEN:
            self._permits = self.policy.permitted_calls_in_half_open
        elif new is State.CLOSED:
            self._open_time.reset()
        if old is not new:
            self._undelivered.append(StateChanged(self.name, old, new))

    def _open_seconds_left(self) -> float:
        return self._open_until - self._clock()

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
