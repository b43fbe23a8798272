"""An exception as a structured field: types, messages, frames and causes, but no local variables."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

from libs.logging._values import describe_error

_MAX_FRAMES = 50
_MAX_EXCEPTIONS = 12
_MAX_DEPTH = 5
_MAX_NOTES = 5


def active_exception(exc_info: object) -> BaseException | None:
    """The exception meant by an ``exc_info`` value: True, an exception or ``sys.exc_info()``."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None


def structured(error: BaseException) -> dict[str, object]:
    """``{type, message, notes?, frames, exceptions?, cause? or context?}`` of an exception.

    Frames say file, line and function, the innermost last; local variables and source text are
    left out because they may hold secrets. Messages are raw here: redaction comes after. A chain
    or a group of any size, with cycles even, gives a bounded structure.
    """
    return _Walk().entry(error, 0)


class _Walk:
    def __init__(self) -> None:
        self._left = _MAX_EXCEPTIONS

    def entry(self, error: BaseException, depth: int) -> dict[str, object]:
        self._left -= 1
        name, message = describe_error(error)
        entry: dict[str, object] = {"type": name, "message": message}
        notes = getattr(error, "__notes__", None)
        if isinstance(notes, list) and notes:
            entry["notes"] = notes[:_MAX_NOTES]
        entry["frames"] = _frames(error.__traceback__)
        if depth >= _MAX_DEPTH:
            return entry
        if isinstance(error, BaseExceptionGroup):
            members: list[dict[str, object]] = []
            for member in error.exceptions:
                if self._left <= 0:
                    break
                members.append(self.entry(member, depth + 1))
            entry["exceptions"] = members
        if self._left > 0 and error.__cause__ is not None:
            entry["cause"] = self.entry(error.__cause__, depth + 1)
        elif self._left > 0 and error.__context__ is not None and not error.__suppress_context__:
            entry["context"] = self.entry(error.__context__, depth + 1)
        return entry


def _frames(trace: TracebackType | None) -> list[str]:
    # The last frames are where it happened: the limit counts from there.
    return [
        f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        for frame, line in list(traceback.walk_tb(trace))[-_MAX_FRAMES:]
    ]
