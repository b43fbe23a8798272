"""JSON and base64url as security formats need them: one reading only, or none."""

from __future__ import annotations

import base64
import binascii
import json
from typing import NoReturn


def decode_base64url(text: str) -> bytes | None:
    """Bytes of canonical base64url without padding (RFC 7515 section 2), or None."""
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    # Unused bits in the last character would give one value several spellings.
    canonical = base64.urlsafe_b64encode(decoded).rstrip(b"=").decode("ascii")
    return decoded if canonical == text else None


def decode_object(document: bytes) -> dict[str, object] | None:
    """A JSON object without duplicate names and without NaN, or None.

    RFC 7515 section 4 leaves to the parser which of two equal names counts; two parsers that
    differ are an attack, so neither counts here.
    """
    try:
        value = json.loads(
            document.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse
        )
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
