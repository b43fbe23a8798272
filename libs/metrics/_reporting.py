"""The one background task that flushes, and the last flush on the way out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from libs.metrics._registry import Metrics


@asynccontextmanager
async def reported(
    metrics: Metrics,
    *,
    every_seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """Flush every so many seconds, and once more on leaving, however the block is left.

    To be entered before all that records, so that it is left after it. 0 seconds write nothing,
    not even at the end.
    """
    if not every_seconds:
        yield
        return

    async def flush_for_ever() -> None:
        while True:
            await sleep(every_seconds)
            metrics.flush()

    flushing = asyncio.create_task(flush_for_ever())
    try:
        yield
    finally:
        try:
            flushing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await flushing
        finally:
            metrics.flush()
