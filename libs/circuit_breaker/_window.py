"""The sliding windows: how many of the latest calls failed or were slow.

Owns counting, in constant time and memory per call. Knows no threshold and no state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WindowFigures:
    """What a sliding window holds; a call that is slow and fails is in both counts.

    failure_rate, slow_call_rate: percent of `calls`; 0 when there are none.
    """

    calls: int
    failures: int
    slow_calls: int

    @property
    def failure_rate(self) -> float:
        return 100.0 * self.failures / self.calls if self.calls else 0.0

    @property
    def slow_call_rate(self) -> float:
        return 100.0 * self.slow_calls / self.calls if self.calls else 0.0


class SlidingWindow(Protocol):
    """The counts are those of the last `record` or `figures`."""

    calls: int
    failures: int
    slow_calls: int

    def record(self, *, failed: bool, slow: bool) -> None: ...

    def figures(self) -> WindowFigures: ...


class CountWindow:
    """The last `size` calls."""

    def __init__(self, size: int) -> None:
        self.calls = 0
        self.failures = 0
        self.slow_calls = 0
        self._size = size
        self._failed = bytearray(size)
        self._slow = bytearray(size)
        self._next = 0

    def record(self, *, failed: bool, slow: bool) -> None:
        place = self._next
        if self.calls < self._size:
            self.calls += 1
        # The call that held this place before leaves the window.
        self.failures += failed - self._failed[place]
        self.slow_calls += slow - self._slow[place]
        self._failed[place] = failed
        self._slow[place] = slow
        self._next = place + 1 if place + 1 < self._size else 0

    def figures(self) -> WindowFigures:
        return WindowFigures(self.calls, self.failures, self.slow_calls)


class TimeWindow:
    """The calls of the current second and the `seconds - 1` before it.

    One bucket a second, as in resilience4j: memory doesn't grow with traffic, and a call leaves
    with its whole second.
    """

    def __init__(self, seconds: int, clock: Callable[[], float]) -> None:
        self.calls = 0
        self.failures = 0
        self.slow_calls = 0
        self._seconds = seconds
        self._clock = clock
        self._current = int(clock())
        self._buckets = [[0, 0, 0] for _ in range(seconds)]

    def record(self, *, failed: bool, slow: bool) -> None:
        now = int(self._clock())
        if now != self._current:
            self._forget_until(now)
        bucket = self._buckets[now % self._seconds]
        self.calls += 1
        bucket[0] += 1
        if failed:
            self.failures += 1
            bucket[1] += 1
        if slow:
            self.slow_calls += 1
            bucket[2] += 1

    def figures(self) -> WindowFigures:
        self._forget_until(int(self._clock()))
        return WindowFigures(self.calls, self.failures, self.slow_calls)

    def _forget_until(self, now: int) -> None:
        for second in range(max(self._current, now - self._seconds) + 1, now + 1):
            bucket = self._buckets[second % self._seconds]
            self.calls -= bucket[0]
            self.failures -= bucket[1]
            self.slow_calls -= bucket[2]
            bucket[:] = (0, 0, 0)
        self._current = max(self._current, now)
