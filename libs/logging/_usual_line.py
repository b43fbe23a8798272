"""The line of an event whose values are all short texts and numbers, written in one go.

Such is the line of every request, and it is a good part of what a request costs. Owns when a line is
of this kind; what it says is `_pipeline`'s and `_values`': a test holds it to them, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from libs.logging._redaction import (
    SHORT_NAME,
    SHORT_TEXT,
    field_name,
    is_plain,
    redact_short_text,
)

# Far below the bounds at which an event is cut.
_MOST_VALUES = 100
_MOST_INTEGER_BITS = 64
_WORDS: Mapping[object, str] = {None: "null", True: "true", False: "false"}


def usual_line(members: Iterable[tuple[Any, Any]]) -> str | None:
    """The members of a JSON object, each after a comma; None where one of them is not usual.

    Of these names each is there once, and none is an own field of the pipeline's.
    """
    parts: list[str] = []
    for name, value in members:
        if not isinstance(name, str) or len(name) > SHORT_NAME:
            return None
        spelt = _spelt_name(name)
        if spelt is None:
            return None
        kind = type(value)
        if kind is str:
            if len(value) > SHORT_TEXT:
                return None
            # Nothing in a plain text is escaped.
            parts.append(f'{spelt}"{value}"' if is_plain(value) else spelt + _spelt_text(value))
        elif kind is int:
            if value.bit_length() > _MOST_INTEGER_BITS:
                return None
            parts.append(f"{spelt}{value}")
        elif kind is float:
            if not math.isfinite(value):
                return None
            parts.append(f"{spelt}{value!r}")
        elif kind is bool or value is None:
            parts.append(spelt + _WORDS[value])
        else:
            return None
    return "".join(parts) if len(parts) <= _MOST_VALUES else None


@lru_cache(maxsize=2048)
def _spelt_name(name: str) -> str | None:
    shown, secret = field_name(name)
    return None if secret or shown != name else f",{encode_basestring_ascii(name)}:"


@lru_cache(maxsize=1024)
def _spelt_text(text: str) -> str:
    return encode_basestring_ascii(redact_short_text(text))
