"""Every response that openapi.yaml documents is produced over a real socket and checked against it.

Each scenario names the one promise it keeps; the last test compares the scenarios' promises with
the document's, so a response that nobody can produce may not be documented.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate

from libs.auth import KeysUnavailableError, Principal
from libs.http import DRAIN
from libs.idempotency import KeyedRequest, Record, fingerprint
from tests.contract.course_catalog.running import RunningCatalog, running_catalog
from tests.contract.openapi import Contract, Promise
from tests.unit.course_catalog.courses import CONTENT_BODY, draft, instant, published

OPENAPI = Path("services/course_catalog/openapi.yaml")
CONTRACT = Contract(OPENAPI)

LIST, ONE = "/courses", "/courses/{courseId}"
PUBLISH, ARCHIVE = f"{ONE}/publish", f"{ONE}/archive"
COURSES = [
    published(1, at=1),
    published(2, at=2),
    published(3, at=3),
    draft(4, at=4),
    draft(5, at=5, outline=()),
]


def _nothing(_: RunningCatalog) -> None:
    """No preparation."""


def _fail(running: RunningCatalog) -> None:
    running.repository.failing = True


def _fail_for_long(running: RunningCatalog) -> None:
    running.repository.failing = True
    running.seconds += 600


def _drain(running: RunningCatalog) -> None:
    running.app[DRAIN].draining = True


def _fail_writes(running: RunningCatalog) -> None:
    running.repository.refuse_write = True


def _take_key(running: RunningCatalog, *, lease: float, resource_id: str = "new-0") -> None:
    """As a request for BODY leaves a key that is not answered yet; its lease may have ended."""
    request = KeyedRequest(
        "k1", "author-a", "createCourse", fingerprint("POST", "/courses", {}, BODY)
    )
    running.keys.records[request.digest] = Record(
        fingerprint=request.fingerprint,
        resource_id=resource_id,
        token="another's",
        lease_until=instant(30) + timedelta(seconds=lease),
        expires_at=instant(30) + timedelta(hours=24),
    )


def _in_progress(running: RunningCatalog) -> None:
    _take_key(running, lease=10)


async def _created_and_deleted(running: RunningCatalog) -> None:
    _take_key(running, lease=-1, resource_id="crs-4")
    course = COURSES[3]
    await running.repository.delete(course.deleted(now=instant(9)), previous=course)


async def _create_under_key(running: RunningCatalog) -> None:
    status, _, _ = await running.write("POST", "/courses", BODY, key="k1")
    assert status == 201


async def _describe_at_length(running: RunningCatalog) -> None:
    """So that a long outline no longer fits."""
    status, _, _ = await running.write(
        "PATCH", "/courses/crs-4", {"description": "🌍" * 50_000}, if_match='"v1"'
    )
    assert status == 200


class NoKeys:
    """A verifier whose issuer was never reached."""

    async def verify(self, token: str) -> Principal:
        raise KeysUnavailableError(5)


@dataclass(frozen=True)
class Scenario:
    """One request, in one state of the world, and the status it must give."""

    template: str
    status: int
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    anonymous: bool = False
    never_loaded: bool = False
    no_keys: bool = False
    after: Callable[[RunningCatalog], object] = _nothing
    revalidate: bool = False
    code: str | None = None
    methods: tuple[str, ...] = ("GET",)
    body: object = None
    data: bytes | None = None
    stalls: bool = False
    """The body begins and never ends."""

    @property
    def promises(self) -> set[Promise]:
        return {Promise(method, self.template, self.status) for method in self.methods}


BODY = CONTENT_BODY
LONG_OUTLINE = [
    {
        "id": "s",
        "title": "S",
        "items": [{"contentId": f"i{n}", "title": "é" * 200, "type": "quiz"} for n in range(500)],
    }
]


def _author(template: str, method: str, status: int, path: str, **options: Any) -> Scenario:
    """A request of an author's, with what its method needs unless the scenario takes it away."""
    made = Scenario(template, status, path, groups=("authors",), methods=(method,))
    if method != "POST" or template != LIST:
        made = replace(made, headers={"If-Match": '"v1"'})
    if method == "PUT" or template == LIST:
        made = replace(made, body=BODY)
    if method == "PATCH":
        made = replace(made, body={"title": "New"})
    return replace(made, **options)


