"""Half of the seeds: a process of its own, so that two cores play all of them at once."""

from __future__ import annotations

from tests.unit.migration.simulator.machine import TRAPS
from tests.unit.migration.simulator.seeds import SEEDS, play_seeds


def test_every_odd_seed_loses_nothing() -> None:
    total = play_seeds(1)
    if SEEDS >= 40:
        assert total.sprung == set(TRAPS)
        assert total.deaths
        assert total.resyncs
