"""The catalog's events, as far as this service needs them.

Owns how a message becomes an outline. The contract is the catalog's (`events.yaml` there); what is
read here beyond or against it fails a contract test. Trusts nothing: what is not an event of that
contract is refused by name of the rule it breaks, never with a value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from libs.aws import unmarshal
from services.progress_tracking.domain.outline import Outline, OutlineItem

_PREFIX: Final = "outline#"
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
# More than a course may ever have; an outline of these still fits an item of the table.
_MOST_ITEMS: Final = 2_000
# The catalog counts them from 1; DynamoDB keeps 38 digits.
_LARGEST_VERSION: Final = 10**15


class UnreadableEventError(Exception):
    """The message is no event of the contract, and never will be one however often it comes.

    rule: what it breaks.
    """

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class OutlineChanged:
    """A course has this outline from now on. `trace_header` is of who changed it, if known."""

    outline: Outline
    trace_header: str | None


def read_event(body: str) -> OutlineChanged | None:
    """The event in a message's body; None for a record that says nothing about an outline.

    Other rows of the catalog's table reach the queue where the pipe filters nothing, and say
    nothing. Neither does the removal of a row: what was learnt of a course stays.
    Raises UnreadableEventError.
    """
    record = _json(body)
    change = _mapping(record.get("dynamodb"), "dynamodb is an object")
    keys = _mapping(change.get("Keys"), "Keys is an object")
    key = _mapping(keys.get("courseId"), "the key courseId is an attribute value").get("S")
    if not isinstance(key, str):
        raise UnreadableEventError("the key courseId is a string")
    if not key.startswith(_PREFIX) or record.get("eventName") == "REMOVE":
        return None
    image = _Image(_unmarshalled(_mapping(change.get("NewImage"), "NewImage is an object")))
    trace_header = image.values.get("traceHeader")
    return OutlineChanged(
        Outline(
            course_id=_identifier(key.removeprefix(_PREFIX), "the key names a course"),
            version=image.version(),
            items=image.items(),
        ),
        trace_header if isinstance(trace_header, str) else None,
    )


class _Image:
    """The attributes of an outline's row."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values

    def version(self) -> int:
        value = self.values.get("outlineVersion")
        if not isinstance(value, int) or isinstance(value, bool):
            raise UnreadableEventError("outlineVersion is a whole number")
        if not 1 <= value <= _LARGEST_VERSION:
            raise UnreadableEventError("outlineVersion is counted from 1")
        return value

    def items(self) -> tuple[OutlineItem, ...]:
        entries = self.values.get("items")
        if not isinstance(entries, list):
            raise UnreadableEventError("items is a list")
        if len(entries) > _MOST_ITEMS:
            raise UnreadableEventError(f"items has at most {_MOST_ITEMS} entries")
        return tuple(_item(entry) for entry in entries)


def _item(entry: object) -> OutlineItem:
    values = _mapping(entry, "an item is a map")
    required, weight = values.get("required"), values.get("weight")
    if not isinstance(required, bool):
        raise UnreadableEventError("required is a boolean")
    if not isinstance(weight, int | float) or isinstance(weight, bool):
        raise UnreadableEventError("weight is a number")
    if not 0 <= weight < math.inf:  # NaN falls here too
        raise UnreadableEventError("weight is finite and not negative")
    return OutlineItem(
        _identifier(values.get("contentId"), "contentId is an identifier"), required, float(weight)
    )


def _json(body: str) -> Mapping[str, object]:
    try:
        value = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UnreadableEventError("the body is JSON") from None
    return _mapping(value, "the body is an object")


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _unmarshalled(image: Mapping[str, object]) -> Mapping[str, object]:
    try:
        return unmarshal(image)  # type: ignore[arg-type]  # anything: hence the clause below
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError):
        raise UnreadableEventError("NewImage holds attribute values") from None


def _mapping(value: object, rule: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise UnreadableEventError(rule)
    return value


def _identifier(value: object, rule: str) -> str:
    if not isinstance(value, str) or _IDENTIFIER.fullmatch(value) is None:
        raise UnreadableEventError(rule)
    return value