def _authoring() -> list[Scenario]:
    """Every answer to every change. crs-4 and crs-5 are drafts in v1, crs-1 is published in v2."""
    key = {"Idempotency-Key": "k1"}
    found = [
        _author(LIST, "POST", 201, "/courses"),
        _author(LIST, "POST", 201, "/courses", headers=key, after=_create_under_key),
        _author(LIST, "POST", 400, "/courses", headers={"Content-Type": "application/json"},
            body=None, data=b"{", code="malformed_json"),
        _author(LIST, "POST", 400, "/courses?dry=1", code="invalid_query"),
        _author(
            LIST, "POST", 400, "/courses", headers={"Idempotency-Key": "a b"}, code="invalid_header"
        ),
        _author(LIST, "POST", 409, "/courses", body=BODY | {"slug": "course-1"}, code="slug_taken"),
        _author(
            LIST, "POST", 409, "/courses", headers=key, after=_in_progress,
            code="idempotency_in_progress",
        ),
        _author(
            LIST, "POST", 409, "/courses", headers=key, after=_created_and_deleted,
            code="course_deleted",
        ),
        _author(LIST, "POST", 422, "/courses", body={}, code="invalid_body"),
        _author(
            LIST, "POST", 422, "/courses", headers=key, body=BODY | {"title": "Another"},
            after=_create_under_key, code="idempotency_key_reused",
        ),
    ]  # fmt: skip
    changes = (
        (ONE, "PUT", "/courses/{}", "crs-4", 200),
        (ONE, "PATCH", "/courses/{}", "crs-4", 200),
        (ONE, "DELETE", "/courses/{}", "crs-4", 204),
        (PUBLISH, "POST", "/courses/{}/publish", "crs-4", 200),
        (ARCHIVE, "POST", "/courses/{}/archive", "crs-1", 200),
    )
    for template, method, path, course_id, status in changes:
        one, ghost = path.format(course_id), path.format("none")
        based = {"If-Match": '"v2"' if course_id == "crs-1" else '"v1"'}
        found += [
            _author(template, method, status, one, headers=based),
            _author(template, method, 400, path.format("a.b"), code="invalid_path"),
            _author(template, method, 400, f"{one}?force=1", code="invalid_query"),
            _author(template, method, 400, one, headers={"If-Match": "v1"}, code="invalid_header"),
            _author(template, method, 404, ghost, code="course_not_found"),
            _author(
                template, method, 412, one, headers={"If-Match": '"v9"'}, code="precondition_failed"
            ),
            _author(template, method, 428, one, headers={}, code="precondition_required"),
            _author(template, method, 503, one, headers=based, after=_fail_writes),
            _author(template, method, 503, one, after=_fail, code="dependency_unavailable"),
        ]
    for template, method, path in (
        (LIST, "POST", "/courses"),
        *((template, method, path.format("crs-4")) for template, method, path, _, _ in changes),
    ):
        found += [
            _author(template, method, 401, path, groups=(), anonymous=True),
            _author(template, method, 403, path, groups=(), code="forbidden"),
            _author(template, method, 406, path, headers={"Accept": "text/csv"}),
        ]
    for template, method, path in (
        (LIST, "POST", "/courses"),
        (ONE, "PUT", "/courses/crs-4"),
        (ONE, "PATCH", "/courses/crs-4"),
    ):
        found += [
            _author(template, method, 413, path, body={"title": "x" * 270_000}),
            _author(template, method, 415, path, body=None, data=b"{}"),
            _author(
                template, method, 408, path, body=None, stalls=True, code="request_timeout",
                headers={
                    "If-Match": '"v1"',
                    "X-Request-Timeout-Ms": "100",
                    "Content-Type": f"application/{'merge-patch+' * (method == 'PATCH')}json",
                },
            ),
        ]  # fmt: skip
    return [
        *found,
        _author(LIST, "POST", 503, "/courses", after=_fail_writes, code="dependency_unavailable"),
        _author(ONE, "PUT", 409, "/courses/crs-4", body=BODY | {"slug": "course-1"}),
        _author(ONE, "PUT", 422, "/courses/crs-4", body=BODY | {"id": "x"}, code="invalid_body"),
        _author(ONE, "PATCH", 409, "/courses/crs-4", body={"slug": "course-1"}, code="slug_taken"),
        _author(ONE, "PATCH", 422, "/courses/crs-4", body={"title": None}, code="invalid_body"),
        _author(
            ONE, "PATCH", 422, "/courses/crs-4", headers={"If-Match": '"v2"'},
            body={"outline": LONG_OUTLINE}, after=_describe_at_length, code="course_too_large",
        ),
        _author(
            ONE, "DELETE", 409, "/courses/crs-1", headers={"If-Match": '"v2"'},
            code="course_not_draft",
        ),
        _author(PUBLISH, "POST", 409, "/courses/crs-5/publish", code="course_not_publishable"),
        _author(ARCHIVE, "POST", 409, "/courses/crs-4/archive", code="course_not_published"),
    ]  # fmt: skip


