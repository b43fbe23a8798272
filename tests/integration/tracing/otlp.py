"""Another back end for the same spans: OpenTelemetry's protocol in its JSON form.

This is the file that would take the place of `libs/tracing/_xray.py`; docs/adr/0048 says what else
would change. It is written from OpenTelemetry's specification alone, so what it needs and does not
find in a `FinishedSpan` would have been lost to X-Ray's words.

https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from libs.tracing import AttributeValue, FinishedSpan, RecordedException, SpanKind

KINDS: Final[Mapping[SpanKind, int]] = {
    "internal": 1,
    "server": 2,
    "client": 3,
    "aws": 3,
    "producer": 4,
    "consumer": 5,
}
_SAMPLED: Final = 1
_STATUS_UNSET, _STATUS_ERROR = 0, 2


class OtlpEmitter:
    """Keeps the requests that an exporter would post to `/v1/traces`."""

    def __init__(self, service: str, version: str) -> None:
        self.requests: list[dict[str, Any]] = []
        self._resource = {
            "attributes": attributes_of({"service.name": service, "service.version": version})
        }

    def emit(self, spans: Sequence[FinishedSpan]) -> None:
        scope = {"scope": {"name": "libs.tracing"}, "spans": [span_of(span) for span in spans]}
        self.requests.append(
            {"resourceSpans": [{"resource": self._resource, "scopeSpans": [scope]}]}
        )

    def close(self) -> None:
        pass

    def spans(self) -> list[dict[str, Any]]:
        """Every span so far."""
        return [
            span
            for request in self.requests
            for resource in request["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


def trace_id_of(trace_id: str) -> str:
    """W3C's form of a trace id: X-Ray's without its version and dashes."""
    return trace_id.removeprefix("1-").replace("-", "")


def span_of(span: FinishedSpan) -> dict[str, Any]:
    parent = {} if span.parent_id is None else {"parentSpanId": span.parent_id}
    return {
        "traceId": trace_id_of(span.trace_id),
        "spanId": span.span_id,
        **parent,
        "flags": _SAMPLED,
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": nanoseconds(span.start),
        "endTimeUnixNano": nanoseconds(span.end),
        "attributes": attributes_of(span.attributes),
        "events": [event_of(exception, at=span.end) for exception in span.exceptions],
        "status": status_of(span),
    }


def status_of(span: FinishedSpan) -> dict[str, Any]:
    """By OpenTelemetry's rules: a 4xx is an error of a client's span, and none of a server's."""
    served = span.kind in ("server", "consumer")
    if span.fault or (span.error and not served):
        return {"code": _STATUS_ERROR}
    return {"code": _STATUS_UNSET}


def event_of(exception: RecordedException, *, at: float) -> dict[str, Any]:
    stack = "\n".join(
        f'  File "{file}", line {line}, in {function}' for file, line, function in exception.stack
    )
    return {
        "name": "exception",
        "timeUnixNano": nanoseconds(at),
        "attributes": attributes_of(
            {
                "exception.type": exception.type,
                "exception.message": exception.message,
                "exception.stacktrace": stack,
            }
        ),
    }


def attributes_of(attributes: Mapping[str, AttributeValue]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value_of(value)} for key, value in attributes.items()]


def value_of(value: AttributeValue) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}  # 64 bits, which JSON's numbers do not hold
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
    return {"arrayValue": {"values": [value_of(element) for element in value]}}


def nanoseconds(seconds: float) -> str:
    return str(int(seconds * 1_000_000) * 1_000)
