"""How capacity follows load, moment by moment, as the pages of AWS say that it does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.rightsizing._scaling import OnDemand, Provisioned, TaskPolicy, Tasks

POLICY = TaskPolicy(minimum=2, maximum=100, target=0.5, launch_seconds=60)


def run(tasks: Tasks, load: float, *, until: int, since: int = 0) -> dict[int, int]:
    """The number of tasks second by second."""
    counts = {}
    for second in range(since, until):
        tasks.step(second, 1.0, load)
        counts[second] = tasks.running
    return counts


def test_a_scale_out_takes_three_minutes_of_metrics_and_a_launch() -> None:
    counts = run(Tasks(POLICY, 10), 10.0, until=600)
    # Ten tasks' whole work is twice as much as ten tasks are to do.
    assert counts[179 + 59] == 10
    assert counts[179 + 60] == 20
    assert set(counts.values()) == {10, 20}


def test_a_slower_one_takes_so_many_times_as_long() -> None:
    slow = TaskPolicy(minimum=2, maximum=100, target=0.5, launch_seconds=60, slowness=3)
    counts = run(Tasks(slow, 10), 10.0, until=1000)
    first = min(second for second, count in counts.items() if count > 10)
    assert first == pytest.approx(3 * 240, abs=2)


def test_a_load_within_the_target_changes_nothing() -> None:
    assert set(run(Tasks(POLICY, 10), 4.8, until=1800).values()) == {10}


def test_a_scale_in_takes_fifteen_minutes() -> None:
    counts = run(Tasks(POLICY, 10), 1.0, until=1000)
    assert counts[898] == 10
    assert counts[899] == 2


@given(st.lists(st.floats(0, 500), min_size=1, max_size=40), st.integers(1, 200))
@settings(deadline=None)
def test_bounds_are_kept_whatever_the_load(loads: list[float], count: int) -> None:
    tasks = Tasks(POLICY, count)
    now = 0
    for load in loads:
        for _ in range(60):
            tasks.step(now, 1.0, load)
            now += 1
            assert 2 <= tasks.running <= 100
            assert tasks.desired <= 100


def test_fargate_launches_no_more_than_so_many_a_minute() -> None:
    policy = TaskPolicy(
        minimum=2, maximum=10_000, target=0.5, launch_seconds=0, launches_per_minute=500
    )
    counts = run(Tasks(policy, 100), 5000.0, until=600)
    assert counts[599] == 100 + 500 * sum(1 for minute in range(2, 10) if minute * 60 + 59 < 599)


def test_a_cpu_that_is_full_hides_how_much_more_there_is() -> None:
    """A metric of CPU says no more than that all is busy: the scale-out comes in steps."""
    tasks = Tasks(POLICY, 10)
    for second in range(1200):
        tasks.step(second, 1.0, min(100.0, float(tasks.running)))
    by_cpu = tasks.running
    run(other := Tasks(POLICY, 10), 100.0, until=1200)
    assert by_cpu <= other.running
    steps = Tasks(POLICY, 10)
    seen = []
    for second in range(1200):
        steps.step(second, 1.0, float(min(30, steps.running)))
        seen.append(steps.running)
    assert sorted(set(seen)) == [10, 20, 40, 60]


def test_provisioned_capacity_gives_what_it_has_and_what_was_saved() -> None:
    table = Provisioned(100, target=0.7, scaling_seconds=300, maximum=1e9)
    # Five minutes of the 30 that were not used are 9,000 units.
    given_ = sum(table.take(second, 1.0, 1000.0) for second in range(60))
    assert given_ == pytest.approx(60 * 100 + 300 * 30)


def test_it_grows_by_steps_because_what_is_throttled_is_not_consumed() -> None:
    """Each step sees at most what there is, and makes 1 / 0.7 times as much of it."""
    table = Provisioned(100, target=0.7, scaling_seconds=300, maximum=1e9)
    table._saved = 0.0
    seen = []
    for second in range(1500):
        table.take(second, 1.0, 1000.0)
        seen.append(table.units)
    # Two minutes above the target, and three of an alarm and an update.
    assert seen[298] == pytest.approx(100)
    assert sorted({round(units) for units in seen})[:3] == [100, 143, 204]


def test_it_does_not_grow_beyond_what_is_asked() -> None:
    table = Provisioned(100, target=0.7, scaling_seconds=300, maximum=1e9)
    for second in range(7200):
        table.take(second, 1.0, 400.0)
    assert table.units == pytest.approx(400 / 0.7)


def test_on_demand_gives_twice_the_peak_of_before() -> None:
    table = OnDemand(1000, least=0)
    assert table.take(0, 1.0, 10_000) == 2000
    # The new peak counts once half an hour has passed.
    assert table.take(1799, 1.0, 10_000) == 2000
    assert table.take(1801, 1.0, 10_000) == 4000


def test_on_demand_has_a_least_that_every_table_has() -> None:
    assert OnDemand(1, least=4000).take(0, 1.0, 10_000) == 4000


@given(st.lists(st.floats(0, 1e6), max_size=200))
@settings(deadline=None)
def test_nobody_gives_more_than_was_asked(asked: list[float]) -> None:
    tables = (
        OnDemand(100, least=10),
        Provisioned(100, target=0.7, scaling_seconds=300, maximum=1e9),
    )
    for second, units in enumerate(asked):
        for table in tables:
            assert 0 <= table.take(second, 1.0, units) <= units
