"""The one order in which a call is guarded, and when it is made again.

Outermost first (docs/adr/0041-one-order-of-guards.md says why):

1. deadline: work whose caller has gone is not begun;
2. retry, within its budget;
3. for each attempt the bulkhead; where the circuit would refuse anyway, nobody waits for a slot;
4. the circuit breaker: permit, outcome;
5. the attempt's time-out: the breaker's own, or what the deadline leaves if that is less;
6. the call.

An attempt that the deadline cuts short says nothing to the breaker: it had less than the time in
which the dependency promises to answer. One that uses up its full time-out is a failure. Owns the
order; each guard's own rules are in its module.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from random import random as uniform_random
from typing import Final, TypeVar

from libs.circuit_breaker import CircuitBreaker, CircuitOpenError, State
from libs.resilience._budget import RetryBudget
from libs.resilience._bulkhead import Bulkhead, BulkheadFullError
from libs.resilience._deadline import Deadline, DeadlineExceededError, current_deadline
from libs.resilience._events import (
    CallRetried,
    DeadlinePassed,
    ResilienceListener,
    RetryRefusal,
    RetryRefused,
    tell,
)
from libs.resilience._policy import RetryPolicy

T = TypeVar("T")


class Repeatable(Enum):
    """What the caller says of his call."""

    ALWAYS = "always"
    """Twice is the same as once: a read, or a write that is idempotent by itself."""
    ONLY_IF_NOT_EXECUTED = "only_if_not_executed"
    """Once more only where the failure shows that nothing was executed."""
    NEVER = "never"


class FailureKind(Enum):
    """What a failure says about another attempt."""

    FINAL = "final"
    """An answer, or a mistake of the caller's: the next attempt would end the same way."""
    NOT_EXECUTED = "not_executed"
    """May pass, and nothing was executed: refused before it began, or never sent."""
    MAYBE_EXECUTED = "maybe_executed"
    """May pass, and nobody knows what was executed: no answer, or none in time."""


FailureClassifier = Callable[[Exception], FailureKind]
"""Takes what an attempt raised. Not asked about refusals (an open circuit, a full bulkhead, a
passed deadline): those are never retried."""


def no_failure_passes(_: Exception) -> FailureKind:
    """The classifier of a pipeline that retries nothing."""
    return FailureKind.FINAL


_REFUSALS: Final = (CircuitOpenError, BulkheadFullError, DeadlineExceededError)


