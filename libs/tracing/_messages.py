"""The trace of a message: how it goes along through SNS and SQS, and how it is found again.

Owns the names under which a message carries it. Reads what anybody may send, so it trusts
nothing; knows no client of AWS, only the shapes of its API.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from libs.tracing._header import (
    TRACE_HEADER,
    TraceContext,
    TraceHeader,
    format_header,
    parse_header,
)
from libs.tracing._record import AttributeValue

# The one system attribute that SQS lets senders set; AWS's own services set it too, and it does
# not count against the size of the message:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
SYSTEM_ATTRIBUTE: Final = "AWSTraceHeader"
# SQS takes ten, and SNS throws a message away that it would deliver raw with more:
# https://docs.aws.amazon.com/sns/latest/dg/sns-message-attributes.html
_MOST_ATTRIBUTES: Final = 10
# The largest message of SQS, in characters at most.
_LARGEST_BODY: Final = 1024 * 1024
_LONGEST_ID: Final = 100


def trace_system_attributes(context: TraceContext | None) -> dict[str, Any]:
    """The `MessageSystemAttributes` for SQS's SendMessage: the trace, or nothing outside of one."""
    if context is None:
        return {}
    return {SYSTEM_ATTRIBUTE: _string(context)}


def trace_message_attributes(
    context: TraceContext | None, attributes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The `MessageAttributes` for SNS's Publish and SQS's SendMessage: these, and the trace.

    SNS has no system attributes to send, so through a topic the trace goes as an attribute of the
    message. Where ten attributes are there already it stays behind: the message matters more.
    """
    found = dict(attributes or {})
    if context is not None and (TRACE_HEADER in found or len(found) < _MOST_ATTRIBUTES):
        found.setdefault(TRACE_HEADER, _string(context))
    return found


def message_header(message: Mapping[str, Any]) -> TraceHeader | None:
    """What the sender of a message said about its trace; None where it said nothing of use.

    message: as SQS's ReceiveMessage gives it. Looked at in this order: the system attribute
    `AWSTraceHeader`; the message attribute `X-Amzn-Trace-Id`, which also a topic with raw delivery
    passes on; the attribute of that name in the envelope that a topic puts around a message. Ask
    ReceiveMessage for both: `MessageSystemAttributeNames=["AWSTraceHeader"]`,
    `MessageAttributeNames=["X-Amzn-Trace-Id"]`.
    """
    for value in _values(message):
        header = parse_header(value) if isinstance(value, str) else None
        if header is not None:
            return header
    return None


def message_attributes_of(message: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """The attributes of a segment for this message, by OpenTelemetry's names."""
    attributes: dict[str, AttributeValue] = {
        "messaging.system": "aws_sqs",
        "messaging.operation.type": "process",
    }
    message_id = message.get("MessageId")
    if isinstance(message_id, str) and len(message_id) <= _LONGEST_ID:
        attributes["messaging.message.id"] = message_id
    return attributes


def _string(context: TraceContext) -> dict[str, str]:
    return {"DataType": "String", "StringValue": format_header(context)}


def _values(message: Mapping[str, Any]) -> Iterator[object]:
    yield _member(message.get("Attributes"), SYSTEM_ATTRIBUTE)
    yield _member(_member(message.get("MessageAttributes"), TRACE_HEADER), "StringValue")
    envelope = _envelope(message.get("Body"))
    yield _member(_member(_member(envelope, "MessageAttributes"), TRACE_HEADER), "Value")


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else None


def _envelope(body: object) -> object:
    """The envelope of SNS, if the body is one that names a trace; parsed only then."""
    if not isinstance(body, str) or len(body) > _LARGEST_BODY:
        return None
    if not body.startswith("{") or f'"{TRACE_HEADER}"' not in body:
        return None
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return envelope if _member(envelope, "Type") == "Notification" else None
