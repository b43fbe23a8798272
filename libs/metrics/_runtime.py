"""How the process itself is: its event loop, memory, file descriptors and tasks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from libs.metrics._instruments import Unit
from libs.metrics._registry import Metrics

LAG_CHECK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """The process now. None where the system does not tell (there is no /proc)."""

    resident_bytes: int | None
    open_file_descriptors: int | None
    tasks: int


def process_figures(proc: Path = Path("/proc/self")) -> ProcessFigures:
    """Read them, inside a running event loop. Three cheap look-ups; never raises OSError."""
    resident = descriptors = None
    with contextlib.suppress(OSError):
        pages = int((proc / "statm").read_text().split()[1])
        resident = pages * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError):
        # Less the one that lists them.
        descriptors = len(os.listdir(proc / "fd")) - 1
    return ProcessFigures(resident, descriptors, len(asyncio.all_tasks()))


@asynccontextmanager
async def event_loop_watched(
    metrics: Metrics,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    figures: Callable[[], ProcessFigures] = process_figures,
) -> AsyncIterator[None]:
    """Declare and keep `EventLoopLag`, `ResidentMemory`, `OpenFileDescriptors` and `Tasks`.

    The lag is how much later than asked a timer runs, looked at twice a second: a loop that is
    blocked for half a second or more is seen for certain, a shorter block by chance.
    """
    lag = metrics.distribution("EventLoopLag")
    metrics.gauge("ResidentMemory", lambda: figures().resident_bytes, unit=Unit.BYTES)
    metrics.gauge("OpenFileDescriptors", lambda: figures().open_file_descriptors)
    metrics.gauge("Tasks", lambda: figures().tasks)

    async def watch() -> None:
        while True:
            asked = clock()
            await sleep(LAG_CHECK_SECONDS)
            lag.record(max(0.0, clock() - asked - LAG_CHECK_SECONDS) * 1000)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
