"""What metrics cost: one JSON line an operation.

    ./pantsw run tests/bench/metrics.py

CPU time of a record in microseconds, and as a ratio to adding to a plain dictionary; of noting a
call for the slow-request line; of a whole request's share; and of a flush, with its lines written
to nowhere. The least of several rounds, since other work only ever adds.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import time
from collections.abc import Callable

from libs.aws import CallOutcome, ConsumedCapacity, DependencyCall
from libs.http._dependency_calls import CURRENT, DependencyCalls
from libs.http._request_metrics import RequestMetrics
from libs.logging import configure
from libs.metrics import Dimension, Metrics
from libs.service._dependency_metrics import DependencyMetrics

REPEATS = 20_000
ROUNDS = 15
ROUTES = 20

Operation = Callable[[int], object]


def measured(operation: Operation) -> float:
    """Seconds of one call, the loop included."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.thread_time()
        for number in range(REPEATS):
            operation(number)
        rounds.append(time.thread_time() - started)
    return min(rounds) / REPEATS


def measure() -> None:
    configure(service="bench", version="0", stream=io.StringIO(), pretty=False)
    gc.collect()
    gc.disable()
    metrics = Metrics("bench", write=lambda _: None)
    dimensions = [Dimension("Route", maximum=50), Dimension("Method", values=["GET", "PUT"])]
    counter = metrics.counter("Count", dimensions=dimensions, rollups=[()])
    latency = metrics.distribution("Latency", dimensions=dimensions, rollups=[()])
    totals: dict[tuple[str, str], float] = {("/courses", "GET"): 0}

    def plain(number: int) -> None:
        totals["/courses", "GET"] += number

    base = measured(plain)
    show("plain dictionary", base, base)
    show("counter", measured(lambda _: counter.add(1, "/courses", "GET")), base)
    show(
        "counter, value beyond the bound",
        measured(lambda number: counter.add(1, "/courses", f"BREW{number}")),
        base,
    )
    show(
        "distribution",
        measured(lambda number: latency.record(number % 997 + 0.5, "/courses", "GET")),
        base,
    )
    requests = RequestMetrics(Metrics("bench", write=lambda _: None))
    show(
        "a request: four counters and a distribution",
        measured(lambda number: requests.record("/courses", "GET", 200, number % 997 / 1e4)),
        base,
    )

    calls = DependencyCalls(time.perf_counter, 0)
    show(
        "keeping the calls of a request for its slow-request line",
        measured(lambda _: CURRENT.set(DependencyCalls(time.perf_counter, 0))),
        base,
    )
    show(
        "noting a call for the slow-request line",
        measured(lambda number: calls.note("dynamodb", "GetItem", number % 997 / 1e4, "success")),
        base,
    )
    observe = DependencyMetrics(Metrics("bench", write=lambda _: None))
    call = DependencyCall(
        "dynamodb",
        "GetItem",
        0.003,
        CallOutcome.SUCCESS,
        (ConsumedCapacity("CourseCatalog", None, "read", 1.0),),
    )
    CURRENT.set(calls)
    show("observing a call to DynamoDB, all of it", measured(lambda _: observe(call)), base)
    flushed()


def flushed() -> None:
    """One flush of a busy minute: each route with counters and 150 different latencies or so."""
    documents: list[object] = []
    metrics = Metrics("bench", write=lambda document: documents.append(json.dumps(document)))
    requests = RequestMetrics(metrics)
    rounds = []
    for _ in range(ROUNDS):
        for route in range(ROUTES):
            for number in range(2000):
                requests.record(f"/route-{route}", "GET", 200, 1.003**number / 1e3)
        documents.clear()
        started = time.thread_time()
        metrics.flush()
        rounds.append(time.thread_time() - started)
    report = {
        "operation": f"flush of {ROUTES} routes",
        "microseconds": round(min(rounds) * 1e6),
        "lines": len(documents),
        "bytes": sum(len(str(document)) for document in documents),
    }
    sys.stdout.write(json.dumps(report) + "\n")


def show(operation: str, seconds: float, base: float) -> None:
    report = {
        "operation": operation,
        "microseconds": round(seconds * 1e6, 3),
        "ratio": round(seconds / base, 1),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    measure()
