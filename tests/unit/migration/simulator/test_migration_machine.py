"""The engine under everything that fails: nothing lost, stale or resurrected; and that the machine
would see it.

`LYCEUM_MIGRATION_SEEDS` is how many scenarios are played (LYCEUM_MIGRATION_FIRST_SEED the first);
what fails prints the line that plays it again.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.unit.migration.simulator.machine import (
    STORIES,
    TRAPS,
    Outcome,
    Scenario,
    Trap,
    play,
    scenario,
    shrunk,
)

SEEDS = int(os.environ.get("LYCEUM_MIGRATION_SEEDS", "12"))
FIRST_SEED = int(os.environ.get("LYCEUM_MIGRATION_FIRST_SEED", "0"))
HERE = "tests/unit/migration/simulator/test_migration_machine.py"


def wrong(played: Scenario) -> list[str]:
    """What is wrong after a scenario, what was raised included."""
    try:
        return play(played).wrong
    except Exception as error:
        return [f"raised {error!r}"]


def fail(played: Scenario, found: list[str]) -> None:
    least = shrunk(played, lambda less: bool(wrong(less)))
    lines = "\n  ".join(found[:10])
    pytest.fail(
        f"{least}\n  {lines}\nagain: LYCEUM_MIGRATION_FIRST_SEED={played.seed} "
        f"LYCEUM_MIGRATION_SEEDS=1 pytest {HERE} -k every_scenario"
    )


def test_every_scenario_loses_nothing() -> None:
    total = Outcome()
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS):
        played = scenario(seed)
        try:
            outcome = play(played)
        except Exception as error:
            fail(played, [f"raised {error!r}"])
            raise
        if outcome.wrong:
            fail(played, outcome.wrong)
        total.requests += outcome.requests
        total.calls += outcome.calls
        total.deaths += outcome.deaths
        total.resyncs += outcome.resyncs
        total.sprung |= outcome.sprung
        total.longest_wait = max(total.longest_wait, outcome.longest_wait)
    sys.stdout.write(
        f"\n{SEEDS} scenarios: {total.requests} requests, {total.calls} calls, {total.deaths} "
        f"deaths, {total.resyncs} resyncs, longest wait {total.longest_wait:.1f} s of virtual "
        f"time; 0 lost, 0 stale, 0 resurrected\n"
    )
    if SEEDS >= 12:
        assert total.sprung == set(TRAPS)
        assert total.deaths


@pytest.mark.parametrize("seed", [7, 9, 31, 1057])
def test_what_once_went_wrong(seed: int) -> None:
    """A way back that stood still with the source's stream, a shard that nobody took, a lag that
    stayed, an operator that lost its lease in the middle."""
    found = wrong(scenario(seed))
    if found:
        fail(scenario(seed), found)


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_by_itself(trap: str) -> None:
    """One story with a few traps of one name: what fails says which."""
    traps = tuple(Trap(0.4 + 2.7 * n, trap, 7 * n % 60) for n in range(8))
    played = Scenario(1, STORIES[1], traps)
    found = wrong(played)
    if found:
        fail(played, found)


@pytest.mark.parametrize("who", ["a worker dies", "the operator dies"])
def test_a_death_at_any_call(who: str) -> None:
    """The same story, with one death at one call after another."""
    deaths = 0
    every = max(1, 240 // SEEDS)
    for number in range(0, 240, every):
        # What is sprung at the beginning counts calls from there on.
        played = Scenario(2, ("switch books",), (Trap(0.05 + number / 60, who, number % 60),))
        outcome = play(played)
        deaths += outcome.deaths
        if outcome.wrong:
            fail(played, outcome.wrong)
    assert deaths


def test_a_scenario_is_the_same_every_time() -> None:
    once, again = play(scenario(3)), play(scenario(3))
    assert once == again
