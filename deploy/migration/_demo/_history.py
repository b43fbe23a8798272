"""What clients wrote and what they read: was anything lost, stale, resurrected or invented?

Owns the judgement alone: no sockets, no clocks. An item is a set of facts, each a register with one
writer that sends its next write when it has its last answer. So what a read may show follows from times
alone: what was acknowledged before the read began must not have gone, and nothing may be seen that was
not being written before the read ended. A write whose answer never came may be seen or not, now or
later; nobody writes such an item again, so what is seen of it stays within what was sent.

A deletion is a write by which facts are absent. What is seen although its deletion was acknowledged is
resurrected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Facts = Mapping[str, str]
"""What is known of an item, by name; what is not there is absent."""


class Kind(StrEnum):
    """What can be wrong with what was read."""

    LOST = "lost"
    """Something that was acknowledged is not there."""
    STALE = "stale"
    """What is there is older than what was acknowledged."""
    RESURRECTED = "resurrected"
    """What was deleted is there."""
    INVENTED = "invented"
    """What is there was sent by nobody."""


@dataclass(frozen=True)
class Problem:
    """One fact that must not be."""

    kind: Kind
    item: str
    fact: str
    seen: str | None
    expected: str | None

    def __str__(self) -> str:
        seen = "nothing" if self.seen is None else repr(self.seen)
        expected = "nothing" if self.expected is None else repr(self.expected)
        return f"{self.kind}: {self.item}, {self.fact}: {seen} in the place of {expected}"


@dataclass
class _Value:
    """A value that a fact was given, None where it was taken away."""

    value: str | None
    began: float = -math.inf
    answered: float = math.inf
    """When it was acknowledged; infinite while it was not."""


class Write:
    """A write on its way. Neither acknowledged nor refused, its outcome is unknown."""

    def __init__(self, item: _Item, values: Mapping[str, _Value]) -> None:
        self._item = item
        self._values = values
        item.open += 1

    def acknowledged(self, at: float) -> None:
        """It is done, says its answer."""
        self._item.open -= 1
        for value in self._values.values():
            value.answered = at

    def refused(self) -> None:
        """It is not done and will not be, says its answer."""
        self._item.open -= 1
        for fact, value in self._values.items():
            self._item.facts[fact].remove(value)


class _Item:
    def __init__(self) -> None:
        self.facts: dict[str, list[_Value]] = {}
        self.open = 0

    def values(self, fact: str) -> list[_Value]:
        return self.facts.setdefault(fact, [_Value(None, answered=-math.inf)])


class History:
    """Of all items. Times are of one clock."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}
        self._problems: dict[tuple[Kind, str, str], Problem] = {}
        self.reads = 0

    @property
    def problems(self) -> list[Problem]:
        """Each fact that was wrong, once for each way in which it was."""
        return list(self._problems.values())

    @property
    def items(self) -> tuple[str, ...]:
        """Every item that something is known of."""
        return tuple(self._items)

    def count(self, kind: Kind) -> int:
        """How many facts were wrong in that way."""
        return sum(problem.kind is kind for problem in self._problems.values())

    def found(self, item: str, facts: Facts) -> None:
        """What stood there before anybody wrote."""
        known = self._items.setdefault(item, _Item())
        for fact, value in facts.items():
            known.facts[fact] = [_Value(value, answered=-math.inf)]

    def writing(self, item: str, changes: Mapping[str, str | None], *, began: float) -> Write:
        """Note a write before it is sent."""
        known = self._items.setdefault(item, _Item())
        values = {fact: _Value(value, began) for fact, value in changes.items()}
        for fact, value in values.items():
            known.values(fact).append(value)
        return Write(known, values)

    def deleting(self, item: str, *, began: float, but: Facts | None = None) -> Write:
        """Note a deletion of all that is known of an item before it is sent; `but` is given new
        values by it."""
        gone = dict.fromkeys(self._items.setdefault(item, _Item()).facts)
        return self.writing(item, {**gone, **(but or {})}, began=began)

    def may_be_written(self, item: str) -> bool:
        """Whether every write of it so far was answered."""
        known = self._items.get(item)
        return known is None or known.open == 0

    def read(
        self, item: str, seen: Facts, *, began: float, ended: float, is_last: bool = False
    ) -> list[Problem]:
        """Judge a read at its end; gives what is wrong with it. `is_last`: nothing is written any
        more, so that what is older is an update that was lost."""
        self.reads += 1
        known = self._items.setdefault(item, _Item())
        found = [
            problem
            for fact in {**known.facts, **seen}
            if (
                problem := _judge(
                    item, fact, seen.get(fact), known.values(fact), began, ended, is_last
                )
            )
        ]
        for problem in found:
            self._problems.setdefault((problem.kind, problem.item, problem.fact), problem)
        return found


def _judge(
    item: str,
    fact: str,
    seen: str | None,
    values: list[_Value],
    began: float,
    ended: float,
    is_last: bool,
) -> Problem | None:
    last = max(i for i, value in enumerate(values) if value.answered <= began)
    possible = [value.value for value in values[last:] if value.began <= ended]
    if seen in possible:
        return None
    expected = values[last].value
    if seen is None:
        kind = Kind.LOST
    elif seen not in [value.value for value in values[:last]]:
        kind = Kind.INVENTED
    elif possible == [None] * len(possible):
        kind = Kind.RESURRECTED
    else:
        kind = Kind.LOST if is_last else Kind.STALE
    return Problem(kind, item, fact, seen, expected)
