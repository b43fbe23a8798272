"""The service as it is deployed: a process of its own, its loop, its table, its outages, its end."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from yarl import URL

from libs.auth.testing import TokenIssuer
from libs.aws import open_clients
from libs.resilience import PipelineRegistry
from libs.tracing.testing import recording_tracer
from services.course_catalog.domain.course import Course
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from tests.backends import Backend
from tests.integration.course_catalog.conftest import Caller, Door, running_catalog
from tests.integration.metric_lines import figures
from tests.integration.service_process import refused_start
from tests.unit.course_catalog.courses import CONTENT_BODY, content, draft, instant, published


class Authors:
    """Who writes to the table while the service reads it."""

    def __init__(self, backend: Backend, table: str) -> None:
        self._backend = backend
        self._table = table

    async def write(self, *steps: tuple[Course, Course | None]) -> None:
        tracer, _ = recording_tracer()
        async with open_clients(
            self._backend.settings(),
            registry=PipelineRegistry(),
            tracer=tracer,
        ) as clients:
            repository = DynamoDBCourseRepository(clients.dynamodb, self._table)
            for course, previous in steps:
                if previous is None:
                    await repository.create(course)
                else:
                    await repository.replace(course, previous=previous)


@pytest.fixture()
def authors(moto_backend: Backend, table: str, monkeypatch: pytest.MonkeyPatch) -> Authors:
    for name, value in moto_backend.variables.items():
        monkeypatch.setenv(name, value)
    return Authors(moto_backend, table)


def titles(body: object) -> list[str]:
    assert isinstance(body, dict)
    return [item["title"] for item in body["items"]]


async def test_it_starts_on_uvloop_follows_the_table_and_stops_in_order(
    issuer: tuple[TokenIssuer, URL], variables: dict[str, str], authors: Authors
) -> None:
    now = datetime.now(UTC)
    course = published(1, at=(now - instant(0)).total_seconds())
    await authors.write((course, None))
    async with running_catalog(issuer[0], variables) as service:
        await service.until("/readyz", lambda status, _: status == 200)
        listening = next(event for event in service.process.events if event["event"] == "listening")
        assert listening["loop"] == "uvloop"
        status, headers, body = await service.get("/courses")
        assert (status, titles(body)) == (200, ["Course 1"])
        edited = course.edited(content(1, title="Edited"), now=now)
        await authors.write((draft(3), None), (edited, course))
        await service.until("/courses", lambda _, seen: seen["ETag"] != headers["ETag"])
        _, _, body = await service.get("/courses")
        assert titles(body) == ["Edited"]
        status, headers, _ = await service.get("/courses/crs-1")
        assert (status, headers["ETag"]) == (200, '"v3"')
        assert (await service.get("/courses/crs-3"))[0] == 404
        assert (await service.get("/courses/crs-3", "authors"))[0] == 200
        archived = edited.archived(now=now)
        await authors.write((archived, edited))
        await service.until("/courses", lambda _, seen: seen["ETag"] != headers["ETag"])
        assert await service.process.stop() == 0
    assert [event["event"] for event in service.process.events][-1] == "stopped"
    failed = [
        event for event in service.process.events if event["level"] not in ("info", "warning")
    ]
    assert all(event["route"] == "/readyz" for event in failed)
    counted = figures(service.process.events, service="course_catalog")
    one = ("/courses/{courseId}", "GET")
    assert counted["RequestCount", *one] == counted["Latency", *one] == 3
    assert (counted["ErrorCount", *one], counted["FaultCount", *one]) == (1, 0)
    assert counted["DependencyErrors", "dynamodb", "GetItem"] == 0
    assert counted["DependencyLatency", "dynamodb", "GetItem"] == 3
    assert counted["DependencyLatency", "jwks", "Fetch"] >= 1
    assert counted["ConsumedReadCapacityUnits", variables["CATALOG_TABLE"], "(table)"] >= 3
    assert counted["ConsumedReadCapacityUnits", variables["CATALOG_TABLE"], "byStatus"] > 0
    assert counted["BreakerState", "dynamodb:read"] == 0
    assert counted["DirectoryRefreshes",] >= 2
    assert counted["DirectoryRefreshFailures",] == 0
    assert 0 <= counted["DirectoryAge",] < 60
    assert {("EventLoopLag",), ("ResidentMemory",), ("OpenFileDescriptors",)} < counted.keys()


async def test_it_answers_through_an_outage_of_dynamodb(
    issuer: tuple[TokenIssuer, URL], variables: dict[str, str], authors: Authors, door: Door
) -> None:
    await authors.write(*((published(n, at=n), None) for n in range(3)))
    async with running_catalog(issuer[0], variables) as service:
        await service.until("/readyz", lambda status, _: status == 200)
        await service.get("/courses/crs-1")
        door.shut()
        headers = await service.until("/courses", lambda status, seen: _stale(status, seen))
        assert int(headers["Age"]) >= 1
        assert (await service.get("/readyz"))[0] == 200
        status, headers, body = await service.get("/courses/crs-1")
        assert (status, headers["Warning"]) == (200, '110 - "Response is Stale"')
        assert isinstance(body, dict)
        assert body["id"] == "crs-1"
        status, headers, body = await service.get("/courses/crs-2")
        assert isinstance(body, dict)
        assert (status, body["code"]) == (503, "dependency_unavailable")
        assert int(headers["Retry-After"]) >= 1
        # A call tries three times and waits in between, so the failures that it reports come a
        # little after the age that shows.
        await service.until("/courses/crs-2", lambda *_: _failure_is_known(service))
        door.open()
        await service.until("/courses", lambda _, seen: "Warning" not in seen)
        await service.until("/courses/crs-2", lambda status, _: status == 200)
        assert await service.process.stop() == 0
    counted = figures(service.process.events, service="course_catalog")
    assert counted["StaleAnswers",] == 1
    assert counted["DirectoryRefreshFailures",] >= 1
    assert counted["BreakerStateChanges", "dynamodb:read", "open"] >= 1
    errors = [
        number
        for (name, *key), number in counted.items()
        if name == "DependencyErrors" and key[0] == "dynamodb"
    ]
    # Five attempts that fail open the circuit, of calls that make three.
    assert sum(errors) >= 2
    assert counted["FaultCount", "/courses/{courseId}", "GET"] >= 1
    stale = [event for event in service.process.events if event.get("stale")]
    assert stale
    assert all(event["event"] == "request" for event in stale)


def _failure_is_known(service: Caller) -> bool:
    refresh_failed = any(
        event["event"] == "directory_refresh_failed" for event in service.process.events
    )
    opened = any(
        event["event"] == "circuit_state_changed" and event["new"] == "open"
        for event in service.process.events
    )
    return refresh_failed and opened


def _stale(status: int, headers: dict[str, str]) -> bool:
    assert status == 200
    return "Warning" in headers


async def test_a_start_into_an_outage_is_not_ready_until_the_table_was_read_once(
    issuer: tuple[TokenIssuer, URL], variables: dict[str, str], authors: Authors, door: Door
) -> None:
    await authors.write((published(1), None))
    door.shut()
    async with running_catalog(issuer[0], variables) as service:
        assert (await service.get("/healthz"))[0] == 200
        assert (await service.get("/readyz"))[0] == 503
        status, headers, _ = await service.get("/courses")
        assert (status, int(headers["Retry-After"]) >= 1) == (503, True)
        door.open()
        await service.until("/readyz", lambda status, _: status == 200)
        _, _, body = await service.get("/courses")
        assert titles(body) == ["Course 1"]
        assert await service.process.stop() == 0


async def test_an_answer_outlives_the_process_that_gave_it(
    issuer: tuple[TokenIssuer, URL], variables: dict[str, str]
) -> None:
    async with running_catalog(issuer[0], variables) as service:
        status, headers, created = await service.post("/courses", CONTENT_BODY, "k1")
        assert status == 201
        assert isinstance(created, dict)
        assert re.fullmatch(r"[A-Za-z0-9_-]{12}", created["id"])
        await service.process.kill()
    async with running_catalog(issuer[0], variables) as service:
        again = await service.post("/courses", CONTENT_BODY, "k1")
        assert (again[0], again[2]) == (201, created)
        assert again[1]["Idempotent-Replayed"] == "true"
        assert again[1]["Location"] == headers["Location"] == f"/courses/{created['id']}"
        status, _, body = await service.post("/courses", CONTENT_BODY, "k2")
        assert isinstance(body, dict)
        assert (status, body["code"]) == (409, "slug_taken")
        # What the first process had in no index yet, the second has loaded.
        await service.until("/readyz", lambda status, _: status == 200)
        _, _, page = await service.get("/courses?status=draft", "authors")
        assert titles(page) == ["A new course"]
        assert await service.process.stop() == 0


async def test_a_bad_environment_is_told_in_full_and_nothing_starts() -> None:
    refused = await refused_start(
        "course_catalog",
        {
            "CATALOG_PORT": "http",
            "CATALOG_CURSOR_SECRETS": "short",
            "CATALOG_DIRECTORY_REFRESH": "5",
        },
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    problems = refused.stderr.splitlines()
    for name in (
        "CATALOG_PORT",
        "CATALOG_CURSOR_SECRETS",
        "CATALOG_AUTH_ISSUER",
        "CATALOG_AUTH_JWKS_URL",
        "CATALOG_AUTH_CLIENT_IDS",
        "CATALOG_DIRECTORY_REFRESH is not a known variable",
        "AWS_REGION",
    ):
        assert sum(problem.startswith(name) for problem in problems) == 1, problems
    assert "short" not in refused.stderr
