"""Every response that openapi.yaml documents, produced over a real socket and held against it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate

from libs.aws import DependencyUnavailable
from libs.idempotency import Record
from libs.idempotency.testing import InMemoryIdempotencyStore
from services.content_delivery.config import Config
from services.content_delivery.domain.object_store import ObjectMetadata
from services.content_delivery.storage.memory import MemoryObjectStore
from tests.contract.content_delivery.service import NOW, Service, World, running, usual_rows
from tests.contract.openapi import Contract, Promise
from tests.unit.content_delivery.samples import (
    ENGLISH,
    SECRET_KEY,
    VIDEO_720P,
    failed,
    pending,
    ready,
)

DOCUMENT = Path(__file__).parents[3] / "services" / "content_delivery" / "openapi.yaml"
CONTRACT = Contract(DOCUMENT)
CONTENT = "/content/{contentId}"
PUBLIC = ("/healthz", "/readyz", "/version", "/openapi.json", "/docs")


def nothing_special(world: World) -> None:
    """The world as it is."""


def table_down(world: World) -> None:
    world.contents.failure = DependencyUnavailable("dynamodb", "GetItem", reason="timeout")


def table_hanging(world: World) -> None:
    world.contents.hangs = True


def credentials_ending(world: World) -> None:
    world.credentials_expire_at = NOW + timedelta(seconds=30)


def keys_unknown(world: World) -> None:
    world.keys_ready = False


@dataclass(frozen=True)
class Scenario:
    """One request and the documented response that it must produce."""

    template: str
    status: int
    target: str = ""
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False
    given: Callable[[World], None] = nothing_special
    etag_first: bool = False
    methods: Sequence[str] = ("GET", "HEAD")
    as_author: bool = False
    json: object = None
    data: bytes | None = None
    stalls: bool = False
    """The body begins and never ends."""
    configured: Callable[[Config], Config] = lambda config: config

    def __str__(self) -> str:
        return f"{self.status}-{self.code or 'ok'}-{self.methods[0]}-{self.target or self.template}"


WRONG_TYPE = {"Accept": "application/xml"}
AS_JSON = {"Content-Type": "application/json"}

SCENARIOS = [
    Scenario(CONTENT, 200, "/content/c-1"),
    Scenario(CONTENT, 200, "/content/c-1?rendition=720p&disposition=attachment"),
    Scenario(CONTENT, 200, "/content/c-1?rendition=original&disposition=inline"),
    Scenario(CONTENT, 400, "/content/a%2Fb", "invalid_path"),
    Scenario(CONTENT, 400, "/content/c-1?disposition=download", "invalid_query"),
    Scenario(
        CONTENT,
        400,
        "/content/c-1",
        "invalid_header",
        headers={"X-Request-Timeout-Ms": "soon"},
    ),
    Scenario(CONTENT, 401, "/content/c-1", "authentication_required", anonymous=True),
    Scenario(
        CONTENT,
        401,
        "/content/c-1",
        "invalid_token",
        headers={"Authorization": "Bearer not.a.token"},
    ),
    Scenario(CONTENT, 404, "/content/nowhere", "content_not_found"),
    Scenario(CONTENT, 404, "/content/deleted", "content_not_found"),
    Scenario(CONTENT, 404, "/content/c-1?rendition=4k", "rendition_not_found"),
    Scenario(CONTENT, 406, "/content/c-1", "not_acceptable", headers=WRONG_TYPE),
    Scenario(CONTENT, 409, "/content/pending", "content_not_ready"),
    Scenario(CONTENT, 409, "/content/failed", "content_not_ready"),
    Scenario(CONTENT, 500, "/content/broken", "internal_error"),
    Scenario(CONTENT, 503, "/content/c-1", "dependency_unavailable", given=table_down),
    Scenario(
        CONTENT,
        503,
        "/content/c-1",
        "deadline_exceeded",
        headers={"X-Request-Timeout-Ms": "50"},
        given=table_hanging,
    ),
    Scenario(CONTENT, 503, "/content/c-1", "dependency_unavailable", given=keys_unknown),
    Scenario(CONTENT, 503, "/content/c-1", "signing_unavailable", given=credentials_ending),
    *(Scenario(path, 200, path, anonymous=True) for path in PUBLIC),
    *(
        Scenario(path, 406, path, "not_acceptable", headers=WRONG_TYPE, anonymous=True)
        for path in PUBLIC
    ),
    Scenario("/openapi.json", 304, "/openapi.json", anonymous=True, etag_first=True),
    Scenario("/readyz", 503, "/readyz", "not_ready", given=keys_unknown, anonymous=True),
]


# --- the authors' operations --------------------------------------------------------------------


def no_longer_kept(world: World) -> None:
    world.put(
        pending("never-ready").became_deleted(at=NOW, purge_at=NOW + timedelta(days=1)),
    )


def half_way(world: World) -> None:
    """A request with the same key is being carried out."""

    class Busy(InMemoryIdempotencyStore):
        async def insert(self, key: str, record: Record, *, now: datetime) -> Record | None:
            return replace(record, token="another")

    world.idempotency = Busy()


def everything_arrived(world: World) -> None:
    world.objects.objects[SECRET_KEY] = ObjectMetadata(6_000_000, "video/mp4", '"e"')


def failed_with_media(world: World) -> None:
    world.put(replace(failed("failed"), renditions=(VIDEO_720P,), captions=(ENGLISH,)))


def course_damaged(world: World) -> None:
    world.damage("broken", title=5)


def stuck_store(world: World) -> None:
    """Nothing is heard of the object before the service stops."""

    class Stuck(MemoryObjectStore):
        async def head(self, object_key: str) -> ObjectMetadata | None:
            await asyncio.Event().wait()
            return None

    world.objects = Stuck()


def just_deleted(world: World) -> None:
    world.put(ready("deleted").became_deleted(at=NOW, purge_at=NOW + timedelta(days=1)))


def impatient(config: Config) -> Config:
    return replace(config, upload_wait_seconds=0.0)


@dataclass(frozen=True)
class Operation:
    """A request of an author's that succeeds; each refusal is one change to it."""

    method: str
    template: str
    success: int
    target: str
    json: object = None
    data: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    given: Callable[[World], None] = nothing_special
    code_of_nowhere: str | None = "content_not_found"
    configured: Callable[[Config], Config] = lambda config: config

    def scenario(self, status: int, code: str | None = None, **changes: Any) -> Scenario:
        values: dict[str, Any] = {
            "target": self.target,
            "headers": self.headers,
            "given": self.given,
            "methods": ("GET", "HEAD") if self.method == "GET" else (self.method,),
            "as_author": True,
            "json": self.json,
            "data": self.data,
            "configured": self.configured,
        }
        return Scenario(self.template, status, code=code, **{**values, **changes})

    def scenarios(self) -> Iterator[Scenario]:
        """Its success and what any operation may answer."""
        yield self.scenario(self.success)
        yield self.scenario(401, "authentication_required", anonymous=True)
        yield self.scenario(403, "forbidden", as_author=False)
        yield self.scenario(406, "not_acceptable", headers={**self.headers, **WRONG_TYPE})
        yield self.scenario(503, "dependency_unavailable", given=table_down)
        if self.template == "/content":
            unknown = f"{self.target}{'&' if '?' in self.target else '?'}x=1"
            yield self.scenario(400, "invalid_query", target=unknown)
        else:
            start = self.target.split("/")[2].partition("?")[0]
            for status, code, other in (
                (400, "invalid_path", "a%2Fb"),
                (404, self.code_of_nowhere, "nowhere"),
                (500, "internal_error", "broken"),
            ):
                target = self.target.replace(f"/content/{start}", f"/content/{other}")
                yield self.scenario(status, code, target=target)
        if self.json is not None or self.data is not None:
            kind = {"Content-Type": "text/vtt" if self.data is not None else "application/json"}
            large = {"json": None, "data": b" " * 262_145, "headers": {**self.headers, **kind}}
            yield self.scenario(413, "body_too_large", **large)
            hurry = {**self.headers, **kind, "X-Request-Timeout-Ms": "100"}
            yield self.scenario(
                408, "request_timeout", json=None, data=None, stalls=True, headers=hurry
            )
            binary = {"Content-Type": "application/octet-stream"}
            other_kind = {"json": None, "data": b"x", "headers": {**self.headers, **binary}}
            yield self.scenario(415, "unsupported_media_type", **other_kind)


