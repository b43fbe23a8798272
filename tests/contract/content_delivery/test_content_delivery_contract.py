"""Every response that openapi.yaml documents, produced over a real socket and held against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from openapi_spec_validator import validate

from libs.aws import DependencyUnavailable
from tests.contract.content_delivery.service import NOW, Service, World, running
from tests.contract.openapi import Contract, Promise

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

    def __str__(self) -> str:
        return f"{self.status}-{self.code or 'ok'}-{self.target or self.template}"


WRONG_TYPE = {"Accept": "application/xml"}

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


async def play(service: Service, method: str, scenario: Scenario) -> object:
    """The checked body of the scenario's response."""
    headers = dict(scenario.headers)
    if scenario.etag_first:
        async with service.request(method, scenario.target, anonymous=True) as response:
            headers["If-None-Match"] = response.headers["ETag"]
    async with service.request(
        method, scenario.target, headers=headers, anonymous=scenario.anonymous
    ) as response:
        body = await CONTRACT.check(response, method, scenario.template)
        assert response.status == scenario.status
        return body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
async def test_a_documented_response(method: str, scenario: Scenario) -> None:
    world = World()
    scenario.given(world)
    async with running(world) as service:
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
        for method in ("GET", "HEAD")
    }
    assert produced == CONTRACT.documented


def test_every_code_is_documented() -> None:
    """The codes that the scenarios produce, and those of paths and methods that are not there."""
    schema = yaml.safe_load(DOCUMENT.read_text("utf-8"))["components"]["schemas"]["Problem"]
    produced = {scenario.code for scenario in SCENARIOS if scenario.code}
    elsewhere = {"draining", "malformed_request", "method_not_allowed", "not_found"}
    assert set(schema["properties"]["code"]["enum"]) == produced | elsewhere


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
