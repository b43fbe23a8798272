"""Schemathesis against the running platform: what the contracts say is what is served.

Each operation is called with examples, boundary values and generated requests, valid and invalid,
by a reader and by staff; every built-in check holds for every answer. The requests are the same in
every run.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

from deploy.local._services import contract_of
from libs.http import PUBLIC_PATHS, TIMEOUT_HEADER
from tests.system.exchange import ask
from tests.system.fuzzed_content import possible_content_request, prepare_content, spared
from tests.system.platform_process import RunningPlatform

pytestmark = pytest.mark.timeout(300)

# Staff may read and write everybody's progress, so that generated ids get past authorization.
ROLES = ("staff", "learner-a")
# Besides the examples and boundary values of the contract, which are sent however few these are.
EXAMPLES = int(os.environ.get("LYCEUM_FUZZ_EXAMPLES", "30"))

# What is there, so that valid requests also find something.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "courseId": ("tides", "maps", "asyncio", "klang"),
    "contentId": ("tides-1-1", "tides-1-2", "asyncio-1-1", "maps-1-1"),
    "userId": ("me",),
}

MILLISECONDS = re.compile(r"\s*[1-9][0-9]{0,8}\s*")

# Courses of the tests' own, by what may be done to them: filled once the platform runs.
AUTHORED: dict[str, list[str]] = {"changed": [], "deleted": []}
COURSE = {
    "title": "Fuzzed",
    "description": "Written by a test.",
    "shortDescription": "Written by a test.",
    "language": "en",
    "level": "beginner",
    "outline": [
        {
            "id": "one",
            "title": "One",
            "items": [{"contentId": "fuzzed-1", "title": "One", "type": "quiz"}],
        }
    ],
}

BATCH_OPERATION = "recordProgressBatch"

Answers = dict[str, Counter[int]]
Test = Callable[..., None]


def _config() -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "request-timeout": 30,
            "generation": {"deterministic": True, "max-examples": EXAMPLES, "database": "none"},
            "checks": {
                # Valid, and too late: another was first.
                "positive_data_acceptance": {
                    "expected-statuses": ["2xx", "3xx", "401", "403", "404", "409", "412"]
                },
                # Too large to be looked at.
                "negative_data_rejection": {
                    "expected-statuses": [
                        *("400", "401", "403", "404", "405", "406", "409", "413", "415", "422"),
                        *("428", "429", "5xx"),
                    ]
                },
                "missing_required_header": {
                    "expected-statuses": ["400", "401", "403", "406", "415", "422", "428"]
                },
            },
            "operations": [
                {
                    # Wrong entries are refused in the results: `_refused_in_results`.
                    "include-operation-id": BATCH_OPERATION,
                    "checks": {"negative_data_rejection": {"enabled": False}},
                }
            ],
        }
    )


def _contract(service: str) -> Any:
    schema = schemathesis.openapi.from_path(contract_of(service), config=_config())
    schema.hook("map_case")(_made_valid)
    schema.hook("filter_case")(_differs_on_the_wire)
    return schema


def _differs_on_the_wire(_: object, case: Any) -> bool:
    """A lone value in place of an array is an array of one as soon as it is written."""
    # So is a text of digits in place of a number, in a header.
    sent = (case.headers or {}).get(TIMEOUT_HEADER)
    if sent is not None and not _has_valid_headers(case) and MILLISECONDS.fullmatch(str(sent)):
        return False
    return not case.query or isinstance(case.query.get("ids", []), list)


def _made_valid(_: object, case: Any) -> Any:
    """OpenAPI 3.0 can not say everything that a valid request keeps to: this does it in its place."""
    case = spared(case)
    if case.headers and TIMEOUT_HEADER in case.headers and _has_valid_headers(case):
        # Any number is one: with a small one the answer is, as it should be, that it is too late.
        case.headers[TIMEOUT_HEADER] = "5000"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return case
    if case.operation.path.startswith("/courses") and case.method not in ("GET", "HEAD"):
        return _possible_change(case)
    if case.operation.path.startswith("/content") and case.method not in ("GET", "HEAD"):
        return possible_content_request(case)
    for name, known in KNOWN.items():
        value = case.path_parameters.get(name) if case.path_parameters else None
        if isinstance(value, str) and len(value) % 2:
            case.path_parameters[name] = known[len(value) // 2 % len(known)]
    if case.query:
        case.query.pop("cursor", None)  # a cursor is one that the service gave
        if case.operation.label.startswith("DELETE /progress/"):
            case.query["attempt"] = 1  # hardly any other has begun
    if isinstance(case.body, dict):
        case.body = _possible_update(case.body)
    return case


def _has_valid_headers(case: Any) -> bool:
    component = None if case.meta is None else case.meta.components.get(ParameterLocation.HEADER)
    return component is None or bool(component.mode.is_positive)


def _possible_update(body: dict[str, Any]) -> dict[str, Any]:
    """Items are named by ids (3.0 has no `propertyNames`), and nothing lies in the future."""
    if isinstance(body.get("entries"), list):
        entries = enumerate(body["entries"])
        return body | {"entries": [_possible_entry(number, entry) for number, entry in entries]}
    body = _not_ahead(body)
    if isinstance(body.get("items"), dict):
        body["items"] = {
            f"item-{number}": _not_ahead(item)
            for number, item in enumerate(body["items"].values(), start=1)
        }
    return body


_keys = count(1)


def _possible_change(case: Any) -> Any:
    """What authors do, to the tests' own courses: what stands twice or came before is no mistake of
    form, so no valid request has it."""
    if case.path_parameters:
        if case.method == "DELETE":
            drafts = AUTHORED["deleted"]
            case.path_parameters["courseId"] = drafts.pop() if drafts else "gone"
        else:
            known = AUTHORED["changed"]
            case.path_parameters["courseId"] = known[
                len(case.path_parameters["courseId"]) % len(known)
            ]
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:200]}-{next(_keys)}"
    if isinstance(case.body, dict) and isinstance(case.body.get("outline"), list):
        numbers = count(1)
        for number, section in enumerate(case.body["outline"]):
            section["id"] = f"s-{number}"
            for item in section["items"]:
                item["contentId"] = f"c-{next(numbers)}"
        # What is published keeps an item.
        if not case.body["outline"]:
            case.body["outline"] = COURSE["outline"]
    elif isinstance(case.body, dict) and (case.method == "PUT" or "outline" in case.body):
        case.body["outline"] = COURSE["outline"]
    return case


def _possible_entry(number: int, entry: dict[str, Any]) -> dict[str, Any]:
    known = KNOWN["courseId"][number % len(KNOWN["courseId"])]
    return _possible_update(entry) | ({"courseId": known} if number % 2 else {})


def _refused_in_results(case: Any, answer: Any) -> None:
    """Each entry that the contract does not allow was refused for itself."""
    components = case.operation.schema.raw_schema["components"]
    allowed = Draft202012Validator(
        {"$ref": "#/components/schemas/BatchEntry", "components": components}
    )
    results = answer.json()["results"]
    assert len(results) == len(case.body["entries"])
    for entry, result in zip(case.body["entries"], results, strict=True):
        assert allowed.is_valid(entry) or result["status"] == 422, (entry, result)


def _not_ahead(value: Any) -> Any:
    if not isinstance(value, dict) or not isinstance(value.get("occurredAt"), str):
        return value
    latest = datetime(2026, 1, 1, tzinfo=UTC)
    try:
        if datetime.fromisoformat(value["occurredAt"]) <= latest:
            return dict(value)
    except (ValueError, OverflowError):
        pass
    return value | {"occurredAt": latest.isoformat()}


def each_operation_of(service: str) -> Callable[[Test], Test]:
    """Runs a test with the requests of each operation, however slow the machine is."""
    parametrize = _contract(service).parametrize()
    unhurried = settings(deadline=None, suppress_health_check=list(HealthCheck))

    def decorate(test: Test) -> Test:
        decorated: Test = parametrize(unhurried(test))
        return decorated

    return decorate


@pytest.fixture(scope="module")
def tokens(platform: RunningPlatform) -> Mapping[str, str]:
    """The callers' tokens; both have progress in the known courses."""
    for role in ROLES:
        for course in KNOWN["courseId"]:
            recorded = platform.request(
                f"/progress/me/{course}",
                user=role,
                method="PUT",
                body={
                    "occurredAt": "2026-01-01T00:00:00Z",
                    "deviceId": "phone",
                    "resume": {"contentId": f"{course}-1-1", "positionSeconds": 1},
                    "items": {f"{course}-1-1": {"completed": True, "fraction": 1}},
                },
            )
            assert recorded.status == 201
    tokens = {role: platform.document["users"][role]["accessToken"] for role in ROLES}
    for purpose, number in (("changed", 4), ("deleted", 60)):
        AUTHORED[purpose][:] = [
            _created(platform, tokens["staff"], f"fuzzed-{purpose}-{n}") for n in range(number)
        ]
    prepare_content(platform.gateway, tokens["staff"])
    return tokens