VTT = b"WEBVTT\n\n00:00.000 --> 00:02.000\nThe tide comes in.\n"
AS_VTT = {"Content-Type": "text/vtt; charset=utf-8"}
ANY = {"If-Match": "*"}
STALE = {"If-Match": '"v99"'}
NEW = {
    "courseId": "course-1",
    "title": "Ebbe & Flut",
    "contentType": "video/mp4",
    "sizeBytes": 250,
}
NEW_RENDITION = {"name": "480p", "contentType": "video/mp4", "sizeBytes": 90, "width": 854}

LIST = Operation("GET", "/content", 200, "/content?courseId=course-1&limit=2")
ANNOUNCE = Operation("POST", "/content", 201, "/content", json=NEW)
DELETE = Operation("DELETE", CONTENT, 204, "/content/c-1")
UPLOAD = Operation("GET", f"{CONTENT}/upload", 200, "/content/pending/upload")
PARTS = Operation("POST", f"{CONTENT}/upload/parts", 200, "/content/pending/upload/parts", json={})
COMPLETE = Operation(
    "POST",
    f"{CONTENT}/upload/complete",
    200,
    "/content/pending/upload/complete",
    given=everything_arrived,
)
ABORT = Operation("POST", f"{CONTENT}/upload/abort", 204, "/content/pending/upload/abort")
METADATA = Operation("GET", f"{CONTENT}/metadata", 200, "/content/failed/metadata")
EDIT = Operation(
    "PUT",
    f"{CONTENT}/metadata",
    200,
    "/content/c-1/metadata",
    json={"title": "Ebb", "position": 3},
    headers=ANY,
)
CAPTION = Operation(
    "PUT",
    f"{CONTENT}/captions/{{language}}",
    201,
    "/content/c-1/captions/sw?kind=captions",
    data=VTT,
    headers=AS_VTT,
)
NO_CAPTION = Operation(
    "DELETE", f"{CONTENT}/captions/{{language}}", 204, "/content/c-1/captions/en?kind=captions"
)
RENDITION = Operation(
    "POST", f"{CONTENT}/renditions", 201, "/content/c-1/renditions", json=NEW_RENDITION
)
NO_RENDITION = Operation(
    "DELETE", f"{CONTENT}/renditions/{{rendition}}", 204, "/content/c-1/renditions/720p"
)
RESTORE = Operation(
    "POST", f"{CONTENT}/restore", 200, "/content/deleted/restore", given=just_deleted
)

