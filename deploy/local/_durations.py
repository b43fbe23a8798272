"""How long each step took the last time: what whoever waits for it now may expect."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from deploy.local._state import write_private

# What is quicker than that needs no forecast.
_WORTH_SECONDS = 2.0


class Durations:
    """Kept in a file from one start to the next; one that can't be read or written is no reason to stop."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            kept = json.loads(path.read_text(encoding="utf-8"))
            self._seconds = {str(what): float(seconds) for what, seconds in kept.items()}

    def left(self, what: str, elapsed: float) -> float | None:
        """Seconds that it still takes, if it takes as long as the last time; None where nobody knows."""
        expected = self._seconds.get(what)
        return None if expected is None or elapsed > expected else expected - elapsed

    def took(self, what: str, seconds: float) -> None:
        """So long it was this time."""
        if seconds < _WORTH_SECONDS:
            return
        self._seconds[what] = round(seconds, 1)
        with contextlib.suppress(OSError):
            write_private(self._path, self._seconds)
