"""Which protocols copy a live item, and the shortest way in which each other one fails.

Run with `-s` to read every counterexample.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import product

import pytest

from tests.unit.migration.models.copy_model import (
    BROKEN,
    RIGHT,
    Protocol,
    World,
    check,
    scripts,
)
from tests.unit.migration.models.explorer import Counterexample

PLAIN = World()
CRASH = World(crashes=1)
TIES = World(crashes=1, ties=True)
LATE = World(lost_answers=1)
LATE_TIES = World(lost_answers=1, ties=True)
TRIM = World(trims=1)
SWITCHES = [
    World(lost_answers=1, after="".join(after))
    for size in (1, 2)
    for after in product("pud", repeat=size)
]

LOST, STALE, RESURRECTED = "LOST", "STALE", "RESURRECTED"
# The least world in which each broken protocol fails, every way in which it does, and the number of
# steps of the shortest way.
FOUND = {
    "plain put, plain put and delete": (PLAIN, {STALE, RESURRECTED}, 4),
    "copy first, then replay": (LATE, {LOST, STALE, RESURRECTED}, 5),
    "put if absent, plain put and delete": (PLAIN, {RESURRECTED}, 4),
    "put if absent, ordered, no tombstones": (PLAIN, {RESURRECTED}, 4),
    "newest second wins, the first of a second": (TIES, {LOST, STALE, RESURRECTED}, 6),
    "newest second wins, the last of a second": (LATE_TIES, {LOST, STALE, RESURRECTED}, 7),
    "eventually consistent scan": (PLAIN, {STALE, RESURRECTED}, 2),
    "tombstones removed at any time": (PLAIN, {RESURRECTED}, 5),
    "tombstones removed once backfill has drained": (LATE, {RESURRECTED}, 6),
    "tombstones removed past the checkpoint, answers outstanding": (LATE, {RESURRECTED}, 7),
    "rules asked about the new image alone": (PLAIN, {RESURRECTED}, 4),
    "resync that leaves earlier epochs": (TRIM, {RESURRECTED}, 7),
    "switch with answers outstanding": (LATE, {RESURRECTED}, 5),
}


@dataclass
class Found:
    """Of all scripts: the shortest counterexample, every verdict, how much was seen."""

    shortest: Counterexample | None = None
    verdicts: set[str] = field(default_factory=set)
    states: int = 0
    ends: int = 0


def check_all(protocol: Protocol, worlds: list[World], length: int, alphabet: str = "wd") -> Found:
    found = Found()
    for world in worlds:
        for script in scripts(length, alphabet):
            for initial in (None, 0):
                seen = check(protocol, script, initial, world)
                found.states += seen.states
                found.ends += seen.ends
                found.verdicts |= seen.verdicts
                wrong, best = seen.counterexample, found.shortest
                if wrong and (best is None or len(wrong.trace) < len(best.trace)):
                    found.shortest = wrong
    return found


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_protocol_is_caught(name: str) -> None:
    worlds = SWITCHES if name.startswith("switch") else [FOUND[name][0]]
    alphabet = "wdo" if name.startswith("rules") else "wd"
    found = check_all(BROKEN[name], worlds, 3, alphabet)
    sys.stdout.write(f"\n{name}: {found.shortest}\n")
    assert found.shortest is not None
    assert (found.verdicts, len(found.shortest.trace)) == FOUND[name][1:]


def test_no_broken_protocol_is_forgotten() -> None:
    assert FOUND.keys() == BROKEN.keys()


@pytest.mark.parametrize(
    "world",
    [
        World(crashes=1, lost_answers=1),
        World(crashes=1, lost_answers=1, ties=True),
        World(lost_answers=1, trims=1),
    ],
    ids=str,
)
def test_the_protocol_copies_every_script_of_four_operations(world: World) -> None:
    found = check_all(RIGHT, [world], 4)
    sys.stdout.write(f"\n{world}: {found.states} states, {found.ends} ends\n")
    assert found.shortest is None
    assert found.ends > 1_000


def test_what_leaves_a_rule_leaves_the_target() -> None:
    found = check_all(RIGHT, [World(crashes=1, lost_answers=1)], 3, "wdo")
    assert found.shortest is None
    assert found.ends > 1_000


def test_the_new_owner_loses_nothing_after_the_switch() -> None:
    found = check_all(RIGHT, SWITCHES, 3)
    assert found.shortest is None
    assert found.ends > 1_000