OPERATIONS = [
    LIST,
    ANNOUNCE,
    DELETE,
    UPLOAD,
    PARTS,
    COMPLETE,
    ABORT,
    METADATA,
    EDIT,
    CAPTION,
    NO_CAPTION,
    RENDITION,
    NO_RENDITION,
    RESTORE,
]
KEYED = {"Idempotency-Key": "the-key"}

SCENARIOS += [
    *(scenario for operation in OPERATIONS for scenario in operation.scenarios()),
    LIST.scenario(400, "invalid_cursor", target="/content?courseId=course-1&cursor=abc"),
    LIST.scenario(500, "internal_error", given=course_damaged),
    ANNOUNCE.scenario(400, "malformed_json", json=None, data=b"{", headers=AS_JSON),
    ANNOUNCE.scenario(400, "invalid_header", headers={"Idempotency-Key": "a, b"}),
    ANNOUNCE.scenario(409, "idempotency_in_progress", headers=KEYED, given=half_way),
    ANNOUNCE.scenario(422, "invalid_body", json={**NEW, "sizeBytes": 10_001}),
    DELETE.scenario(412, "precondition_failed", headers=STALE),
    DELETE.scenario(400, "invalid_header", headers={"If-Match": "v1"}),
    UPLOAD.scenario(404, "rendition_not_found", target="/content/c-1/upload?rendition=4k"),
    PARTS.scenario(409, "not_uploading", target="/content/c-1/upload/parts"),
    PARTS.scenario(422, "invalid_body", json={"partNumbers": [1]}),
    COMPLETE.scenario(202, given=stuck_store, configured=impatient),
    COMPLETE.scenario(409, "upload_incomplete", given=nothing_special),
    COMPLETE.scenario(409, "upload_failed", target="/content/failed/upload/complete"),
    ABORT.scenario(409, "not_uploading", target="/content/c-1/upload/abort"),
    METADATA.scenario(200, target="/content/c-1/metadata"),
    METADATA.scenario(200, target="/content/deleted/metadata"),
    METADATA.scenario(304, etag_first=True),
    EDIT.scenario(412, "precondition_failed", headers=STALE),
    EDIT.scenario(422, "invalid_body", json={"title": "\n"}),
    EDIT.scenario(428, "precondition_required", headers={}),
    CAPTION.scenario(200, target="/content/c-1/captions/en?kind=captions"),
    CAPTION.scenario(400, "invalid_path", target="/content/c-1/captions/english!"),
    CAPTION.scenario(409, "content_failed", target="/content/failed/captions/en"),
    CAPTION.scenario(422, "invalid_body", data=b"WEBVT\n"),
    NO_CAPTION.scenario(
        409,
        "content_failed",
        target="/content/failed/captions/en?kind=captions",
        given=failed_with_media,
    ),
    RENDITION.scenario(409, "rendition_exists", json={**NEW_RENDITION, "name": "720p"}),
    RENDITION.scenario(409, "rendition_exists", json={**NEW_RENDITION, "name": "original"}),
    RENDITION.scenario(422, "invalid_body", json={}),
    NO_RENDITION.scenario(404, "rendition_not_found", target="/content/c-1/renditions/original"),
    NO_RENDITION.scenario(
        409, "content_failed", target="/content/failed/renditions/720p", given=failed_with_media
    ),
    RESTORE.scenario(
        409, "not_restorable", target="/content/never-ready/restore", given=no_longer_kept
    ),
]


