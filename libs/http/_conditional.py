"""Successful answers and conditional requests (RFC 9110, section 13).

Owns rendering JSON, entity tags and the comparison of what a client holds with what there is.
Knows no resource: a service says what the current tag is.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from libs.http._problem import Problem

# RFC 9110, 8.8.3: entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE
_ENTITY_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_SEPARATOR = re.compile(r"[ \t]*,[ \t,]*")


@dataclass(frozen=True)
class EntityTags:
    """The value of If-Match or If-None-Match: `any` for `*`, else the tags in order.

    A tag is kept as it stood, weak ones with their `W/`.
    """

    any: bool
    tags: tuple[str, ...] = ()

    def matches(self, etag: str | None) -> bool:
        """Strong comparison, as If-Match needs it; `etag` None means: no such resource."""
        if etag is None:
            return False
        if self.any:
            return True
        return not etag.startswith("W/") and etag in self.tags

    def matches_weakly(self, etag: str | None) -> bool:
        """Weak comparison, as If-None-Match needs it."""
        if etag is None:
            return False
        return self.any or _opaque(etag) in map(_opaque, self.tags)

    def require(self, etag: str | None) -> None:
        """Raise Problem 412 unless the current `etag` is one of these (strong comparison)."""
        if not self.matches(etag):
            raise precondition_failed()


def version_etag(version: int) -> str:
    """The strong entity tag of a resource's version: `"v12"`."""
    return f'"v{version}"'


def if_match(request: web.Request) -> EntityTags | None:
    """What If-Match says, None where it is absent. Raises Problem 400 when it is malformed."""
    return _entity_tags(request, "If-Match")


def require_if_match(request: web.Request) -> EntityTags:
    """What If-Match says; raises Problem 428 where it is absent (RFC 6585, section 3)."""
    tags = if_match(request)
    if tags is None:
        raise Problem(
            428,
            "precondition_required",
            "Send If-Match with the ETag that the change is based on.",
        )
    return tags


def precondition_failed() -> Problem:
    """The problem 412: somebody else changed the resource since the client read it."""
    return Problem(
        412, "precondition_failed", "The resource is no longer what If-Match says; read it again."
    )


def encode_json(data: object) -> bytes:
    """Compact UTF-8 JSON; a model by its aliases. Raises ValueError for NaN and infinities."""
    if isinstance(data, BaseModel):
        return data.model_dump_json(by_alias=True).encode()
    return _ENCODER.encode(data).encode()


# Made once: `json.dumps` makes one for each call that is not plain.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_response(
    request: web.Request,
    data: object,
    *,
    status: int = 200,
    etag: str | None = None,
    cache_control: str,
    vary: Sequence[str] = ("Authorization",),
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A JSON answer, or 304 when the client already holds it.

    `data` is bytes that already are JSON, a model, or a plain value. `etag` is an entity tag with
    its quotes. For GET and HEAD that would give 200, If-None-Match is compared weakly (RFC 9110,
    13.1.2); a 304 carries the headers that a 200 would (15.4.5). A malformed If-None-Match is
    ignored: the full answer is always right.
    """
    sent = {"Cache-Control": cache_control, **(headers or {})}
    if vary:
        sent["Vary"] = ", ".join(vary)
    if etag is not None:
        sent["ETag"] = etag
        if status == 200 and request.method in ("GET", "HEAD") and _is_known(request, etag):
            return web.Response(status=304, headers=sent)
    body = bytes(data) if isinstance(data, bytes | bytearray) else encode_json(data)
    # Not by `content_type`: aiohttp would take the header apart and put it together again.
    sent["Content-Type"] = "application/json"
    return web.Response(status=status, body=body, headers=sent)


def _is_known(request: web.Request, etag: str) -> bool:
    try:
        tags = _entity_tags(request, "If-None-Match")
    except Problem:
        return False
    return tags is not None and tags.matches_weakly(etag)


def _entity_tags(request: web.Request, header: str) -> EntityTags | None:
    lines = request.headers.getall(header, [])
    if not lines:
        return None
    text = ",".join(lines).strip(" \t,")
    if text == "*":
        return EntityTags(any=True)
    tags: list[str] = []
    position = 0
    while position < len(text):
        tag = _ENTITY_TAG.match(text, position)
        if tag is None:
            raise _malformed(header)
        tags.append(tag.group())
        position = tag.end()
        if position < len(text):
            separator = _SEPARATOR.match(text, position)
            if separator is None:
                raise _malformed(header)
            position = separator.end()
    if not tags:
        raise _malformed(header)
    return EntityTags(any=False, tags=tuple(tags))


def _malformed(header: str) -> Problem:
    return Problem(
        400, "invalid_header", f'{header} must be * or a list of quoted entity tags such as "v1".'
    )


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/")
