"""The instruments: what business code records with. Constant time a record, and never an await.

An instrument belongs to one event loop: records and flushes do not come from several threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from libs.metrics._dimensions import Dimension
from libs.metrics._distribution import Buckets

Key = tuple[str, ...]
Reading = float | Mapping[Key, float] | None
"""What a callback gives: a number; numbers by the values of the dimensions; None for nothing."""


class Unit(StrEnum):
    """CloudWatch's units, those that are used here (MetricDatum)."""

    COUNT = "Count"
    MILLISECONDS = "Milliseconds"
    SECONDS = "Seconds"
    BYTES = "Bytes"
    NONE = "None"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an instrument is called and told apart by.

    ``rollups`` are sets of its dimensions' names under which everything is published once more:
    an empty one gives the service's total.
    """

    name: str
    unit: Unit
    dimensions: tuple[Dimension, ...]
    rollups: tuple[tuple[str, ...], ...]

    def key(self, values: Sequence[str]) -> Key:
        """The series of these values, each within its dimension's bound.

        Raises TypeError unless there is one text for each dimension, which any call with the
        instrument shows.
        """
        if len(values) != len(self.dimensions):
            names = ", ".join(dimension.name for dimension in self.dimensions) or "no dimension"
            raise TypeError(f"{self.name} is told apart by {names}; {len(values)} values given")
        return tuple(map(Dimension.admit, self.dimensions, values))


class Counter:
    """Adds up: requests, errors, capacity units."""

    __slots__ = ("_totals", "declaration")

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self._totals: dict[Key, float] = {}

    def add(self, amount: float, *values: str) -> None:
        """Add ``amount``, 0 or above, to the series of ``values``, one for each dimension in order.

        Adding 0 makes the series appear with a 0, which tells "none" from "not there". What is no
        amount (negative, infinite, not a number) is ignored.
        """
        if not 0 <= amount < math.inf:
            return
        try:
            self._totals[values] += amount
        except KeyError:
            key = self.declaration.key(values)
            self._totals[key] = self._totals.get(key, 0) + amount

    def take(self) -> dict[Key, float]:
        """What was added since this was asked last."""
        taken, self._totals = self._totals, {}
        return taken


class Distribution:
    """Keeps how values are spread: latencies. `RELATIVE_ERROR` says how exactly."""

    __slots__ = ("_series", "declaration")

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self._series: dict[Key, Buckets] = {}

    def record(self, value: float, *values: str) -> None:
        """Take in one value, 0 or above, of the series of ``values``; what is none is ignored."""
        try:
            series = self._series[values]
        except KeyError:
            key = self.declaration.key(values)
            series = self._series.setdefault(key, Buckets())
        series.record(value)

    def take(self) -> dict[Key, Buckets]:
        """What was recorded since this was asked last."""
        taken, self._series = self._series, {}
        return taken


class Gauge:
    """A state, asked for at each flush."""

    __slots__ = ("_read", "declaration")

    def __init__(self, declaration: Declaration, read: Callable[[], Reading]) -> None:
        self.declaration = declaration
        self._read = read

    def take(self) -> dict[Key, float]:
        """The state now. Raises what the callback raises."""
        return _by_key(self.declaration, self._read())


class ObservedCounter:
    """A total that something else counts; at each flush, what was added to it since the last."""

    __slots__ = ("_before", "_read", "declaration")

    def __init__(self, declaration: Declaration, read: Callable[[], Reading]) -> None:
        self.declaration = declaration
        self._read = read
        self._before: dict[Key, float] = {}

    def take(self) -> dict[Key, float]:
        """What was added since this was asked last. Raises what the callback raises."""
        totals = _by_key(self.declaration, self._read())
        before, self._before = self._before, totals
        # A total that became smaller has begun anew.
        return {
            key: total - before[key] if total >= before.get(key, math.inf) else total
            for key, total in totals.items()
        }


def _by_key(declaration: Declaration, reading: Reading) -> dict[Key, float]:
    if reading is None:
        return {}
    if not isinstance(reading, Mapping):
        reading = {(): reading}
    found: dict[Key, float] = {}
    for values, number in reading.items():
        key = declaration.key(values)
        found[key] = found.get(key, 0.0) + float(number)
    return {key: number for key, number in found.items() if math.isfinite(number)}
