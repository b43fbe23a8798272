"""Checks real responses against an `openapi.yaml` and keeps count of what was produced.

Owns the reading of an OpenAPI 3.0.3 document as a set of promises: which statuses an operation may
answer, with which headers, media types and bodies. It knows no service and starts no server: a test
sends a request over a real socket and hands the response over.

    CONTRACT = Contract(Path("services/course_catalog/openapi.yaml"))

    async def test_a_page(client):
        response = await client.get("/courses", params={"limit": "2"})
        body = await CONTRACT.check(response, "GET", "/courses")

    def test_every_documented_response_is_produced():
        assert {s.promise for s in SCENARIOS} == CONTRACT.documented

`documented` is everything the document promises, `produced` what passed through `check` so far in
this process, `missing()` the difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml
from aiohttp import ClientResponse
from jsonschema import Draft202012Validator, FormatChecker

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("date-time")
def _is_utc_timestamp(value: object) -> bool:
    """The APIs promise more than RFC 3339: UTC, written `Z`."""
    if not isinstance(value, str):
        return True
    if not _RFC3339_UTC.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


@_FORMATS.checks("uri")
def _is_absolute_url(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme)


class Promise(NamedTuple):
    """One documented response: method in capitals, path template, status."""

    method: str
    template: str
    status: int


class ContractError(AssertionError):
    """A response that the document does not allow; the message says where and why."""


@dataclass(frozen=True)
class _Response:
    headers: Mapping[str, Mapping[str, object]]
    content: Mapping[str, Mapping[str, object]]


class Contract:
    """The promises of one `openapi.yaml`.

    `document` is the parsed file; `documented` every (method, template, status) in it; `produced`
    those that `check` has accepted.
    """

    def __init__(self, path: Path) -> None:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert isinstance(loaded, dict)
        self.document: dict[str, object] = loaded
        # `$ref`s are relative to the whole document, so every schema is checked inside it.
        self._components = _as_json_schema(self.document.get("components", {}))
        self._responses = dict(self._read())
        self.documented: frozenset[Promise] = frozenset(self._responses)
        self.produced: set[Promise] = set()

    async def check(self, response: ClientResponse, method: str, template: str) -> object:
        """Validate `response`, read whole, as an answer of `method` on `template`.

        Returns the parsed body of a JSON response, the text of another, None where there is none.
        Raises ContractError.
        """
        payload = await response.read()
        promise = Promise(method.upper(), template, response.status)
        documented = self._responses.get(promise)
        where = f"{promise.method} {promise.template} -> {promise.status}"
        if documented is None:
            raise ContractError(f"{where} is not documented; body: {payload[:500]!r}")
        self._check_headers(where, response, documented)
        body = self._check_body(where, response, payload, documented, promise.method)
        self.produced.add(promise)
        return body

    def missing(self) -> frozenset[Promise]:
        """Documented responses that nothing has produced yet."""
        return self.documented - self.produced

    def validate(self, schema: Mapping[str, object], value: object) -> list[str]:
        """Every way in which `value` breaks `schema`, as `pointer: message` lines."""
        rooted = {**_mapping(_as_json_schema(schema)), "components": self._components}
        validator = Draft202012Validator(rooted, format_checker=_FORMATS)
        return [
            f"/{'/'.join(str(part) for part in error.absolute_path)}: {error.message}"
            for error in validator.iter_errors(value)
        ]

    def examples(self) -> Iterator[tuple[str, Mapping[str, object], object]]:
        """Every example of a response body: where it stands, its schema, its value."""
        for promise, response in self._responses.items():
            for media_type, described in response.content.items():
                schema = _mapping(described.get("schema", {}))
                where = f"{promise.method} {promise.template} {promise.status} {media_type}"
                if "example" in described:
                    yield where, schema, described["example"]
                for name, example in _mapping(described.get("examples", {})).items():
                    yield f"{where} {name}", schema, _mapping(example)["value"]

    def _read(self) -> Iterator[tuple[Promise, _Response]]:
        for template, item in _mapping(self.document["paths"]).items():
            for method, operation in _mapping(item).items():
                if method not in _METHODS:
                    continue
                for status, raw in _mapping(_mapping(operation)["responses"]).items():
                    response = self._resolve(raw)
                    yield (
                        Promise(method.upper(), template, int(status)),
                        _Response(
                            headers={
                                name: self._resolve(header)
                                for name, header in _mapping(response.get("headers", {})).items()
                            },
                            content={
                                media_type: _mapping(described)
                                for media_type, described in _mapping(
                                    response.get("content", {})
                                ).items()
                            },
                        ),
                    )

    def _resolve(self, node: object) -> Mapping[str, object]:
        """Follow a local `$ref` of a response or a header."""
        described = _mapping(node)
        while "$ref" in described:
            target: object = self.document
            for part in str(described["$ref"]).removeprefix("#/").split("/"):
                target = _mapping(target)[part]
            described = _mapping(target)
        return described

    def _check_headers(self, where: str, response: ClientResponse, documented: _Response) -> None:
        for name, header in documented.headers.items():
            text = response.headers.get(name)
            if text is None:
                if header.get("required", False):
                    raise ContractError(f"{where}: required header {name} is missing")
                continue
            schema = _mapping(header.get("schema", {}))
            value: object = text
            if schema.get("type") == "integer":
                if not re.fullmatch(r"-?\d+", text):
                    raise ContractError(f"{where}: header {name}: {text!r} is no integer")
                value = int(text)
            if problems := self.validate(schema, value):
                raise ContractError(f"{where}: header {name}: {problems}")

    def _check_body(
        self,
        where: str,
        response: ClientResponse,
        payload: bytes,
        documented: _Response,
        method: str,
    ) -> object:
        if not documented.content or method == "HEAD":
            if payload:
                raise ContractError(f"{where}: a body that is not documented: {payload[:200]!r}")
            return None
        media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        described = documented.content.get(media_type)
        if described is None:
            raise ContractError(
                f"{where}: content type {media_type!r}, documented {sorted(documented.content)}"
            )
        text = payload.decode("utf-8")
        body: object = text
        if media_type == "application/json" or media_type.endswith("+json"):
            body = json.loads(text)
        if problems := self.validate(_mapping(described.get("schema", {})), body):
            raise ContractError(f"{where}: {problems}")
        return body


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object in the OpenAPI document, got {value!r}")
    return {str(key): member for key, member in value.items()}


def _as_json_schema(node: object) -> object:
    """OpenAPI 3.0's `nullable` in terms of JSON Schema, in every schema below `node`."""
    if isinstance(node, list):
        return [_as_json_schema(member) for member in node]
    if not isinstance(node, dict):
        return node
    schema: dict[str, object] = {key: _as_json_schema(member) for key, member in node.items()}
    if schema.pop("nullable", False) is not True:
        return schema
    allowed = schema.get("enum")
    if isinstance(allowed, list):
        schema["enum"] = [*allowed, None]
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        return schema
    return {"anyOf": [schema, {"type": "null"}]}
