"""CloudWatch's Embedded Metric Format: from series to documents, each within every limit.

Of "Specification: Embedded metric format" (CloudWatch user guide): `_aws.Timestamp` in milliseconds
since 1970; at most 100 metrics a directive, 30 dimensions a set, 100 values an array. Its page
describes a number or an array of numbers as a metric's value; CloudWatch also takes the object
`{Values, Counts, Max, Min, Count, Sum}`, which AWS's own exporters write for histograms
(open-telemetry/opentelemetry-collector-contrib, pull requests 22626 and 36336), with the same
limit of 100 values (docs/adr/0056).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from libs.metrics._distribution import Buckets, Part
from libs.metrics._instruments import Declaration, Key

MAX_METRICS = 100
MAX_DIMENSIONS = 30
MAX_VALUES = 100
# CloudWatch Logs takes an event of 256 KiB and more, but container log drivers cut a line at
# 16 KiB, and half a document is none. Less what the log line's own fields take.
MAX_CHARACTERS = 15_000


@dataclass(frozen=True, slots=True)
class Series:
    """One instrument's values under one combination of dimension values."""

    declaration: Declaration
    key: Key
    value: float | Buckets


def documents(
    series: Iterable[Series], *, namespace: str, common: Mapping[str, str], milliseconds: int
) -> Iterator[dict[str, object]]:
    """The documents that say all of it; ``common`` are dimensions of every series.

    Series of the same dimensions and values share documents.
    """
    groups: dict[tuple[object, ...], list[Series]] = {}
    for one in series:
        names = tuple(dimension.name for dimension in one.declaration.dimensions)
        groups.setdefault((names, one.key, one.declaration.rollups), []).append(one)
    for group in groups.values():
        declaration, key = group[0].declaration, group[0].key
        names = tuple(dimension.name for dimension in declaration.dimensions)
        sets = dict.fromkeys((names, *declaration.rollups))
        dimensions = {**common, **dict(zip(names, key, strict=True))}
        for metrics in _packed(group):
            yield {
                "_aws": {
                    "Timestamp": milliseconds,
                    "CloudWatchMetrics": [
                        {
                            "Namespace": namespace,
                            "Dimensions": [[*common, *chosen] for chosen in sets],
                            "Metrics": [
                                {"Name": metric.name, "Unit": metric.unit} for metric in metrics
                            ],
                        }
                    ],
                },
                **dimensions,
                **{metric.name: metric.value for metric in metrics},
            }


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    unit: str
    value: object


def _packed(group: Iterable[Series]) -> Iterator[list[_Metric]]:
    """The group's metrics in as few documents as the limits allow, and no name twice in one."""
    waiting: list[list[_Metric]] = []
    sizes: list[int] = []
    for metric in _metrics(group):
        size = len(json.dumps([metric.name, metric.name, metric.unit, metric.value])) + 32
        for place, found in enumerate(waiting):
            if (
                len(found) < MAX_METRICS
                and sizes[place] + size <= MAX_CHARACTERS
                and all(metric.name != other.name for other in found)
            ):
                found.append(metric)
                sizes[place] += size
                break
        else:
            waiting.append([metric])
            sizes.append(size)
    yield from waiting


def _metrics(group: Iterable[Series]) -> Iterator[_Metric]:
    # Long values last: Logs Insights finds only the first fields of a line.
    for series in sorted(group, key=lambda one: isinstance(one.value, Buckets)):
        name, unit = series.declaration.name, series.declaration.unit.value
        if isinstance(series.value, Buckets):
            for part in series.value.parts(MAX_VALUES):
                yield _Metric(name, unit, _statistics(part))
        else:
            yield _Metric(name, unit, _short(series.value))


def _statistics(part: Part) -> dict[str, object]:
    return {
        "Max": _short(part.maximum),
        "Min": _short(part.minimum),
        "Count": part.count,
        "Sum": _short(part.total),
        "Values": [_short(value) for value in part.values],
        "Counts": list(part.counts),
    }


def _short(number: float) -> float:
    """Nine significant digits, and no fraction where there is none."""
    rounded = float(f"{number:.9g}")
    return int(rounded) if rounded.is_integer() else rounded
