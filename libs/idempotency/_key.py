"""The key as a client spells it, and what makes two requests the same.

The syntax is draft-ietf-httpapi-idempotency-key-header's; nothing here knows a store or a route.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

MAX_KEY_CHARACTERS = 255

# sf-string (RFC 8941, 3.3.3): printable ASCII in quotes, in which \" and \\ stand for themselves.
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_ESCAPED = re.compile(r"\\(.)")
# Most clients send the key bare, as they do to the payment services that made it known. Visible
# ASCII but for what a structured field would take apart: quote, comma, semicolon, backslash.
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+")


def parse_key(text: str) -> str:
    """The key in a header's value: `"abc"` as the draft has it, or bare `abc`, the same key.

    Raises ValueError for anything else, parameters included, and beyond MAX_KEY_CHARACTERS.
    """
    text = text.strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    if quoted is not None:
        key = _ESCAPED.sub(r"\1", quoted.group(1))
    elif _BARE.fullmatch(text):
        key = text
    else:
        raise ValueError("must be visible ASCII, bare or as a quoted string")
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        raise ValueError(f"must have 1 to {MAX_KEY_CHARACTERS} characters")
    return key


def fingerprint(method: str, route: str, path: Mapping[str, str], body: object) -> str:
    """What makes two requests the same, as SHA-256 in hexadecimal digits.

    `body` is the parsed JSON: white space, the order of members and `1` or `1.0` make no
    difference. Everything else does.
    """
    canonical = json.dumps(
        [method, route, dict(path), _canonical(body)],
        sort_keys=True,
        ensure_ascii=True,
        allow_nan=False,
        separators=(",", ":"),
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _canonical(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(member) for member in value]
    return value
