"""One time-out for many calls, such as a breaker's, with one armed timer instead of a timer a call.

Owns when a call is cut, exactly as `asyncio.timeout` would, and what that costs. The time-out is
one constant, so calls are due in the order in which they began: a queue of the calls under way,
and one timer for the first of them, are enough. The timer is not cancelled when that call ends; it
looks at the queue when it strikes and is set anew only while calls are under way, so without calls
there is none for longer than one time-out. Knows nothing of outcomes.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from types import TracebackType


class SharedTimeout:
    """`with shared.scope() as scope: ...` is `async with asyncio.timeout(seconds) as scope: ...`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: _CallsOfLoop | None = None

    def scope(self, *, on_expiry: Callable[[], None] | None = None) -> "TimeoutScope":
        """To be entered at once. Raises RuntimeError outside a task.

        `on_expiry` is called, in an empty context, once the call is due and has been told so.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a call with a time-out is made inside a task")
        calls = self._calls
        if calls is None or calls.loop is not loop:
            # Calls of another loop, if any are left, keep their queue by its armed timer.
            calls = self._calls = _CallsOfLoop(loop)
        scope = TimeoutScope(task, loop.time() + self._seconds, calls.under_way, on_expiry)
        calls.under_way.append(scope)
        if calls.timer is None:
            calls.arm(scope.when)
        return scope

    def disarm(self) -> None:
        """Cancel the timer that may be left once no call is under way."""
        if self._calls is not None and self._calls.timer is not None:
            self._calls.timer.cancel()
            self._calls.timer = None


class TimeoutScope:
    """One call under way.

    when: the loop's time at which it is due. expired: whether that has passed before its end.
    """

    __slots__ = ("_cancelling", "_under_way", "expired", "on_expiry", "task", "when")

    def __init__(
        self,
        task: "asyncio.Task[object]",
        when: float,
        under_way: "deque[TimeoutScope]",
        on_expiry: Callable[[], None] | None,
    ) -> None:
        self.task: asyncio.Task[object] | None = task
        self.when = when
        self.expired = False
        self.on_expiry = on_expiry
        self._cancelling = task.cancelling()
        self._under_way = under_way

    def __enter__(self) -> "TimeoutScope":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A call that began earlier may last: its successors stay in the queue until it ends, at
        # most until it is due, but not their tasks.
        task, self.task, self.on_expiry = self.task, None, None
        under_way = self._under_way
        while under_way and under_way[0].task is None:
            under_way.popleft()
        if self.expired:
            assert task is not None
            # As asyncio.Timeout does: a cancellation from elsewhere wins over the time-out.
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error


class _CallsOfLoop:
    """The calls under way on one event loop, in the order in which they are due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.under_way: deque[TimeoutScope] = deque()
        self.timer: asyncio.TimerHandle | None = None
        self._armed_for = 0.0
        # An empty one: the timer must not keep alive what the first of many calls had in its own.
        self._context = Context()

    def arm(self, when: float) -> None:
        self._armed_for = when
        self.timer = self.loop.call_at(when, self._strike, context=self._context)

    def _strike(self) -> None:
        self.timer = None
        # A loop may call a little early, by the resolution of its clock.
        now = max(self.loop.time(), self._armed_for)
        under_way = self.under_way
        while under_way:
            scope = under_way[0]
            if scope.task is not None:
                if scope.when > now:
                    self.arm(scope.when)
                    return
                scope.task.cancel()
                scope.expired = True
                if scope.on_expiry is not None:
                    scope.on_expiry()
            under_way.popleft()
