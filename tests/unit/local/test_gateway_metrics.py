"""What CloudWatch is told of the gateway's answers: nothing is lost, and each is counted once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deploy.local._gateway import Access
from deploy.local._gateway._metrics import Metrics

AT = datetime(2026, 11, 26, tzinfo=UTC)
API = "lyceum-course-catalog"


def access(
    *,
    service: str | None = "course_catalog",
    target: str | None = "stable",
    status: int = 200,
    duration_ms: float = 10.0,
    is_broken_off: bool = False,
) -> Access:
    return Access(
        request_id="r",
        trace_id="t",
        method="GET",
        route="/courses",
        service=service,
        target=target,
        status=status,
        duration_ms=duration_ms,
        completed=not is_broken_off,
        is_broken_off=is_broken_off,
    )


def counted(*accesses: Access) -> list[dict[str, Any]]:
    metrics = Metrics({"course_catalog": API}, "live")
    for one in accesses:
        metrics.record(one)
    taken = metrics.take(AT)
    assert metrics.take(AT) == []
    return taken


def total(data: list[dict[str, Any]], stage: str, metric: str) -> tuple[float, float]:
    """The sum and the sample count of a metric, as CloudWatch works them out."""
    of_metric = [
        one
        for one in data
        if one["MetricName"] == metric
        and one["Dimensions"]
        == [{"Name": "ApiName", "Value": API}, {"Name": "Stage", "Value": stage}]
    ]
    pairs = [pair for one in of_metric for pair in zip(one["Values"], one["Counts"], strict=True)]
    return sum(value * count for value, count in pairs), sum(count for _, count in pairs)


_accesses = st.lists(
    st.builds(
        access,
        service=st.sampled_from(["course_catalog", "other", None]),
        target=st.sampled_from(["stable", "canary", None]),
        status=st.sampled_from([200, 204, 304, 400, 404, 429, 499, 500, 502, 503, 504]),
        duration_ms=st.floats(0, 30_000),
        is_broken_off=st.booleans(),
    ),
    max_size=400,
)


@given(_accesses)
def test_each_request_is_counted_once_on_its_side(accesses: list[Access]) -> None:
    data = counted(*accesses)
    for stage, is_canary in (("live", False), ("live/Canary", True)):
        mine = [
            one
            for one in accesses
            if one.service == "course_catalog" and (one.target == "canary") == is_canary
        ]
        failed = sum(one.status >= 500 or one.is_broken_off for one in mine)
        refused = sum(400 <= one.status < 499 and not one.is_broken_off for one in mine)
        assert total(data, stage, "Count") == (len(mine), len(mine))
        assert total(data, stage, "5XXError") == (failed, len(mine))
        assert total(data, stage, "4XXError") == (refused, len(mine))
        latency = sum(round(one.duration_ms) for one in mine)
        assert total(data, stage, "Latency") == (latency, len(mine))


def test_a_datum_has_no_more_values_than_cloudwatch_takes() -> None:
    data = counted(*(access(duration_ms=float(number)) for number in range(1_000)))
    latencies = [one for one in data if one["MetricName"] == "Latency"]
    assert len(latencies) == 7
    assert all(len(one["Values"]) <= 150 for one in data)
    values = Counter(value for one in latencies for value in one["Values"])
    assert values == Counter(float(number) for number in range(1_000))


def test_an_answer_that_breaks_off_is_the_service_s_fault_and_a_client_that_left_is_not() -> None:
    data = counted(access(is_broken_off=True), access(status=499, duration_ms=9_000.0))
    assert total(data, "live", "5XXError") == (1, 2)
    assert total(data, "live", "4XXError") == (0, 2)
    assert total(data, "live", "Latency") == (9_010, 2)
