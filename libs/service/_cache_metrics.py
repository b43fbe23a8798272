"""What is counted of a service's caches, which count for themselves and know no metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from libs.metrics import Dimension, Metrics, Unit


class CacheStatistics(Protocol):
    """Totals since the cache was made, and how many entries it has now.

    hit_age_seconds: the ages of what it answered with, all hits together.
    """

    @property
    def hits(self) -> int: ...

    @property
    def misses(self) -> int: ...

    @property
    def entries(self) -> int: ...

    @property
    def hit_age_seconds(self) -> float: ...


def report_caches(metrics: Metrics, caches: Mapping[str, Callable[[], CacheStatistics]]) -> None:
    """Declare `CacheHits`, `CacheMisses`, `CacheEntries` and `CacheHitAge` by `Cache`, a name of
    `caches` each."""
    dimensions = [Dimension("Cache", values=caches)]

    def of_each(
        figure: Callable[[CacheStatistics], float],
    ) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(name,): figure(statistics()) for name, statistics in caches.items()}

    metrics.observed_counter("CacheHits", of_each(lambda one: one.hits), dimensions=dimensions)
    metrics.observed_counter("CacheMisses", of_each(lambda one: one.misses), dimensions=dimensions)
    metrics.gauge("CacheEntries", of_each(lambda one: one.entries), dimensions=dimensions)
    metrics.observed_counter(
        "CacheHitAge",
        of_each(lambda one: one.hit_age_seconds),
        unit=Unit.SECONDS,
        dimensions=dimensions,
    )
