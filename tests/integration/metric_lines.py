"""The metrics that a process has written among its log lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.unit.metrics.emf import check_document

Figure = tuple[str, ...]
"""A metric's name, and the values of its dimensions but for `Service`."""


def figures(events: Iterable[Mapping[str, Any]], *, service: str) -> dict[Figure, float]:
    """What was counted in all; of a distribution, how many values it has.

    Raises AssertionError or ValidationError for a line that CloudWatch would not take.
    """
    found: dict[Figure, float] = {}
    for event in events:
        if event["event"] != "metrics":
            continue
        check_document(event)
        assert event["Service"] == service
        (directive,) = event["_aws"]["CloudWatchMetrics"]
        key = tuple(event[name] for name in directive["Dimensions"][0][1:])
        for metric in directive["Metrics"]:
            value = event[metric["Name"]]
            number = value["Count"] if isinstance(value, dict) else value
            figure = (metric["Name"], *key)
            found[figure] = found.get(figure, 0) + number
    return found
