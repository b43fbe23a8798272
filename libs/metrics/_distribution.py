"""A distribution of any number of values in bounded memory: log-linear buckets, as HdrHistogram's.

Each power of two is divided into 16 equal buckets, so a value is known by its bucket to within
1/32 of itself (3.2 %), whatever its size and however many there are. Count, sum, minimum and
maximum are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

_SUBBUCKETS = 16
_SMALLEST = 2.0**-10
_LARGEST = 2.0**40
_ZERO = -(1 << 20)
"""The bucket of what is smaller than the smallest: a thousandth of a millisecond is none."""

RELATIVE_ERROR = 0.5 / _SUBBUCKETS
"""How far a value may be from the one that stands for it, relative to itself, from 0.001 to 10^12."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some neighbouring buckets, in the form that CloudWatch takes: ascending values, how often
    each occurred, and the statistics of these."""

    values: tuple[float, ...]
    counts: tuple[int, ...]
    minimum: float
    maximum: float
    count: int
    total: float


class Buckets:
    """The values of one series between two flushes."""

    __slots__ = ("_counts", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.minimum = math.inf
        self.maximum = 0.0

    def __len__(self) -> int:
        return len(self._counts)

    def record(self, value: float) -> None:
        """Take in a value of 0 or above; what is none is ignored."""
        if not 0 <= value < math.inf:  # false for NaN too
            return
        if value < _SMALLEST:
            bucket = _ZERO
        else:
            mantissa, exponent = math.frexp(value if value < _LARGEST else _LARGEST)
            bucket = exponent * _SUBBUCKETS + int(mantissa * 2 * _SUBBUCKETS)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self.count += 1
        self.total += value
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value

    def parts(self, size: int) -> Iterator[Part]:
        """All of it, in parts of at most ``size`` buckets; none when nothing was recorded.

        Minimum, maximum, count and sum of the parts together are those of the whole, exactly (the
        sum but for rounding).
        """
        found = sorted(self._counts.items())
        shown = [(self._shown(bucket), count) for bucket, count in found]
        about = sum(value * count for value, count in shown)
        # A part's own sum was not kept: the whole sum is shared out as its buckets say.
        correction = self.total / about if about else 1.0
        for begin in range(0, len(shown), size):
            piece = shown[begin : begin + size]
            yield Part(
                values=tuple(value for value, _ in piece),
                counts=tuple(count for _, count in piece),
                minimum=self.minimum if begin == 0 else piece[0][0],
                maximum=self.maximum if begin + size >= len(shown) else piece[-1][0],
                count=sum(count for _, count in piece),
                total=correction * sum(value * count for value, count in piece),
            )

    def _shown(self, bucket: int) -> float:
        """The middle of a bucket, but never outside of what was recorded."""
        if bucket == _ZERO:
            middle = 0.0
        else:
            exponent, rest = divmod(bucket - _SUBBUCKETS, _SUBBUCKETS)
            middle = math.ldexp((2 * (rest + _SUBBUCKETS) + 1) / (4 * _SUBBUCKETS), exponent)
        return min(max(middle, self.minimum), self.maximum)
