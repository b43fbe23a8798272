"""Datagrams that anybody may send: what is a document of a trace, and what is dropped."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local._traces._document import MalformedError, parse_datagram, spans_of
from libs.tracing.testing import recording_tracer
from tests.unit.local.trace_documents import (
    BEGAN,
    HEADER,
    alone,
    call,
    datagram,
    segment,
    span_id,
)


def test_what_the_tracing_library_sends_is_read() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment(
        "PUT /progress/{userId}",
        attributes={"http.request.method": "PUT", "http.route": "/progress/{userId}"},
    ) as request:
        request.set_attribute("http.response.status_code", 201)
        with tracer.span(
            "DynamoDB.UpdateItem",
            kind="aws",
            attributes={
                "rpc.service": "DynamoDB",
                "rpc.method": "UpdateItem",
                "aws.dynamodb.table_names": ["Progress"],
            },
        ):
            pass
    (document,) = emitter.documents()
    request_span, call_span = spans_of(parse_datagram(datagram(document)))
    assert request_span.is_segment
    assert (request_span.status, request_span.method) == (201, "PUT")
    assert request_span.annotations["operation"] == "PUT /progress/{userId}"
    assert call_span.parent_id == request_span.span_id
    assert call_span.service == request_span.name
    described = (call_span.namespace, call_span.name, call_span.operation, call_span.resource)
    assert described == ("aws", "DynamoDB", "UpdateItem", "Progress")


def test_a_part_that_comes_by_itself_hangs_under_its_parent() -> None:
    part = alone(call(5, subsegments=[call(6)]), parent=1)
    first, second = spans_of(parse_datagram(datagram(part)))
    assert (first.is_segment, first.parent_id, first.service) == (False, span_id(1), None)
    assert second.parent_id == span_id(5)


def test_a_segment_in_progress_has_no_end() -> None:
    document = segment(in_progress=True)
    del document["end_time"]
    (span,) = spans_of(document)
    assert span.end is None


def test_exceptions_are_read_with_the_place_they_come_from() -> None:
    stack = [{"path": "repository.py", "line": 12, "label": "load"}, {"path": "app.py", "line": 1}]
    cause = {"exceptions": [{"type": "Throttled", "message": "too fast", "stack": stack}, "?"]}
    (span,) = spans_of(segment(cause=cause))
    (exception,) = span.exceptions
    assert (exception.type, exception.message) == ("Throttled", "too fast")
    assert exception.place == "repository.py:12 in load"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\n",
        b"hello",
        HEADER,
        json.dumps(segment()).encode(),
        b'{"format":"json","version":2}\n' + json.dumps(segment()).encode(),
        b" " * 300 + HEADER + json.dumps(segment()).encode(),
        HEADER + b"[]",
        HEADER + b"\xff\xfe",
        HEADER + json.dumps(segment()).encode("utf-16"),
        HEADER + b"[" * 60_000,
        HEADER + b'{"a":' * 10_000,
        HEADER + b'{"trace_id": NaN}',
        HEADER + b"1" * 60_000,
    ],
)
def test_what_is_no_datagram_of_a_segment_is_refused(sent: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_datagram(sent)


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": "1-69a40fa0"},
        {"trace_id": "1-69a40fa0-" + "\u0660" * 24},
        {"trace_id": None},
        {"id": "1"},
        {"id": "0" * 16 + "\n"},
        {"name": ""},
        {"name": "n" * 201},
        {"name": 7},
        {"start_time": "now"},
        {"start_time": True},
        {"start_time": -1},
        {"start_time": 1e300},
        {"end_time": None},
        {"end_time": BEGAN - 1},
        {"type": "other"},
        {"type": "subsegment"},  # under what?
        {"parent_id": "elsewhere"},
        {"subsegments": {}},
        {"subsegments": ["here"]},
        {"subsegments": [call(id="")]},
        {"subsegments": [call(subsegments=[call(start_time=float("inf"))])]},
    ],
)
def test_what_has_no_place_in_a_trace_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        spans_of(segment(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"http": "GET"},
        {"http": {"request": [], "response": {"status": "200"}}},
        {"http": {"response": {"status": -1}}},
        {"http": {"response": {"status": 10**30}}},
        {"aws": 5, "annotations": [], "cause": 7, "user": {}},
        {"aws": {"table_names": [1, None], "retries": True}},
        {"annotations": {"list": [], "nan": float("nan")}},
        {"cause": {"exceptions": "many"}},
        {"cause": {"exceptions": [{"stack": [1]}, {"stack": {}}, {"type": 1, "message": None}]}},
        {"error": "yes", "fault": 1, "throttle": None},
        {"of": {"a": "later version"}},
    ],
)
def test_what_only_describes_a_span_is_passed_over_where_it_is_wrong(
    fields: dict[str, Any],
) -> None:
    (span,) = spans_of(segment(**fields))
    assert (span.error, span.fault, span.throttle) == (False, False, False)
    assert span.status in (None, 200)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=4)
    | st.dictionaries(st.text(max_size=10), inside, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(sorted({*segment(), *call(), "cause", "type"})), JSON),
    st.binary(max_size=30),
    st.integers(0, 200),
)
def test_anything_is_read_or_refused(fields: dict[str, Any], noise: bytes, at: int) -> None:
    good = datagram(segment(subsegments=[call()]))
    for sent in (datagram(segment(**fields)), noise, good[:at] + noise + good[at:], good[:-at]):
        with contextlib.suppress(MalformedError):
            assert spans_of(parse_datagram(sent))
