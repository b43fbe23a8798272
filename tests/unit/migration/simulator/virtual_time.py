"""An event loop in which time passes only when everybody waits: exact, and as fast as can be.

Owns the loop alone, and of a loop what tasks, timers and their cancellation need. A loop of its own
is a third of the cost of the standard one with its clock and its selector replaced: thousands of
simulated migrations are little but timers.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final, TypeVar

Result = TypeVar("Result")

MOST_STEPS: Final = 1_000_000


class DeadlockError(Exception):
    """Everybody waits and nothing will ever happen."""


class LivelockError(Exception):
    """More happens than in any run that comes to an end."""


class _Call:
    """Something to be called, unless it is cancelled before; as `asyncio.TimerHandle`."""

    __slots__ = ("_when", "arguments", "callback", "context", "is_cancelled")

    def __init__(
        self,
        callback: Callable[..., object],
        arguments: tuple[Any, ...],
        context: contextvars.Context | None,
        when: float = 0.0,
    ) -> None:
        self.callback = callback
        self.arguments = arguments
        self.context = context or contextvars.copy_context()
        self.is_cancelled = False
        self._when = when

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self._when


class VirtualTimeLoop(AbstractEventLoop):
    """`time()` jumps to the next call that is due. There are no sockets and no threads, and signals
    are those of `send_signal`.

    What a callback raises ends the loop: nothing in a simulation may fail unseen.
    """

    def __init__(self, most_steps: int = MOST_STEPS) -> None:
        self._now = 0.0
        self._ready: deque[_Call] = deque()
        self._timers: list[tuple[float, int, _Call | asyncio.Future[None]]] = []
        self._timed = 0  # those due at the same moment go in the order in which they were made
        self._left = self._most = most_steps
        self._stopping = False
        self._closed = False
        self._on_signal: dict[int, Callable[[], object]] = {}

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> _Call:
        call = _Call(callback, args, context)
        self._ready.append(call)
        return call

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> _Call:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> _Call:
        call = _Call(callback, args, context, when)
        self._timed += 1
        heappush(self._timers, (when, self._timed, call))
        return call

    def wake(self, future: asyncio.Future[None], delay: float) -> None:
        """Give the future its result after the delay, unless it is done by then."""
        self._timed += 1
        heappush(self._timers, (self._now + delay, self._timed, future))

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, Result],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[Result]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        self._on_signal[sig] = partial(callback, *args)

    def remove_signal_handler(self, sig: int) -> bool:
        return self._on_signal.pop(sig, None) is not None

    def send_signal(self, sig: int) -> None:
        """As the process gets it: to the handler that was added last."""
        self.call_soon(self._on_signal[sig])

    def run_forever(self) -> None:
        """Until `stop`. Raises DeadlockError when nothing is left that could end a wait."""
        asyncio._set_running_loop(self)
        left = self._left
        try:
            ready, timers = self._ready, self._timers
            while not self._stopping:
                left -= 1
                if left == 0:
                    raise LivelockError(f"no end after {self._most} steps, at {self._now:.1f} s")
                if ready:
                    call = ready.popleft()
                else:
                    if not timers:
                        raise DeadlockError("everybody waits, and no time-out is set")
                    when, _, timed = heappop(timers)
                    if not isinstance(timed, _Call):
                        if not timed.done():
                            self._now = max(self._now, when)
                            timed.set_result(None)
                        continue
                    call = timed
                    if not call.is_cancelled:
                        self._now = max(self._now, when)
                if not call.is_cancelled:
                    call.context.run(call.callback, *call.arguments)
        finally:
            self._left = left
            self._stopping = False
            asyncio._set_running_loop(None)

    def cancel_all(self) -> None:
        """Cancel what is left, and let it end as far as it needs no time for it."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        self._left = len(self._ready) + 100_000
        self._timers.clear()
        with suppress(DeadlockError, LivelockError):
            self.run_forever()

    def stop(self) -> None:
        self._stopping = True

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What a task raised that nobody asks for: seen by whoever started it, or of no interest."""


async def sleep(seconds: float) -> None:
    """As `asyncio.sleep`, which makes and cancels a handle that nobody here asks for."""
    loop: VirtualTimeLoop = asyncio.get_running_loop()  # type: ignore[assignment]
    future: asyncio.Future[None] = asyncio.Future(loop=loop)
    loop.wake(future, seconds)
    await future


def run(main: Coroutine[Any, Any, Result], *, most_steps: int = MOST_STEPS) -> Result:
    """Run in virtual time. Whatever is left running is cancelled."""
    loop = VirtualTimeLoop(most_steps)  # type: ignore[abstract] # nobody here needs the rest of a loop
    try:
        task = loop.create_task(main)
        task.add_done_callback(lambda _: loop.stop())
        loop.run_forever()
        return task.result()
    finally:
        loop.cancel_all()
        loop.close()
