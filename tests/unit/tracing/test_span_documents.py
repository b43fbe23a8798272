"""Spans with OpenTelemetry's names become X-Ray documents with X-Ray's."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import libs.tracing
from libs.tracing import SamplingRules, TraceHeader, Tracer, create_tracer
from libs.tracing.testing import Document, InMemoryEmitter, UdpCollector, recording_tracer, walk

TRACE = "1-5759e988-bd862e3fe1be46a994272793"


class ConditionFailedError(Exception):
    pass


class VersionConflictError(Exception):
    pass


class NotFoundError(Exception):
    status = 404


class SlowDownError(Exception):
    status = 429


class BadGatewayError(Exception):
    status = 502


def flags(entity: Document) -> set[str]:
    return {flag for flag in ("error", "fault", "throttle") if entity.get(flag)}


def fail_condition(tracer: Tracer) -> None:
    """What a repository's call does when the condition of its write does not hold."""
    with tracer.span("DynamoDB", kind="aws") as span:
        failed = ConditionFailedError("the version is 4")
        span.record_error(failed, fault=False)
        raise failed


def only_document(emitter: InMemoryEmitter) -> Document:
    (document,) = emitter.documents()
    return document


async def test_a_segment_as_it_arrives_at_the_daemon(
    tracer: Tracer, collector: UdpCollector
) -> None:
    with tracer.segment(
        "GET /courses/{courseId}",
        header=TraceHeader(TRACE, "53995c3f42cd8ad8", True),
        attributes={
            "http.request.method": "GET",
            "http.route": "/courses/{courseId}",
            "url.scheme": "https",
            "server.address": "api.example",
            "user_agent.original": "tablet",
            "client.address": "192.0.2.7",
            "enduser.pseudo.id": "u-1",
            "lyceum.course_id": "asyncio",
            "lyceum.languages": ["de", "fr"],
            "lyceum.odd-key!": 3,
            "feature": "search",
        },
    ) as segment:
        segment.set_attribute("http.response.status_code", 200)
        segment.set_attribute("http.response.body.size", 512)
    (document,) = await collector.wait_for(1)
    assert document["trace_id"] == TRACE
    assert document["parent_id"] == "53995c3f42cd8ad8"
    assert document["name"] == "catalog", "X-Ray draws one node for each name"
    assert document["service"]["version"] == "1.2.3"
    assert document["http"] == {
        "request": {
            "method": "GET",
            "url": "https://api.example/courses/{courseId}",
            "user_agent": "tablet",
            "client_ip": "192.0.2.7",
        },
        "response": {"status": 200, "content_length": 512},
    }
    assert document["user"] == "u-1"
    assert document["annotations"] == {
        "service": "catalog",
        "operation": "GET /courses/{courseId}",
        "route": "/courses/{courseId}",
        "course_id": "asyncio",
        "languages": "de, fr",
        "odd_key_": 3,
        "user": "u-1",
    }
    assert document["metadata"] == {"default": {"feature": "search"}}
    assert document["in_progress"] is False
    assert document["end_time"] >= document["start_time"] > 1_700_000_000
    assert flags(document) == set()


def test_a_dynamodb_call_is_an_aws_subsegment_with_table_and_operation() -> None:
    tracer, emitter = recording_tracer()
    with (
        tracer.segment("GET /courses"),
        tracer.span(
            "DynamoDB.GetItem",
            kind="aws",
            attributes={
                "rpc.service": "DynamoDB",
                "aws.operation": "GetItem",
                "aws.dynamodb.table_names": ["CourseCatalog"],
                "cloud.region": "eu-central-1",
            },
        ) as span,
    ):
        span.set_attribute("aws.request_id", "REQ1")
        span.set_attribute("aws.request.retries", 0)
        span.set_attribute("http.response.status_code", 200)
    segment = only_document(emitter)
    (subsegment,) = segment["subsegments"]
    assert subsegment["namespace"] == "aws"
    assert subsegment["name"] == "DynamoDB"
    assert subsegment["aws"] == {
        "operation": "GetItem",
        "table_name": "CourseCatalog",
        "region": "eu-central-1",
        "request_id": "REQ1",
        "retries": 0,
    }
    assert subsegment["http"] == {"response": {"status": 200}}
    assert subsegment["parent_id"] == segment["id"]
    assert subsegment["trace_id"] == segment["trace_id"]


