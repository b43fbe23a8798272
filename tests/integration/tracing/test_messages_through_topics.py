"""One trace from a request through SNS and SQS to who processes the message, on a real emulator."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from libs.tracing import (
    TraceHeader,
    Tracer,
    trace_message_attributes,
    trace_system_attributes,
)
from libs.tracing.testing import InMemoryEmitter, recording_tracer
from tests.backends import moto

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

TRACE = "1-5759e988-bd862e3fe1be46a994272793"
CLIENT = "53995c3f42cd8ad8"


@dataclass(frozen=True)
class Bus:
    """A topic with two queues, one of which gets its messages raw."""

    sns: Any
    sqs: Any
    topic: str
    queues: dict[str, str]

    async def receive(self, queue: str, number: int = 1) -> list[dict[str, Any]]:
        """So many messages, asked for as a consumer has to ask."""
        messages: list[dict[str, Any]] = []
        while len(messages) < number:
            answer = await self.sqs.receive_message(
                QueueUrl=self.queues[queue],
                AttributeNames=["AWSTraceHeader"],
                MessageAttributeNames=["X-Amzn-Trace-Id"],
                MaxNumberOfMessages=10,
                WaitTimeSeconds=5,
            )
            found = answer.get("Messages", [])
            assert found, "no message came"
            for message in found:
                await self.sqs.delete_message(
                    QueueUrl=self.queues[queue], ReceiptHandle=message["ReceiptHandle"]
                )
            messages += found
        return messages


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clients() -> AsyncIterator[tuple[Any, Any]]:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(moto())
        sns = await stack.enter_async_context(backend.client("sns"))
        sqs = await stack.enter_async_context(backend.client("sqs"))
        yield sns, sqs


@pytest_asyncio.fixture(loop_scope="module")
async def bus(clients: tuple[Any, Any]) -> Bus:
    sns, sqs = clients
    number = len((await sns.list_topics())["Topics"])
    topic = (await sns.create_topic(Name=f"courses-{number}"))["TopicArn"]
    queues = {}
    for name, raw in (("raw", "true"), ("enveloped", "false")):
        url = (await sqs.create_queue(QueueName=f"{name}-{number}"))["QueueUrl"]
        attributes = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        await sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=attributes["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": raw},
        )
        queues[name] = url
    return Bus(sns, sqs, topic, queues)


async def publish(bus: Bus, tracer: Tracer, course: str) -> None:
    """What a service does that tells others of a change."""
    with tracer.span(
        "SNS.Publish",
        kind="producer",
        attributes={
            "rpc.service": "SNS",
            "aws.operation": "Publish",
            "aws.sns.topic.arn": bus.topic,
        },
    ):
        mine = {"kind": {"DataType": "String", "StringValue": "CourseChanged"}}
        await bus.sns.publish(
            TopicArn=bus.topic,
            Message=json.dumps({"courseId": course}),
            MessageAttributes=trace_message_attributes(tracer.current(), mine),
        )


async def process(tracer: Tracer, message: dict[str, Any]) -> None:
    """What a service does that is told of one."""
    with (
        tracer.message_segment("process CourseChanged", message),
        tracer.span("DynamoDB.PutItem", kind="aws", attributes={"rpc.service": "DynamoDB"}),
    ):
        pass


def tracers() -> tuple[Tracer, InMemoryEmitter, Tracer, InMemoryEmitter]:
    sender, sent = recording_tracer()
    receiver, received = recording_tracer()
    return sender, sent, receiver, received


@pytest.mark.parametrize("queue", ["raw", "enveloped"])
async def test_a_request_and_what_it_sets_off_are_one_tree(bus: Bus, queue: str) -> None:
    sender, sent, receiver, received = tracers()
    with sender.segment("PUT /courses/{courseId}", header=TraceHeader(TRACE, CLIENT, True)):
        await publish(bus, sender, "tides")
    (message,) = await bus.receive(queue)
    assert message["Body"].startswith('{"courseId"') is (queue == "raw")
    await process(receiver, message)

    request = sent.named("PUT /courses/{courseId}")
    published = sent.named("SNS.Publish")
    processed = received.named("process CourseChanged")
    written = received.named("DynamoDB.PutItem")
    assert {span.trace_id for span in (request, published, processed, written)} == {TRACE}
    assert [request.parent_id, published.parent_id, processed.parent_id, written.parent_id] == [
        CLIENT,
        request.span_id,
        published.span_id,
        processed.span_id,
    ]
    assert "tides" not in json.dumps([sent.documents(), received.documents()])


async def test_straight_into_a_queue_the_trace_goes_as_aws_sends_it(bus: Bus) -> None:
    sender, sent, receiver, received = tracers()
    with (
        sender.segment("request", header=TraceHeader(TRACE, CLIENT, True)),
        sender.span("SQS.SendMessage", kind="producer"),
    ):
        await bus.sqs.send_message(
            QueueUrl=bus.queues["raw"],
            MessageBody="{}",
            MessageSystemAttributes=trace_system_attributes(sender.current()),
        )
    (message,) = await bus.receive("raw")
    assert "AWSTraceHeader" in message["Attributes"]
    await process(receiver, message)
    processed = received.named("process CourseChanged")
    assert processed.trace_id == TRACE
    assert processed.parent_id == sent.named("SQS.SendMessage").span_id


async def test_a_batch_continues_as_many_traces_as_it_has(bus: Bus) -> None:
    sender, sent, receiver, received = tracers()
    traces = [f"1-5759e988-{number:024x}" for number in range(1, 6)]
    for number, trace in enumerate(traces):
        # One of them is not sampled, and stays so.
        with sender.segment("request", header=TraceHeader(trace, None, number != 3)):
            await publish(bus, sender, "tides")
    for message in await bus.receive("enveloped", len(traces)):
        await process(receiver, message)
    publishes = {span.trace_id: span.span_id for span in sent.spans if span.kind == "producer"}
    processed = {span.trace_id: span.parent_id for span in received.spans if span.is_segment}
    assert processed == publishes
    assert set(processed) == {trace for trace in traces if trace != traces[3]}


async def test_a_message_without_a_trace_begins_one(bus: Bus) -> None:
    await bus.sqs.send_message(QueueUrl=bus.queues["raw"], MessageBody="{}")
    (message,) = await bus.receive("raw")
    _, _, receiver, received = tracers()
    await process(receiver, message)
    assert received.named("process CourseChanged").parent_id is None
