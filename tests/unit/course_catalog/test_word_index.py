"""The word index against a plain one: whatever is added, sealed, merged and purged in between."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.course_catalog.domain.search import is_unspaced
from services.course_catalog.domain.word_index import Bits, WordIndex

# Beginnings of each other, too short to begin one, of several bytes, and of a script without spaces.
VOCABULARY = [
    "a",
    "ab",
    "abc",
    "abca",
    "abcd",
    "abd",
    "b",
    "c++",
    "été",
    "éténdue",
    "日",
    "日本",
    "zz",
]
QUERIES = [*VOCABULARY, "abx", "ét", "été", "q", "日本語", "\U0010ffff"]


def found(index: WordIndex, *wanted: str) -> set[int]:
    slots = index.search(list(wanted))
    return set(slots.slots()) if isinstance(slots, Bits) else slots


def has(words: frozenset[str], wanted: str) -> bool:
    if wanted in words:
        return True
    begins = len(wanted) >= 3 and not is_unspaced(wanted)
    return begins and any(word.startswith(wanted) for word in words)


class AgainstAPlainIndex(RuleBasedStateMachine):
    """Sealing and purging go on a step at a time, while slots are added and searched for."""

    def __init__(self) -> None:
        super().__init__()
        self.index = WordIndex(few=3, common=2, large=6)
        self.kept: dict[int, frozenset[str]] = {}
        self.retired: set[int] = set()
        self.next_slot = 0
        self.free: list[int] = []
        self.work: Iterator[None] | None = None
        self.purging: frozenset[int] = frozenset()

    @rule(
        words=st.frozensets(st.sampled_from(VOCABULARY), max_size=5),
        gap=st.sampled_from([0, 0, 0, 1, 100, 70_000]),
    )
    def add(self, words: frozenset[str], gap: int) -> None:
        if self.free:
            slot = self.free.pop()
        else:
            slot = self.next_slot + gap
            self.next_slot = slot + 1
        self.index.add(slot, words)
        self.kept[slot] = words

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.kept)))
        del self.kept[slot]
        self.retired.add(slot)

    @precondition(lambda self: self.work is None)
    @rule(at=st.integers(1, 4))
    def seal(self, at: int) -> None:
        self.work, self.purging = self.index.seal(at=at), frozenset()

    @precondition(lambda self: self.work is None)
    @rule()
    def purge(self) -> None:
        self.purging = frozenset(self.retired)
        self.work = self.index.purge(self.purging)

    @precondition(lambda self: self.work is not None)
    @rule(steps=st.integers(1, 30))
    def go_on(self, steps: int) -> None:
        assert self.work is not None
        for _ in range(steps):
            try:
                next(self.work)
            except StopIteration:
                self.work = None
                self.retired -= self.purging
                self.free += self.purging
                return

    @invariant()
    def it_finds_what_a_plain_index_finds(self) -> None:
        for wanted in QUERIES:
            expected = {slot for slot, words in self.kept.items() if has(words, wanted)}
            assert found(self.index, wanted) - self.retired == expected
        for one, other in zip(QUERIES, QUERIES[2:], strict=False):
            both = {
                slot for slot, words in self.kept.items() if has(words, one) and has(words, other)
            }
            assert found(self.index, one, other) - self.retired == both


TestAgainstAPlainIndex = AgainstAPlainIndex.TestCase
TestAgainstAPlainIndex.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=50, unique=True))
def test_slots_far_apart_are_kept_apart(slots: list[int]) -> None:
    index = WordIndex(few=1_500, common=1_000, large=10)
    for slot in slots:
        index.add(slot, ["word", f"w{slot}"])
    for _ in index.seal(at=1):
        pass
    assert found(index, "word") == set(slots)
    assert all(found(index, f"w{slot}") >= {slot} for slot in slots)


def test_nothing_is_found_by_no_words_and_in_nothing() -> None:
    index = WordIndex(few=3, common=2, large=6)
    assert found(index) == found(index, "word") == set()
    for _ in index.purge(frozenset()):
        pass
    for _ in index.seal(at=0):
        pass
    assert found(index, "word") == set()


@pytest.mark.parametrize("rounds", [1, 40])
def test_there_are_never_many_parts(rounds: int) -> None:
    """However often the same few slots come, are purged, and come again."""
    index = WordIndex(few=3, common=2, large=16)
    for number in range(rounds):
        for slot in range(4):
            index.add(slot, ["word", f"w{number}"])
        for _ in index.seal(at=2):
            pass
        for _ in index.purge(frozenset(range(4))):
            pass
    for slot in range(100):
        index.add(slot, ["word"])
        for _ in index.seal(at=2):
            pass
    assert len(index._closed) <= 100 // 16 + 8
    assert found(index, "word") == set(range(100))
