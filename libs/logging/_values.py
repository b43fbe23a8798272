"""Turns whatever was logged into plain JSON values: redacted, bounded, and never by raising."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from pathlib import PurePath
from typing import Any, TypeAlias
from uuid import UUID

from structlog.typing import EventDict, WrappedLogger

from libs.logging._redaction import (
    REDACTED,
    SHORT_NAME,
    SHORT_TEXT,
    field_name,
    is_plain,
    redact_short_text,
    redact_text,
    short_field_name,
)
from libs.timestamps import format_timestamp

JsonValue: TypeAlias = "None | bool | int | float | str | list[JsonValue] | dict[str, JsonValue]"

# CloudWatch Logs takes 256 KiB an event; a container's log driver splits lines far below that.
_MAX_DEPTH = 12
_MAX_VALUES = 1_000
_MAX_TEXT = 8_192
_MAX_CHARACTERS = 65_536
_MAX_INTEGER_BITS = 64


def redact_event(logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
    """A structlog processor: the event as plain JSON values with every secret taken out.

    Values under secret-like names are hidden whole, texts are searched, at any depth. Values that
    JSON does not have become text; too long, too deep or too many values are cut.
    """
    plain: EventDict = _Conversion().mapping(event_dict, 0)
    return plain


def describe_error(error: BaseException) -> tuple[str, str]:
    """Qualified type name and message of an exception, whatever its ``__str__`` does."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    try:
        return name, str(error)
    except Exception as failure:
        return name, f"<message failed: {type(failure).__name__}>"


class _Conversion:
    """One event's conversion, with what is left of its bounds."""

    __slots__ = ("_characters", "_values")

    def __init__(self) -> None:
        self._characters = _MAX_CHARACTERS
        self._values = _MAX_VALUES

    def mapping(self, values: Mapping[Any, object], depth: int) -> dict[str, JsonValue]:
        plain: dict[str, JsonValue] = {}
        for key, value in values.items():
            if self._values <= 0:
                plain["..."] = "cut"
                break
            kind, of_key = type(value), type(key)
            if of_key is not str:
                key = str.__str__(key) if isinstance(key, str) else _printed(key)
            # What nearly every name and text is, without a call between: a line is written for
            # each request.
            name, secret = short_field_name(key) if len(key) <= SHORT_NAME else field_name(key)
            self._characters -= len(name)
            if secret and value is not None and not isinstance(value, bool):
                plain[name] = REDACTED
            elif kind is str:
                self._values -= 1
                plain[name] = self.text(value)  # type: ignore[arg-type]  # narrowed by the exact type
            else:
                plain[name] = self.value(value, depth + 1)
        return plain

    def value(self, value: object, depth: int) -> JsonValue:
        self._values -= 1
        kind = type(value)
        if kind is str:
            return self.text(value)  # type: ignore[arg-type]  # narrowed by the exact type
        if value is None or kind is bool:
            return value  # type: ignore[return-value]  # narrowed by the exact type
        if kind is float or kind is int:
            return self._number(value)  # type: ignore[arg-type]  # narrowed by the exact type
        try:
            return self._converted(value, depth)
        except Exception as failure:
            return f"<{kind.__name__}: {type(failure).__name__}>"

    def text(self, text: str) -> str:
        length = len(text)
        if length <= SHORT_TEXT and length <= self._characters:
            self._characters -= length
            return text if is_plain(text) else redact_short_text(text)
        if length > _MAX_TEXT or length > self._characters:
            limit = max(0, min(_MAX_TEXT, self._characters))
            text = f"{text[:limit]}... ({length - limit} more characters)"
            length = len(text)
        self._characters -= length
        return redact_text(text)

    def _converted(self, value: object, depth: int) -> JsonValue:
        if isinstance(value, Enum):
            return self.value(value.value, depth)
        if isinstance(value, str):
            return self.text(str.__str__(value))
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if depth >= _MAX_DEPTH:
            return f"<{type(value).__name__}: too deep>"
        if isinstance(value, Mapping):
            return self.mapping(value, depth)
        if isinstance(value, list | tuple | Set):
            return self._items(value, depth)
        if isinstance(value, BaseException):
            name, message = describe_error(value)
            return {"type": self.text(name), "message": self.text(message)}
        if isinstance(value, datetime) and value.utcoffset() is not None:
            return format_timestamp(value)
        if isinstance(value, date | time | timedelta | UUID | Decimal | PurePath):
            return self.text(str(value))
        return self.text(_printed(value))

    @staticmethod
    def _number(value: int | float) -> JsonValue:
        if isinstance(value, int):
            if value.bit_length() > _MAX_INTEGER_BITS:
                return f"<integer of {value.bit_length()} bits>"
            return int(value)
        return float(value) if math.isfinite(value) else str(float(value))

    def _items(self, values: Iterable[object], depth: int) -> list[JsonValue]:
        items = list(islice(values, max(0, self._values)))
        # A pair such as ("Authorization", "Bearer ...") is a header written as a tuple.
        if len(items) == 2 and isinstance(items[0], str) and field_name(items[0])[1]:
            return [self.text(items[0]), REDACTED]
        return [self.value(item, depth + 1) for item in items]


def _printed(value: object) -> str:
    try:
        return repr(value)
    except Exception as failure:
        return f"<{type(value).__name__}: {type(failure).__name__}>"