def _created(platform: RunningPlatform, token: str, slug: str) -> str:
    answer = ask(
        platform.gateway + "/courses", method="POST", token=token, json_body=COURSE | {"slug": slug}
    )
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    """Each operation's answers by status. Requests that never got past the first check would prove
    nothing: every operation must have succeeded, too."""
    counted: Answers = defaultdict(Counter)
    yield counted
    assert [
        name for name, statuses in counted.items() if not statuses.keys() & {200, 201, 204}
    ] == []


def conform(
    case: Any, service: str, platform: RunningPlatform, tokens: Mapping[str, str], answers: Answers
) -> None:
    examples = case.meta is not None and case.meta.phase.name is TestPhase.EXAMPLES
    if examples and service == "content_delivery":
        case = _made_valid(None, case)  # examples pass by the hook
    # The gateway publishes what one service alone has; the rest is at the service's own address.
    published = case.operation.path not in PUBLIC_PATHS
    address = platform.gateway if published else platform.document["services"][service]
    for token in tokens.values():
        answer = case.call_and_validate(
            base_url=address, headers={"Authorization": f"Bearer {token}"}
        )
        answers[f"{service}: {case.operation.label}"][answer.status_code] += 1
        operation = case.operation.definition.raw.get("operationId")
        if operation == BATCH_OPERATION and answer.status_code == 200:
            _refused_in_results(case, answer)


@each_operation_of("course_catalog")
def test_course_catalog(
    case: Any, platform: RunningPlatform, tokens: Mapping[str, str], answers: Answers
) -> None:
    conform(case, "course_catalog", platform, tokens, answers)


@each_operation_of("content_delivery")
def test_content_delivery(
    case: Any, platform: RunningPlatform, tokens: Mapping[str, str], answers: Answers
) -> None:
    conform(case, "content_delivery", platform, tokens, answers)


@each_operation_of("progress_tracking")
def test_progress_tracking(
    case: Any, platform: RunningPlatform, tokens: Mapping[str, str], answers: Answers
) -> None:
    conform(case, "progress_tracking", platform, tokens, answers)
