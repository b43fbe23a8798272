"""Which switchovers keep every acknowledged write, and the shortest way in which others lose one."""

from __future__ import annotations

import sys

import pytest

from tests.unit.migration.models.switch_model import (
    BROKEN,
    RIGHT,
    RIGHT_AND_BACK,
    Switchover,
    check,
)

# The number of steps of the shortest way to a lost write, with one write of each of two writers.
FOUND = {
    "canary of writes, forward replication": 6,
    "canary of writes, replication both ways": 7,
    "flip once the lag is zero, no fence": 8,
    "fence, requests under way not waited for": 9,
    "back without reverse replication": 11,
    "fence that ends by the clock": 11,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_switchover_is_caught(name: str) -> None:
    found = check(BROKEN[name], writes=1).counterexample
    sys.stdout.write(f"\n{name}: {found}\n")
    assert found is not None
    assert (found.verdict, len(found.trace)) == ("LOST", FOUND[name])


def test_no_broken_switchover_is_forgotten() -> None:
    assert FOUND.keys() == BROKEN.keys()


@pytest.mark.parametrize(
    ("switchover", "writes", "restarts"),
    [(RIGHT, 2, 1), (RIGHT_AND_BACK, 1, 1), (RIGHT_AND_BACK, 2, 0)],
    ids=["there, two writes each", "there and back, a restart", "there and back, two writes each"],
)
def test_the_switchover_keeps_every_write(
    switchover: Switchover, writes: int, restarts: int
) -> None:
    seen = check(switchover, writes=writes, restarts=restarts)
    sys.stdout.write(f"\n{seen.states} states, {seen.ends} ends\n")
    assert seen.counterexample is None
    assert seen.ends
    assert seen.states > 400
