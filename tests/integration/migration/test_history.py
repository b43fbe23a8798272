"""The judge sees what it is there for, and takes nothing for wrong that may be."""

from __future__ import annotations

import pytest

from tests.integration.migration.history import Read, Write, last_values, violations

KEY = ("content_delivery", 1)
NEVER = float("inf")
WRITES = [
    Write(KEY, "a", 1.0, 2.0),
    Write(KEY, None, 3.0, 4.0),
    Write(KEY, "b", 5.0, 6.0),
    Write(KEY, "c", 7.0, NEVER),
]


@pytest.mark.parametrize(
    ("value", "began", "ended"),
    [
        ("before", 0.0, 0.5),  # what was there before
        ("before", 1.2, 1.4),  # being written: either
        ("a", 1.2, 1.4),
        ("a", 2.5, 2.6),
        (None, 4.5, 4.6),
        ("b", 6.5, 6.6),
        ("b", 9.0, 9.1),  # no answer: it may not have been carried out
        ("c", 9.0, 9.1),
        ("a", 2.5, 5.5),  # began before what followed
    ],
)
def test_what_may_be_read(value: str | None, began: float, ended: float) -> None:
    assert violations({KEY: "before"}, WRITES, [Read(KEY, value, began, ended)]) == []


@pytest.mark.parametrize(
    ("value", "began", "ended", "word"),
    [
        (None, 2.5, 2.6, "LOST"),
        ("before", 2.5, 2.6, "STALE"),
        ("a", 4.5, 4.6, "RESURRECTED"),
        ("a", 6.5, 6.6, "STALE"),
        ("b", 1.2, 1.4, "STALE"),  # before it was written
    ],
)
def test_what_may_not_be_read(value: str | None, began: float, ended: float, word: str) -> None:
    (line,) = violations({KEY: "before"}, WRITES, [Read(KEY, value, began, ended)])
    assert line.split()[0] == word


def test_what_was_seen_stays_seen() -> None:
    """While a write lasts, a read may give it or what was before; once it was given, no more."""
    reads = [Read(KEY, "a", 1.1, 1.2), Read(KEY, "before", 1.5, 1.6)]
    (line,) = violations({KEY: "before"}, WRITES, reads)
    assert line.startswith("STALE")
    other_way = [Read(KEY, "before", 1.1, 1.2), Read(KEY, "a", 1.5, 1.6)]
    assert violations({KEY: "before"}, WRITES, other_way) == []


def test_what_each_key_may_have_in_the_end() -> None:
    assert last_values({KEY: "before", ("x", 2): None}, WRITES) == {
        KEY: frozenset({"b", "c"}),
        ("x", 2): frozenset({None}),
    }
