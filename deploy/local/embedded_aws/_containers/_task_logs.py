"""A log file a task: what its containers write, as the other processes of the platform have theirs.

`<family>-<task id>.log`; the files of the last run end in `.1`, older ones are removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

_FILE = re.compile(r"[A-Za-z0-9_-]+-[0-9a-f]{32}\.log")
_LAST_LINE_BYTES = 4096


class TaskLogs:
    """The log files in one folder, which other files may share.

    Args:
        folder: made where it is missing.
        kept: how many files of tasks of this run are kept; the oldest go first.
    """

    def __init__(self, folder: Path, *, kept: int = 100) -> None:
        self._folder = folder
        self._kept = kept

    def begin(self) -> None:
        """Makes what is there the last run's."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in list(self._folder.glob("*.log.1")):
            if _FILE.fullmatch(old.name.removesuffix(".1")):
                old.unlink(missing_ok=True)
        for last in self._files():
            last.replace(last.with_name(last.name + ".1"))

    def open(self, family: str, task: str) -> int:
        """A descriptor that what a task writes is appended by."""
        for old in self._files()[: -self._kept]:
            old.unlink(missing_ok=True)
        path = self._path(family, task)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def last_line(self, family: str, task: str) -> str | None:
        """The last line that is not empty."""
        try:
            with self._path(family, task).open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(0, end - _LAST_LINE_BYTES))
                lines = log.read().decode(errors="replace").split("\n")
        except OSError:
            return None
        return next((line.strip() for line in reversed(lines) if line.strip()), None)

    def _path(self, family: str, task: str) -> Path:
        return self._folder / f"{family}-{task}.log"

    def _files(self) -> list[Path]:
        found: Iterable[Path] = self._folder.glob("*.log")
        files = [path for path in found if _FILE.fullmatch(path.name)]
        return sorted(files, key=lambda path: path.stat().st_mtime)
