"""A bulkhead (Nygard, "Release It!"): one dependency's slowness fills its own slots, not the
process.

Owns who runs, who waits and in which order. A slot that becomes free goes straight to the one who
waits longest: a newcomer can't take it from him, and what a cancelled waiter was given goes on to
the next. Between the checks of `acquire` and its wait nothing suspends, so one event loop needs no
lock; a bulkhead belongs to one event loop.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from libs.resilience._deadline import DeadlineExceededError, current_deadline
from libs.resilience._events import (
    BulkheadRefusal,
    BulkheadRejected,
    DeadlinePassed,
    ResilienceListener,
    tell,
)
from libs.resilience._policy import BulkheadPolicy

T = TypeVar("T")
P = ParamSpec("P")


class BulkheadFullError(Exception):
    """The call was refused without reaching the dependency: too many are under way.

    name: the bulkhead that refused. retry_after_seconds: its longest wait, after which those who
    wait now have been served or refused.
    """

    def __init__(self, name: str, retry_after_seconds: float) -> None:
        super().__init__(f"bulkhead {name} is full, retry after {retry_after_seconds:.3f} s")
        self.name = name
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class BulkheadSnapshot:
    """A bulkhead at one moment; rejected_calls: in all since it was made."""

    name: str
    running: int
    queued: int
    max_concurrent_calls: int
    max_queued_calls: int
    rejected_calls: int


class Bulkhead:
    """Bounds the calls to one dependency's operation class, for example "dynamodb:read"."""

    def __init__(
        self, name: str, policy: BulkheadPolicy, *, listeners: Sequence[ResilienceListener] = ()
    ) -> None:
        if not name:
            raise ValueError("a bulkhead needs a name")
        self.name: Final = name
        self.policy: Final = policy
        self._limit = policy.max_concurrent_calls
        self._listeners = list(listeners)
        self._running = 0
        # Waiters in their order, each until it is granted a slot, gives up or is cancelled.
        self._waiting: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self._rejected_calls = 0

    def add_listener(self, listener: ResilienceListener) -> None:
        self._listeners.append(listener)

    def snapshot(self) -> BulkheadSnapshot:
        return BulkheadSnapshot(
            name=self.name,
            running=self._running,
            queued=len(self._waiting),
            max_concurrent_calls=self.policy.max_concurrent_calls,
            max_queued_calls=self.policy.max_queued_calls,
            rejected_calls=self._rejected_calls,
        )

    async def call(
        self, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Awaits `function(*args, **kwargs)` within a slot. Raises as `acquire` does."""
        if not self.try_acquire():
            await self.acquire()
        try:
            return await function(*args, **kwargs)
        finally:
            self.release()

    def try_acquire(self) -> bool:
        """Takes a slot if one is free. Nobody waits while one is."""
        if self._running >= self._limit:
            return False
        self._running += 1
        return True

    async def acquire(self) -> None:
        """Takes a slot, after a wait where that is needed; `release` gives it back.

        Raises BulkheadFullError when too many wait already or the wait was too long, and
        DeadlineExceededError when the caller's deadline ends it.
        """
        if self.try_acquire():
            return
        policy = self.policy
        if policy.max_wait_seconds == 0 or len(self._waiting) >= policy.max_queued_calls:
            self._reject(BulkheadRefusal.QUEUE_FULL)
        deadline = current_deadline()
        patience = policy.max_wait_seconds
        if deadline is not None:
            patience = min(patience, deadline.remaining())
        if await self._granted(patience):
            return
        if deadline is not None and patience < policy.max_wait_seconds:
            tell(self._listeners, DeadlinePassed(self.name, started=False))
            raise DeadlineExceededError(self.name, started=False)
        self._reject(BulkheadRefusal.WAIT_EXCEEDED)

    def release(self) -> None:
        """Gives the slot to the one who waits longest, or back."""
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            # One that is done was cancelled, and has not run since.
            if not waiter.done():
                waiter.set_result(True)
                return
        self._running -= 1

    async def _granted(self, seconds: float) -> bool:
        """Whether a slot came within so many seconds."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiting[waiter] = None
        # Not asyncio.timeout: a slot that comes in the same moment as the end of the wait is
        # then either given or not, and never given to one who has gone.
        patience = loop.call_later(seconds, self._give_up, waiter)
        try:
            return await waiter
        except BaseException:
            self._waiting.pop(waiter, None)
            if waiter.done() and not waiter.cancelled() and waiter.result():
                # Cancelled after the slot was given and before it was taken.
                self.release()
            raise
        finally:
            patience.cancel()

    def _give_up(self, waiter: "asyncio.Future[bool]") -> None:
        self._waiting.pop(waiter, None)
        if not waiter.done():
            waiter.set_result(False)

    def _reject(self, reason: BulkheadRefusal) -> None:
        self._rejected_calls += 1
        tell(
            self._listeners, BulkheadRejected(self.name, reason, self._running, len(self._waiting))
        )
        raise BulkheadFullError(self.name, self.policy.max_wait_seconds)
