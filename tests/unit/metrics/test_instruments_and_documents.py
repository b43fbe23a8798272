"""What is recorded comes out once, in documents that CloudWatch takes, within every bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.logging.testing import captured_logs
from libs.metrics import OTHER, Dimension, Metrics, Unit
from libs.metrics._registry import MAX_SERIES
from libs.metrics.testing import RecordedMetrics
from tests.unit.metrics.emf import check_document

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
ROUTE, STATUS = "/courses/{courseId}", "200"


def recorded() -> RecordedMetrics:
    return RecordedMetrics("course_catalog", clock=lambda: NOW)


def test_a_document_is_what_the_specification_describes() -> None:
    found = recorded()
    route, method = Dimension("Route", maximum=10), Dimension("Method", values=["GET", "PUT"])
    together = {"dimensions": [route, method], "rollups": [()]}
    count = found.metrics.counter("RequestCount", **together)  # type: ignore[arg-type]
    latency = found.metrics.distribution("Latency", **together)  # type: ignore[arg-type]
    for milliseconds in (3.0, 3.0, 250.0):
        count.add(1, ROUTE, "GET")
        latency.record(milliseconds, ROUTE, "GET")
    found.flush()
    assert found.documents == [
        {
            "_aws": {
                "Timestamp": 1767323045678,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Lyceum",
                        "Dimensions": [["Service", "Route", "Method"], ["Service"]],
                        "Metrics": [
                            {"Name": "RequestCount", "Unit": "Count"},
                            {"Name": "Latency", "Unit": "Milliseconds"},
                        ],
                    }
                ],
            },
            "Service": "course_catalog",
            "Route": ROUTE,
            "Method": "GET",
            "RequestCount": 3,
            "Latency": {
                "Max": 250,
                "Min": 3,
                "Count": 3,
                "Sum": 256,
                "Values": [3.0625, 250],
                "Counts": [2, 1],
            },
        }
    ]
    check_document(found.documents[0])


def test_what_was_flushed_is_not_flushed_again() -> None:
    found = recorded()
    count = found.metrics.counter("Count")
    count.add(2)
    found.flush()
    assert found.series("Count") == {(): 2}
    found.flush()
    assert found.documents == []
    count.add(0.5)
    count.add(0)
    found.flush()
    assert found.series("Count") == {(): 0.5}


def test_nothing_and_not_there_are_told_apart() -> None:
    found = recorded()
    found.metrics.counter("Silent")
    found.metrics.counter("Zero").add(0)
    found.flush()
    assert found.series("Zero") == {(): 0}
    assert found.series("Silent") == {}


@pytest.mark.parametrize("amount", [-1, math.nan, math.inf, -math.inf])
def test_what_is_no_amount_is_ignored(amount: float) -> None:
    found = recorded()
    found.metrics.counter("Count").add(amount)
    found.metrics.gauge("State", lambda: amount if not math.isfinite(amount) else None)
    found.flush()
    assert found.documents == []


def test_gauges_are_read_when_flushing() -> None:
    found = recorded()
    states: dict[tuple[str, ...], float] = {}
    breaker = Dimension("Breaker", maximum=4)
    found.metrics.gauge("BreakerState", lambda: states, unit=Unit.NONE, dimensions=[breaker])
    found.metrics.gauge("Tasks", lambda: 7)
    found.flush()
    assert found.series("BreakerState") == {}
    states[("s3:read",)] = 2
    states[("s3:write",)] = 0
    found.flush()
    assert found.series("BreakerState") == {("s3:read",): 2, ("s3:write",): 0}
    assert found.series("Tasks") == {(): 7}


def test_of_a_total_that_others_keep_the_growth_counts() -> None:
    found = recorded()
    total = 5
    found.metrics.observed_counter("CacheHits", lambda: total)
    seen = []
    for total in (5, 9, 9, 2):  # noqa: B007 - the last one began anew
        found.flush()
        seen.append(found.series("CacheHits")[()])
    assert seen == [5, 4, 0, 2]


def test_one_instrument_that_fails_takes_no_other_with_it() -> None:
    def broken() -> float:
        raise RuntimeError("closed")

    found = recorded()
    found.metrics.gauge("Broken", broken)
    found.metrics.gauge("Whole", lambda: 1)
    with captured_logs() as events:
        found.flush()
    assert found.series("Whole") == {(): 1}
    (event,) = events
    assert (event["event"], event["metric"]) == ("metric_unreadable", "Broken")


def test_a_flush_raises_nothing() -> None:
    def broken(_: Mapping[str, object]) -> None:
        raise OSError("the stream is gone")

    metrics = Metrics("s", write=broken)
    metrics.counter("Count").add(1)
    with captured_logs() as events:
        metrics.flush()
    assert [event["event"] for event in events] == ["metrics_flush_failed"]


def test_a_call_that_does_not_fit_is_a_bug_and_says_so() -> None:
    count = recorded().metrics.counter("Count", dimensions=[Dimension("Route", maximum=2)])
    with pytest.raises(TypeError, match="told apart by Route; 2 values given"):
        count.add(1, "/a", "GET")


def test_a_thousand_ids_make_no_new_dimension() -> None:
    """Neither in a closed dimension nor in an open one, whatever the ids look like."""
    found = recorded()
    dimensions = [Dimension("Route", maximum=5), Dimension("Method", values=["GET"])]
    count = found.metrics.counter("Count", dimensions=dimensions)
    latency = found.metrics.distribution("Latency", dimensions=dimensions)
    for number in range(1000):
        count.add(1, f"/courses/{number}", f"METHOD{number}")
        latency.record(1, f"/courses/{number}", f"METHOD{number}")
    expected = {(f"/courses/{number}", OTHER) for number in range(5)} | {(OTHER, OTHER)}
    found.flush()
    assert set(found.series("Count")) == set(found.series("Latency")) == expected
    assert sum(found.series("Count").values()) == 1000
    # In the next interval others come first: the room is taken for good.
    for number in range(500, 1500):
        count.add(1, f"/courses/{number}", "GET")
    found.flush()
    assert found.series("Count") == {(OTHER, "GET"): 1000}


@given(values=st.lists(st.text(max_size=400), max_size=60))
def test_hostile_values_make_valid_documents(values: list[str]) -> None:
    found = recorded()
    count = found.metrics.counter("Count", dimensions=[Dimension("Route", maximum=20)])
    for value in [*values, "", " ", ":start", "a\nb", "ü", "\x00", "x" * 2000]:
        count.add(1, value)
    found.flush()
    assert len(found.documents) <= 21
    for document in found.documents:
        check_document(document)
    assert sum(found.series("Count").values()) == len(values) + 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "Method"}, "either its values or their maximum"),
        ({"name": "Method", "values": ["GET"], "maximum": 3}, "either its values or their maximum"),
        ({"name": "method", "maximum": 3}, "PascalCase"),
        ({"name": "Method", "maximum": 0}, "from 1 to 1000"),
        ({"name": "Method", "values": ["GET", ":put"]}, "does not take"),
    ],
)
def test_a_dimension_without_a_bound_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dimension(**arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("count", {}, "PascalCase"),
        ("Taken", {}, "declared already"),
        ("A", {"dimensions": [Dimension("Service", maximum=2)]}, "none of them its own"),
        ("A", {"dimensions": [Dimension("A", maximum=2)]}, "none of them its own"),
        ("A", {"dimensions": [Dimension("B", maximum=2)] * 2}, "different names"),
        ("A", {"rollups": [["B"]]}, "does not have"),
        ("A", {"dimensions": [Dimension(f"D{n}", values=[]) for n in range(30)]}, "takes 30"),
        (
            "A",
            {"dimensions": [Dimension("B", maximum=100), Dimension("C", maximum=100)]},
            f"10201 series; {MAX_SERIES} are allowed",
        ),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(name: str, arguments: Any, message: str) -> None:
    metrics = recorded().metrics
    metrics.counter("Taken")
    with pytest.raises(ValueError, match=message):
        metrics.counter(name, **arguments)


def test_a_wide_distribution_is_split_and_loses_nothing() -> None:
    found = recorded()
    latency = found.metrics.distribution("Latency")
    values = [0.01 * 1.03**n for n in range(900)]
    for value in values:
        latency.record(value)
    found.flush()
    parts = [document["Latency"] for document in found.documents]
    assert len(parts) >= 4
    for document in found.documents:
        check_document(document)
    assert sum(part["Count"] for part in parts) == 900
    assert sum(part["Sum"] for part in parts) == pytest.approx(sum(values), rel=1e-6)
    assert max(part["Max"] for part in parts) == pytest.approx(max(values))


def test_many_metrics_are_split_by_number_and_by_size() -> None:
    found = recorded()
    for number in range(250):
        found.metrics.counter(f"Count{number}").add(1)
    for number in range(20):
        distribution = found.metrics.distribution(f"Latency{number}")
        for step in range(90):
            distribution.record(1.07**step)
    found.flush()
    for document in found.documents:
        check_document(document)
    names = [
        metric["Name"]
        for document in found.documents
        for metric in document["_aws"]["CloudWatchMetrics"][0]["Metrics"]
    ]
    assert len(names) == len(set(names)) == 270
    assert 4 <= len(found.documents) <= 8


_RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["Count", "Latency", "Both"]),
        st.floats(min_value=0, max_value=1e9),
        st.text(max_size=6),
        st.sampled_from(["GET", "PUT", "BREW"]),
    ),
    max_size=120,
)


@given(records=_RECORDS)
def test_whatever_is_recorded_every_document_is_valid_and_nothing_is_lost(
    records: list[tuple[str, float, str, str]],
) -> None:
    found = recorded()
    route, method = Dimension("Route", maximum=4), Dimension("Method", values=["GET", "PUT"])
    count = found.metrics.counter("Count", dimensions=[route, method], rollups=[(), ["Route"]])
    latency = found.metrics.distribution("Latency", dimensions=[route, method], rollups=[()])
    counted, timed = 0.0, 0
    for kind, value, path, verb in records:
        if kind != "Latency":
            count.add(value, path, verb)
            counted += value
        if kind != "Count":
            latency.record(value, path, verb)
            timed += 1
    found.flush()
    for document in found.documents:
        check_document(document)
    written = [document for document in found.documents if "Count" in document]
    assert sum(document["Count"] for document in written) == pytest.approx(counted, rel=1e-6)
    parts = [document["Latency"] for document in found.documents if "Latency" in document]
    assert sum(part["Count"] for part in parts) == timed
