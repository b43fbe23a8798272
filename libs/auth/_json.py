"""JSON and base64url as security formats need them: one reading only, or none."""

from __future__ import annotations

import binascii
import json
from typing import NoReturn

_TO_BASE64 = bytes.maketrans(b"-_", b"+/")


def decode_base64url(text: str) -> bytes | None:
    """Bytes of canonical base64url without padding (RFC 7515 section 2), or None."""
    if "+" in text or "/" in text or not text.isascii():  # of another alphabet
        return None
    encoded = text.encode("ascii").translate(_TO_BASE64)
    rest = len(encoded) % 4
    try:
        decoded = binascii.a2b_base64(encoded + b"=" * (-rest % 4), strict_mode=True)
    except binascii.Error:
        return None
    # Unused bits in the last character would give one value several spellings.
    if rest:
        last = binascii.b2a_base64(decoded[1 - rest :], newline=False)
        if last.rstrip(b"=") != encoded[-rest:]:
            return None
    return decoded


def decode_object(document: bytes) -> dict[str, object] | None:
    """A JSON object without duplicate names and without NaN, or None.

    RFC 7515 section 4 leaves to the parser which of two equal names counts; two parsers that
    differ are an attack, so neither counts here.
    """
    try:
        value = _DECODER.decode(document.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError


# Made once: `json.loads` makes one for each call with hooks.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
