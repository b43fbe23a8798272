"""A guaranteed number of requests a second, whatever the rate says."""

from collections import deque
from typing import Final

LARGEST_RESERVOIR: Final = 1_000


class Reservoir:
    """Gives at most `size` in any second, and refuses only when it gave `size` in the last one.

    The second slides: AWS's SDKs count by the clock's whole seconds, and give twice as many
    around the turn of one.
    """

    __slots__ = ("_size", "_taken")

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken: deque[float] = deque()

    @property
    def size(self) -> int:
        return self._size

    def resize(self, size: int) -> None:
        """Another size from now on; what was given in the last second counts."""
        self._size = size

    def take(self, now: float) -> bool:
        """One more, at `now`: seconds of a monotonic clock. One that goes back is taken to stand."""
        taken = self._taken
        if taken and now < taken[-1]:
            now = taken[-1]
        while taken and now - taken[0] >= 1.0:
            taken.popleft()
        if len(taken) >= self._size:
            return False
        taken.append(now)
        return True