BOTH = ("GET", "HEAD")
SCENARIOS = [
    Scenario(LIST, 200, "/courses?limit=2", methods=BOTH),
    Scenario(LIST, 200, "/courses", methods=BOTH, after=_fail_for_long),
    Scenario(LIST, 200, "/courses?status=draft", groups=("authors",), methods=BOTH),
    Scenario(LIST, 304, "/courses?limit=2", revalidate=True, methods=BOTH),
    Scenario(LIST, 400, "/courses?limit=0", code="invalid_query", methods=BOTH),
    Scenario(LIST, 400, "/courses?cursor=AAAA", code="invalid_cursor", methods=BOTH),
    Scenario(LIST, 401, "/courses", anonymous=True, code="authentication_required", methods=BOTH),
    Scenario(LIST, 401, "/courses", headers={"Authorization": "Bearer x"}, code="invalid_token"),
    Scenario(LIST, 403, "/courses?status=draft", code="forbidden", methods=BOTH),
    Scenario(
        LIST, 406, "/courses", headers={"Accept": "text/csv"}, code="not_acceptable", methods=BOTH
    ),
    Scenario(LIST, 503, "/courses", never_loaded=True, code="dependency_unavailable", methods=BOTH),
    Scenario(LIST, 503, "/courses", no_keys=True, code="dependency_unavailable"),
    Scenario(ONE, 200, "/courses/crs-1", methods=BOTH),
    Scenario(ONE, 200, "/courses/crs-4", groups=("staff",)),
    Scenario(ONE, 304, "/courses/crs-1", headers={"If-None-Match": '"v2"'}, methods=BOTH),
    Scenario(ONE, 400, "/courses/a.b", code="invalid_path", methods=BOTH),
    Scenario(ONE, 401, "/courses/crs-1", anonymous=True, methods=BOTH),
    Scenario(ONE, 404, "/courses/none", code="course_not_found", methods=BOTH),
    Scenario(ONE, 404, "/courses/crs-4", code="course_not_found"),
    Scenario(ONE, 406, "/courses/crs-1", headers={"Accept": "image/png"}, methods=BOTH),
    Scenario(ONE, 503, "/courses/crs-2", after=_fail, code="dependency_unavailable", methods=BOTH),
    Scenario("/healthz", 200, "/healthz", anonymous=True),
    Scenario("/readyz", 200, "/readyz", anonymous=True),
    Scenario("/readyz", 503, "/readyz", never_loaded=True, anonymous=True, code="not_ready"),
    Scenario("/readyz", 503, "/readyz", after=_drain, anonymous=True, code="draining"),
    Scenario("/version", 200, "/version", anonymous=True),
    Scenario("/openapi.json", 200, "/openapi.json", anonymous=True),
    Scenario("/openapi.json", 304, "/openapi.json", anonymous=True, revalidate=True),
    Scenario("/docs", 200, "/docs", anonymous=True),
    *_authoring(),
]


@pytest.mark.parametrize(
    ("scenario", "method"),
    [(scenario, method) for scenario in SCENARIOS for method in scenario.methods],
    ids=lambda value: f"{value.path} {value.status}" if isinstance(value, Scenario) else value,
)
async def test_a_documented_response_is_produced_as_documented(
    scenario: Scenario, method: str
) -> None:
    async with running_catalog(
        courses=COURSES,
        failing=scenario.never_loaded,
        verifier=NoKeys() if scenario.no_keys else None,
    ) as running:
        prepared = scenario.after(running)
        if inspect.isawaitable(prepared):
            await prepared
        headers = dict(scenario.headers)
        if scenario.revalidate:
            _, seen, _ = await running.get(scenario.path, anonymous=scenario.anonymous)
            headers["If-None-Match"] = seen["ETag"]
        async with running.request(
            method,
            scenario.path,
            headers=headers,
            groups=scenario.groups,
            anonymous=scenario.anonymous,
            body=scenario.body,
            data=_stalled_body() if scenario.stalls else scenario.data,
        ) as response:
            assert response.status == scenario.status, await response.text()
            body = await CONTRACT.check(response, method, scenario.template)
        if scenario.code is not None and method != "HEAD":
            assert isinstance(body, dict)
            assert (body["code"], body["status"]) == (scenario.code, scenario.status)


async def _stalled_body() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


def test_every_documented_response_has_its_scenario() -> None:
    produced = {promise for scenario in SCENARIOS for promise in scenario.promises}
    assert produced == CONTRACT.documented


def test_the_document_is_valid_and_so_are_its_examples() -> None:
    validate(yaml.safe_load(OPENAPI.read_text(encoding="utf-8")))
    wrong = {
        where: problems
        for where, schema, value in CONTRACT.examples()
        if (problems := CONTRACT.validate(schema, value))
    }
    assert wrong == {}


async def test_what_is_served_as_the_contract_is_the_contract() -> None:
    async with running_catalog() as running:
        _, _, served = await running.get("/openapi.json", anonymous=True)
    assert served == CONTRACT.document


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/courses", {"GET", "HEAD", "POST"}),
        ("/courses/crs-1", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
        ("/courses/crs-1/publish", {"POST"}),
        ("/courses/crs-1/archive", {"POST"}),
        ("/healthz", {"GET", "HEAD"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_are_405_and_told_what_is_allowed(
    path: str, allowed: set[str], method: str
) -> None:
    if method in allowed:
        return
    async with (
        running_catalog(courses=COURSES) as running,
        running.request(method, path) as response,
    ):
        assert response.status == 405
        assert set(response.headers["Allow"].replace(" ", "").split(",")) == allowed
        body = await response.json(content_type="application/problem+json")
        assert body["code"] == "method_not_allowed"