def test_other_ways_to_name_operation_tables_and_bucket() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("GET /content"):
        with tracer.span(
            "DynamoDB",
            kind="aws",
            attributes={"rpc.method": "BatchGetItem", "aws.dynamodb.table_names": ["A", "B"]},
        ):
            pass
        with tracer.span("S3", kind="aws", attributes={"aws.s3.bucket": "content"}):
            pass
    dynamodb, s3 = only_document(emitter)["subsegments"]
    assert dynamodb["aws"] == {"operation": "BatchGetItem", "table_names": ["A", "B"]}
    assert s3["aws"] == {"bucket_name": "content"}


def test_kinds_become_namespaces() -> None:
    tracer, emitter = recording_tracer()
    with (
        tracer.segment("GET /courses"),
        tracer.span("merge"),
        tracer.span("issuer.example", kind="client"),
    ):
        pass
    namespaces = [e.get("namespace") for e in walk(only_document(emitter))]
    assert namespaces == [None, "local", "remote"]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, set()),
        (304, set()),
        (404, {"error"}),
        (412, {"error"}),
        (429, {"error", "throttle"}),
        (500, {"fault"}),
        (503, {"fault"}),
    ],
)
def test_an_http_status_decides_between_error_and_fault(status: int, expected: set[str]) -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("GET /courses"), tracer.span("issuer.example", kind="client") as span:
        span.set_attribute("http.response.status_code", status)
    with tracer.segment("GET /courses") as segment:
        segment.set_attribute("http.response.status_code", status)
    first, second = emitter.documents()
    assert flags(first) == set()
    assert flags(first["subsegments"][0]) == expected
    assert flags(second) == expected
    # The record itself says so too, for emitters that are not X-Ray's.
    for finished in emitter.spans[1:]:
        record = {
            "error": finished.error,
            "fault": finished.fault,
            "throttle": finished.throttled,
        }
        assert {flag for flag, is_set in record.items() if is_set} == expected


@pytest.mark.parametrize(
    ("exception", "expected"),
    [
        (RuntimeError("bug"), {"fault"}),
        (TimeoutError(), {"fault"}),
        (NotFoundError(), {"error"}),
        (SlowDownError(), {"error", "throttle"}),
        (BadGatewayError(), {"fault"}),
        (asyncio.CancelledError(), set()),
        (KeyboardInterrupt(), set()),
        (ExceptionGroup("", [NotFoundError(), NotFoundError()]), {"error"}),
        (ExceptionGroup("", [NotFoundError(), RuntimeError()]), {"fault"}),
    ],
    ids=repr,
)
def test_an_exception_that_leaves_a_span(exception: BaseException, expected: set[str]) -> None:
    tracer, emitter = recording_tracer()
    with (
        pytest.raises(type(exception)) as caught,
        tracer.segment("GET /courses"),
        tracer.span("merge"),
    ):
        raise exception
    assert caught.value is exception
    for entity in walk(only_document(emitter)):
        assert flags(entity) == expected
        assert ("cause" in entity) is bool(expected), "a cancellation is not even noted"


def test_a_failed_condition_is_an_error_all_the_way_up_and_recorded_once() -> None:
    tracer, emitter = recording_tracer()
    with (
        pytest.raises(ConditionFailedError),
        tracer.segment("PUT /courses"),
        tracer.span("save"),
    ):
        fail_condition(tracer)
    segment, save, dynamodb = walk(only_document(emitter))
    assert [flags(entity) for entity in (segment, save, dynamodb)] == [{"error"}] * 3
    (exception,) = dynamodb["cause"]["exceptions"]
    assert exception["type"] == "ConditionFailedError"
    assert exception["message"] == "the version is 4"
    assert exception["remote"] is True
    assert segment["cause"] == save["cause"] == exception["id"], "by reference"


@pytest.mark.parametrize("explicitly", [True, False])
def test_a_translated_exception_inherits_the_verdict(explicitly: bool) -> None:
    tracer, emitter = recording_tracer()

    def save() -> None:
        try:
            fail_condition(tracer)
        except ConditionFailedError as error:
            raise VersionConflictError from (error if explicitly else None)

    with pytest.raises(VersionConflictError), tracer.segment("PUT /courses"):
        save()
    segment, dynamodb = walk(only_document(emitter))
    assert flags(segment) == {"error"}
    (original,) = dynamodb["cause"]["exceptions"]
    (translated,) = segment["cause"]["exceptions"]
    assert translated["type"] == "VersionConflictError"
    assert translated["cause"] == original["id"]


def test_a_bug_in_an_except_block_is_a_fault_and_inherits_nothing() -> None:
    tracer, emitter = recording_tracer()

    def save() -> None:
        try:
            fail_condition(tracer)
        except ConditionFailedError:
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError), tracer.segment("PUT /courses"):
        save()
    assert flags(only_document(emitter)) == {"fault"}


