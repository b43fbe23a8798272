"""Metrics as a test sees them: the documents, and the figures in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from libs.metrics._registry import Metrics
from libs.timestamps import Clock, utc_now

__all__ = ["RecordedMetrics"]


class RecordedMetrics:
    """`metrics` to hand to what is tested, and what it has written by its last `flush`."""

    def __init__(self, service: str = "test", *, clock: Clock = utc_now) -> None:
        self.documents: list[Mapping[str, Any]] = []
        self.metrics = Metrics(service, clock=clock, write=self.documents.append)

    def flush(self) -> None:
        """Forget the documents so far, and flush."""
        self.documents.clear()
        self.metrics.flush()

    def series(self, name: str) -> dict[tuple[str, ...], Any]:
        """The values of a metric by those of its dimensions, but for `Service`; of a distribution
        that was split the first part."""
        found: dict[tuple[str, ...], Any] = {}
        for document in self.documents:
            directive = document["_aws"]["CloudWatchMetrics"][0]
            if any(metric["Name"] == name for metric in directive["Metrics"]):
                key = tuple(document[one] for one in directive["Dimensions"][0][1:])
                found.setdefault(key, document[name])
        return found
