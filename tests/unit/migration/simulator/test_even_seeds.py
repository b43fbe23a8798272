"""Half of the seeds: a process of its own, so that two cores play all of them at once."""

from __future__ import annotations

import pytest

from tests.unit.migration.simulator.machine import TRAPS
from tests.unit.migration.simulator.seeds import chunks, play_seeds


@pytest.mark.parametrize("seeds", chunks(0), ids=str)
def test_every_even_seed_loses_nothing(seeds: range) -> None:
    total = play_seeds(seeds)
    if len(seeds) >= 50:
        assert total.sprung == set(TRAPS)
        assert total.deaths
        assert total.resyncs
