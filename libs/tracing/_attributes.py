"""Makes any value fit for a trace: small, serialisable, without secrets in URLs."""

import math
import re
from collections.abc import Sequence
from typing import Final

from libs.tracing._record import AttributeValue

# X-Ray's limit for the value of an annotation, in characters:
# https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html
LONGEST_TEXT: Final = 1000
MOST_ATTRIBUTES: Final = 64
_MOST_ELEMENTS: Final = 50
_LARGEST_INTEGER: Final = 2**63 - 1

# A query can hold a signature or a token (pre-signed URLs), the authority a password.
_USER_INFO: Final = re.compile(r"://[^/\s@]*@")
_QUERY: Final = re.compile(r"(://[^\s?#\"'<>]*)[?#][^\s\"'<>]*")


def clean_text(text: str) -> str:
    """At most LONGEST_TEXT characters, URLs without user info, query and fragment."""
    shortened = len(text) > LONGEST_TEXT
    if shortened:
        text = text[: LONGEST_TEXT - 1]
    if "://" in text:
        text = _QUERY.sub(r"\1", _USER_INFO.sub("://", text))
    return text + "…" if shortened else text


def clean_value(value: object) -> AttributeValue:
    """The value itself where a trace can hold it, else its text. Never raises."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST_INTEGER else "integer out of range"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return _clean_elements(value)
    return clean_text(describe(value))


def describe(value: object) -> str:
    """str(value), or the name of its type where that raises."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _clean_elements(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(clean_text(describe(value)) for value in values[:_MOST_ELEMENTS])
