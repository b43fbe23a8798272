"""What is counted of a service's caches, which count for themselves and know no metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from libs.metrics import Dimension, Metrics


class CacheStatistics(Protocol):
    """Totals since the cache was made, and how many entries it has now."""

    @property
    def hits(self) -> int: ...

    @property
    def misses(self) -> int: ...

    @property
    def entries(self) -> int: ...


def report_caches(metrics: Metrics, caches: Mapping[str, Callable[[], CacheStatistics]]) -> None:
    """Declare `CacheHits`, `CacheMisses` and `CacheEntries` by `Cache`, a name of `caches` each."""
    dimensions = [Dimension("Cache", values=caches)]

    def of_each(
        figure: Callable[[CacheStatistics], int],
    ) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(name,): figure(statistics()) for name, statistics in caches.items()}

    metrics.observed_counter("CacheHits", of_each(lambda one: one.hits), dimensions=dimensions)
    metrics.observed_counter("CacheMisses", of_each(lambda one: one.misses), dimensions=dimensions)
    metrics.gauge("CacheEntries", of_each(lambda one: one.entries), dimensions=dimensions)
