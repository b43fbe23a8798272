"""Plays the scenarios of many seeds; what fails is told with the traps that it needs and the line
that plays it again.

`LYCEUM_MIGRATION_SEEDS` says how many there are, LYCEUM_MIGRATION_FIRST_SEED the first.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.unit.migration.simulator.machine import Outcome, Scenario, play, scenario, shrunk

SEEDS = int(os.environ.get("LYCEUM_MIGRATION_SEEDS", "40"))
FIRST_SEED = int(os.environ.get("LYCEUM_MIGRATION_FIRST_SEED", "0"))
FOLDER = "tests/unit/migration/simulator"


def wrong(played: Scenario) -> list[str]:
    """What is wrong after a scenario, what was raised included."""
    try:
        return play(played).wrong
    except Exception as error:
        return [f"raised {error!r}"]


def fail(played: Scenario, found: list[str]) -> None:
    """Fail with as few traps as it takes."""
    least = shrunk(played, lambda less: bool(wrong(less)))
    lines = "\n  ".join(found[:10])
    pytest.fail(
        f"{least}\n  {lines}\nagain: LYCEUM_MIGRATION_FIRST_SEED={played.seed} "
        f"LYCEUM_MIGRATION_SEEDS=1 ./pantsw test {FOLDER}/test_even_seeds.py {FOLDER}/test_odd_seeds.py"
    )


def play_seeds(remainder: int) -> Outcome:
    """All of the seeds that leave this remainder when divided by two."""
    total = Outcome()
    played = 0
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS):
        if seed % 2 != remainder:
            continue
        played += 1
        try:
            outcome = play(scenario(seed))
        except Exception as error:
            fail(scenario(seed), [f"raised {error!r}"])
            raise
        if outcome.wrong:
            fail(scenario(seed), outcome.wrong)
        total.add(outcome)
    sys.stdout.write(
        f"\n{played} scenarios: {total.requests} requests, {total.calls} calls, {total.deaths} "
        f"deaths, {total.resyncs} resyncs, longest wait {total.longest_wait:.1f} s of virtual "
        f"time; 0 lost, 0 stale, 0 resurrected\n"
    )
    return total
