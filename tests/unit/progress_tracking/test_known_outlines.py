"""Outlines at hand: how old they get, how many they are, and that they never grow older again."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.outlines import KnownOutlines, OutlineStatistics


class Reader:
    """Answers from `outlines` and keeps what it was asked."""

    def __init__(self, *outlines: Outline) -> None:
        self.outlines = {outline.course_id: outline for outline in outlines}
        self.asked: list[list[str]] = []

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        self.asked.append(sorted(course_ids))
        return {name: self.outlines[name] for name in course_ids if name in self.outlines}


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


ONE, TWO = Outline("one", 1, ()), Outline("two", 1, ())


def known(
    reader: Reader, clock: Clock, *, seconds: float = 30.0, entries: int = 10
) -> KnownOutlines:
    return KnownOutlines(
        reader, maximum_age_seconds=seconds, maximum_entries=entries, monotonic=clock
    )


async def test_only_what_is_not_at_hand_is_read() -> None:
    reader, clock = Reader(ONE, TWO), Clock()
    outlines = known(reader, clock)
    assert await outlines.one("one") == ONE
    assert await outlines.many(["one", "two", "none"]) == {"one": ONE, "two": TWO}
    assert await outlines.many(["one", "two", "none"]) == {"one": ONE, "two": TWO}
    assert reader.asked == [["one"], ["none", "two"]]


@pytest.mark.parametrize(("age", "version"), [(29.9, 1), (30.0, 2)])
async def test_an_outline_is_read_again_at_its_age(age: float, version: int) -> None:
    reader, clock = Reader(ONE), Clock()
    outlines = known(reader, clock)
    await outlines.one("one")
    reader.outlines["one"] = Outline("one", 2, ())
    clock.seconds += age
    found = await outlines.one("one")
    assert found is not None
    assert found.version == version


async def test_an_outline_that_appears_is_seen_at_the_same_age() -> None:
    reader, clock = Reader(), Clock()
    outlines = known(reader, clock)
    assert await outlines.one("one") is None
    reader.outlines["one"] = ONE
    assert await outlines.one("one") is None
    clock.seconds += 30
    assert await outlines.one("one") == ONE


async def test_a_read_that_lags_does_not_bring_an_older_version_back() -> None:
    newer = Outline("one", 2, ())
    reader, clock = Reader(newer), Clock()
    outlines = known(reader, clock)
    await outlines.one("one")
    clock.seconds += 30
    reader.outlines["one"] = ONE
    assert await outlines.one("one") == newer
    clock.seconds += 30
    del reader.outlines["one"]
    assert await outlines.one("one") == newer


async def test_no_more_are_kept_than_allowed() -> None:
    reader, clock = Reader(ONE, TWO), Clock()
    outlines = known(reader, clock, entries=1)
    assert await outlines.many(["one", "two"]) == {"one": ONE, "two": TWO}
    await outlines.one("two")
    await outlines.one("one")
    assert reader.asked == [["one", "two"], ["one"]]


async def test_an_age_of_nothing_keeps_nothing() -> None:
    reader, clock = Reader(ONE), Clock()
    outlines = known(reader, clock, seconds=0)
    await outlines.one("one")
    await outlines.one("one")
    assert reader.asked == [["one"], ["one"]]


async def test_nothing_is_asked_for_nothing() -> None:
    reader = Reader()
    assert await known(reader, Clock()).many([]) == {}
    assert reader.asked == []


async def test_what_was_at_hand_is_counted() -> None:
    """That a course has no outline is at hand as well."""
    clock = Clock()
    outlines = known(Reader(ONE, TWO), clock)
    await outlines.one("one")
    await outlines.many(["one", "two", "none"])
    assert outlines.statistics() == OutlineStatistics(hits=1, misses=3, entries=3)
    clock.seconds += 2
    await outlines.many(["one", "two", "none"])
    assert outlines.statistics() == OutlineStatistics(4, 3, 3, hit_age_seconds=6)