async def play(service: Service, method: str, scenario: Scenario) -> object:
    """The checked body of the scenario's response."""
    headers = dict(scenario.headers)
    if scenario.etag_first:
        async with service.request(
            method, scenario.target, anonymous=scenario.anonymous, as_author=scenario.as_author
        ) as response:
            headers["If-None-Match"] = response.headers["ETag"]
    async with service.request(
        method,
        scenario.target,
        headers=headers,
        anonymous=scenario.anonymous,
        as_author=scenario.as_author,
        json=scenario.json,
        data=_stalled_body() if scenario.stalls else scenario.data,
    ) as response:
        body = await CONTRACT.check(response, method, scenario.template)
        assert response.status == scenario.status
        return body


async def _stalled_body() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("method", "scenario"),
    [(method, scenario) for scenario in SCENARIOS for method in scenario.methods],
    ids=str,
)
async def test_a_documented_response(method: str, scenario: Scenario) -> None:
    world = World()
    usual_rows(world)
    scenario.given(world)
    async with running(world, configured=scenario.configured) as service:
        body = await play(service, method, scenario)
    if method == "HEAD":
        assert body is None
    elif scenario.code is not None:
        assert isinstance(body, dict)
        assert (body["code"], body["status"]) == (scenario.code, scenario.status)
        assert body["type"] == f"https://lyceum.example/problems/{scenario.code}"
        assert body["instance"] == scenario.target.partition("?")[0]


def test_every_documented_response_is_produced() -> None:
    produced = {
        Promise(method, scenario.template, scenario.status)
        for scenario in SCENARIOS
        for method in scenario.methods
    }
    assert produced == CONTRACT.documented


def test_every_code_is_documented() -> None:
    """The codes that the scenarios produce, those of paths and methods that are not there, and
    those that take more than one request."""
    schema = yaml.safe_load(DOCUMENT.read_text("utf-8"))["components"]["schemas"]["Problem"]
    produced = {scenario.code for scenario in SCENARIOS if scenario.code}
    elsewhere = {
        "deadline_exceeded",
        "draining",
        "malformed_request",
        "method_not_allowed",
        "not_found",
    }
    more_requests = {"idempotency_key_reused", "too_many_media"}
    assert set(schema["properties"]["code"]["enum"]) == produced | elsewhere | more_requests


def test_the_document_is_valid_openapi() -> None:
    validate(yaml.safe_load(DOCUMENT.read_text("utf-8")))


def test_the_examples_keep_their_own_promises() -> None:
    problems = {
        where: found
        for where, schema, value in CONTRACT.examples()
        if (found := CONTRACT.validate(schema, value))
    }
    assert problems == {}


def test_api_gateway_can_import_it() -> None:
    """What a REST API refuses or drops: named models of other characters, missing or repeated
    operation ids, default responses, and paths whose parameters are not declared."""
    document = yaml.safe_load(DOCUMENT.read_text("utf-8"))
    assert document["openapi"] == "3.0.3"
    assert all(name.isalnum() for name in document["components"]["schemas"])
    operations = [
        operation
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert all("default" not in operation["responses"] for operation in operations)
    assert all(operation["responses"] for operation in operations)


async def test_the_served_contract_is_the_file() -> None:
    async with (
        running() as service,
        service.request("GET", "/openapi.json", anonymous=True) as response,
    ):
        assert await response.json() == yaml.safe_load(DOCUMENT.read_text("utf-8"))
