"""Work that may outlast the request that began it, once per name, bounded in number.

Knows nothing of what the work is. A request waits for it only so long; another that asks for the
same work waits for the same. Work that dies with its process is begun again by whoever asks next.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class BackgroundWork(Generic[Result]):
    """At most ``maximum`` pieces of work at once; a wait of at most ``wait_seconds``."""

    def __init__(
        self,
        *,
        maximum: int,
        wait_seconds: float,
        failed: Callable[[str, Exception], None],
    ) -> None:
        """``failed`` is told of work whose failure nobody waited for."""
        self._maximum = maximum
        self._wait_seconds = wait_seconds
        self._failed = failed
        self._tasks: dict[str, asyncio.Task[Result]] = {}
        self._waiters: dict[str, int] = {}

    async def outcome(self, name: str, work: Callable[[], Awaitable[Result]]) -> Result | None:
        """What the work of this name gives or raises; None where it takes longer than the wait, or
        where there is too much to do for it to begin."""
        task = self._tasks.get(name)
        if task is None:
            if len(self._tasks) >= self._maximum:
                return None
            # A context of its own: neither the request's deadline nor its trace nor its log fields
            # are those of work that others may wait for, too.
            task = asyncio.get_running_loop().create_task(
                self._run(name, work), context=contextvars.Context()
            )
            self._tasks[name] = task
            # Looked at once, so that no failure is reported as one that nobody looked at.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiters[name] = self._waiters.get(name, 0) + 1
        try:
            await asyncio.wait({task}, timeout=self._wait_seconds)
            return task.result() if task.done() else None
        finally:
            self._waiters[name] -= 1
            if not self._waiters[name]:
                del self._waiters[name]

    async def close(self) -> None:
        """Cancel what is under way and wait until it has ended."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str, work: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await work()
        except Exception as error:
            if name not in self._waiters:
                self._failed(name, error)
            raise
        finally:
            del self._tasks[name]
