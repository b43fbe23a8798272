"""From what a client sent to a typed model, with every mistake reported at once.

Owns the base model, the shared field types and the translation of pydantic's errors to problems.
Knows no service's schema and never repeats a client's value in an error.
"""

import json
import re
from collections.abc import Collection
from datetime import datetime
from typing import Annotated, TypeVar
from urllib.parse import unquote_to_bytes

from aiohttp import web
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from libs.http._conditional import encode_json
from libs.http._json import JSON_CONTENT_TYPE, decode, read_json_bytes
from libs.http._problem import FieldError, Problem
from libs.timestamps import format_timestamp, parse_timestamp

IDENTIFIER_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
# More than any real form has fields, and longer than any real pointer; without these bounds the
# answer to a body of nothing but mistakes would be many times its size: a name of 100 KB stands in
# the pointer of every mistake below it.
MAX_REPORTED_ERRORS = 1000
MAX_POINTER_CHARACTERS = 256
# Not `$`: in `re` it also matches before a trailing newline.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Schema(BaseModel):
    """Base of every model at the edge: strict, frozen, camelCase, no unknown fields."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=False,
        allow_inf_nan=False,
        # A message must not repeat what the client sent: it may be a secret.
        hide_input_in_errors=True,
    )


M = TypeVar("M", bound=BaseModel)


def is_identifier(text: str) -> bool:
    """Whether the text is an id as every service spells it."""
    return _IDENTIFIER.fullmatch(text) is not None


def _exact_identifier(value: str) -> str:
    if not is_identifier(value):
        raise ValueError("must be 1 to 64 characters out of A-Z, a-z, 0-9, _ and -")
    return value


def _decimal_integer(value: object) -> object:
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value) is None:
            raise ValueError("must be a decimal integer")
        return int(value)
    return value


def _utc_timestamp(value: object) -> object:
    if isinstance(value, str):
        try:
            return parse_timestamp(value)
        except ValueError as error:
            raise ValueError("must be an RFC 3339 timestamp with a zone") from error
    if isinstance(value, datetime):
        return value
    raise ValueError("must be an RFC 3339 timestamp with a zone")


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("must be an RFC 3339 timestamp with a zone")
    return value


Identifier = Annotated[
    str, StringConstraints(pattern=IDENTIFIER_PATTERN), AfterValidator(_exact_identifier)
]
"""An id as every service spells it: `^[A-Za-z0-9_-]{1,64}$`."""

DecimalInteger = Annotated[int, BeforeValidator(_decimal_integer)]
"""An integer out of a query: ASCII digits with an optional minus, at most 18 of them."""

UtcTimestamp = Annotated[
    datetime,
    BeforeValidator(_utc_timestamp),
    AfterValidator(_aware),
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
]
"""An RFC 3339 timestamp that carries a zone, in UTC once read."""


async def parse_body(
    request: web.Request,
    model: type[M],
    *,
    content_types: Collection[str] = (JSON_CONTENT_TYPE,),
) -> M:
    """The body as `model`. Raises Problem as `read_json` does, and 422 `invalid_body` with every
    error of a well-formed body."""
    raw = await read_json_bytes(request, content_types=content_types)
    decode(raw)
    return _validated(raw, model)


def validate_body(data: object, model: type[M]) -> M:
    """A value from `read_json` as `model`. Raises Problem 422 `invalid_body`.

    For bodies that must be seen as plain JSON first, as a merge patch (RFC 7396) must.
    """
    return _validated(encode_json(data), model)


def _validated(raw: bytes, model: type[M]) -> M:
    # JSON mode of pydantic: strictness as JSON has types (a list for a tuple, text for a date).
    # Parsing twice is what lets the stricter parser above decide what is JSON.
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise Problem(
            422,
            "invalid_body",
            "The body is well-formed JSON but not what this operation takes.",
            errors=_field_errors(error),
        ) from None


def parse_query(request: web.Request, model: type[M]) -> M:
    """The query as `model`, each parameter by its alias and as text.

    Raises Problem 400 `invalid_query` with every error: unknown, repeated, badly escaped or
    unacceptable parameters.
    """
    values: dict[str, str] = {}
    errors: list[FieldError] = []
    repeated: set[str] = set()
    for name, value in _query_pairs(request.rel_url.raw_query_string):
        if name in values:
            repeated.add(name)
        values[name] = value
    errors += [FieldError(_pointer((name,)), "is given more than once") for name in repeated]
    try:
        parsed = model.model_validate_strings(values)
    except ValidationError as error:
        errors += _field_errors(error)
    else:
        if not errors:
            return parsed
    raise Problem(
        400,
        "invalid_query",
        "The query is not what this operation takes.",
        errors=sorted(errors, key=lambda error: error.pointer),
    )


def path_identifier(request: web.Request, name: str) -> str:
    """The identifier in the path parameter `name`. Raises Problem 400 `invalid_path`.

    A malformed id names nothing that could exist, so the answer needs no look-up.
    """
    value = request.match_info[name]
    if not is_identifier(value):
        raise Problem(
            400,
            "invalid_path",
            f"{name} must be 1 to 64 characters out of A-Z, a-z, 0-9, _ and -.",
        )
    return value


def _query_pairs(raw: str) -> list[tuple[str, str]]:
    """Split and decode a raw query (application/x-www-form-urlencoded, URL standard 5.1).

    aiohttp's own reading keeps an undecodable escape as text; here it is refused.
    """
    pairs: list[tuple[str, str]] = []
    for part in raw.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((_query_text(name), _query_text(value)))
    return pairs


def _query_text(raw: str) -> str:
    try:
        if _BAD_ESCAPE.search(raw):
            raise ValueError("not a percent-encoded byte")
        return unquote_to_bytes(raw.replace("+", " ")).decode("utf-8")
    except ValueError as error:
        raise Problem(
            400, "invalid_query", "The query is not percent-encoded UTF-8 text."
        ) from error


def _field_errors(error: ValidationError) -> list[FieldError]:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return [
        FieldError(_pointer(entry["loc"]), _message(entry["type"], entry["msg"]))
        for entry in found[:MAX_REPORTED_ERRORS]
    ]


def _message(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "is not known here"
    if kind == "missing":
        return "is required"
    return message.removeprefix("Value error, ")


def _pointer(location: tuple[int | str, ...]) -> str:
    """RFC 6901. pydantic marks an error in a mapping's key by a last step `[key]`.

    Where a name is too long to be repeated, the pointer ends at the object that has it.
    """
    # Only the last: `[key]` may be a client's name too.
    steps = location[:-1] if len(location) > 1 and location[-1] == "[key]" else location
    pointer = ""
    for step in steps:
        name = str(step)
        if len(name) > MAX_POINTER_CHARACTERS:
            break
        longer = f"{pointer}/" + name.replace("~", "~0").replace("/", "~1")
        # As it is sent: outside ASCII a character takes up to twelve.
        if len(json.dumps(longer)) - 2 > MAX_POINTER_CHARACTERS:
            break
        pointer = longer
    return pointer
