"""What the parts of a service count: calls, capacity, breakers and caches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from libs.aws import CallOutcome, ConsumedCapacity, DependencyCall
from libs.circuit_breaker import BreakerPolicy, CircuitBreakerRegistry, CircuitOpenError, State
from libs.circuit_breaker.testing import ManualClock
from libs.metrics import OTHER
from libs.metrics.testing import RecordedMetrics
from libs.resilience import (
    BulkheadFullError,
    BulkheadPolicy,
    DeadlineExceededError,
    FailureKind,
    PipelineRegistry,
    Repeatable,
    RetryBudgetPolicy,
    RetryPolicy,
    deadline_scope,
)
from libs.service import report_caches
from libs.service._dependency_metrics import DependencyMetrics
from libs.service._resilience_metrics import STATE_NUMBERS, BreakerMetrics, GuardMetrics
from tests.unit.metrics.emf import check_document


@pytest.fixture()
def metrics() -> RecordedMetrics:
    return RecordedMetrics("course_catalog")


def call(
    outcome: CallOutcome, *consumed: ConsumedCapacity, operation: str = "GetItem"
) -> DependencyCall:
    return DependencyCall("dynamodb", operation, 0.012, outcome, consumed)


@pytest.mark.parametrize(
    ("outcome", "timed", "errors"),
    [
        (CallOutcome.SUCCESS, 1, 0),
        (CallOutcome.CONDITION_FAILED, 1, 0),
        (CallOutcome.NOT_FOUND, 1, 0),
        (CallOutcome.REJECTED, 1, 1),
        (CallOutcome.THROTTLED, 1, 1),
        (CallOutcome.TIMEOUT, 1, 1),
        (CallOutcome.UNAVAILABLE, 1, 1),
        (CallOutcome.NOT_ATTEMPTED, None, None),
        (CallOutcome.CANCELLED, None, None),
    ],
)
def test_what_an_outcome_counts_as(
    metrics: RecordedMetrics, outcome: CallOutcome, timed: int | None, errors: int | None
) -> None:
    """What never reached the dependency, or was given up, says nothing about it."""
    DependencyMetrics(metrics.metrics)(call(outcome))
    metrics.flush()
    key = ("dynamodb", "GetItem")
    latency = metrics.series("DependencyLatency").get(key)
    assert (latency and latency["Count"]) == timed
    assert metrics.series("DependencyErrors").get(key) == errors


def test_every_outcome_has_been_thought_of() -> None:
    kinds = [
        (outcome.is_answer, outcome.is_error)
        for outcome in CallOutcome
        if outcome not in (CallOutcome.NOT_ATTEMPTED, CallOutcome.CANCELLED)
    ]
    assert all(answer is not error for answer, error in kinds)


def test_capacity_is_counted_by_table_and_index(metrics: RecordedMetrics) -> None:
    observe = DependencyMetrics(metrics.metrics)
    observe(
        call(
            CallOutcome.SUCCESS,
            ConsumedCapacity("CourseCatalog", None, "read", 0.5),
            ConsumedCapacity("CourseCatalog", "byStatus", "read", 1.5),
        )
    )
    observe(call(CallOutcome.SUCCESS, ConsumedCapacity("CourseCatalog", None, "read", 1.0)))
    observe(call(CallOutcome.SUCCESS, ConsumedCapacity("CourseCatalog", None, "write", 4.0)))
    metrics.flush()
    assert metrics.series("ConsumedReadCapacityUnits") == {
        ("CourseCatalog", "(table)"): 1.5,
        ("CourseCatalog", "byStatus"): 1.5,
    }
    assert metrics.series("ConsumedWriteCapacityUnits") == {("CourseCatalog", "(table)"): 4}
    for document in metrics.documents:
        check_document(document)
        dimensions = document["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
        assert ["Service"] not in dimensions
        assert len(dimensions) == 2  # each by its parts, and by dependency or table


def test_a_thousand_operations_and_tables_make_few_series(metrics: RecordedMetrics) -> None:
    observe = DependencyMetrics(metrics.metrics)
    for number in range(1000):
        consumed = ConsumedCapacity(f"table-{number}", f"index-{number}", "read", 1)
        observe(call(CallOutcome.SUCCESS, consumed, operation=f"Operation{number}"))
    metrics.flush()
    latency = metrics.series("DependencyLatency")
    assert len(latency) == 41
    assert latency["dynamodb", OTHER]["Count"] == 960
    assert len(metrics.series("ConsumedReadCapacityUnits")) <= 9 + 8


async def test_breakers_are_counted_by_name(metrics: RecordedMetrics) -> None:
    clock = ManualClock()
    listener = BreakerMetrics(metrics.metrics)
    registry = CircuitBreakerRegistry(clock=clock, listeners=[listener])
    listener.watch(registry)
    policy = BreakerPolicy(failure_threshold=1, slow_call_duration_threshold_seconds=1.0)
    breaker = registry.breaker("dynamodb:read", policy)
    registry.breaker("dynamodb:write", policy)

    async def slow() -> None:
        clock.advance(1.5)

    async def fails() -> None:
        raise OSError("lost")

    await breaker.call(slow)
    with pytest.raises(OSError, match="lost"):
        await breaker.call(fails)
    for _ in range(3):
        with pytest.raises(CircuitOpenError):
            await breaker.call(slow)
    metrics.flush()
    assert metrics.series("BreakerState") == {("dynamodb:read",): 2, ("dynamodb:write",): 0}
    assert metrics.series("BreakerStateChanges") == {("dynamodb:read", "open"): 1}
    assert metrics.series("BreakerRejections") == {("dynamodb:read",): 3}
    assert metrics.series("SlowCalls") == {("dynamodb:read",): 1}
    for document in metrics.documents:
        check_document(document)


def test_every_state_has_a_number_of_its_own() -> None:
    assert set(STATE_NUMBERS) == set(State)
    assert len(set(STATE_NUMBERS.values())) == len(State)
    refuses = {state for state, number in STATE_NUMBERS.items() if number > 1}
    assert refuses == {State.OPEN, State.FORCED_OPEN}


async def test_bulkheads_retries_and_deadlines_are_counted_by_operation_class(
    metrics: RecordedMetrics,
) -> None:
    listener = GuardMetrics(metrics.metrics)
    registry = PipelineRegistry(listeners=[listener], random=lambda: 0.0)
    listener.watch(registry)
    pipeline = registry.pipeline(
        "dynamodb:read",
        breaker=BreakerPolicy(failure_threshold=10),
        bulkhead=BulkheadPolicy(max_concurrent_calls=1, max_queued_calls=0),
        retry=RetryPolicy(max_attempts=2),
        budget=RetryBudgetPolicy(),
        classify_failure=lambda _: FailureKind.NOT_EXECUTED,
    )
    entered, leave = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        raise OSError("lost")

    async def lasts() -> None:
        entered.set()
        await leave.wait()

    with pytest.raises(OSError, match="lost"):
        await pipeline.call(fails, repeatable=Repeatable.ALWAYS)
    with deadline_scope(0), pytest.raises(DeadlineExceededError):
        await pipeline.call(fails)
    lasting = asyncio.create_task(pipeline.call(lasts))
    await entered.wait()
    with pytest.raises(BulkheadFullError):
        await pipeline.call(fails)
    metrics.flush()
    leave.set()
    await lasting
    name = "dynamodb:read"
    assert metrics.series("Retries") == {(name,): 1}
    assert metrics.series("RetriesRefused") == {(name, "attempts"): 1}
    assert metrics.series("DeadlinesPassed") == {(name,): 1}
    assert metrics.series("BulkheadRejections") == {(name, "queue_full"): 1}
    assert metrics.series("BulkheadRunning") == {(name,): 1}
    assert metrics.series("BulkheadQueued") == {(name,): 0}
    for document in metrics.documents:
        check_document(document)


@dataclass
class Figures:
    hits: int = 0
    misses: int = 0
    entries: int = 0
    hit_age_seconds: float = 0.0


def test_caches_are_counted_by_name(metrics: RecordedMetrics) -> None:
    outlines, contents = Figures(), Figures(hits=3, misses=2, entries=1)
    report_caches(metrics.metrics, {"outlines": lambda: outlines, "contents": lambda: contents})
    metrics.flush()
    assert metrics.series("CacheHits") == {("outlines",): 0, ("contents",): 3}
    contents.hits, contents.misses, contents.entries = 10, 2, 4
    contents.hit_age_seconds = 17.5
    metrics.flush()
    assert metrics.series("CacheHits")["contents",] == 7
    assert metrics.series("CacheMisses")["contents",] == 0
    assert metrics.series("CacheEntries")["contents",] == 4
    assert metrics.series("CacheHitAge")["contents",] == 17.5
