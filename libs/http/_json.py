"""Strict JSON bodies: what is read must mean the same to every parser (RFC 8259, RFC 7493).

Owns reading a request's body within a bound and refusing what parsers disagree about: duplicate
names, NaN and Infinity, numbers beyond what is kept exactly, lone surrogates, byte-order marks,
nesting without end. Knows no schema.
"""

import asyncio
import json
import math
from collections.abc import Collection
from typing import Never

from aiohttp import web

from libs.http._keys import BODY_CUT, MAX_BODY_BYTES
from libs.http._problem import Problem

JSON_CONTENT_TYPE = "application/json"
DEFAULT_MAX_BODY_BYTES = 262_144
MAX_DEPTH = 64
# DynamoDB keeps 38 significant digits; a longer integer could not be stored exactly.
_MAX_INTEGER_DIGITS = 38


class MalformedJsonError(ValueError):
    """The text is not JSON as this platform accepts it; the message is safe to show."""


async def read_json(
    request: web.Request, *, content_types: Collection[str] = (JSON_CONTENT_TYPE,)
) -> object:
    """Read the request's whole body as one JSON value.

    Raises Problem: 415 for a missing or other media type, charset or content coding; 413 as soon
    as the body is known to exceed the application's bound; 400 for anything that is not strict
    JSON.
    """
    return decode(await read_json_bytes(request, content_types=content_types))


async def read_body(request: web.Request, *, content_types: Collection[str]) -> bytes:
    """Read the request's whole body, which is text of one of these media types in UTF-8.

    Raises Problem 415 and 413 as `read_json` does. Whether the bytes are UTF-8 is not looked at.
    """
    return await read_json_bytes(request, content_types=content_types)


async def read_json_bytes(
    request: web.Request, *, content_types: Collection[str] = (JSON_CONTENT_TYPE,)
) -> bytes:
    """The body's bytes, its media type checked and its length bounded, not yet parsed."""
    _require_media_type(request, content_types)
    return await _read_bounded(request)


def decode(raw: bytes) -> object:
    """Parse strict JSON bytes. Raises Problem 400 `malformed_json`."""
    try:
        return parse(raw)
    except MalformedJsonError as error:
        raise Problem(400, "malformed_json", f"The body is not valid JSON: {error}.") from error


def parse(raw: bytes) -> object:
    """Parse strict JSON bytes. Raises MalformedJsonError."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJsonError(f"invalid UTF-8 at byte {error.start}") from error
    if text.startswith("\ufeff"):
        raise MalformedJsonError("it starts with a byte-order mark")
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_bounded_integer,
        )
    except MalformedJsonError:
        raise
    except json.JSONDecodeError as error:
        raise MalformedJsonError(
            f"{error.msg} at line {error.lineno} column {error.colno}"
        ) from error
    except RecursionError as error:
        raise MalformedJsonError(_too_deep()) from error
    # Most bodies have neither enough brackets to be deep nor any escape: no walk for them.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH or b"\\u" in raw:
        _check_depth_and_text(value)
    return value


def _require_media_type(request: web.Request, content_types: Collection[str]) -> None:
    expected = " or ".join(content_types)
    headers = {"Accept": ", ".join(content_types)}
    declared = request.headers.getall("Content-Type", [])
    if len(declared) != 1 or request.content_type not in content_types:
        raise Problem(
            415,
            "unsupported_media_type",
            f"Send the body as {expected} and say so in one Content-Type header.",
            headers=headers,
        )
    charset = request.charset
    if charset is not None and charset.lower() not in ("utf-8", "utf8"):
        raise Problem(415, "unsupported_media_type", "The body is sent as UTF-8.", headers=headers)
    codings = request.headers.getall("Content-Encoding", [])
    if any(coding.strip().lower() != "identity" for coding in codings):
        raise Problem(
            415,
            "unsupported_media_type",
            "Send the body without a content coding.",
            headers=headers | {"Accept-Encoding": "identity"},
        )


async def _read_bounded(request: web.Request) -> bytes:
    limit = request.config_dict.get(MAX_BODY_BYTES, DEFAULT_MAX_BODY_BYTES)
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)
    body = bytearray()
    # A chunked body has no length to check beforehand: stop at the first byte too many.
    try:
        while chunk := await request.content.readany():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except asyncio.CancelledError:
        request[BODY_CUT] = True
        raise
    return bytes(body)


def _too_large(limit: int) -> Problem:
    return Problem(413, "body_too_large", f"The body may have at most {limit} bytes.")


def _too_deep() -> str:
    return f"it is nested deeper than {MAX_DEPTH} levels"


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise MalformedJsonError(f"duplicate name {json.dumps(name[:64])} in an object")
            seen.add(name)
    return value


def _refuse_constant(name: str) -> Never:
    raise MalformedJsonError(f"{name} is not a JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise MalformedJsonError("a number is out of range")
    return value


def _bounded_integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_INTEGER_DIGITS:
        raise MalformedJsonError(f"an integer has more than {_MAX_INTEGER_DIGITS} digits")
    return int(text)


def _check_depth_and_text(value: object) -> None:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for node in level:
            if isinstance(node, str):
                _check_text(node)
            elif isinstance(node, dict):
                for name in node:
                    _check_text(name)
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
        if not below:
            return
        level = below
    if any(isinstance(node, dict | list) for node in level):
        raise MalformedJsonError(_too_deep())
    for node in level:
        if isinstance(node, str):
            _check_text(node)


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedJsonError("a string holds half of a surrogate pair") from error
