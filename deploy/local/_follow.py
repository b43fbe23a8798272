"""Shows log files as they grow (``--verbose``).

The processes write files and not pipes, so that they do not depend on whoever reads along. Metrics,
which share the files, are for programs and are not shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_POLL_SECONDS = 0.1
# No value can forge it: quotes inside a JSON text are escaped.
_METRICS = b'"event":"metrics"'

Show = Callable[[str, str], None]


@asynccontextmanager
async def follow(
    folder: Path, show: Show, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> AsyncIterator[None]:
    """Calls ``show(name, line)`` for every line that ``<name>.log`` in ``folder`` gets from now on,
    but for metrics.

    A log file that is new starts from its first line. What is there at the end is shown too.
    """
    reader = _Reader(folder, show)
    reader.skip()

    async def poll() -> None:
        while True:
            reader.read()
            await sleep(_POLL_SECONDS)

    task = asyncio.create_task(poll())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        reader.read()


class _Reader:
    def __init__(self, folder: Path, show: Show) -> None:
        self._folder = folder
        self._show = show
        # By inode: a file that takes an old one's name starts from its beginning.
        self._positions: dict[int, int] = {}
        self._unfinished: dict[int, bytes] = {}

    def skip(self) -> None:
        for path in self._folder.glob("*.log"):
            status = path.stat()
            self._positions[status.st_ino] = status.st_size

    def read(self) -> None:
        for path in sorted(self._folder.glob("*.log")):
            with path.open("rb") as file:
                inode = path.stat().st_ino
                file.seek(self._positions.get(inode, 0))
                content = self._unfinished.get(inode, b"") + file.read()
                self._positions[inode] = file.tell()
            *lines, self._unfinished[inode] = content.split(b"\n")
            for line in lines:
                if _METRICS not in line:
                    self._show(path.stem, line.decode(errors="replace"))
