"""Reads log files as they grow: for ``--verbose``, which shows them, and for the pages.

The processes write files and not pipes, so that they do not depend on whoever reads along. Metrics,
which share the files, are for programs and are not shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

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
    reader = LineReader(folder, "*.log")
    reader.skip()

    def read() -> None:
        for name, line in reader.read():
            if _METRICS not in line:
                show(name, line.decode(errors="replace"))

    async def poll() -> None:
        while True:
            read()
            await sleep(_POLL_SECONDS)

    task = asyncio.create_task(poll())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        read()


class LineReader:
    """Gives each whole line once that the files of a folder get.

    Args:
        pattern: of the files' names. A file that is renamed within the pattern goes on where it was.
        most_bytes: of a file that is new to the reader, so much of its end; None: all of it.
    """

    def __init__(self, folder: Path, pattern: str, *, most_bytes: int | None = None) -> None:
        self._folder = folder
        self._pattern = pattern
        self._most_bytes = most_bytes
        # By inode: a file that takes an old one's name starts from its beginning.
        self._positions: dict[int, int] = {}
        self._unfinished: dict[int, bytes] = {}

    def skip(self) -> None:
        """What is there now is not given."""
        for path in self._folder.glob(self._pattern):
            status = path.stat()
            self._positions[status.st_ino] = status.st_size

    def read(self) -> Iterator[tuple[str, bytes]]:
        """The lines since the last time, with the name of their file without its suffix."""
        # What was moved out of the way (`.1`) comes before what took its place.
        found = self._folder.glob(self._pattern)
        for path in sorted(found, key=lambda path: (path.suffix != ".1", path)):
            try:
                with path.open("rb") as file:
                    lines = self._lines(path.stat().st_ino, file.seek(0, 2), file)
            except FileNotFoundError:  # moved meanwhile: it is found under its new name
                continue
            for line in lines:
                yield path.stem, line

    def _lines(self, inode: int, size: int, file: BinaryIO) -> list[bytes]:
        position = self._positions.get(inode)
        is_cut = False
        if position is None:
            position = max(0, size - self._most_bytes) if self._most_bytes is not None else 0
            is_cut = position > 0
        file.seek(position)
        content = self._unfinished.get(inode, b"") + file.read()
        self._positions[inode] = file.tell()
        *lines, self._unfinished[inode] = content.split(b"\n")
        return lines[1:] if is_cut else lines
