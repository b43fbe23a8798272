"""Plays the scenarios of many seeds; what fails is told with the traps that it needs and the line
that plays it again.

`LYCEUM_MIGRATION_SEEDS` says how many there are, LYCEUM_MIGRATION_FIRST_SEED the first.
"""

from __future__ import annotations

import os
import sys

import pytest

from deploy.migration._context import Settings
from tests.unit.migration.simulator.machine import (
    QUICK,
    Outcome,
    Scenario,
    play,
    scenario,
    shrunk,
)

SEEDS = int(os.environ.get("LYCEUM_MIGRATION_SEEDS", "40"))
FIRST_SEED = int(os.environ.get("LYCEUM_MIGRATION_FIRST_SEED", "0"))
CHUNK = 200
FOLDER = "tests/unit/migration/simulator"


def wrong(played: Scenario, settings: Settings) -> list[str]:
    """What is wrong after a scenario, what was raised included."""
    try:
        return play(played, settings=settings).wrong
    except Exception as error:
        return [f"raised {error!r}"]


def fail(played: Scenario, found: list[str], settings: Settings) -> None:
    """Fail with as few traps as it takes."""
    least = shrunk(played, lambda less: bool(wrong(less, settings)))
    lines = "\n  ".join(found[:10])
    pytest.fail(
        f"{least}\n  {lines}\nagain: LYCEUM_MIGRATION_FIRST_SEED={played.seed} "
        f"LYCEUM_MIGRATION_SEEDS=1 ./pantsw test {FOLDER}/test_even_seeds.py {FOLDER}/test_odd_seeds.py"
    )


def chunks(remainder: int) -> list[range]:
    """The seeds that leave this remainder when divided by two, some at a time."""
    first = FIRST_SEED + (remainder - FIRST_SEED) % 2
    last = FIRST_SEED + SEEDS
    return [range(start, min(start + CHUNK, last), 2) for start in range(first, last, CHUNK)]


def play_seeds(seeds: range) -> Outcome:
    """The scenarios of these seeds."""
    total = Outcome()
    for seed in seeds:
        try:
            outcome = play(scenario(seed), settings=QUICK)
        except Exception as error:
            fail(scenario(seed), [f"raised {error!r}"], QUICK)
            raise
        if outcome.wrong:
            fail(scenario(seed), outcome.wrong, QUICK)
        total.add(outcome)
    sys.stdout.write(
        f"\n{len(seeds)} scenarios: {total.requests} requests, {total.calls} calls, {total.deaths} "
        f"deaths, {total.resyncs} resyncs, longest wait {total.longest_wait:.1f} s of virtual "
        f"time; 0 lost, 0 stale, 0 resurrected\n"
    )
    return total
