"""The judge of the demo: it lets every honest history pass and finds what is planted in one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.migration._demo._history import History, Kind, Write

ITEM = "course tides"


def written(history: History, value: str | None, *, at: float) -> None:
    """A write of the text that took a second and was acknowledged."""
    history.writing(ITEM, {"text": value}, began=at).acknowledged(at + 1)


def kinds(history: History) -> list[Kind]:
    return [problem.kind for problem in history.problems]


def test_what_was_acknowledged_is_read() -> None:
    history = History()
    written(history, "one", at=0)
    written(history, "two", at=2)

    assert history.read(ITEM, {"text": "two"}, began=4, ended=5) == []
    assert history.problems == []


def test_an_acknowledged_write_that_is_not_there_is_lost() -> None:
    history = History()
    written(history, "one", at=0)

    (problem,) = history.read(ITEM, {}, began=2, ended=3)

    assert problem.kind is Kind.LOST
    assert str(problem) == "lost: course tides, text: nothing in the place of 'one'"


def test_what_stood_before_anybody_wrote_may_not_go_either() -> None:
    history = History()
    history.found(ITEM, {"text": "old"})

    history.read(ITEM, {"text": "old"}, began=1, ended=2)
    history.read(ITEM, {}, began=3, ended=4)

    assert kinds(history) == [Kind.LOST]


def test_what_is_older_than_what_was_acknowledged_is_stale() -> None:
    history = History()
    written(history, "one", at=0)
    written(history, "two", at=2)

    history.read(ITEM, {"text": "one"}, began=4, ended=5)

    assert kinds(history) == [Kind.STALE]


def test_when_nothing_is_written_any_more_what_is_older_is_a_lost_update() -> None:
    history = History()
    written(history, "one", at=0)
    written(history, "two", at=2)

    history.read(ITEM, {"text": "one"}, began=4, ended=5, is_last=True)

    assert kinds(history) == [Kind.LOST]


def test_what_was_deleted_and_is_there_is_resurrected() -> None:
    history = History()
    history.found(ITEM, {"text": "old"})
    history.deleting(ITEM, began=1).acknowledged(2)

    assert history.read(ITEM, {}, began=3, ended=4) == []
    history.read(ITEM, {"text": "old"}, began=5, ended=6)

    assert kinds(history) == [Kind.RESURRECTED]


def test_what_was_deleted_before_it_was_written_again_is_not_resurrected_by_that() -> None:
    history = History()
    written(history, "one", at=0)
    history.deleting(ITEM, began=2).acknowledged(3)
    written(history, "two", at=4)

    assert history.read(ITEM, {"text": "two"}, began=6, ended=7) == []
    history.read(ITEM, {"text": "one"}, began=8, ended=9)
    history.read(ITEM, {}, began=10, ended=11)

    assert kinds(history) == [Kind.STALE, Kind.LOST]


def test_a_deletion_may_leave_something_and_take_the_rest() -> None:
    """As a new attempt does."""
    history = History()
    history.writing(ITEM, {"attempt": "1", "done a": "yes"}, began=0).acknowledged(1)
    history.deleting(ITEM, began=2, but={"attempt": "2"}).acknowledged(3)

    assert history.read(ITEM, {"attempt": "2"}, began=4, ended=5) == []
    history.read(ITEM, {"attempt": "2", "done a": "yes"}, began=6, ended=7)

    assert [(one.kind, one.fact) for one in history.problems] == [(Kind.RESURRECTED, "done a")]


def test_what_nobody_sent_is_invented() -> None:
    history = History()
    written(history, "one", at=0)

    history.read(ITEM, {"text": "two"}, began=2, ended=3)
    history.read(ITEM, {"text": "one", "more": "x"}, began=4, ended=5)

    assert kinds(history) == [Kind.INVENTED, Kind.INVENTED]


def test_a_write_that_meets_a_read_may_be_seen_or_not() -> None:
    history = History()
    written(history, "one", at=0)
    history.writing(ITEM, {"text": "two"}, began=3)

    for seen in ("one", "two"):
        assert history.read(ITEM, {"text": seen}, began=2, ended=4) == []


def test_an_answer_that_came_during_a_read_does_not_bind_it() -> None:
    history = History()
    written(history, "one", at=0)
    history.writing(ITEM, {"text": "two"}, began=2).acknowledged(4)

    assert history.read(ITEM, {"text": "one"}, began=3, ended=5) == []


def test_a_write_without_an_answer_may_be_seen_or_not_and_nobody_writes_the_item_again() -> None:
    history = History()
    written(history, "one", at=0)
    assert history.may_be_written(ITEM)
    history.writing(ITEM, {"text": "two"}, began=2)

    for seen in ("one", "two"):
        assert history.read(ITEM, {"text": seen}, began=90, ended=91, is_last=True) == []
    assert not history.may_be_written(ITEM)


def test_what_was_refused_must_not_be_seen() -> None:
    history = History()
    written(history, "one", at=0)
    history.writing(ITEM, {"text": "two"}, began=2).refused()

    assert history.may_be_written(ITEM)
    history.read(ITEM, {"text": "two"}, began=4, ended=5)

    assert kinds(history) == [Kind.INVENTED]


def test_what_is_wrong_again_counts_once() -> None:
    history = History()
    written(history, "one", at=0)

    for began in (2, 4, 6):
        history.read(ITEM, {}, began=began, ended=began + 1)

    assert history.count(Kind.LOST) == 1


class Store:
    """A store that does what it is told, at one moment within each request."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.history = History()
        self.stands: dict[str, str] = {}
        self.before: list[dict[str, str]] = []
        self.clock = 0.0
        self.number = 0

    def tick(self) -> float:
        self.clock += self.chance.choice((0.0, 0.1, 1.0))
        return self.clock

    def write(self, *, acknowledge: bool = True) -> None:
        self.number += 1
        fact = self.chance.choice(("a", "b"))
        delete = self.chance.random() < 0.3
        if delete:
            write = self.history.deleting(ITEM, began=self.tick())
            changes: dict[str, str | None] = dict.fromkeys(self.stands)
        else:
            changes = {fact: f"{fact}{self.number}"}
            write = self.history.writing(ITEM, changes, began=self.tick())
        self.carried_out(write, changes, acknowledge=acknowledge)

    def carried_out(
        self, write: Write, changes: dict[str, str | None], *, acknowledge: bool
    ) -> None:
        if not acknowledge and self.chance.random() < 0.5:
            return
        self.before.append(dict(self.stands))
        for fact, value in changes.items():
            if value is None:
                self.stands.pop(fact, None)
            else:
                self.stands[fact] = value
        if acknowledge:
            write.acknowledged(self.tick())


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 30), st.booleans())
def test_an_honest_store_is_never_blamed(
    chance: random.Random, steps: int, loses_an_answer: bool
) -> None:
    store = Store(chance)
    for _ in range(steps):
        began = store.tick()
        if chance.random() < 0.5:
            store.write()
        store.history.read(ITEM, dict(store.stands), began=began, ended=store.tick())
    if loses_an_answer:
        store.write(acknowledge=False)
    store.clock += 1
    store.history.read(
        ITEM, dict(store.stands), began=store.tick(), ended=store.tick(), is_last=True
    )

    assert store.history.problems == []


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 20))
def test_a_store_that_went_back_is_always_found(chance: random.Random, steps: int) -> None:
    store = Store(chance)
    for _ in range(steps):
        store.write()
    earlier = chance.choice(store.before)
    store.clock += 1

    found = store.history.read(ITEM, earlier, began=store.tick(), ended=store.tick())

    changed = {
        fact
        for fact in earlier.keys() | store.stands.keys()
        if earlier.get(fact) != store.stands.get(fact)
    }
    assert {problem.fact for problem in found} == changed
    for problem in found:
        assert (
            problem.kind
            is {
                (True, False): Kind.LOST,
                (False, True): Kind.RESURRECTED,
                (False, False): Kind.STALE,
            }[problem.seen is None, store.stands.get(problem.fact) is None]
        )


@pytest.mark.parametrize("kind", Kind)
def test_nothing_is_counted_that_was_not_found(kind: Kind) -> None:
    assert History().count(kind) == 0
