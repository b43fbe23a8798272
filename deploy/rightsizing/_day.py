"""How a day's load is spread over its hours.

A day is a raised cosine: quiet at night, one busiest hour, and as steep as the ratio of that hour to the
mean asks for. What a real day looks like differs; what a plan needs of it is that ratio and the mean.
"""

from __future__ import annotations

import math
from functools import cache

HOURS = 24

# Somebody is always awake; without it no shape were between the flat one and 1.04.
_NIGHT = 0.02


@cache
def shape(peak_factor: float) -> tuple[float, ...]:
    """The load of each hour over the mean of the day: their mean is 1, their maximum the factor."""
    if not 1 <= peak_factor <= HOURS:
        raise ValueError("a busiest hour has between 1 and 24 times the mean of its day")
    low, high = 0.0, 1.0
    while _peak(high) < peak_factor and high < 1e6:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if _peak(middle) < peak_factor:
            low = middle
        else:
            high = middle
    hours = _hours(high)
    mean = sum(hours) / HOURS
    return tuple(hour / mean for hour in hours)


def _hours(power: float) -> list[float]:
    waves = ((1 + math.cos(2 * math.pi * hour / HOURS)) / 2 for hour in range(HOURS))
    return [(_NIGHT + (1 - _NIGHT) * wave) ** power for wave in waves]


def _peak(power: float) -> float:
    return HOURS / sum(_hours(power))
