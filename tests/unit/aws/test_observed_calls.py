"""What an observer hears of the calls: each once, with its outcome and what it consumed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from libs.aws import (
    AwsSettings,
    CallObserver,
    CallOutcome,
    Clients,
    ConsumedCapacity,
    DependencyCall,
    open_clients,
)
from libs.aws._observer import consumed_capacity
from libs.circuit_breaker import BreakerPolicy
from libs.logging.testing import captured_logs
from libs.resilience import PipelineRegistry, RetryPolicy, deadline_scope
from libs.tracing.testing import recording_tracer
from tests.unit.aws.fault_server import (
    Behaviour,
    FaultServer,
    answer,
    error,
    hang,
    reset,
    s3_answer,
)

KEY = {"TableName": "courses", "Key": {"courseId": {"S": "c1"}}}


@asynccontextmanager
async def observed(observer: CallObserver, *, failures: int = 5) -> AsyncIterator[Clients]:
    """Clients whose clock goes on by a quarter of a second each time it is read."""
    readings = iter(range(10_000))
    settings = AwsSettings(
        region="eu-test-1",
        read_timeout_seconds=0.2,
        breaker=BreakerPolicy(failure_threshold=failures),
        retry=RetryPolicy(max_attempts=1),
    )
    async with open_clients(
        settings,
        registry=PipelineRegistry(),
        tracer=recording_tracer()[0],
        services=("dynamodb", "s3"),
        observer=observer,
        clock=lambda: next(readings) / 4,
    ) as clients:
        yield clients


async def test_each_call_is_told_once(aws: FaultServer) -> None:
    aws.then(
        answer({"Item": {}, "ConsumedCapacity": {"TableName": "courses", "CapacityUnits": 1.0}}),
        s3_answer(headers={"Content-Length": "0"}),
    )
    calls: list[DependencyCall] = []
    async with observed(calls.append) as clients:
        await clients.dynamodb.get_item(**KEY)
        await clients.s3.head_object(Bucket="media", Key="secret/key.mp4")
    capacity = ConsumedCapacity("courses", None, "read", 1.0)
    assert calls == [
        DependencyCall("dynamodb", "GetItem", 0.25, CallOutcome.SUCCESS, (capacity,)),
        DependencyCall("s3", "HeadObject", 0.25, CallOutcome.SUCCESS),
    ]


@pytest.mark.parametrize(
    ("behaviour", "outcome", "is_error"),
    [
        (error("ConditionalCheckFailedException"), CallOutcome.CONDITION_FAILED, False),
        (error("ThrottlingException"), CallOutcome.THROTTLED, True),
        (error("InternalServerError", status=500), CallOutcome.UNAVAILABLE, True),
        (error("ValidationException"), CallOutcome.REJECTED, True),
        (error("AccessDeniedException"), CallOutcome.REJECTED, True),
        (reset, CallOutcome.UNAVAILABLE, True),
        (hang, CallOutcome.TIMEOUT, True),
    ],
)
async def test_what_came_of_it(
    aws: FaultServer, behaviour: Behaviour, outcome: CallOutcome, is_error: bool
) -> None:
    aws.then(behaviour)
    calls: list[DependencyCall] = []
    async with observed(calls.append) as clients:
        with pytest.raises(Exception, match=r".") as caught:
            await clients.dynamodb.put_item(TableName="courses", Item={})
    assert not isinstance(caught.value, asyncio.CancelledError)
    (call,) = calls
    assert (call.operation, call.outcome, call.seconds) == ("PutItem", outcome, 0.25)
    assert call.outcome.is_error is is_error
    assert call.outcome.is_answer is (outcome is CallOutcome.CONDITION_FAILED)


async def test_an_object_that_is_not_there_is_an_answer(aws: FaultServer) -> None:
    aws.then(s3_answer(status=404))
    calls: list[DependencyCall] = []
    async with observed(calls.append) as clients:
        with pytest.raises(Exception, match="404"):
            await clients.s3.head_object(Bucket="media", Key="none")
    assert [(call.outcome, call.outcome.is_error) for call in calls] == [
        (CallOutcome.NOT_FOUND, False)
    ]


async def test_what_the_breaker_refuses_never_reached_the_dependency(aws: FaultServer) -> None:
    aws.then(error("InternalServerError", status=500))
    calls: list[DependencyCall] = []
    async with observed(calls.append, failures=1) as clients:
        for _ in range(2):
            with pytest.raises(Exception, match=r"."):
                await clients.dynamodb.get_item(**KEY)
    assert [call.outcome for call in calls] == [CallOutcome.UNAVAILABLE, CallOutcome.NOT_ATTEMPTED]
    assert len(aws.requests) == 1
    assert not calls[1].outcome.is_error


async def test_a_cancelled_call_is_told_as_such(aws: FaultServer) -> None:
    aws.otherwise = hang
    calls: list[DependencyCall] = []
    async with observed(calls.append) as clients:
        call = asyncio.ensure_future(clients.dynamodb.get_item(**KEY))
        await aws.hanging.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert [call.outcome for call in calls] == [CallOutcome.CANCELLED]
    assert not calls[0].outcome.is_error


async def test_an_observer_that_raises_reaches_no_caller(aws: FaultServer) -> None:
    def broken(_: DependencyCall) -> None:
        raise RuntimeError("no room")

    aws.then(answer({"Item": {}}))
    with captured_logs("INFO") as events:
        async with observed(broken) as clients:
            assert "Item" in await clients.dynamodb.get_item(**KEY)
    own = [event for event in events if str(event["logger"]).startswith("libs.aws._observer")]
    assert [event["event"] for event in own] == ["call_observer_failed"]


@pytest.mark.parametrize(
    ("method", "params", "asks"),
    [
        ("get_item", KEY, True),
        ("batch_get_item", {"RequestItems": {}}, True),
        ("query", {"TableName": "courses"}, True),
        ("scan", {"TableName": "courses"}, True),
        ("transact_get_items", {"TransactItems": []}, True),
        ("put_item", {"TableName": "courses", "Item": {}}, True),
        ("update_item", KEY, True),
        ("delete_item", KEY, True),
        ("batch_write_item", {"RequestItems": {}}, True),
        ("transact_write_items", {"TransactItems": []}, True),
        ("describe_table", {"TableName": "courses"}, False),
    ],
)
async def test_every_call_asks_for_its_capacity_but_one(
    aws: FaultServer, method: str, params: dict[str, Any], asks: bool
) -> None:
    async with observed(lambda _: None) as clients:
        await getattr(clients.dynamodb, method)(**params)
    body = json.loads(aws.requests[0].body)
    assert body.get("ReturnConsumedCapacity") == ("INDEXES" if asks else None)


async def test_who_asks_otherwise_is_answered_otherwise(aws: FaultServer) -> None:
    async with observed(lambda _: None) as clients:
        await clients.dynamodb.get_item(**KEY, ReturnConsumedCapacity="TOTAL")
    assert json.loads(aws.requests[0].body)["ReturnConsumedCapacity"] == "TOTAL"


def test_capacity_by_table_and_index_and_of_several_tables() -> None:
    response = {
        "ConsumedCapacity": [
            {
                "TableName": "courses",
                "CapacityUnits": 5.0,
                "Table": {"CapacityUnits": 2.0},
                "GlobalSecondaryIndexes": {"byStatus": {"CapacityUnits": 1.0}},
                "LocalSecondaryIndexes": {"byChange": {"CapacityUnits": 2.0}},
            },
            {"TableName": "slugs", "CapacityUnits": 0.5},
        ]
    }
    assert consumed_capacity(response, "write") == (
        ConsumedCapacity("courses", None, "write", 2.0),
        ConsumedCapacity("courses", "byStatus", "write", 1.0),
        ConsumedCapacity("courses", "byChange", "write", 2.0),
        ConsumedCapacity("slugs", None, "write", 0.5),
    )


@pytest.mark.parametrize(
    "reported", [None, {}, [], "much", [None], [{"TableName": "t"}], {"TableName": "t", "Table": 1}]
)
def test_a_report_of_another_shape_is_none(reported: object) -> None:
    assert consumed_capacity({"ConsumedCapacity": reported}, "read") == ()
    assert consumed_capacity({}, "read") == ()


async def test_nor_did_a_call_whose_caller_had_gone_before(aws: FaultServer) -> None:
    calls: list[DependencyCall] = []
    async with observed(calls.append) as clients:
        with deadline_scope(0), pytest.raises(Exception, match="deadline"):
            await clients.dynamodb.get_item(**KEY)
    assert [call.outcome for call in calls] == [CallOutcome.NOT_ATTEMPTED]
    assert aws.requests == []


async def test_a_call_that_the_callers_deadline_cuts_is_nobodys_error(aws: FaultServer) -> None:
    aws.then(hang)
    calls: list[DependencyCall] = []
    async with observed(calls.append) as clients:
        with deadline_scope(0.05), pytest.raises(Exception, match="deadline"):
            await clients.dynamodb.get_item(**KEY)
    assert [(call.outcome, call.outcome.is_error) for call in calls] == [
        (CallOutcome.CANCELLED, False)
    ]