def test_a_throttled_call_is_an_error_with_throttle() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("GET /courses"), tracer.span("DynamoDB", kind="aws") as span:
        span.record_error(RuntimeError("slow down"), fault=False, throttled=True)
    assert flags(only_document(emitter)["subsegments"][0]) == {"error", "throttle"}


def test_a_recorded_cancellation_is_not_noted() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("GET /courses") as segment:
        segment.record_error(asyncio.CancelledError(), fault=True)
    assert flags(only_document(emitter)) == set()


def test_an_exception_has_the_frames_it_came_through_innermost_first() -> None:
    tracer, emitter = recording_tracer()

    def inner() -> None:
        raise RuntimeError("bug")

    with pytest.raises(RuntimeError), tracer.segment("GET /courses"):
        inner()
    (exception,) = only_document(emitter)["cause"]["exceptions"]
    assert exception["stack"][0]["label"] == "inner"
    assert exception["stack"][0]["path"] == "test_span_documents.py"
    assert isinstance(exception["stack"][0]["line"], int)


def test_secrets_in_urls_are_cut_off_wherever_they_are() -> None:
    tracer, emitter = recording_tracer()
    signed = "https://user:pa55@bucket.example/videos/intro.mp4?X-Amz-Signature=pa55#pa55"
    with (
        pytest.raises(RuntimeError),
        tracer.segment("GET /content"),
        tracer.span(
            "bucket.example",
            kind="client",
            attributes={"url.full": signed, "note": f"before '{signed}' after"},
        ),
    ):
        raise RuntimeError(f"could not get {signed}")
    document = only_document(emitter)
    assert "pa55" not in str(document)
    (subsegment,) = document["subsegments"]
    assert subsegment["http"]["request"]["url"] == "https://bucket.example/videos/intro.mp4"
    assert subsegment["metadata"]["default"]["note"] == (
        "before 'https://bucket.example/videos/intro.mp4' after"
    )


def test_names_hold_only_what_x_ray_takes() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("GET /courses"):
        for name in ("a?b;c*d", "é:/%&#=+\\-@_.", "{}", "x" * 500):
            with tracer.span(name):
                pass
    names = [child["name"] for child in only_document(emitter)["subsegments"]]
    assert names == ["abcd", "é:/%&#=+\\-@_.", "unnamed", "x" * 200]


def test_durations_are_by_the_monotonic_clock() -> None:
    """The wall clock is read once a segment, so that a jump of it makes no negative duration."""
    wall = iter([1_800_000_000.0])
    seconds = iter([50.0, 50.0, 51.0, 53.0, 56.0])
    emitter = InMemoryEmitter()
    tracer = create_tracer(
        service="catalog",
        version="1",
        daemon_address=None,
        rules=SamplingRules(default_rate=1),
        clock=lambda: next(wall),
        monotonic=lambda: next(seconds),
        emitter=emitter,
    )
    with tracer.segment("GET /courses", header=TraceHeader(TRACE)), tracer.span("merge"):
        pass
    segment, span = emitter.spans
    assert (segment.start, segment.end) == (1_800_000_000.0, 1_800_000_006.0)
    assert (span.start, span.end) == (1_800_000_001.0, 1_800_000_003.0)


def test_a_segment_within_a_segment_is_a_document_of_its_own() -> None:
    tracer, emitter = recording_tracer()
    with tracer.segment("outer") as outer:
        with tracer.segment("inner", header=TraceHeader(TRACE)):
            assert tracer.span("below").trace_id == TRACE
        assert tracer.span("after").trace_id == outer.trace_id
    names = [d["annotations"]["operation"] for d in emitter.documents()]
    assert names == ["inner", "outer"]


def test_the_collectors_walk_yields_parents_first() -> None:
    document: dict[str, Any] = {
        "id": "a",
        "subsegments": [{"id": "b", "subsegments": [{"id": "c"}]}],
    }
    assert [(e["id"], e.get("parent_id")) for e in walk(document)] == [
        ("a", None),
        ("b", "a"),
        ("c", "b"),
    ]


def test_nobody_but_those_that_the_record_of_the_decision_names_knows_x_rays_documents() -> None:
    """docs/adr/0048 lists what a move to another back end changes."""
    folder = Path(libs.tracing.__file__).parent
    importers = {
        f"{file.name}: {line.strip()}"
        for file in folder.glob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(from|import) .*(_xray\b|_datagrams\b|aws_xray_sdk)", line)
        and file.name != "_xray.py"
    }
    assert importers == {
        "_tracer.py: from libs.tracing._xray import XRayEmitter",
        "testing.py: from libs.tracing._xray import documents",
    }
