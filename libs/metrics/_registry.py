"""The metrics of one service: its instruments, and the flush that writes what they hold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from libs.logging import get_logger, write_metrics
from libs.metrics._dimensions import Dimension
from libs.metrics._emf import MAX_DIMENSIONS, Series, documents
from libs.metrics._instruments import (
    Counter,
    Declaration,
    Distribution,
    Gauge,
    ObservedCounter,
    Reading,
    Unit,
)
from libs.timestamps import Clock, utc_now

NAMESPACE = "Lyceum"
SERVICE = "Service"
MAX_SERIES = 2_000
"""How many series one instrument may come to; a declaration that allows more is refused."""

_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
_log = get_logger(__name__)


class Metrics:
    """Instruments by name. Each is declared once; `flush` writes and forgets what they hold."""

    def __init__(
        self,
        service: str,
        *,
        clock: Clock = utc_now,
        write: Callable[[Mapping[str, object]], object] = write_metrics,
    ) -> None:
        """``service`` is the value of the dimension `Service`, which every series has. ``clock``
        dates the documents, ``write`` takes them."""
        self._common = {SERVICE: service}
        self._clock = clock
        self._write = write
        self._instruments: dict[str, Counter | Distribution | Gauge | ObservedCounter] = {}

    def counter(
        self,
        name: str,
        *,
        unit: Unit = Unit.COUNT,
        dimensions: Sequence[Dimension] = (),
        rollups: Sequence[Sequence[str]] = (),
    ) -> Counter:
        """Declare a counter. ``rollups``: names of its dimensions under which it is also published.

        Raises ValueError, as the other declarations do: for a name that is taken or not
        PascalCase, an unknown rollup, or dimensions that allow too many series.
        """
        counter = Counter(self._declaration(name, unit, dimensions, rollups))
        self._instruments[name] = counter
        return counter

    def distribution(
        self,
        name: str,
        *,
        unit: Unit = Unit.MILLISECONDS,
        dimensions: Sequence[Dimension] = (),
        rollups: Sequence[Sequence[str]] = (),
    ) -> Distribution:
        """Declare a distribution, whose percentiles CloudWatch can tell."""
        distribution = Distribution(self._declaration(name, unit, dimensions, rollups))
        self._instruments[name] = distribution
        return distribution

    def gauge(
        self,
        name: str,
        read: Callable[[], Reading],
        *,
        unit: Unit = Unit.COUNT,
        dimensions: Sequence[Dimension] = (),
    ) -> None:
        """Declare a gauge: ``read`` is asked at each flush, so it must be quick."""
        self._instruments[name] = Gauge(self._declaration(name, unit, dimensions, ()), read)

    def observed_counter(
        self,
        name: str,
        read: Callable[[], Reading],
        *,
        unit: Unit = Unit.COUNT,
        dimensions: Sequence[Dimension] = (),
    ) -> None:
        """Declare a counter over a total that something else keeps: ``read`` is asked at each
        flush for the total since the start, and what was added since then counts."""
        self._instruments[name] = ObservedCounter(
            self._declaration(name, unit, dimensions, ()), read
        )

    def flush(self) -> None:
        """Write what was recorded since the last flush, and what the gauges say now.

        Never raises and never waits: an instrument that cannot be read is left out, with a
        warning. Nothing is written for a series that nothing was recorded of.
        """
        try:
            milliseconds = int(self._clock().timestamp() * 1000)
            for document in documents(
                self._take(),
                namespace=NAMESPACE,
                common=self._common,
                milliseconds=milliseconds,
            ):
                self._write(document)
        except Exception:
            _log.exception("metrics_flush_failed")

    def _take(self) -> Iterator[Series]:
        for name, instrument in self._instruments.items():
            try:
                taken = instrument.take()
            except Exception as error:
                _log.warning("metric_unreadable", metric=name, error=error)
                continue
            for key, value in taken.items():
                yield Series(instrument.declaration, key, value)

    def _declaration(
        self,
        name: str,
        unit: Unit,
        dimensions: Sequence[Dimension],
        rollups: Sequence[Sequence[str]],
    ) -> Declaration:
        names = [dimension.name for dimension in dimensions]
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"a metric's name is PascalCase, not {name!r}")
        if name in self._instruments:
            raise ValueError(f"{name} is declared already")
        if len(set(names)) != len(names) or {SERVICE, name} & set(names):
            raise ValueError(f"{name} needs dimensions of different names, none of them its own")
        if len(names) >= MAX_DIMENSIONS:
            raise ValueError(f"{name} has {len(names)} dimensions, CloudWatch takes 30")
        if any(not set(rollup) <= set(names) for rollup in rollups):
            raise ValueError(f"the rollups of {name} name dimensions that it does not have")
        series = math.prod(dimension.limit for dimension in dimensions)
        if series > MAX_SERIES:
            raise ValueError(f"{name} could come to {series} series; {MAX_SERIES} are allowed")
        return Declaration(name, unit, tuple(dimensions), tuple(map(tuple, rollups)))
