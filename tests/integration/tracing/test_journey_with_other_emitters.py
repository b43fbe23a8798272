"""The journey through the three services, with X-Ray replaced by whatever takes finished spans.

The services are the real applications on real sockets, with their repositories in memory. The first
emitter keeps the spans as they are, the second writes them as OpenTelemetry's protocol wants them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest

from libs.aws import DependencyUnavailable
from libs.tracing import (
    Emitter,
    FinishedSpan,
    SamplingRules,
    Tracer,
    client_trace_config,
    create_tracer,
    pseudonym,
)
from libs.tracing.testing import InMemoryEmitter
from tests.contract.content_delivery import service as content_delivery
from tests.contract.course_catalog.running import running_catalog
from tests.contract.progress_tracking import service as progress_tracking
from tests.integration.tracing.otlp import OtlpEmitter, trace_id_of
from tests.unit.course_catalog.courses import published

pytestmark = pytest.mark.timeout(120)

UPDATE = {
    "occurredAt": "2026-03-01T10:00:00Z",
    "deviceId": "phone-of-the-user",
    "items": {"c1-1": {"completed": True, "positionSeconds": 41.5}},
}
# Method and path, and the name and status that each has in the trace.
JOURNEY = (
    ("GET", "/courses?limit=1", "GET /courses", 200),
    ("GET", "/courses/crs-1", "GET /courses/{courseId}", 200),
    ("GET", "/courses/none", "GET /courses/{courseId}", 404),
    ("GET", "/content/c-1", "GET /content/{contentId}", 200),
    ("GET", "/content/pending", "GET /content/{contentId}", 503),
    ("PUT", "/progress/me/crs-1", "PUT /progress/{userId}/{courseId}", 201),
    ("GET", "/progress/me", "GET /progress/{userId}", 200),
)

SERVICES = ("course_catalog", "content_delivery", "progress_tracking")
# https://opentelemetry.io/docs/specs/semconv/registry/attributes/
OPENTELEMETRY = {
    *("http.request.method", "http.response.status_code", "http.response.body.size", "http.route"),
    *("url.scheme", "url.full", "server.address", "user_agent.original", "enduser.pseudo.id"),
}

FAILURE = DependencyUnavailable("dynamodb", "GetItem", reason="connection")
FAILURE.__cause__ = ConnectionResetError("peer went away")


class Both:
    """Hands each span to several emitters."""

    def __init__(self, *emitters: Emitter) -> None:
        self._emitters = emitters

    def emit(self, spans: Sequence[FinishedSpan]) -> None:
        for emitter in self._emitters:
            emitter.emit(spans)

    def close(self) -> None:
        for emitter in self._emitters:
            emitter.close()


def tracer_with(emitter: Emitter, service: str) -> Tracer:
    return create_tracer(
        service=service,
        version="1.2.3",
        daemon_address=None,
        rules=SamplingRules(default_rate=1),
        random=random.Random(service),
        emitter=emitter,
    )


@dataclass(frozen=True)
class Platform:
    """Where each service answers, the token of its issuer, and what content's repository fails with."""

    services: dict[str, tuple[str, str]]
    world: content_delivery.World

    async def ask(self, session: aiohttp.ClientSession, method: str, path: str) -> int:
        base, token = self.services[path.split("/")[1].partition("?")[0]]
        body = UPDATE if method == "PUT" else None
        # What is asked for last has not been read before, so the repository is asked for it.
        self.world.contents.failure = FAILURE if path == "/content/pending" else None
        async with session.request(
            method, base + path, headers={"Authorization": token}, json=body
        ) as response:
            problem = await response.json()
            if response.status >= 400:
                root = response.headers["X-Amzn-Trace-Id"].partition(";")[0]
                assert problem["traceId"] == root.removeprefix("Root=")
            return response.status


@asynccontextmanager
async def three_services(emitters: Mapping[str, Emitter]) -> AsyncIterator[Platform]:
    tracers = {name: tracer_with(emitter, name) for name, emitter in emitters.items()}
    world = content_delivery.World()
    content_delivery.usual_rows(world)
    async with (
        running_catalog(courses=[published(1)], tracer=tracers["course_catalog"]) as catalog,
        content_delivery.running(world, tracer=tracers["content_delivery"]) as content,
        progress_tracking.running(tracer=tracers["progress_tracking"]) as progress,
    ):
        yield Platform(
            {
                "courses": (
                    str(catalog.base).rstrip("/"),
                    catalog.token(sub="learner-a")["Authorization"],
                ),
                "content": (str(content.served.api), f"Bearer {content.token}"),
                "progress": (
                    str(progress.served.api).rstrip("/"),
                    progress.token()["Authorization"],
                ),
            },
            world,
        )


async def journey(emitters: Mapping[str, Emitter]) -> None:
    """Each request of the journey, from within one segment of the client's."""
    client = tracer_with(emitters["client"], "client")
    async with (
        three_services({name: emitters[name] for name in SERVICES}) as platform,
        aiohttp.ClientSession(trace_configs=[client_trace_config(client)]) as session,
    ):
        with client.segment("journey"):
            for method, path, _, status in JOURNEY:
                assert await platform.ask(session, method, path) == status


