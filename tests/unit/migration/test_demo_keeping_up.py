"""When the demo asks less, and when it asks as before."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from random import Random

import pytest

from deploy.migration._demo._device import Request
from deploy.migration._demo._items import CATALOG, CONTENT, MODULES
from deploy.migration._demo._keeping_up import (
    BEHIND_SECONDS,
    LATE_SECONDS,
    LEAST_PER_SECOND,
    LEAST_SHARE_IF_LATE,
    LOOKS,
    KeepingUp,
)
from deploy.migration._demo._load import Load, People
from deploy.migration._demo._report import Report

_PER_SECOND = 32.0


class Played:
    """A load and a replication whose seconds are told one by one."""

    def __init__(self) -> None:
        people = People(token=lambda _: "", learners={"learner-a": "1"})
        self.load = Load("http://127.0.0.1:1", people, per_second=_PER_SECOND, chance=Random(1))
        self.said = io.StringIO()
        self.now = 0.0
        self._lags: list[float] = [0.0]
        self._coming: list[tuple[float, float]] = []
        self._played = asyncio.Event()
        report = Report(self.said, io.StringIO(), as_json=True, clock=lambda: self.now)
        self.keeping_up = KeepingUp(
            self.load, self._lags, report, clock=lambda: self.now, sleep=self._sleep
        )

    async def play(self, lags: Iterable[float], *, answers: float = 0.01) -> None:
        """Let a second go by for each lag; in each, three requests of every module take so long."""
        self._played.clear()
        self._coming = [(lag, answers) for lag in lags]
        await self._played.wait()

    async def _sleep(self, _: float) -> None:
        if not self._coming:
            # What was played has been judged.
            self._played.set()
        while not self._coming:
            await asyncio.sleep(0)
        lag, seconds = self._coming.pop(0)
        for module in MODULES * 3:
            self.load.counts.note(Request(module, False, self.now, seconds), None)
        self.now += 1.0
        self._lags.append(lag)


@pytest.fixture()
def played() -> Played:
    return Played()


def _behind(seconds: int) -> list[float]:
    """It falls behind by a second each second, from where that is too much."""
    return [BEHIND_SECONDS + number for number in range(seconds)]


async def test_where_everything_keeps_up_nothing_changes(played: Played) -> None:
    async with played.keeping_up.watched():
        await played.play([0.3] * LOOKS * 5, answers=LATE_SECONDS)

    assert played.load.per_second == _PER_SECOND
    assert not played.said.getvalue()


async def test_late_answers_halve_the_load_until_it_is_over(played: Played) -> None:
    async with played.keeping_up.watched():
        await played.play([0.3] * LOOKS, answers=LATE_SECONDS * 1.1)
        assert played.load.per_second == _PER_SECOND / 2
        await played.play([0.3] * LOOKS)
        assert played.load.per_second == _PER_SECOND / 2
        await played.play([0.3] * LOOKS, answers=LATE_SECONDS * 1.1)
        assert played.load.per_second == _PER_SECOND / 4

    assert played.load.per_second == _PER_SECOND
    assert played.said.getvalue().count('"event": "slowedDown"') == 2


async def test_one_late_module_is_enough_and_one_late_answer_is_not(played: Played) -> None:
    async with played.keeping_up.watched():
        played.load.counts.note(Request(CATALOG, True, 1.0, 9.0), None)
        await played.play([0.3] * LOOKS * 3)
        # One in 31 was late.
        assert played.load.per_second == _PER_SECOND
        for _ in range(3):
            played.load.counts.note(Request(CONTENT, False, played.now, LATE_SECONDS * 2), None)
        await played.play([0.3] * LOOKS)
        assert played.load.per_second == _PER_SECOND / 2


async def test_replication_that_falls_behind_halves_the_load(played: Played) -> None:
    async with played.keeping_up.watched():
        await played.play(_behind(LOOKS))
        assert played.load.per_second == _PER_SECOND / 2
        # It is far behind and catches up.
        await played.play([BEHIND_SECONDS * 2 - number for number in range(LOOKS)])
        assert played.load.per_second == _PER_SECOND / 2


async def test_there_is_a_least(played: Played) -> None:
    async with played.keeping_up.watched():
        await played.play([0.3] * LOOKS * 20, answers=LATE_SECONDS * 2)
        assert played.load.per_second == _PER_SECOND * LEAST_SHARE_IF_LATE
        await played.play(_behind(LOOKS * 20))
        assert played.load.per_second == LEAST_PER_SECOND
        await played.play([0.3] * LOOKS, answers=LATE_SECONDS * 2)
        assert played.load.per_second == LEAST_PER_SECOND

    assert played.said.getvalue().count('"event": "slowedDown"') == 4


async def test_while_a_module_changes_hands_nobody_is_late(played: Played) -> None:
    async with played.keeping_up.watched():
        with played.keeping_up.changing_hands():
            await played.play([0.3] * LOOKS * 2, answers=LATE_SECONDS * 9)
        await played.play([0.3] * LOOKS)
        assert played.load.per_second == _PER_SECOND
        await played.play([0.3] * LOOKS, answers=LATE_SECONDS * 9)
        assert played.load.per_second == _PER_SECOND / 2


async def test_a_switch_waits_for_replication_and_asks_less_meanwhile(played: Played) -> None:
    waiting = asyncio.create_task(played.keeping_up.caught_up())
    await played.play([5.0] * LOOKS)
    assert not waiting.done()
    assert played.load.per_second == _PER_SECOND / 2
    played._coming.append((1.0, 0.0))
    await waiting
