"""What a finished span is, and the interface of those who send it on.

Attribute names are OpenTelemetry's (https://opentelemetry.io/docs/specs/semconv/). Only an
emitter knows the names of its back end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

# "aws" is a client whose server is a service of AWS.
SpanKind = Literal["server", "consumer", "internal", "client", "producer", "aws"]
InnerSpanKind = Literal["internal", "client", "producer", "aws"]
SegmentKind = Literal["server", "consumer"]

AttributeValue = str | bool | int | float | Sequence[str]


@dataclass(frozen=True, slots=True)
class RecordedException:
    """An exception without its objects, so that a span keeps no frame alive.

    stack: (file name, line, function), innermost call last.
    caused_by: id of the recorded exception that this one was raised from, or while handling.
    """

    id: str
    type: str
    message: str
    stack: tuple[tuple[str, int, str], ...]
    caused_by: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """One finished piece of work.

    start, end: seconds since 1970, end never before start.
    segment_id: the span of kind "server" or "consumer" that this one is under, or its own id.
    error, fault, throttled: the caller's mistake, ours, and whether it was for going too fast.
    inherited_exception: id of the exception that passed through and is recorded further down.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    segment_id: str
    name: str
    kind: SpanKind
    start: float
    end: float
    attributes: Mapping[str, AttributeValue]
    error: bool = False
    fault: bool = False
    throttled: bool = False
    exceptions: tuple[RecordedException, ...] = ()
    inherited_exception: str | None = None

    @property
    def is_segment(self) -> bool:
        """Whether this is a request that the service answers, or a message that it processes."""
        return self.span_id == self.segment_id


class Emitter(Protocol):
    """Sends spans to a back end, without waiting for it. May raise: the tracer holds that off."""

    def emit(self, spans: Sequence[FinishedSpan]) -> None:
        """Takes a finished segment with the spans under it, or a span that outlived its segment."""

    def close(self) -> None:
        """Lets go of sockets and the like. Called once, when the service ends."""
