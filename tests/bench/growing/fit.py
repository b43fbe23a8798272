"""How fast a cost grows, and whether something stays as it is: least squares, and what they allow to say.

Owns the statistics and the rules of the verdicts. It must not know what was measured.

`growth`: the exponent b of cost = a * size ** b, by least squares on the logarithms, with its 95 %
interval by Student's t. A cost of a fixed part and a linear one has an exponent below 1 over the whole
range and comes near 1 at its end, so what happened between the two largest sizes is looked at by
itself, round by round: a cost that turns worse at the end is told, however flat it began.

`drift`: the slope of a value over time, with its 95 % interval. Neighbouring samples of a process's
memory are no independent ones: the interval is made wider by the residuals' correlation from each to
the next.

`steady_drift`: the same of a value with bursts that have nothing to do with time, such as a p99 on a
machine whose host has other guests: the median of the slopes between all pairs of samples, which up to
a quarter of them may be far off without moving it (Sen 1968, Estimates of the regression coefficient
based on Kendall's tau).
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

TOLERANCE = 0.05
"""So near to 1 an exponent is 1."""
WIDEST = 0.25
"""A half interval wider than this says nothing of whether it is 1."""
SETTLING = 0.2
"""This share of a run at its beginning is not looked at for drift."""

_T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


class Verdict(StrEnum):
    """What a growth is."""

    SUB_LINEAR = "sub-linear"
    LINEAR = "linear"
    WORSE = "worse than linear"
    UNDECIDED = "undecided"


class Stays(StrEnum):
    """What a drift is."""

    FLAT = "flat"
    GROWS = "grows"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Growth:
    """`half`: of the interval around the exponent. `at_the_end`: the exponents between the two largest
    sizes, in each round."""

    exponent: float
    half: float
    at_the_end: Sequence[float]

    @property
    def end(self) -> float:
        """The exponent between the two largest sizes."""
        return statistics.median(self.at_the_end)

    @property
    def verdict(self) -> Verdict:
        """Worse than linear: the whole interval is above 1.05, or each round was at the end.
        Sub-linear: the whole interval is below 0.95. Linear: neither, and the interval is narrow."""
        above, below = 1 + TOLERANCE, 1 - TOLERANCE
        if self.exponent - self.half > above or min(self.at_the_end) > above:
            return Verdict.WORSE
        if self.exponent + self.half < below:
            return Verdict.SUB_LINEAR
        return Verdict.LINEAR if self.half <= WIDEST else Verdict.UNDECIDED


@dataclass(frozen=True)
class Drift:
    """`change`: over the time that was looked at, with its interval. `level`: what the value is about.
    `limit`: how much is still flat."""

    change: float
    low: float
    high: float
    level: float
    limit: float

    @property
    def verdict(self) -> Stays:
        """Flat: even the upper end of the interval is no more than the limit. Grows: even the lower end
        is more."""
        if self.high <= self.limit:
            return Stays.FLAT
        return Stays.GROWS if self.low > self.limit else Stays.UNDECIDED


def growth(sizes: Sequence[float], rounds: Sequence[Sequence[float]]) -> Growth:
    """The growth of a cost; `rounds`: for each size what each round took.

    Raises ValueError where there is nothing to fit: fewer than three sizes, or a value that is not
    above 0.
    """
    if len(set(sizes)) < 3 or len(sizes) != len(rounds):
        raise ValueError("a growth needs three sizes")
    if min(sizes) <= 0 or min(min(values) for values in rounds) <= 0:
        raise ValueError("a growth needs values above 0")
    x = [math.log(size) for size in sizes]
    slope, error = _slope(x, [math.log(statistics.median(values)) for values in rounds])
    by_size = sorted(zip(sizes, rounds, strict=True), key=lambda pair: pair[0])
    (before, earlier), (last, latest) = by_size[-2:]
    return Growth(
        exponent=slope,
        half=error * t_95(len(sizes) - 2),
        at_the_end=[
            math.log(b / a) / math.log(last / before) for a, b in zip(earlier, latest, strict=False)
        ],
    )


def drift(
    times: Sequence[float],
    values: Sequence[float],
    *,
    share: float | None = None,
    limit: float | None = None,
) -> Drift:
    """The drift of a value after it has settled. What is still flat is `limit`, or this `share` of the
    mean. Raises ValueError for fewer than four samples."""
    x, y = _settled(times, values)
    slope, error = _slope(x, y)
    mean_x, mean = statistics.fmean(x), statistics.fmean(y)
    residuals = [b - mean - slope * (a - mean_x) for a, b in zip(x, y, strict=True)]
    wider = _correlated(residuals)
    independent = len(x) / wider
    seconds = x[-1] - x[0]
    half = error * math.sqrt(wider) * t_95(max(1, int(independent) - 2)) * seconds
    return Drift(
        change=slope * seconds,
        low=slope * seconds - half,
        high=slope * seconds + half,
        level=mean,
        limit=mean * (share or 0.0) if limit is None else limit,
    )


def steady_drift(times: Sequence[float], values: Sequence[float], *, share: float) -> Drift:
    """As `drift`, of a value with bursts. Its level is the median, and what is still flat this `share`
    of that."""
    x, y = _settled(times, values)
    slopes = sorted(
        (y[j] - y[i]) / (x[j] - x[i]) for i, j in itertools.combinations(range(len(x)), 2)
    )
    slope = statistics.median(slopes)
    # How many pairs may rise more than fall by chance alone, by the variance of Kendall's S; wider
    # where the signs of what is left over follow each other.
    left = [b - slope * a for a, b in zip(x, y, strict=True)]
    middle = statistics.median(left)
    wider = _correlated([math.copysign(1.0, value - middle) for value in left])
    count = len(x)
    chance = 1.96 * math.sqrt(wider * count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, math.floor((len(slopes) - chance) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + chance) / 2))
    seconds, level = x[-1] - x[0], statistics.median(y)
    return Drift(
        change=slope * seconds,
        low=slopes[low] * seconds,
        high=slopes[high] * seconds,
        level=level,
        limit=level * share,
    )


def _settled(times: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    skipped = int(len(times) * SETTLING)
    x, y = list(times[skipped:]), list(values[skipped:])
    if len(x) < 4:
        raise ValueError("a drift needs four samples after those that are skipped")
    return x, y


def t_95(degrees: int) -> float:
    """Student's t for a two-sided 95 %; beyond the table within 0.003."""
    return _T_95[degrees - 1] if degrees <= len(_T_95) else 1.96 + 2.4 / degrees


def _slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """The least squares' slope, and its standard error."""
    slope, intercept = statistics.linear_regression(x, y)
    mean = statistics.fmean(x)
    spread = sum((value - mean) ** 2 for value in x)
    left = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    return slope, math.sqrt(left / max(len(x) - 2, 1) / spread)


def _correlated(residuals: Sequence[float]) -> float:
    """How many samples are worth one that is independent: (1 + r) / (1 - r) of a first-order
    autoregression."""
    variance = sum(value * value for value in residuals)
    if variance <= 0:
        return 1.0
    r = sum(a * b for a, b in itertools.pairwise(residuals)) / variance
    r = min(max(r, 0.0), 0.9)
    return (1 + r) / (1 - r)
