"""Every response that openapi.yaml documents is produced over a real socket, and is as documented."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from openapi_spec_validator import validate

from tests.contract.openapi import Promise
from tests.contract.progress_tracking.service import (
    BATCH,
    CONTRACT,
    COURSE,
    LIST,
    FailingRepository,
    NoKeys,
    Service,
    running,
)
from tests.unit.progress_tracking.updates import OUTLINE

UPDATE = {
    "occurredAt": "2026-02-01T09:10:00Z",
    "deviceId": "phone",
    "attempt": 1,
    "resume": {"contentId": "tides", "positionSeconds": 41.5},
    "items": {"intro": {"completed": True, "fraction": 1, "positionSeconds": 62}},
}
JSON = {"Content-Type": "application/json"}
HURRY = {"X-Request-Timeout-Ms": "100"}


@dataclass(frozen=True)
class Scenario:
    """One request and the response it is documented to get. `on` names the service to ask."""

    method: str
    template: str
    status: int
    path: str
    on: str = "working"
    sub: str | None = "learner-a"
    headers: Mapping[str, str] = field(default_factory=dict)
    json: object = None
    data: bytes | None = None
    etag: bool = False
    stalls: bool = False
    """The body begins and never ends."""

    @property
    def promise(self) -> Promise:
        return Promise(self.method, self.template, self.status)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status} {self.on}"


def read(template: str, path: str, bad: str) -> list[Scenario]:
    """What GET and HEAD of a path have in common."""
    return [
        scenario
        for method in ("GET", "HEAD")
        for scenario in (
            Scenario(method, template, 200, path),
            Scenario(method, template, 304, path, etag=True),
            Scenario(method, template, 400, bad),
            Scenario(method, template, 401, path, sub=None),
            Scenario(method, template, 403, path.replace("me", "learner-b")),
            Scenario(method, template, 406, path, headers={"Accept": "text/html"}),
            Scenario(method, template, 503, path, on="failing"),
            Scenario(method, template, 503, path, on="keyless"),
        )
    ]


BATCHES = "/progress/me/batch"
ENTRIES = {"entries": [{**UPDATE, "courseId": "crs-1"}]}
STARTED, NEW = "/progress/me/crs-1", "/progress/me/crs-new"
SCENARIOS = [
    *read(LIST, "/progress/me", "/progress/me?limit=0"),
    Scenario("GET", LIST, 400, "/progress/me?cursor=forged"),
    Scenario("GET", LIST, 401, "/progress/me", sub=None, headers={"Authorization": "Bearer x.y.z"}),
    *read(COURSE, STARTED, "/progress/me/a.b"),
    Scenario("GET", COURSE, 404, NEW),
    Scenario("HEAD", COURSE, 404, NEW),
    Scenario("GET", COURSE, 400, "/progress/me/crs-1?limit=1"),
    Scenario("PUT", COURSE, 201, NEW, json=UPDATE),
    Scenario("PUT", COURSE, 200, STARTED, json=UPDATE),
    Scenario("PUT", COURSE, 400, STARTED, data=b"{", headers=JSON),
    Scenario("PUT", COURSE, 400, "/progress/me/a.b", json=UPDATE),
    Scenario("PUT", COURSE, 401, STARTED, json=UPDATE, sub=None),
    Scenario("PUT", COURSE, 403, "/progress/learner-b/crs-1", json=UPDATE),
    Scenario("PUT", COURSE, 406, STARTED, json=UPDATE, headers={"Accept": "image/png"}),
    Scenario("PUT", COURSE, 400, STARTED, json=UPDATE, headers={"X-Request-Timeout-Ms": "soon"}),
    Scenario("PUT", COURSE, 408, STARTED, stalls=True, headers={**JSON, **HURRY}),
    Scenario("PUT", COURSE, 409, STARTED, json={**UPDATE, "attempt": 2}),
    Scenario("PUT", COURSE, 413, STARTED, data=b" " * 300_000, headers=JSON),
    Scenario("PUT", COURSE, 415, STARTED, data=b"{}", headers={"Content-Type": "text/plain"}),
    Scenario("PUT", COURSE, 422, STARTED, json={}),
    Scenario("PUT", COURSE, 503, STARTED, json=UPDATE, on="failing"),
    Scenario("PUT", COURSE, 503, STARTED, json=UPDATE, on="keyless"),
    Scenario("DELETE", COURSE, 200, STARTED),
    Scenario("DELETE", COURSE, 400, f"{STARTED}?attempt=0"),
    Scenario("DELETE", COURSE, 400, "/progress/me/a.b"),
    Scenario("DELETE", COURSE, 401, STARTED, sub=None),
    Scenario("DELETE", COURSE, 403, "/progress/learner-b/crs-1"),
    Scenario("DELETE", COURSE, 404, NEW),
    Scenario("DELETE", COURSE, 406, STARTED, headers={"Accept": "text/html"}),
    Scenario("DELETE", COURSE, 409, f"{STARTED}?attempt=2"),
    Scenario("DELETE", COURSE, 503, STARTED, on="failing"),
    Scenario("POST", BATCH, 200, BATCHES, json=ENTRIES),
    Scenario("POST", BATCH, 400, BATCHES, data=b"{", headers=JSON),
    Scenario("POST", BATCH, 400, f"{BATCHES}?x=1", json=ENTRIES),
    Scenario("POST", BATCH, 401, BATCHES, json=ENTRIES, sub=None),
    Scenario("POST", BATCH, 403, "/progress/learner-b/batch", json=ENTRIES),
    Scenario("POST", BATCH, 406, BATCHES, json=ENTRIES, headers={"Accept": "text/html"}),
    Scenario("POST", BATCH, 408, BATCHES, stalls=True, headers={**JSON, **HURRY}),
    Scenario("POST", BATCH, 413, BATCHES, data=b" " * 300_000, headers=JSON),
    Scenario("POST", BATCH, 415, BATCHES, data=b"{}", headers={"Content-Type": "text/plain"}),
    Scenario("POST", BATCH, 422, BATCHES, json={"entries": []}),
    Scenario("POST", BATCH, 503, BATCHES, json=ENTRIES, on="failing"),
    Scenario("POST", BATCH, 503, BATCHES, json=ENTRIES, on="keyless"),
    Scenario("GET", "/healthz", 200, "/healthz", sub=None),
    Scenario("GET", "/readyz", 200, "/readyz", sub=None),
    Scenario("GET", "/readyz", 503, "/readyz", sub=None, on="unready"),
    Scenario("GET", "/version", 200, "/version", sub=None),
    Scenario("GET", "/openapi.json", 200, "/openapi.json", sub=None),
    Scenario("GET", "/openapi.json", 304, "/openapi.json", sub=None, etag=True),
    Scenario("GET", "/docs", 200, "/docs", sub=None),
]


@pytest.fixture()
async def services() -> AsyncIterator[Mapping[str, Service]]:
    async with AsyncExitStack() as stack:
        found = {
            "working": await stack.enter_async_context(running()),
            "failing": await stack.enter_async_context(running(FailingRepository())),
            "keyless": await stack.enter_async_context(running(verifier=NoKeys())),
            "unready": await stack.enter_async_context(running()),
        }
        found["unready"].ready = False
        working = found["working"]
        await working.repository.learn_outline(OUTLINE)
        answer = await working.request("PUT", STARTED, json=UPDATE)
        assert answer.status == 201
        yield found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_a_documented_response(services: Mapping[str, Service], scenario: Scenario) -> None:
    service = services[scenario.on]
    headers = dict(scenario.headers)
    if scenario.etag:
        current = await service.request("GET", scenario.path, sub=scenario.sub)
        headers["If-None-Match"] = current.headers["ETag"]
    response = await service.request(
        scenario.method,
        scenario.path,
        sub=scenario.sub,
        headers=headers,
        json=scenario.json,
        data=_stalled_body() if scenario.stalls else scenario.data,
    )
    assert response.status == scenario.status
    await CONTRACT.check(response, scenario.method, scenario.template)


async def _stalled_body() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


def test_every_documented_response_is_produced() -> None:
    assert {scenario.promise for scenario in SCENARIOS} == CONTRACT.documented


def test_the_contract_is_openapi_and_its_examples_are_what_it_promises() -> None:
    validate(CONTRACT.document)
    examples = list(CONTRACT.examples())
    assert len(examples) > 20
    for where, schema, value in examples:
        assert CONTRACT.validate(schema, value) == [], where


def test_the_examples_of_updates_are_what_the_contract_takes() -> None:
    schema = {"$ref": "#/components/schemas/ProgressUpdate"}
    assert CONTRACT.validate(schema, UPDATE) == []
    assert CONTRACT.validate(schema, {**UPDATE, "more": 1}) != []
    schema = {"$ref": "#/components/schemas/ProgressBatch"}
    assert CONTRACT.validate(schema, ENTRIES) == []
    assert CONTRACT.validate(schema, {"entries": [UPDATE]}) != []
