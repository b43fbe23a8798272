"""The moment until which somebody still waits for the answer.

Owns the deadline of the current context: where it is set, that it only ever comes nearer, and how
work leaves it. It travels in a ContextVar, so tasks inherit it from whoever starts them. It cuts
nothing by itself: whoever waits asks how long he may. Knows no time-out and no retry.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final


class DeadlineExceededError(Exception):
    """The caller's time is over: the work was not begun, or was cut.

    name: what would have been called. started: whether anything was.
    retry_after_seconds: None; how much time the next caller brings is his to say.
    """

    retry_after_seconds: None = None

    def __init__(self, name: str, *, started: bool) -> None:
        what = "was cut short" if started else "was not begun"
        super().__init__(f"{name} {what}: the caller's deadline has passed")
        self.name = name
        self.started = started


class Deadline:
    """A moment on a monotonic clock."""

    __slots__ = ("_clock", "at")

    def __init__(self, at: float, clock: Callable[[], float] = time.monotonic) -> None:
        """at: seconds by `clock`, which never goes backwards."""
        if not math.isfinite(at):
            raise ValueError(f"a deadline is a moment, not {at}")
        self.at: Final = at
        self._clock: Final = clock

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        return cls(clock() + seconds, clock)

    def remaining(self) -> float:
        """Seconds that are left, never below 0."""
        return max(0.0, self.at - self._clock())

    @property
    def expired(self) -> bool:
        return self.at <= self._clock()

    def __repr__(self) -> str:
        return f"<Deadline in {self.remaining():.3f} s>"


_CURRENT: Final[ContextVar[Deadline | None]] = ContextVar("lyceum_deadline", default=None)


def current_deadline() -> Deadline | None:
    """The nearest deadline around this code; None when nobody waits."""
    return _CURRENT.get()


@contextmanager
def deadline_scope(
    seconds: float, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Deadline]:
    """Within this block the deadline is `seconds` away, or nearer if it already was."""
    before = _CURRENT.get()
    if before is not None and before.remaining() <= seconds:
        yield before
        return
    inner = Deadline.after(seconds, clock)
    _CURRENT.set(inner)
    try:
        yield inner
    finally:
        # Not by a token: a generator that is closed elsewhere may end in another context.
        if _CURRENT.get() is inner:
            _CURRENT.set(before)


@contextmanager
def without_deadline() -> Iterator[None]:
    """What begins within this block (a background task, above all) may outlive the request."""
    before = _CURRENT.get()
    _CURRENT.set(None)
    try:
        yield
    finally:
        if _CURRENT.get() is None:
            _CURRENT.set(before)
