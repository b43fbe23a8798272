"""What arrives at the X-Ray daemon of a journey: one whole tree a request, and nothing private.

The daemon is a UDP socket of this test. The services run on uvloop, where the worst defect of the
X-Ray SDK would show: connections that hang because tasks are given a context.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from libs.tracing import pseudonym
from libs.tracing.testing import UdpCollector, walk
from tests.system.exchange import Answer, ask
from tests.system.logs import logged
from tests.system.platform_process import RunningPlatform, until
from tests.system.roles import SERVICES

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

TABLES = {
    "course_catalog": "CourseCatalog",
    "content_delivery": "Content",
    "progress_tracking": "Progress",
}
PARENT = "53995c3f42cd8ad8"
DEVICE = "phone-of-the-traced-user"
POSITION = 41.523

Document = dict[str, Any]


class Traced:
    """A platform whose services send every trace to a socket of ours."""

    def __init__(self, platform: RunningPlatform, collector: UdpCollector) -> None:
        self.platform = platform
        self.collector = collector
        self._ids = random.Random(1)

    def new_root(self) -> str:
        return f"1-{int(time.time()):08x}-{self._ids.getrandbits(96):024x}"

    async def ask(
        self, path: str, trace: str | None, *, service: str | None = None, **options: Any
    ) -> Answer:
        """A request of the learner with this trace header; to the gateway, or straight to a service."""
        documents = self.platform.document
        address = documents["services"][service] if service else documents["gateway"]
        headers = {} if trace is None else {"X-Amzn-Trace-Id": trace}
        token = documents["users"]["learner-a"]["accessToken"]
        return await asyncio.to_thread(ask, address + path, token=token, headers=headers, **options)

    async def of(self, root: str, count: int) -> list[Document]:
        """The documents of a trace, once there are so many, by when they began."""
        async with asyncio.timeout(30):
            while len(found := self.so_far(root)) < count:
                await self.collector.wait_for(len(self.collector.segments()) + 1, timeout=30)
        return sorted(found, key=lambda document: document["start_time"])

    def so_far(self, root: str) -> list[Document]:
        return [document for document in self.collector.segments() if document["trace_id"] == root]

    async def settled(self, service: str) -> None:
        """Returns when all that the service has sent before now is here: datagrams of one socket
        to another on the same machine keep their order."""
        root = self.new_root()
        await self.ask("/version", f"Root={root};Sampled=1", service=service)
        await self.of(root, 1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def traced(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Traced]:
    directory = tmp_path_factory.mktemp("platform")
    async with UdpCollector() as collector:
        running = RunningPlatform(
            directory, directory / "state", "--port", "0", "--xray", collector.address
        )
        try:
            yield Traced(running, collector)
            assert running.signal(signal.SIGINT) == 0, running.errors
        finally:
            running.end()


async def journey(traced: Traced, trace: str) -> list[tuple[str, Answer]]:
    """The user's journey, each request with the same trace header; with each request's route."""
    update = {
        "occurredAt": "2026-03-01T10:00:00Z",
        "deviceId": DEVICE,
        "items": {"tides-1-1": {"completed": True, "positionSeconds": POSITION}},
    }
    sub = traced.platform.document["users"]["learner-a"]["sub"]
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("GET /courses", "/courses?q=tides&limit=1", {}),
        ("GET /courses/{courseId}", "/courses/tides", {}),
        ("GET /content/{contentId}", "/content/tides-1-1?disposition=attachment", {}),
        (
            "PUT /progress/{userId}/{courseId}",
            "/progress/me/tides",
            {"method": "PUT", "json_body": update},
        ),
        ("GET /progress/{userId}/{courseId}", f"/progress/{sub}/tides", {}),
        ("GET /progress/{userId}", "/progress/me?status=in_progress", {}),
    ]
    return [(route, await traced.ask(path, trace, **options)) for route, path, options in steps]


def service_of(operation: str) -> str:
    first = operation.split("/")[1]
    names = {"courses": "course_catalog", "content": "content_delivery"}
    return names.get(first, "progress_tracking")


def operations(segment: Mapping[str, Any]) -> list[str]:
    """The calls of DynamoDB in a segment, after a look at each entity of its tree."""
    table = TABLES[segment["name"]]
    found = []
    entities = list(walk(segment))
    for entity in entities[1:]:
        parents = [other for other in entities if other["id"] == entity["parent_id"]]
        assert len(parents) == 1
        assert parents[0]["start_time"] <= entity["start_time"] <= entity["end_time"]
        assert entity["end_time"] <= parents[0]["end_time"]
        if entity["name"] == "DynamoDB":
            assert entity["namespace"] == "aws"
            aws = entity["aws"]
            assert (aws["table_name"], aws["region"]) == (table, "us-east-1")
            assert aws["request_id"]
            found.append(aws["operation"])
    assert len({entity["id"] for entity in entities}) == len(entities)
    return found


async def test_the_services_run_on_uvloop(traced: Traced) -> None:
    for service in SERVICES:
        listening = [
            event for event in logged(traced.platform, service) if event["event"] == "listening"
        ]
        assert [event["loop"] for event in listening] == ["uvloop"]


async def test_a_journey_is_one_trace_of_one_tree_a_request(traced: Traced) -> None:
    root = traced.new_root()
    answers = await journey(traced, f"Root={root};Parent={PARENT};Sampled=1")
    assert [answer.status for _, answer in answers] == [200, 200, 200, 201, 200, 200]
    segments = await traced.of(root, len(answers))
    assert len(segments) == len(answers)

    user = pseudonym(traced.platform.document["users"]["learner-a"]["sub"])
    calls = {}
    for (operation, answer), segment in zip(answers, segments, strict=True):
        service = service_of(operation)
        assert segment["name"] == service
        assert segment["parent_id"] == PARENT
        assert "type" not in segment  # a segment, not a part of one that came by itself
        assert segment["annotations"]["operation"] == operation
        assert segment["annotations"]["route"] == operation.partition(" ")[2]
        # By these two a user's requests and a course's are found, in whichever service they were.
        course = {"course": "tides"} if "{courseId}" in operation else {}
        assert segment["annotations"].items() >= {**course, "user": user}.items()
        assert segment["user"] == user
        assert ("course" in segment["annotations"]) is bool(course)
        assert segment["http"]["response"]["status"] == answer.status
        assert not {"error", "fault", "throttle"} & segment.keys()
        # The answer names the segment, so that what the client does next can hang below it.
        expected = f"Root={root};Parent={segment['id']};Sampled=1"
        assert answer.headers["X-Amzn-Trace-Id"] == expected
        calls[operation] = operations(segment)
    assert calls.pop("GET /courses") == []  # from the directory in memory
    assert calls.pop("GET /courses/{courseId}") == ["GetItem"]
    assert calls.pop("GET /content/{contentId}") == ["GetItem"]
    assert "UpdateItem" in calls.pop("PUT /progress/{userId}/{courseId}")
    for reads in calls.values():
        assert set(reads) <= {"Query", "BatchGetItem"}
        assert reads != []


async def test_requests_at_the_same_time_stay_apart(traced: Traced) -> None:
    roots = [traced.new_root() for _ in range(40)]
    paths = ["/courses/tides", "/content/tides-1-2", "/progress/me", "/courses/asyncio"]
    answers = await asyncio.gather(
        *(
            traced.ask(paths[number % len(paths)], f"Root={root};Parent={PARENT};Sampled=1")
            for number, root in enumerate(roots)
        )
    )
    assert {answer.status for answer in answers} == {200}
    for number, root in enumerate(roots):
        (segment,) = await traced.of(root, 1)
        assert segment["name"] == service_of(f"GET {paths[number % len(paths)]}")
        assert {entity["trace_id"] for entity in walk(segment)} == {root}
        found = operations(segment)
        # Content is read by one of those that ask for the same at the same time.
        assert found or segment["name"] == "content_delivery"


async def test_the_callers_error_is_an_error_and_no_fault(traced: Traced) -> None:
    root = traced.new_root()
    answer = await traced.ask("/courses/no-such-course", f"Root={root};Sampled=1")
    assert answer.status == 404
    (segment,) = await traced.of(root, 1)
    assert segment["error"] is True
    assert "fault" not in segment
    assert operations(segment) == ["GetItem"]
    assert "parent_id" not in segment


async def test_an_update_that_loses_a_race_is_no_fault(traced: Traced) -> None:
    """The failed conditions of concurrent updates are part of the work, not errors of DynamoDB."""
    root = traced.new_root()
    updates = [
        {
            "occurredAt": f"2026-03-01T12:00:{number:02}Z",
            "deviceId": f"device-{number}",
            "resume": {"contentId": "sql-1-1", "positionSeconds": number},
        }
        for number in range(20)
    ]
    answers = await asyncio.gather(
        *(
            traced.ask(
                "/progress/me/sql",
                f"Root={root};Sampled=1",
                method="PUT",
                json_body=update,
            )
            for update in updates
        )
    )
    assert {answer.status for answer in answers} <= {200, 201}
    segments = await traced.of(root, len(answers))
    for segment in segments:
        operations(segment)
        assert not any("fault" in entity for entity in walk(segment))
        assert "error" not in segment
        assert segment["annotations"].pop("course") == "sql"
        # Nothing else of the request is there, nor of what DynamoDB said about it.
        assert not any(word in json.dumps(segment) for word in ("sql", "device-"))


async def test_a_request_without_a_trace_begins_one_at_the_gateway(traced: Traced) -> None:
    answer = await traced.ask("/courses/tides", None)
    root = answer.headers["X-Amzn-Trace-Id"].partition(";")[0].removeprefix("Root=")
    (segment,) = await traced.of(root, 1)
    assert "parent_id" not in segment
    # The same trace stands in the logs of both, which write their lines when all is sent.
    for process in ("gateway", "course_catalog"):
        until(partial(is_logged, root, traced.platform, process), f"{process} logs the request")


def is_logged(root: str, platform: RunningPlatform, process: str) -> bool:
    events = [event for event in logged(platform, process) if root in event.get("traceId", "")]
    return [event["route"] for event in events] == ["/courses/{courseId}"]


async def test_a_traceparent_that_comes_alone_is_continued(traced: Traced) -> None:
    root = traced.new_root()
    traceparent = f"00-{root.replace('-', '')[1:]}-{PARENT}-01"
    answer = await asyncio.to_thread(
        ask,
        traced.platform.document["services"]["course_catalog"] + "/courses",
        token=traced.platform.document["users"]["learner-a"]["accessToken"],
        headers={"traceparent": traceparent},
    )
    assert answer.status == 200
    (segment,) = await traced.of(root, 1)
    assert segment["parent_id"] == PARENT


async def test_health_checks_and_what_the_caller_did_not_sample_leave_nothing(
    traced: Traced,
) -> None:
    roots = []
    for service in SERVICES:
        for path in ("/healthz", "/readyz"):
            roots.append(traced.new_root())
            answer = await traced.ask(path, f"Root={roots[-1]};Sampled=1", service=service)
            assert answer.status == 200
    for path in ("/courses/tides", "/content/tides-1-1", "/progress/me"):
        roots.append(traced.new_root())
        answer = await traced.ask(path, f"Root={roots[-1]};Parent={PARENT};Sampled=0")
        assert answer.status == 200
        assert answer.headers["X-Amzn-Trace-Id"].endswith(";Sampled=0")
    for service in SERVICES:
        await traced.settled(service)
    assert [traced.so_far(root) for root in roots] == [[]] * len(roots)


async def test_nothing_private_is_in_any_segment(traced: Traced) -> None:
    root = traced.new_root()
    answers = await journey(traced, f"Root={root};Sampled=1")
    segments = await traced.of(root, len(answers))
    bodies = {operation: answer.json for operation, answer in answers if answer.body}
    delivery = bodies["GET /content/{contentId}"]
    user = traced.platform.document["users"]["learner-a"]
    header, payload, signature = user["accessToken"].split(".")
    signed = delivery["url"].partition("?")[2].split("&")
    private = {
        header,
        payload,
        signature,
        "Bearer",
        "X-Amz-",
        "content/tides-1-1",  # the object's key
        delivery["etag"].strip('"'),
        *(value for _, _, value in (part.partition("=") for part in signed) if len(value) > 15),
        # Ids and words of paths, queries and bodies.
        user["sub"],
        "tides-1-1",
        "Tides",
        DEVICE,
        str(POSITION),
        "attachment",
        "q=",
        "limit=",
        "status=",
    }
    for segment in segments:
        # The one id that is shown is the course's, in the one place where it is searched for.
        if "{courseId}" in segment["annotations"]["route"]:
            assert segment["annotations"].pop("course") == "tides"
        text = json.dumps(segment)
        assert [word for word in private | {"tides"} if word in text] == []
        url = segment["http"]["request"]["url"]
        assert url == traced.platform.gateway + segment["annotations"]["route"]


async def test_every_datagram_is_one_that_a_daemon_takes(traced: Traced) -> None:
    assert max(traced.collector.datagram_sizes) <= 64 * 1024
    assert {document["name"] for document in traced.collector.segments()} <= set(SERVICES)
    assert all(not document["in_progress"] for document in traced.collector.segments())