class ResiliencePipeline:
    """Guards the calls to one dependency's operation class, for example "dynamodb:read"."""

    def __init__(
        self,
        breaker: CircuitBreaker,
        bulkhead: Bulkhead,
        *,
        retry: RetryPolicy,
        budget: RetryBudget,
        classify: FailureClassifier = no_failure_passes,
        random: Callable[[], float] = uniform_random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        listeners: Sequence[ResilienceListener] = (),
    ) -> None:
        """random: at least 0, below 1; for the jitter of waits."""
        self.name: Final = breaker.name
        self.breaker: Final = breaker
        self.bulkhead: Final = bulkhead
        self.retry: Final = retry
        self.budget: Final = budget
        self._classify = classify
        self._random = random
        self._sleep = sleep
        self._listeners = tuple(listeners)
        self._attempt_seconds = breaker.policy.call_timeout_seconds

    async def call(
        self,
        function: Callable[[], Awaitable[T]],
        *,
        repeatable: Repeatable = Repeatable.NEVER,
    ) -> T:
        """Awaits `function()`, once an attempt, and gives its result.

        Raises DeadlineExceededError, CircuitOpenError or BulkheadFullError when the function was
        not called, and DeadlineExceededError when the deadline cut it short; TimeoutError when an
        attempt took longer than the breaker's time-out. Whatever the function raises is re-raised
        as it was, the last attempt's if there were several. When a further attempt is refused,
        that is what the one before it raised.
        """
        deadline = current_deadline()
        if deadline is not None and deadline.expired:
            self._tell_passed(started=False)
            raise DeadlineExceededError(self.name, started=False)
        self.budget.deposit()
        try:
            return await self._attempt(function, deadline)
        except _REFUSALS:
            raise
        except Exception as error:
            delay = self._delay_before_retry(error, 1, repeatable, deadline)
            if delay is None:
                raise
            failure = error
        try:
            return await self._further_attempts(function, repeatable, deadline, failure, delay)
        finally:
            # Its traceback holds this frame.
            del failure

    async def _further_attempts(
        self,
        function: Callable[[], Awaitable[T]],
        repeatable: Repeatable,
        deadline: Deadline | None,
        failure: Exception,
        delay: float,
    ) -> T:
        attempt = 1
        try:
            while True:
                attempt += 1
                event = CallRetried(self.name, attempt, delay, type(failure).__name__)
                tell(self._listeners, event)
                await self._sleep(delay)
                try:
                    return await self._attempt(function, deadline)
                except _REFUSALS:
                    break
                except Exception as error:
                    further = self._delay_before_retry(error, attempt, repeatable, deadline)
                    if further is None:
                        raise
                    failure, delay = error, further
            raise failure
        finally:
            del failure

    async def _attempt(self, function: Callable[[], Awaitable[T]], deadline: Deadline | None) -> T:
        breaker, bulkhead = self.breaker, self.bulkhead
        breaker.refuse_unless_admitted()
        if not bulkhead.try_acquire():
            await bulkhead.acquire()
        try:
            if deadline is None:
                return await breaker.call(function)
            left = deadline.remaining()
            limit = self._attempt_seconds
            if limit is not None and limit <= left:
                return await breaker.call(function)
            return await self._cut_by_deadline(function, left)
        finally:
            bulkhead.release()

    async def _cut_by_deadline(self, function: Callable[[], Awaitable[T]], left: float) -> T:
        """An attempt whose caller does not wait as long as a whole one may take."""
        if left <= 0:
            self._tell_passed(started=False)
            raise DeadlineExceededError(self.name, started=False)
        scope = asyncio.timeout(left)
        try:
            # Outside the breaker: to the breaker it is a cancellation, which is neutral.
            async with scope:
                return await self.breaker.call(function)
        except TimeoutError as error:
            if not scope.expired():
                raise
            self._tell_passed(started=True)
            raise DeadlineExceededError(self.name, started=True) from error

    def _delay_before_retry(
        self,
        error: Exception,
        attempt: int,
        repeatable: Repeatable,
        deadline: Deadline | None,
    ) -> float | None:
        """Seconds until the attempt after `attempt`; None when there is to be none."""
        kind = self._classify(error)
        if kind is FailureKind.FINAL:
            return None
        if self.retry.max_attempts == 1:
            return None
        delay = self.retry.backoff(attempt, self._random)
        asked: float | None = getattr(error, "retry_after_seconds", None)
        refusal: RetryRefusal | None = None
        if attempt >= self.retry.max_attempts:
            refusal = RetryRefusal.ATTEMPTS
        elif repeatable is Repeatable.NEVER or (
            repeatable is Repeatable.ONLY_IF_NOT_EXECUTED and kind is not FailureKind.NOT_EXECUTED
        ):
            refusal = RetryRefusal.NOT_REPEATABLE
        elif self.breaker.state not in (State.CLOSED, State.DISABLED):
            refusal = RetryRefusal.CIRCUIT
        elif asked is not None and asked > self.retry.max_delay_seconds:
            refusal = RetryRefusal.RETRY_AFTER
        else:
            delay += asked or 0.0
            needed = delay + (self._attempt_seconds or 0.0)
            if deadline is not None and deadline.remaining() < needed:
                refusal = RetryRefusal.DEADLINE
            elif not self.budget.withdraw():
                refusal = RetryRefusal.BUDGET
        if refusal is None:
            return delay
        tell(self._listeners, RetryRefused(self.name, refusal, type(error).__name__))
        return None

    def _tell_passed(self, *, started: bool) -> None:
        tell(self._listeners, DeadlinePassed(self.name, started))
