"""Calls of SQS through the guarded client: long polls are patient, everything else is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from libs.aws import (
    AwsSettings,
    Clients,
    DependencyCall,
    DependencyUnavailable,
    RequestRejected,
    Throttled,
    open_clients,
)
from libs.aws._settings import LONGEST_POLL_SECONDS, long_poll_breaker
from libs.circuit_breaker import (
    BreakerPolicy,
    CircuitBreakerRegistry,
    CircuitOpenError,
    SlidingWindowType,
    State,
)
from libs.resilience import PipelineRegistry, RetryPolicy
from libs.tracing.testing import recording_tracer
from tests.unit.aws.fault_server import FaultServer, answer, error, hang, raw

QUEUE = "https://sqs.eu-test-1.amazonaws.com/123456789012/outlines"
MESSAGE = {
    "MessageId": "m",
    "ReceiptHandle": "r",
    "Body": "b",
    "MD5OfBody": "92eb5ffee6ae2fec3ad71c777531578f",
}


class Platform:
    def __init__(self, clients: Clients, registry: CircuitBreakerRegistry) -> None:
        self.sqs = clients.sqs
        self.registry = registry
        self.calls: list[DependencyCall] = []

    def states(self) -> dict[str, State]:
        return {snapshot.name: snapshot.state for snapshot in self.registry.snapshots()}


@asynccontextmanager
async def platform(breaker: BreakerPolicy | None = None) -> AsyncIterator[Platform]:
    registry = CircuitBreakerRegistry()
    tracer, emitter = recording_tracer()
    calls: list[DependencyCall] = []
    settings = AwsSettings(
        region="eu-test-1",
        retry=RetryPolicy(max_attempts=1),
        breaker=breaker or BreakerPolicy(failure_threshold=2, call_timeout_seconds=5.0),
    )
    async with open_clients(
        settings,
        registry=PipelineRegistry(registry),
        tracer=tracer,
        observer=calls.append,
        services=("sqs",),
    ) as clients:
        lyceum = Platform(clients, registry)
        lyceum.calls = calls
        with tracer.segment("process"):
            yield lyceum
    spans = [span for span in emitter.spans if not span.is_segment]
    assert all(span.attributes["aws.sqs.queue.url"] == QUEUE for span in spans)
    assert all(span.attributes["rpc.service"] == "SQS" for span in spans)


async def test_parameters_and_answers_are_those_of_the_api(aws: FaultServer) -> None:
    aws.then(answer({"Messages": [MESSAGE]}))
    async with platform() as lyceum:
        found = await lyceum.sqs.receive_message(QueueUrl=QUEUE, WaitTimeSeconds=20)
    assert found["Messages"] == [MESSAGE]
    (request,) = aws.requests
    assert request.operation == "ReceiveMessage"
    assert json.loads(request.body) == {"QueueUrl": QUEUE, "WaitTimeSeconds": 20}
    assert [(call.dependency, call.operation) for call in lyceum.calls] == [
        ("sqs", "ReceiveMessage")
    ]


async def test_an_answer_to_a_batch_may_name_entries_that_failed(aws: FaultServer) -> None:
    failed = {"Id": "1", "SenderFault": False, "Code": "InternalError"}
    aws.otherwise = answer({"Successful": [{"Id": "0"}], "Failed": [failed]})
    entries = [{"Id": str(number), "ReceiptHandle": "r"} for number in range(2)]
    async with platform() as lyceum:
        for method in (
            lyceum.sqs.delete_message_batch,
            lyceum.sqs.change_message_visibility_batch,
        ):
            assert (await method(QueueUrl=QUEUE, Entries=entries))["Failed"] == [failed]
        assert set(lyceum.states().values()) == {State.CLOSED}


async def test_polls_and_the_rest_have_circuits_of_their_own(aws: FaultServer) -> None:
    aws.otherwise = error("ServiceUnavailable", status=503)
    async with platform() as lyceum:
        for _ in range(2):
            with pytest.raises(DependencyUnavailable):
                await lyceum.sqs.receive_message(QueueUrl=QUEUE)
        assert lyceum.states() == {"sqs:read": State.OPEN, "sqs:write": State.CLOSED}
        with pytest.raises(CircuitOpenError):
            await lyceum.sqs.receive_message(QueueUrl=QUEUE)
        aws.otherwise = answer({"Successful": [], "Failed": []})
        await lyceum.sqs.delete_message_batch(QueueUrl=QUEUE, Entries=[])


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("RequestThrottled", 400, Throttled),
        ("ThrottlingException", 400, Throttled),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, RequestRejected),
        ("AccessDenied", 403, RequestRejected),
        ("OverLimit", 403, RequestRejected),
        ("InternalError", 500, DependencyUnavailable),
    ],
)
async def test_errors_are_classified(
    aws: FaultServer, code: str, status: int, expected: type[Exception]
) -> None:
    aws.then(error(code, status=status))
    async with platform() as lyceum:
        with pytest.raises(expected) as found:
            await lyceum.sqs.receive_message(QueueUrl=QUEUE)
    assert type(found.value) is expected


async def test_what_is_not_sqs_s_answer_is_no_empty_queue(aws: FaultServer) -> None:
    aws.then(raw(b"{}"))
    async with platform() as lyceum:
        with pytest.raises(DependencyUnavailable, match="malformed_response"):
            await lyceum.sqs.receive_message(QueueUrl=QUEUE)


async def test_a_long_poll_outlasts_the_time_out_of_other_calls(aws: FaultServer) -> None:
    aws.otherwise = hang
    policy = BreakerPolicy(failure_threshold=2, call_timeout_seconds=0.1)
    async with platform(policy) as lyceum:
        polling = asyncio.ensure_future(lyceum.sqs.receive_message(QueueUrl=QUEUE))
        await aws.hanging.wait()
        with pytest.raises(DependencyUnavailable, match="timeout"):
            await lyceum.sqs.delete_message_batch(QueueUrl=QUEUE, Entries=[])
        assert not polling.done()
        polling.cancel()
        await asyncio.wait([polling])
        assert lyceum.states()["sqs:read"] is State.CLOSED
    aws.release()


def test_waiting_is_not_slowness() -> None:
    policy = BreakerPolicy(
        sliding_window_type=SlidingWindowType.COUNT_BASED,
        slow_call_duration_threshold_seconds=1.0,
        slow_call_rate_threshold=50.0,
        call_timeout_seconds=5.0,
    )
    patient = long_poll_breaker(policy)
    assert patient.call_timeout_seconds == LONGEST_POLL_SECONDS + 5.0
    assert patient.slow_call_duration_threshold_seconds is None
    assert patient.slow_call_rate_threshold is None
    assert patient.sliding_window_type is SlidingWindowType.COUNT_BASED
    assert long_poll_breaker(BreakerPolicy()).call_timeout_seconds is None
