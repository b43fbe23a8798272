"""Every response that openapi.yaml documents is produced over a real socket and checked against it.

Each scenario names the one promise it keeps; the last test compares the scenarios' promises with
the document's, so a response that nobody can produce may not be documented.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from openapi_spec_validator import validate

from libs.auth import KeysUnavailableError, Principal
from libs.http import DRAIN
from tests.contract.course_catalog.running import RunningCatalog, running_catalog
from tests.contract.openapi import Contract, Promise
from tests.unit.course_catalog.courses import draft, published

OPENAPI = Path("services/course_catalog/openapi.yaml")
CONTRACT = Contract(OPENAPI)

LIST, ONE = "/courses", "/courses/{courseId}"
COURSES = [published(1, at=1), published(2, at=2), published(3, at=3), draft(4, at=4)]


def _nothing(_: RunningCatalog) -> None:
    """No preparation."""


def _fail(running: RunningCatalog) -> None:
    running.repository.failing = True


def _fail_for_long(running: RunningCatalog) -> None:
    running.repository.failing = True
    running.seconds += 600


def _drain(running: RunningCatalog) -> None:
    running.app[DRAIN].draining = True


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
    after: Callable[[RunningCatalog], None] = _nothing
    revalidate: bool = False
    code: str | None = None
    methods: tuple[str, ...] = ("GET",)

    @property
    def promises(self) -> set[Promise]:
        return {Promise(method, self.template, self.status) for method in self.methods}


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
        scenario.after(running)
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
        ) as response:
            assert response.status == scenario.status
            body = await CONTRACT.check(response, method, scenario.template)
        if scenario.code is not None and method == "GET":
            assert isinstance(body, dict)
            assert (body["code"], body["status"]) == (scenario.code, scenario.status)


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


@pytest.mark.parametrize("path", ["/courses", "/courses/crs-1", "/healthz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_other_methods_are_405_and_told_what_is_allowed(path: str, method: str) -> None:
    async with (
        running_catalog(courses=COURSES) as running,
        running.request(method, path) as response,
    ):
        assert response.status == 405
        assert set(response.headers["Allow"].replace(" ", "").split(",")) >= {"GET", "HEAD"}
        body = await response.json(content_type="application/problem+json")
        assert body["code"] == "method_not_allowed"
