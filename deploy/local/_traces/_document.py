"""X-Ray segment documents: reads a datagram, and takes a document apart into spans. Trusts neither.

What a span needs to have a place in a trace has to be right, or the whole document is refused. What
only describes it (`http`, `aws`, `annotations`, `cause`) is taken where it is right and passed over
where it is not; fields that are not known here are no mistake.

https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Document = dict[str, object]
Annotation = str | bool | int | float

_LONGEST_HEADER: Final = 200
_HEADER: Final = {"format": "json", "version": 1}
_TRACE_ID: Final = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}", re.ASCII)
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_LONGEST_NAME: Final = 200  # X-Ray's own limit
_LONGEST_TEXT: Final = 1000
_MOST_ANNOTATIONS: Final = 50  # X-Ray's own limit
_MOST_EXCEPTIONS: Final = 20
_LATEST: Final = 2.0**33  # the year 2242


class MalformedError(Exception):
    """Not a document of a trace. The reason is ours and never quotes what was sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ExceptionNote:
    """An exception of a span: its type, its message, and the innermost place it passed."""

    type: str
    message: str
    place: str | None


@dataclass(frozen=True, slots=True)
class Span:
    """One segment or subsegment.

    Args:
        is_segment: a request that a service answered, not a part of one.
        service: the segment's name, also in its parts; None for a part that came by itself.
        start: Unix time in seconds.
        end: None while it is in progress.
        resource: the table or bucket of an AWS call.
    """

    span_id: str
    parent_id: str | None
    name: str
    is_segment: bool
    service: str | None
    start: float
    end: float | None
    namespace: str | None = None
    method: str | None = None
    url: str | None = None
    status: int | None = None
    operation: str | None = None
    resource: str | None = None
    retries: int = 0
    error: bool = False
    fault: bool = False
    throttle: bool = False
    user: str | None = None
    annotations: Mapping[str, Annotation] = field(default_factory=dict)
    exceptions: tuple[ExceptionNote, ...] = ()


def parse_datagram(datagram: bytes) -> Document:
    """The document of a datagram: a header line, then JSON.

    Raises:
        MalformedError: it is not one that `spans_of` could read.
    """
    header, newline, body = datagram.partition(b"\n")
    if not newline or len(header) > _LONGEST_HEADER or parse_json(header) != _HEADER:
        raise MalformedError("without the header line")
    document = parse_json(body)
    if not isinstance(document, dict):
        raise MalformedError("not an object")
    spans_of(document)
    return document


def parse_json(text: bytes) -> object:
    """Any JSON, but not what Python takes for it (NaN, UTF-16). Raises MalformedError."""
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise MalformedError("not JSON") from None


def trace_id_of(document: Mapping[str, object]) -> str:
    """The trace a document belongs to. Raises MalformedError."""
    return _identifier(document, "trace_id", _TRACE_ID)


def spans_of(document: Mapping[str, object]) -> list[Span]:
    """The document's spans, parents first. Raises MalformedError."""
    trace_id_of(document)
    is_segment = "type" not in document
    if not is_segment and document["type"] != "subsegment":
        raise MalformedError("of an unknown type")
    if not is_segment or document.get("parent_id") is not None:
        parent = _identifier(document, "parent_id", _SPAN_ID)
    else:
        parent = None
    service = _name(document) if is_segment else None
    spans = [_span(document, parent, service, is_segment=is_segment)]
    pending = deque([(document, spans[0].span_id)])
    while pending:
        entity, parent = pending.popleft()
        parts = entity.get("subsegments", [])
        if not isinstance(parts, list):
            raise MalformedError("with subsegments that are no list")
        for part in parts:
            if not isinstance(part, dict):
                raise MalformedError("with a subsegment that is no object")
            spans.append(_span(part, parent, service, is_segment=False))
            pending.append((part, spans[-1].span_id))
    return spans


def _span(
    entity: Mapping[str, object], parent: str | None, service: str | None, *, is_segment: bool
) -> Span:
    start = _time(entity, "start_time")
    in_progress = entity.get("in_progress") is True and "end_time" not in entity
    end = None if in_progress else _time(entity, "end_time")
    if end is not None and end < start:
        raise MalformedError("with an end before its start")
    http, aws = _mapping(entity, "http"), _mapping(entity, "aws")
    request, response = _mapping(http, "request"), _mapping(http, "response")
    return Span(
        span_id=_identifier(entity, "id", _SPAN_ID),
        parent_id=parent,
        name=_name(entity),
        is_segment=is_segment,
        service=service,
        start=start,
        end=end,
        namespace=_text(entity, "namespace"),
        method=_text(request, "method"),
        url=_text(request, "url"),
        status=_number(response, "status"),
        operation=_text(aws, "operation"),
        resource=_resource(aws),
        retries=_number(aws, "retries") or 0,
        error=entity.get("error") is True,
        fault=entity.get("fault") is True,
        throttle=entity.get("throttle") is True,
        user=_text(entity, "user"),
        annotations=_annotations(entity),
        exceptions=_exceptions(entity),
    )


def _identifier(entity: Mapping[str, object], key: str, form: re.Pattern[str]) -> str:
    value = entity.get(key)
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise MalformedError(f"without a valid {key}")
    return value


def _name(entity: Mapping[str, object]) -> str:
    name = entity.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise MalformedError("without a valid name")
    return name


def _time(entity: Mapping[str, object], key: str) -> float:
    value = entity.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LATEST:
        raise MalformedError(f"without a valid {key}")
    return float(value)


def _mapping(entity: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = entity.get(key)
    return value if isinstance(value, dict) else {}


def _text(entity: Mapping[str, object], key: str) -> str | None:
    value = entity.get(key)
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value else None


def _number(entity: Mapping[str, object], key: str) -> int | None:
    value = entity.get(key)
    is_small = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
    return value if is_small and isinstance(value, int) else None


def _resource(aws: Mapping[str, object]) -> str | None:
    several = aws.get("table_names")
    if isinstance(several, list):
        names = [name for name in several if isinstance(name, str)]
        return ", ".join(names)[:_LONGEST_TEXT] or None
    return _text(aws, "table_name") or _text(aws, "bucket_name")


def _annotations(entity: Mapping[str, object]) -> Mapping[str, Annotation]:
    found: dict[str, Annotation] = {}
    for key, value in list(_mapping(entity, "annotations").items())[:_MOST_ANNOTATIONS]:
        if isinstance(value, str):
            found[key[:_LONGEST_NAME]] = value[:_LONGEST_TEXT]
        elif isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            found[key[:_LONGEST_NAME]] = value
    return found


def _exceptions(entity: Mapping[str, object]) -> tuple[ExceptionNote, ...]:
    # A text in the place of an object is the id of an exception that another span records.
    recorded = _mapping(entity, "cause").get("exceptions")
    if not isinstance(recorded, list):
        return ()
    return tuple(
        ExceptionNote(
            type=_text(exception, "type") or "exception",
            message=_text(exception, "message") or "",
            place=_place(exception.get("stack")),
        )
        for exception in recorded[:_MOST_EXCEPTIONS]
        if isinstance(exception, dict)
    )


def _place(stack: object) -> str | None:
    """`file.py:12 in function`; X-Ray's stacks begin with the innermost call."""
    if not isinstance(stack, list) or not stack or not isinstance(stack[0], dict):
        return None
    path, line = _text(stack[0], "path"), _number(stack[0], "line")
    if path is None or line is None:
        return None
    label = _text(stack[0], "label")
    return f"{path}:{line}" + (f" in {label}" if label else "")


def _refuse(constant: str) -> None:
    raise ValueError(f"not JSON: {constant}")
