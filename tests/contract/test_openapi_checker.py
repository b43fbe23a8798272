"""The checker itself: it must refuse what a document does not promise, or it proves nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from tests.contract.openapi import Contract, ContractError, Promise

DOCUMENT = """
openapi: 3.0.3
info: {title: t, version: "1"}
paths:
  /things:
    get:
      responses:
        "200":
          description: ok
          headers:
            Age: {required: true, schema: {type: integer, minimum: 0}}
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Thing"}
              example: {at: "2026-01-02T03:04:05.678Z", kind: null}
        "404":
          description: none
          content:
            application/problem+json: {schema: {type: object}}
    head:
      responses:
        "200": {description: ok}
components:
  schemas:
    Thing:
      type: object
      additionalProperties: false
      required: [at, kind]
      properties:
        at: {type: string, format: date-time}
        kind: {type: string, enum: [a, b], nullable: true}
"""

GOOD = '{"at":"2026-01-02T03:04:05.678Z","kind":null}'


@pytest.fixture()
def contract(tmp_path: Path) -> Contract:
    path = tmp_path / "openapi.yaml"
    path.write_text(DOCUMENT)
    return Contract(path)


@pytest.fixture()
async def base_url() -> AsyncIterator[str]:
    """A server that answers what the query asks for."""

    async def answer(request: web.Request) -> web.Response:
        query = request.query
        return web.Response(
            status=int(query.get("status", "200")),
            text=query.get("body", GOOD),
            content_type=query.get("type", "application/json"),
            headers={"Age": query["age"]} if "age" in query else {},
        )

    app = web.Application()
    app.router.add_get("/things", answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    yield str(server.make_url("/things"))
    await server.close()


async def _check(contract: Contract, base_url: str, method: str = "GET", **query: str) -> object:
    async with (
        ClientSession() as session,
        session.request(method, base_url, params=query) as response,
    ):
        return await contract.check(response, method, "/things")


async def test_a_promised_response_passes_and_is_counted(contract: Contract, base_url: str) -> None:
    body = await _check(contract, base_url, age="0")
    assert body == {"at": "2026-01-02T03:04:05.678Z", "kind": None}
    await _check(contract, base_url, method="HEAD")
    assert contract.produced == {Promise("GET", "/things", 200), Promise("HEAD", "/things", 200)}
    assert contract.missing() == {Promise("GET", "/things", 404)}


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({}, "required header Age is missing"),
        ({"age": "-1"}, "header Age"),
        ({"age": "soon"}, "is no integer"),
        ({"age": "0", "status": "418"}, "not documented"),
        ({"age": "0", "type": "text/plain"}, "content type"),
        ({"age": "0", "body": '{"at":"2026-01-02T03:04:05Z"}'}, "'kind' is a required property"),
        (
            {"age": "0", "body": '{"at":"2026-01-02T03:04:05Z","kind":"c"}'},
            "/kind: 'c' is not one of",
        ),
        (
            {"age": "0", "body": '{"at":"2026-01-02T03:04:05+01:00","kind":"a"}'},
            "/at: '2026-01-02T03:04:05+01:00' is not a 'date-time'",
        ),
        (
            {"age": "0", "body": '{"at":"2026-01-02T03:04:05Z","kind":"a","more":1}'},
            "Additional properties are not allowed",
        ),
    ],
)
async def test_a_broken_promise_is_refused_and_not_counted(
    contract: Contract, base_url: str, query: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ContractError, match=complaint.replace("+", r"\+")):
        await _check(contract, base_url, **query)
    assert contract.produced == set()


async def test_problem_json_is_parsed_as_json(contract: Contract, base_url: str) -> None:
    body = await _check(
        contract, base_url, status="404", type="application/problem+json", body='{"code":"x"}'
    )
    assert body == {"code": "x"}


def test_examples_are_listed_with_their_schemas(contract: Contract) -> None:
    examples = list(contract.examples())
    assert len(examples) == 1
    _, schema, value = examples[0]
    assert contract.validate(schema, value) == []
    assert contract.validate(schema, {"at": "yesterday", "kind": "a"}) != []
