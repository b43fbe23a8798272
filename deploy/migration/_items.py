"""Items in DynamoDB's wire form: sizes, canonical comparison and the migration's mark.

Owns what the migration writes into an item beside its attributes. Sends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

AttributeValue: TypeAlias = Mapping[str, Any]
Item: TypeAlias = Mapping[str, AttributeValue]

MAX_ITEM_BYTES: Final = 400 * 1024
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html: item size"""

MARK: Final = "_migration"
"""The attribute that the migration adds to what it writes; it goes with the owner's next put."""

SEQUENCE_DIGITS: Final = 40
MARK_BYTES: Final = len(MARK) + 3 + 8 + (1 + 21) + (1 + SEQUENCE_DIGITS) + (1 + 1)
"""The most that a mark takes: its name, a map of an epoch, a sequence number and a flag."""

START: Final = "0" * SEQUENCE_DIGITS
"""The order of what the backfill writes: before every record of its epoch."""


def padded(sequence_number: str) -> str:
    """A sequence number such that comparing two as text compares them as numbers."""
    if not sequence_number.isascii() or not sequence_number.isdigit():
        raise ValueError("a sequence number has digits alone")
    if len(sequence_number) > SEQUENCE_DIGITS:
        raise ValueError(f"a sequence number has at most {SEQUENCE_DIGITS} digits")
    return sequence_number.zfill(SEQUENCE_DIGITS)


@dataclass(frozen=True)
class Order:
    """What decides between two writes of the migration to one cell."""

    epoch: int
    sequence: str  # of SEQUENCE_DIGITS digits

    def __lt__(self, other: Order) -> bool:
        return (self.epoch, self.sequence) < (other.epoch, other.sequence)


@dataclass(frozen=True)
class Mark:
    """The mark of an item: of an `order` by forward replication, or of a `tag` by the way back."""

    order: Order | None = None
    tag: str | None = None
    tombstone: bool = False

    def value(self) -> AttributeValue:
        """In wire form."""
        members: dict[str, AttributeValue] = {}
        if self.order is not None:
            members["e"] = {"N": str(self.order.epoch)}
            members["s"] = {"S": self.order.sequence}
        if self.tag is not None:
            members["c"] = {"S": self.tag}
        if self.tombstone:
            members["t"] = {"BOOL": True}
        return {"M": members}


def mark_of(item: Item | None) -> Mark | None:
    """The mark of an item, None for a native one and where there is no item."""
    if item is None or MARK not in item:
        return None
    members = item[MARK].get("M", {})
    order = None
    if "e" in members and "s" in members:
        order = Order(int(members["e"]["N"]), members["s"]["S"])
    return Mark(order, members.get("c", {}).get("S"), members.get("t", {}).get("BOOL", False))


def marked(item: Item, mark: Mark) -> Item:
    """The item with this mark in place of any other."""
    return {**item, MARK: mark.value()}


def unmarked(item: Item) -> Item:
    """The item as its owner knows it."""
    return {name: value for name, value in item.items() if name != MARK}


def live(item: Item | None) -> Item | None:
    """The item without its mark, None where there is none or a tombstone stands."""
    mark = mark_of(item)
    if item is None or (mark is not None and mark.tombstone):
        return None
    return unmarked(item)


def is_migrations_write(old: Item | None, new: Item | None) -> bool:
    """Whether a stream record is of a write of the migration itself, and not of the owner's.

    Every write of the migration changes the mark or removes a tombstone. The owner's put drops the
    mark, its update keeps it as it was, its deletion removes what was no tombstone.
    """
    before, after = mark_of(old), mark_of(new)
    if new is None:
        return before is not None and before.tombstone
    return after is not None and after != before


def item_size(item: Item) -> int:
    """The bytes that DynamoDB counts for an item, by its published rules; numbers rounded up.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def write_units(item: Item) -> int:
    """The units that writing an item takes of its table: one for each 1 KB begun."""
    return -(-item_size(item) // 1024)


def _value_size(value: AttributeValue) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return len(content) // 2 + 2
        case "B":
            return len(content)
        case "SS":
            return sum(len(member.encode()) for member in content)
        case "NS":
            return sum(len(member) // 2 + 2 for member in content)
        case "BS":
            return sum(map(len, content))
        case "L":
            return 3 + sum(1 + _value_size(member) for member in content)
        case "M":
            return 3 + len(content) + item_size(content)
    return 1


def canonical(item: Item) -> object:
    """A value that two items share exactly when they mean the same: sets have no order, numbers
    no spelling, and a mark does not count. Types are told apart."""
    return {name: _canonical(value) for name, value in item.items() if name != MARK}


def _canonical(value: AttributeValue) -> object:
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return ("N", _number(content))
        case "NS":
            return ("NS", frozenset(map(_number, content)))
        case "SS" | "BS":
            return (kind, frozenset(_plain(member) for member in content))
        case "B":
            return ("B", _plain(content))
        case "L":
            return ("L", [_canonical(member) for member in content])
        case "M":
            return ("M", {name: _canonical(member) for name, member in content.items()})
    return (kind, content)


def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _plain(value: Any) -> object:
    # The SDK wraps bytes in a class of its own.
    return value if isinstance(value, str) else bytes(value)
