"""What the engine holds does not grow with the table."""

from __future__ import annotations

import pytest

from tests.unit.migration.simulator.endless import SETTINGS, copied


@pytest.mark.parametrize("items", [2_000, 20_000])
def test_no_more_is_held_of_a_larger_table(items: int) -> None:
    held = copied(items)
    assert held.rows == items
    # A page of each segment or of what goes through the whole table, and the next one while the last is
    # let go.
    assert held.items <= max(SETTINGS.segments * SETTINGS.page, SETTINGS.scan_page) * 2
    assert held.writes <= SETTINGS.segments * SETTINGS.concurrency
    # State, segments, shards, the log: nothing an item.
    assert held.control_rows < 60
