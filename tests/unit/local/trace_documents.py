"""Segment documents as the services send them, for the tests of what reads them."""

from __future__ import annotations

import json
from typing import Any

from deploy.local._traces._document import spans_of
from deploy.local._traces._trace import Trace

HEADER = b'{"format":"json","version":1}\n'
BEGAN = 1_772_359_200.0  # 2026-03-01 10:00:00 UTC


def trace_id(number: int) -> str:
    return f"1-69a40fa0-{number:024x}"


def span_id(number: int) -> str:
    return f"{number:016x}"


def segment(number: int = 1, *, trace: int = 1, **fields: Any) -> dict[str, Any]:
    """A request of the catalog that took 10 ms."""
    return {
        "trace_id": trace_id(trace),
        "id": span_id(number),
        "name": "course_catalog",
        "start_time": BEGAN,
        "end_time": BEGAN + 0.01,
        "http": {
            "request": {"method": "GET", "url": "http://127.0.0.1:1/courses/{courseId}"},
            "response": {"status": 200},
        },
        "annotations": {
            "service": "course_catalog",
            "operation": "GET /courses/{courseId}",
            "route": "/courses/{courseId}",
        },
        **fields,
    }


def call(number: int = 2, **fields: Any) -> dict[str, Any]:
    """A part of a segment: a call of DynamoDB that took 4 ms."""
    return {
        "id": span_id(number),
        "name": "DynamoDB",
        "namespace": "aws",
        "start_time": BEGAN + 0.002,
        "end_time": BEGAN + 0.006,
        "aws": {"operation": "GetItem", "table_name": "CourseCatalog", "region": "us-east-1"},
        **fields,
    }


def alone(document: dict[str, Any], *, parent: int, trace: int = 1) -> dict[str, Any]:
    """The part as it is sent by itself."""
    return {
        **document,
        "type": "subsegment",
        "trace_id": trace_id(trace),
        "parent_id": span_id(parent),
    }


def datagram(document: object) -> bytes:
    return HEADER + json.dumps(document).encode()


def trace_of(*documents: dict[str, Any]) -> Trace:
    spans = [span for document in documents for span in spans_of(document)]
    return Trace(documents[0]["trace_id"], spans, documents)
