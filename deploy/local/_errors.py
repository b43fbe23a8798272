"""Why the platform can not do what it was asked for, in words for the person at the terminal."""

from __future__ import annotations

from collections.abc import Sequence


class PlatformError(Exception):
    """The platform can not be started; ``last_lines`` are those of what is to blame."""

    def __init__(self, message: str, last_lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.last_lines = tuple(last_lines)


def reason_of(error: OSError) -> str:
    """What the system says, in one line: `.lyceum/lock: No space left on device`."""
    reason = error.strerror or " ".join(str(error).split())
    return f"{error.filename}: {reason}" if error.filename else reason
