"""Which calls to dependencies one request made, and where in its time: for its slow-request line.

Kept for every request, sampled or not, so it has to cost next to nothing: a bounded heap in a
ContextVar, which the tasks of a request share because they inherit it.
"""

import heapq
from collections.abc import Callable
from contextvars import ContextVar

MAX_CALLS = 32
"""How many calls of one request are kept: its slowest."""


class DependencyCalls:
    """The calls of one request. Times are of `clock`, in seconds."""

    __slots__ = ("_calls", "_clock", "_started", "count", "seconds")

    def __init__(self, clock: Callable[[], float], started: float) -> None:
        self._clock = clock
        self._started = started
        # The number of a call keeps those of equal length apart, and gives their order back.
        self._calls: list[tuple[float, int, float, str, str, str]] = []
        self.count = 0
        self.seconds = 0.0

    def note(self, dependency: str, operation: str, seconds: float, outcome: str) -> None:
        """A call has just ended."""
        self.count += 1
        self.seconds += seconds
        begun = self._clock() - self._started - seconds
        call = (seconds, self.count, begun, dependency, operation, outcome)
        if len(self._calls) < MAX_CALLS:
            heapq.heappush(self._calls, call)
        else:
            heapq.heappushpop(self._calls, call)

    def described(self) -> list[dict[str, object]]:
        """The kept calls in the order in which they ended, in milliseconds since the request
        began."""
        return [
            {
                "dependency": dependency,
                "operation": operation,
                "startMs": _milliseconds(begun),
                "durationMs": _milliseconds(seconds),
                "outcome": outcome,
            }
            for seconds, _, begun, dependency, operation, outcome in sorted(
                self._calls, key=lambda call: call[1]
            )
        ]

    def covered_seconds(self) -> float:
        """How long at least one of the kept calls was under way."""
        covered, until = 0.0, 0.0
        for seconds, _, begun, *_ in sorted(self._calls, key=lambda call: call[2]):
            end = begun + seconds
            covered += max(0.0, end - max(begun, until))
            until = max(until, end)
        return covered


CURRENT: ContextVar[DependencyCalls | None] = ContextVar("lyceum_dependency_calls", default=None)


def note_dependency_call(*, dependency: str, operation: str, seconds: float, outcome: str) -> None:
    """Tell the current request of a call that has just ended; outside of a request, nobody."""
    calls = CURRENT.get()
    if calls is not None:
        calls.note(dependency, operation, seconds, outcome)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
