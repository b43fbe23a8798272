"""The board's figures, from metrics lines as the services write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deploy.local._pages._board import Board, quantile
from libs.metrics import Dimension, Metrics, Unit


class Service:
    """A service that writes its metrics to a board."""

    def __init__(self, board: Board, name: str) -> None:
        self._board = board
        self._name = name
        self.now = 1000.0
        self.metrics = Metrics(
            name, clock=lambda: datetime.fromtimestamp(self.now, UTC), write=self._write
        )

    def _write(self, document: Mapping[str, Any]) -> None:
        # As it comes back from the log.
        self._board.take(self._name, json.loads(json.dumps(document)))

    def flush(self, at: float) -> None:
        self.now = at
        self.metrics.flush()


def process(board: Board, now: float) -> dict[str, Any]:
    document: Any = board.document(now)
    (found,) = document["processes"]
    assert isinstance(found, dict)
    return found


def test_a_minute_of_requests() -> None:
    board = Board()
    service = Service(board, "course_catalog")
    route, method = Dimension("Route", maximum=10), Dimension("Method", maximum=10)
    declared: dict[str, Any] = {"dimensions": [route, method], "rollups": [()]}
    count = service.metrics.counter("RequestCount", **declared)
    errors = service.metrics.counter("ErrorCount", **declared)
    faults = service.metrics.counter("FaultCount", **declared)
    latency = service.metrics.distribution("Latency", unit=Unit.MILLISECONDS, **declared)
    for at, path in ((1000.0, "/old"), (1050.0, "/courses"), (1055.0, "/courses")):
        for milliseconds in range(1, 101):
            count.add(1, path, "GET")
            errors.add(milliseconds % 10 == 0, path, "GET")
            faults.add(milliseconds == 1, path, "GET")
            latency.record(milliseconds, path, "GET")
        service.flush(at)
    shown = process(board, 1061.0)
    assert (shown["requests"], shown["errors"], shown["faults"]) == (200, 20, 2)
    assert abs(shown["p50"] - 50) < 3
    assert abs(shown["p99"] - 99) < 5
    assert [(at, requests) for at, requests, _ in shown["history"]] == [
        (1000.0, 100),
        (1050.0, 100),
        (1055.0, 100),
    ]


def test_gauges_stand_as_they_were_said_and_age_goes_on() -> None:
    board = Board()
    service = Service(board, "course_catalog")
    breaker = Dimension("Breaker", values=["dynamodb:read"])
    state = 0.0
    service.metrics.gauge(
        "BreakerState", lambda: {("dynamodb:read",): state}, dimensions=[breaker], unit=Unit.NONE
    )
    service.metrics.gauge("DirectoryAge", lambda: 4.0, unit=Unit.SECONDS)
    states = []
    for at, value in ((1000.0, 0), (1005.0, 2), (1010.0, 1), (1015.0, 0)):
        state = value
        service.flush(at)
        (one,) = process(board, at)["breakers"]
        states.append(one["state"])
    assert states == ["closed", "open", "half-open", "closed"]
    assert process(board, 1018.0)["directoryAge"] == 7.0


def test_capacity_is_added_up_over_a_minute() -> None:
    board = Board()
    service = Service(board, "progress_tracking")
    table, index = Dimension("Table", maximum=5), Dimension("Index", maximum=5)
    units = service.metrics.counter("ConsumedWriteCapacityUnits", dimensions=[table, index])
    for at in (1000.0, 1040.0, 1050.0):
        units.add(1.5, "Progress", "(table)")
        service.flush(at)
    assert process(board, 1070.0)["capacity"] == [
        {"table": "Progress", "index": "(table)", "kind": "write", "units": 3.0}
    ]


def test_what_is_no_metrics_line_is_passed_over() -> None:
    board = Board()
    for entry in ({}, {"_aws": 1}, {"_aws": {"Timestamp": "now"}}):
        board.take("course_catalog", entry)
    assert board.document(0.0)["processes"] == []
    hostile = {
        "_aws": {"Timestamp": 1_000_000},
        "Route": "/",
        "RequestCount": "many",
        "Latency": {"Values": "x", "Counts": None},
    }
    board.take("course_catalog", hostile)
    assert process(board, 1000.0)["requests"] == 0


def test_a_quantile_of_nothing_is_none() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({1.0: 99, 1000.0: 1}, 0.99) == 1.0
    assert quantile({1.0: 98, 1000.0: 2}, 0.99) == 1000.0
