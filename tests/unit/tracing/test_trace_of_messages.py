"""A trace that goes along with a message, and the segment of who processes it."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.tracing import (
    TraceContext,
    TraceHeader,
    message_header,
    trace_message_attributes,
    trace_system_attributes,
)
from libs.tracing.testing import recording_tracer

TRACE = "1-5759e988-bd862e3fe1be46a994272793"
OTHER = "1-5759e988-000000000000000000000001"
PARENT = "53995c3f42cd8ad8"
TEXT = f"Root={TRACE};Parent={PARENT};Sampled=1"
HEADER = TraceHeader(TRACE, PARENT, True)
CONTEXT = TraceContext(TRACE, PARENT, True)


def envelope(**attributes: object) -> str:
    """The body that SNS makes of a message without raw delivery."""
    return json.dumps(
        {"Type": "Notification", "Message": "{}", "MessageAttributes": attributes}, indent=2
    )


SYSTEM: Mapping[str, Any] = {"Attributes": {"AWSTraceHeader": TEXT}}
ATTRIBUTE: Mapping[str, Any] = {
    "MessageAttributes": {"X-Amzn-Trace-Id": {"DataType": "String", "StringValue": TEXT}}
}
ENVELOPE: Mapping[str, Any] = {
    "Body": envelope(**{"X-Amzn-Trace-Id": {"Type": "String", "Value": TEXT}})
}


@pytest.mark.parametrize("message", [SYSTEM, ATTRIBUTE, ENVELOPE])
def test_the_trace_is_found_in_each_of_its_places(message: Mapping[str, Any]) -> None:
    assert message_header(message) == HEADER


def test_the_first_place_that_has_one_decides() -> None:
    other = f"Root={OTHER};Sampled=0"
    message = {**ATTRIBUTE, **ENVELOPE, "Attributes": {"AWSTraceHeader": other}}
    assert message_header(message) == TraceHeader(OTHER, None, False)
    message["Attributes"] = {"AWSTraceHeader": "rubbish"}
    assert message_header(message) == HEADER
    message["MessageAttributes"] = {"X-Amzn-Trace-Id": {"BinaryValue": b"\x00"}}
    assert message_header(message) == HEADER


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"Attributes": None, "MessageAttributes": [], "Body": 7},
        {"Attributes": {"AWSTraceHeader": 7}},
        {"Attributes": {"AWSTraceHeader": "x" * 100_000}},
        {"MessageAttributes": {"X-Amzn-Trace-Id": "Root"}},
        {"MessageAttributes": {"X-Amzn-Trace-Id": {"StringValue": "Root=1-2-3"}}},
        {"Body": ""},
        {"Body": TEXT},
        {"Body": '{"X-Amzn-Trace-Id"'},
        {"Body": '{"X-Amzn-Trace-Id":' + "[" * 100_000},
        {"Body": '["X-Amzn-Trace-Id"]'},
        # The words of a publisher are none of SNS's.
        {"Body": json.dumps({"MessageAttributes": {"X-Amzn-Trace-Id": {"Value": TEXT}}})},
        {"Body": envelope(**{"X-Amzn-Trace-Id": TEXT})},
        {"Body": envelope(**{"X-Amzn-Trace-Id": {"Value": ["Root"]}})},
        {"Body": ENVELOPE["Body"] + " " * 1024 * 1024},
    ],
)
def test_rubbish_is_no_trace_and_no_error(message: Mapping[str, Any]) -> None:
    assert message_header(message) is None
    tracer, emitter = recording_tracer()
    with tracer.message_segment("process", message) as segment:
        assert segment.trace_id is not None
    assert emitter.named("process").parent_id is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(TEXT),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["X-Amzn-Trace-Id", "AWSTraceHeader", "StringValue", "Value", "Type"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(
    message=st.fixed_dictionaries(
        {},
        optional={
            "Attributes": VALUES,
            "MessageAttributes": VALUES,
            "Body": VALUES | VALUES.map(json.dumps),
            "MessageId": VALUES,
        },
    )
)
def test_no_message_makes_tracing_raise(message: dict[str, Any]) -> None:
    assert message_header(message) in (None, HEADER)
    tracer, emitter = recording_tracer()
    with tracer.message_segment("process", message):
        pass
    assert len(emitter.documents()) == 1


def test_what_goes_along_with_a_message() -> None:
    value = {"DataType": "String", "StringValue": TEXT}
    mine = {"kind": {"DataType": "String", "StringValue": "course"}}
    assert trace_system_attributes(CONTEXT) == {"AWSTraceHeader": value}
    assert trace_message_attributes(CONTEXT) == {"X-Amzn-Trace-Id": value}
    assert trace_message_attributes(CONTEXT, mine) == {**mine, "X-Amzn-Trace-Id": value}
    assert set(mine) == {"kind"}, "the caller's stay as they are"


def test_outside_of_a_segment_nothing_goes_along() -> None:
    mine = {"kind": {"DataType": "String", "StringValue": "course"}}
    assert trace_system_attributes(None) == {}
    assert trace_message_attributes(None) == {}
    assert trace_message_attributes(None, mine) == mine


def test_the_trace_stays_behind_where_it_would_be_one_attribute_too_many() -> None:
    """A topic with raw delivery throws a message of eleven attributes away."""
    nine = {f"a{number}": {"DataType": "String", "StringValue": "x"} for number in range(9)}
    ten = {**nine, "a9": nine["a0"]}
    assert len(trace_message_attributes(CONTEXT, nine)) == 10
    assert trace_message_attributes(CONTEXT, ten) == ten


def test_a_trace_that_the_caller_has_set_stays() -> None:
    mine = {"X-Amzn-Trace-Id": {"DataType": "String", "StringValue": f"Root={OTHER}"}}
    assert trace_message_attributes(CONTEXT, mine) == mine


def test_a_message_is_a_segment_that_continues_the_senders() -> None:
    sender, sent = recording_tracer()
    with (
        sender.segment("PUT /courses/{courseId}") as request,
        sender.span("SNS.Publish", kind="producer", attributes=PUBLISH) as publish,
    ):
        attributes = trace_message_attributes(sender.current())
    message = {"MessageId": "m-1", "MessageAttributes": attributes, "Body": "secret"}
    receiver, received = recording_tracer()
    queue = {"messaging.destination.name": "outlines"}
    with (
        receiver.message_segment("process CourseChanged", message, attributes=queue),
        receiver.span("DynamoDB.PutItem", kind="aws"),
    ):
        pass
    segment = received.named("process CourseChanged")
    assert publish.context is not None
    assert segment.parent_id == publish.context.parent_id == sent.named("SNS.Publish").span_id
    assert segment.trace_id == request.trace_id
    assert (segment.kind, segment.is_segment) == ("consumer", True)
    assert segment.attributes == {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
        "messaging.message.id": "m-1",
        "messaging.destination.name": "outlines",
    }

    (subsegment,) = sent.documents()[0]["subsegments"]
    assert (subsegment["name"], subsegment["namespace"]) == ("SNS", "aws")
    assert subsegment["aws"] == {"operation": "Publish", "topic_arn": PUBLISH["aws.sns.topic.arn"]}
    (document,) = received.documents()
    assert document["parent_id"] == subsegment["id"]
    assert document["annotations"]["operation"] == "process CourseChanged"
    assert document["metadata"]["default"]["messaging.destination.name"] == "outlines"
    assert "type" not in document
    assert [below["name"] for below in document["subsegments"]] == ["DynamoDB.PutItem"]
    assert "secret" not in json.dumps(document)


PUBLISH = {
    "rpc.service": "SNS",
    "aws.operation": "Publish",
    "aws.sns.topic.arn": "arn:aws:sns:us-east-1:111122223333:courses",
}


def test_the_senders_decision_is_kept() -> None:
    tracer, emitter = recording_tracer()
    message = {"Attributes": {"AWSTraceHeader": f"Root={TRACE};Parent={PARENT};Sampled=0"}}
    with tracer.message_segment("process", message) as segment:
        assert segment.trace_id == TRACE
        assert not segment.sampled
    assert emitter.spans == []


def test_the_messages_of_a_batch_are_segments_of_their_traces() -> None:
    """X-Ray has no links from one segment to several traces: so each message has its own."""
    tracer, emitter = recording_tracer()
    batch = [{"Attributes": {"AWSTraceHeader": f"Root=1-5759e988-{n:024x}"}} for n in range(1, 4)]
    with tracer.segment("poll") as poll:
        for message in batch:
            with tracer.message_segment("process", message), tracer.span("work"):
                pass
        assert tracer.current() == poll.context
    processed = [span for span in emitter.spans if span.kind == "consumer"]
    assert [span.trace_id[-1] for span in processed] == ["1", "2", "3"]
    assert len(emitter.documents()) == 4


def test_a_message_that_fails_is_a_fault() -> None:
    tracer, emitter = recording_tracer()
    with pytest.raises(RuntimeError), tracer.message_segment("process", {}):
        raise RuntimeError
    assert emitter.named("process").fault
