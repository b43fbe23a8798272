"""The engine under everything that fails: nothing lost, stale or resurrected; and that the machine
would see it.

The seeds are played by `test_even_seeds.py` and `test_odd_seeds.py`.
"""

from __future__ import annotations

import pytest

from tests.unit.migration.simulator.machine import (
    QUICK,
    SETTINGS,
    STORIES,
    TRAPS,
    Scenario,
    Trap,
    play,
    scenario,
)
from tests.unit.migration.simulator.seeds import fail, wrong

# A way back that stood still with the source's stream, a shard that nobody took, a lag that stayed,
# an operator that lost its lease in the middle.
ONCE_WRONG = (
    Scenario(
        7,
        ("switch shelves", "silence", "reverse shelves"),
        (
            Trap(7.13, "a shard is followed by another", 54),
            Trap(11.26, "iterators expire", 4),
            Trap(23.23, "the operator dies", 45),
            Trap(27.05, "a worker stands still", 10),
            Trap(27.73, "the operator dies", 58),
            Trap(28.2, "iterators expire", 18),
            Trap(33.39, "a worker stands still", 59),
            Trap(34.18, "answers are lost", 7),
            Trap(36.11, "a shard is followed by another", 36),
            Trap(37.79, "iterators expire", 20),
        ),
        workers=3,
    ),  # fmt: skip
    Scenario(
        9,
        ("switch shelves", "silence", "reverse shelves"),
        (
            Trap(0.82, "answers are lost", 42),
            Trap(3.85, "calls are throttled", 27),
            Trap(4.45, "a worker stands still", 14),
            Trap(5.54, "iterators expire", 38),
            Trap(8.22, "answers are lost", 14),
            Trap(11.3, "the operator dies", 1),
            Trap(14.58, "a shard splits", 0),
            Trap(21.41, "a shard is followed by another", 45),
            Trap(38.37, "a shard splits", 32),
            Trap(38.55, "a shard is followed by another", 31),
        ),
        workers=1,
    ),  # fmt: skip
    Scenario(
        31,
        ("switch shelves", "reverse shelves", "switch shelves"),
        (
            Trap(3.1, "a worker stands still", 52),
            Trap(9.09, "calls are throttled", 6),
            Trap(9.16, "a shard is followed by another", 11),
            Trap(15.78, "the operator dies", 59),
            Trap(22.97, "answers are lost", 32),
            Trap(23.17, "a shard splits", 47),
            Trap(26.6, "answers are lost", 38),
            Trap(27.5, "a worker stands still", 53),
            Trap(29.72, "a worker dies", 18),
            Trap(31.33, "a shard splits", 48),
            Trap(39.71, "a worker stands still", 1),
        ),
        workers=1,
    ),  # fmt: skip
    Scenario(
        1057,
        ("switch shelves", "reverse shelves"),
        (
            Trap(5.88, "a worker stands still", 43),
            Trap(25.15, "calls are throttled", 53),
            Trap(31.12, "a worker dies", 32),
        ),
        workers=1,
    ),  # fmt: skip
)


@pytest.mark.parametrize("played", ONCE_WRONG, ids=lambda played: f"seed-{played.seed}")
def test_what_once_went_wrong(played: Scenario) -> None:
    found = wrong(played, SETTINGS)
    if found:
        fail(played, found, SETTINGS)


def test_a_put_whose_delete_was_trimmed_does_not_come_back() -> None:
    """A shard's last record is there, the delete behind it, in the next shard, is not: what is older
    than the epoch is left to its backfill."""
    played = Scenario(
        1675,
        ("switch shelves", "reverse shelves", "cancel", "start", "copied", "switch shelves"),
        (Trap(2.84, "a shard is followed by another", 6), Trap(26.19, "records are trimmed", 0)),
        names=3,
        calm_from=16.1,
        latest=2.5,
    )
    assert wrong(played, QUICK) == []


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_by_itself(trap: str) -> None:
    """One story with a few traps of one name: what fails says which."""
    traps = tuple(Trap(0.4 + 2.7 * n, trap, 7 * n % 60) for n in range(8))
    played = Scenario(1, STORIES[1], traps)
    found = wrong(played, SETTINGS)
    if found:
        fail(played, found, SETTINGS)


def test_a_scenario_is_the_same_every_time() -> None:
    once, again = play(scenario(3)), play(scenario(3))
    assert once == again