async def test_the_journey_is_one_tree_in_memory() -> None:
    memory = InMemoryEmitter()
    await journey(dict.fromkeys([*SERVICES, "client"], memory))
    spans = {span.span_id: span for span in memory.spans}
    assert len(spans) == len(memory.spans) == 1 + 2 * len(JOURNEY)
    (root,) = (span for span in memory.spans if span.parent_id is None)
    assert root.name == "journey"
    assert {span.trace_id for span in memory.spans} == {root.trace_id}

    calls = [span for span in memory.spans if span.kind == "client"]
    assert {call.parent_id for call in calls} == {root.span_id}
    requests = [span for span in memory.spans if span.is_segment and span is not root]
    by_call = {request.parent_id: request for request in requests}
    learner = pseudonym("learner-a")
    for call, (_, _, operation, status) in zip(calls, JOURNEY, strict=True):
        request = by_call[call.span_id]
        assert request.name == operation
        assert request.kind == "server"
        assert request.attributes["http.response.status_code"] == status
        assert call.attributes["http.response.status_code"] == status
        assert (request.error, request.fault) == (400 <= status < 500, status >= 500)
        assert request.attributes["http.route"] == operation.partition(" ")[2]
        assert request.attributes["enduser.pseudo.id"] == learner
        assert ("lyceum.course" in request.attributes) is ("{courseId}" in operation)
        assert root.start <= call.start <= request.start <= request.end
    (failed,) = (request for request in requests if request.fault)
    types = [exception.type for exception in failed.exceptions]
    assert types == ["DependencyUnavailable", "ConnectionResetError"]
    assert failed.exceptions[0].caused_by == failed.exceptions[1].id


async def test_the_same_spans_are_what_opentelemetry_wants() -> None:
    memory = InMemoryEmitter()
    exporters = {name: OtlpEmitter(name, "1.2.3") for name in [*SERVICES, "client"]}
    await journey({name: Both(memory, exporter) for name, exporter in exporters.items()})
    written = {span["spanId"]: span for exporter in exporters.values() for span in exporter.spans()}
    assert set(written) == {span.span_id for span in memory.spans}
    for span in memory.spans:
        exported = written[span.span_id]
        assert re.fullmatch("[0-9a-f]{32}", exported["traceId"])
        assert exported["traceId"] == trace_id_of(span.trace_id)
        assert re.fullmatch("[0-9a-f]{16}", exported["spanId"])
        assert exported.get("parentSpanId") == span.parent_id
        assert int(exported["startTimeUnixNano"]) <= int(exported["endTimeUnixNano"])
        assert len(exported["attributes"]) == len(span.attributes)
        assert len(exported["events"]) == len(span.exceptions)

    served: dict[str, list[int]] = {}
    for exported in written.values():
        if exported["kind"] == 2:
            served.setdefault(exported["name"], []).append(exported["status"]["code"])
    # A 404 is none of the server's errors, a 503 is.
    assert served["GET /courses/{courseId}"] == [0, 0]
    assert sorted(served["GET /content/{contentId}"]) == [0, 2]

    # The names are OpenTelemetry's and ours, and none is X-Ray's.
    # (Without the events: a stack may name any file.)
    text = json.dumps([{**span, "events": []} for span in written.values()]).lower()
    for word in ("x-ray", "xray", "segment", "annotation", "metadata", "namespace", "x-amzn"):
        assert word not in text
    keys = {attribute["key"] for span in written.values() for attribute in span["attributes"]}
    assert keys <= OPENTELEMETRY | {"lyceum.course", "sampling.rule"}


async def test_a_span_of_each_kind_and_value_has_its_place_in_opentelemetry() -> None:
    exporter = OtlpEmitter("course_catalog", "1")
    tracer = tracer_with(exporter, "course_catalog")
    with tracer.segment("GET /courses"):
        with tracer.span("merge", attributes={"a": True, "b": 7, "c": 0.5, "d": ["x", "y"]}):
            pass
        with tracer.span("DynamoDB.GetItem", kind="aws") as call:
            call.record_error(LookupError("the version is 4"), fault=False)
        with tracer.span("issuer.example", kind="client"):
            pass
        with tracer.span("SNS.Publish", kind="producer"):
            pass
    with tracer.message_segment("process", {}):
        pass
    spans = {span["name"]: span for span in exporter.spans()}
    assert {name: span["kind"] for name, span in spans.items()} == {
        "GET /courses": 2,
        "merge": 1,
        "DynamoDB.GetItem": 3,
        "issuer.example": 3,
        "SNS.Publish": 4,
        "process": 5,
    }
    assert spans["DynamoDB.GetItem"]["status"] == {"code": 2}, "an error of a client's span"
    assert spans["GET /courses"]["status"] == {"code": 0}
    assert spans["merge"]["attributes"] == [
        {"key": "a", "value": {"boolValue": True}},
        {"key": "b", "value": {"intValue": "7"}},
        {"key": "c", "value": {"doubleValue": 0.5}},
        {
            "key": "d",
            "value": {"arrayValue": {"values": [{"stringValue": "x"}, {"stringValue": "y"}]}},
        },
    ]
