"""The verifier and the player themselves: they notice what would break a consumer, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.contract.consumers.pact import (
    Interaction,
    MalformedPactError,
    Rules,
    answer_mismatches,
    compare,
    load,
    request_mismatches,
    verify,
)

FILES = sorted(Path(__file__).parent.glob("*.json"))
INTERACTIONS = [
    pytest.param(one, id=f"{path.stem}: {name}")
    for path in FILES
    for name, one in load(path).interactions.items()
]
REGEX = {"match": "regex", "regex": '"v[0-9]+"'}
AGREED: Mapping[str, Any] = {
    "description": "a thing",
    "providerStates": [],
    "request": {
        "method": "GET",
        "path": "/things/1",
        "query": {"limit": ["5"]},
        "headers": {"Authorization": "Bearer token"},
        "matchingRules": {
            "header": {"Authorization": {"matchers": [{"match": "regex", "regex": "Bearer .+"}]}}
        },
    },
    "response": {
        "status": 200,
        "headers": {"ETag": '"v1"'},
        "body": {"id": "a", "count": 1, "done": None, "items": [{"name": "x", "size": 1.5}]},
        "matchingRules": {
            "header": {"ETag": {"matchers": [REGEX]}},
            "body": {
                "$.count": {"matchers": [{"match": "integer"}]},
                "$.items": {"matchers": [{"match": "type", "min": 1}]},
            },
        },
    },
}
GOOD = {"id": "a", "count": 7, "done": None, "items": [{"name": "y", "size": 3}]}


def written(folder: Path, *interactions: Mapping[str, Any], version: str = "3.0.0") -> Path:
    path = folder / "a-b.json"
    document = {
        "consumer": {"name": "a"},
        "provider": {"name": "b"},
        "interactions": interactions,
        "metadata": {"pactSpecification": {"version": version}},
    }
    path.write_text(json.dumps(document))
    return path


def thing(folder: Path) -> Interaction:
    return load(written(folder, AGREED)).interactions["a thing"]


@pytest.mark.parametrize(
    ("status", "etag", "body", "said"),
    [
        (200, '"v9"', GOOD, []),
        (200, '"v9"', {**GOOD, "more": 1, "items": [{"name": "y", "size": 3, "more": 1}] * 3}, []),
        (200, '"v9"', {k: v for k, v in GOOD.items() if k != "id"}, ["$.id: is missing"]),
        (200, '"v9"', GOOD | {"id": "b"}, ["$.id: 'b' instead of 'a'"]),
        (200, '"v9"', GOOD | {"count": "7"}, ["$.count: a string instead of an integer"]),
        (200, '"v9"', GOOD | {"count": True}, ["$.count: a boolean instead of an integer"]),
        (200, '"v9"', GOOD | {"done": 1}, ["$.done: 1 instead of None"]),
        (200, '"v9"', GOOD | {"items": []}, ["$.items: 0 elements, at least 1 are agreed"]),
        (200, '"v9"', GOOD | {"items": None}, ["$.items: null instead of an array"]),
        (200, '"v9"', GOOD | {"items": [{"name": "y"}]}, ["$.items[0].size: is missing"]),
        (
            200,
            '"v9"',
            GOOD | {"items": [*GOOD["items"], {"name": None, "size": 1}]},  # type: ignore[misc]
            ["$.items[1].name: null instead of a string"],
        ),
        (200, "v9", GOOD, ["header ETag $: 'v9' is not like \"v[0-9]+\""]),
        (200, None, GOOD, ["header ETag: is missing"]),
        (201, '"v9"', GOOD, ["status 201 instead of 200"]),
        (200, '"v9"', [GOOD], ["$: an array instead of an object"]),
    ],
)
async def test_what_the_verifier_says_of_an_answer(
    tmp_path: Path, status: int, etag: str | None, body: object, said: list[str]
) -> None:
    seen: list[tuple[str, str | None]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path_qs, request.headers.get("Authorization")))
        return web.json_response(body, status=status, headers={"ETag": etag} if etag else {})

    app = web.Application()
    app.router.add_get("/things/1", answer)
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as session:
        base = f"http://127.0.0.1:{server.port}"
        found = await verify(session, base, thing(tmp_path), token="real")
    assert seen == [("/things/1?limit=5", "Bearer real")]
    assert [one.partition(": b'")[0] for one in found] == said


def test_an_answer_that_is_not_json(tmp_path: Path) -> None:
    assert answer_mismatches(thing(tmp_path), 200, {"etag": '"v1"'}, b"<p>") == [
        "the body is not JSON"
    ]


@pytest.mark.parametrize(
    ("changes", "is_agreed"),
    [
        ({}, True),
        ({"headers": {"authorization": "Bearer other", "Accept": "*/*"}}, True),
        ({"headers": {}}, False),
        ({"headers": {"Authorization": "Basic other"}}, False),
        ({"method": "HEAD"}, False),
        ({"path": "/things/2"}, False),
        ({"query": ""}, False),
        ({"query": "limit=5&cursor="}, False),
        ({"query": "limit=5&limit=5"}, False),
        ({"body": b"{}"}, False),
    ],
)
def test_what_is_the_agreed_request(
    tmp_path: Path, changes: dict[str, Any], *, is_agreed: bool
) -> None:
    sent: dict[str, Any] = {
        "method": "GET",
        "path": "/things/1",
        "query": "limit=5",
        "headers": {"Authorization": "Bearer token"},
        "body": b"",
    }
    wrong = request_mismatches(thing(tmp_path).request, **{**sent, **changes})
    assert (wrong == []) is is_agreed


def test_a_request_s_body_holds_nothing_beyond_what_is_agreed() -> None:
    assert compare({"a": 1}, {"a": 1}, {}, exact=True) == []
    assert compare({"a": 1}, {"a": 1, "b": 2}, {}, exact=True) == ["$.b: is not agreed"]
    assert compare({"a": 1}, {"a": True}, {}, exact=True) == ["$.a: True instead of 1"]


def test_the_most_specific_rule_decides() -> None:
    rules: Rules = {
        "$.items[*].name": {"matchers": [{"match": "type"}]},
        "$.items[0].name": {"matchers": [{"match": "null"}, REGEX], "combine": "OR"},
        "$['odd name']": {"matchers": [{"match": "type"}]},
    }
    expected = {"items": [{"name": "x"}, {"name": "y"}], "odd name": 1}
    for first in (None, '"v1"'):
        actual = {"items": [{"name": first}, {"name": "z"}], "odd name": 2}
        assert compare(expected, actual, rules) == []
    wrong = {"items": [{"name": "other"}, {"name": 1}], "odd name": 2}
    assert [one.partition(":")[0] for one in compare(expected, wrong, rules)] == [
        "$.items[0].name",
        "$.items[0].name",
        "$.items[1].name",
    ]


def with_path_that_is_nowhere(rules: dict[str, Any]) -> None:
    rules["body"]["$.nowhere"] = {"matchers": [{"match": "type"}]}


def with_unknown_matcher(rules: dict[str, Any]) -> None:
    rules["body"]["$.id"] = {"matchers": [{"match": "roughly"}]}


def with_broken_path(rules: dict[str, Any]) -> None:
    rules["body"]["$.items[?]"] = {"matchers": [{"match": "type"}]}


def with_broken_example(rules: dict[str, Any]) -> None:
    rules["body"]["$.id"] = {"matchers": [{"match": "integer"}]}


def with_other_header(rules: dict[str, Any]) -> None:
    rules["header"]["Etagg"] = {"matchers": [REGEX]}


def with_unknown_category(rules: dict[str, Any]) -> None:
    rules["bodi"] = {}


@pytest.mark.parametrize(
    "damage",
    [
        with_path_that_is_nowhere,
        with_unknown_matcher,
        with_broken_path,
        with_broken_example,
        with_other_header,
        with_unknown_category,
    ],
)
def test_a_file_whose_rules_would_not_hold_is_refused(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None]
) -> None:
    broken = copy.deepcopy(dict(AGREED))
    damage(broken["response"]["matchingRules"])
    with pytest.raises(MalformedPactError):
        load(written(tmp_path, broken))


def test_a_file_of_another_version_or_with_one_thing_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedPactError, match="version"):
        load(written(tmp_path, AGREED, version="2.0.0"))
    with pytest.raises(MalformedPactError, match="twice"):
        load(written(tmp_path, AGREED, AGREED))


def damages(value: Any) -> Iterator[Any]:
    """The value with one member taken out, or one of another type."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            for damaged in (*damages(member), 17 if isinstance(member, str) else "another"):
                yield {**value, name: damaged}
    if isinstance(value, list):
        for number, member in enumerate(value):
            for damaged in damages(member):
                yield [*value[:number], damaged, *value[number + 1 :]]


@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_each_contract_of_this_project_notices_every_damage(interaction: Interaction) -> None:
    agreed = interaction.response
    headers = agreed.get("headers", {})
    body = agreed.get("body")

    def said(status: int, headers: Mapping[str, str], body: object) -> list[str]:
        return answer_mismatches(interaction, status, headers, json.dumps(body).encode())

    assert said(agreed["status"], headers, body) == []
    assert said(agreed["status"] + 1, headers, body) != []
    for name in headers:
        assert said(agreed["status"], {k: v for k, v in headers.items() if k != name}, body) != []
    for damaged in damages(body):
        assert said(agreed["status"], headers, damaged) != [], damaged
    if isinstance(body, dict):
        assert said(agreed["status"], headers, body | {"aFieldOfTomorrow": 1}) == []
