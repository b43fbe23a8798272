"""What the gateway answered, as CloudWatch has it of API Gateway (namespace AWS/ApiGateway).

Dimensions are ApiName and Stage; what the canary answered has the stage's name with `/Canary` behind it,
and is counted there alone. Counts and latencies are single values, so that sums, sample counts and
percentiles of any period are right. Knows neither who takes them nor when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from deploy.local._gateway._proxy import Access

NAMESPACE = "AWS/ApiGateway"
CANARY_SUFFIX = "/Canary"

# CloudWatch's most of different values in one datum of PutMetricData.
_MOST_VALUES = 150


@dataclass
class _Answers:
    count: int = 0
    client_errors: int = 0
    server_errors: int = 0
    latencies: Counter[int] = field(default_factory=Counter)


class Metrics:
    """Counts answers until they are taken.

    Args:
        apis: the ApiName of each service that is counted.
        stage: the stage's name.
    """

    def __init__(self, apis: Mapping[str, str], stage: str) -> None:
        self._apis = dict(apis)
        self._stage = stage
        self._answers: dict[tuple[str, str], _Answers] = {}

    def record(self, access: Access) -> None:
        """Counts one request."""
        api = self._apis.get(access.service or "")
        if api is None:
            return
        stage = self._stage + (CANARY_SUFFIX if access.target == "canary" else "")
        answers = self._answers.setdefault((api, stage), _Answers())
        answers.count += 1
        # API Gateway holds an answer until it is whole: what breaks off would be a 502 of its own.
        if access.status >= 500 or access.is_broken_off:
            answers.server_errors += 1
        # A client that left got nothing; API Gateway would still have waited for the service.
        elif 400 <= access.status < 499:
            answers.client_errors += 1
        answers.latencies[round(access.duration_ms)] += 1

    def take(self, at: datetime) -> list[dict[str, Any]]:
        """What was counted since it was last taken, as MetricData of PutMetricData."""
        answers, self._answers = self._answers, {}
        return [
            {
                "MetricName": metric,
                "Dimensions": [
                    {"Name": "ApiName", "Value": api},
                    {"Name": "Stage", "Value": stage},
                ],
                "Timestamp": at,
                "StorageResolution": 1,
                "Unit": unit,
                "Values": [float(value) for value in values],
                "Counts": [float(count) for count in values.values()],
            }
            for (api, stage), counted in answers.items()
            for metric, unit, values in _values(counted)
        ]


def _values(answers: _Answers) -> Iterator[tuple[str, str, Mapping[int, int]]]:
    yield "Count", "Count", {1: answers.count}
    for metric, errors in (
        ("4XXError", answers.client_errors),
        ("5XXError", answers.server_errors),
    ):
        # One value a request, so that the average is the rate.
        both = {0: answers.count - errors, 1: errors}
        yield metric, "Count", {value: count for value, count in both.items() if count}
    latencies = sorted(answers.latencies.items())
    for begin in range(0, len(latencies), _MOST_VALUES):
        yield "Latency", "Milliseconds", dict(latencies[begin : begin + _MOST_VALUES])
