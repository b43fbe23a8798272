"""Capacity modes and their break-even, and the keys that much of the load meets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.rightsizing._bill import unit_prices
from deploy.rightsizing._inputs import Profile
from deploy.rightsizing._plan import make_plan
from deploy.rightsizing._tables import DAYS_PER_MONTH, TablePlan
from tests.unit.rightsizing.inputs import capacity, inputs, measurements, profile

PRICES = unit_prices(inputs().prices)
# A target that divides: what is held is then no rounded number.
FULL = 1.0


def table(of: Profile, *, reads: float = 0.0, writes: float = 0.0) -> TablePlan:
    plan = make_plan(
        inputs(of, measured=measurements(0.01), consumed=capacity(reads=reads, writes=writes))
    )
    return plan.tables["progress_tracking"]


def test_the_break_even_is_where_both_modes_cost_the_same() -> None:
    """A unit that is held for an hour costs as much as so many that are taken in it."""
    taken = PRICES.break_even_write * 3600
    assert taken * PRICES.write_request == pytest.approx(PRICES.write_hour)
    taken = PRICES.break_even_read * 3600
    assert taken * PRICES.read_request == pytest.approx(PRICES.read_hour)


def test_what_a_flat_load_costs_by_hand() -> None:
    """100 writes a second all month, and what 70 % of use holds for them."""
    flat = profile(per_second={"recordProgress": 100.0})
    found = table(flat, writes=1.0)
    # The one read unit that is always held.
    read = DAYS_PER_MONTH * 24 * PRICES.read_hour
    assert found.on_demand_usd == pytest.approx(100 * 3600 * 730 * PRICES.write_request)
    assert found.provisioned_usd == pytest.approx(143 * 730 * PRICES.write_hour + read)
    assert found.write_utilisation == pytest.approx(100 / 143)
    assert (found.mode, found.usd) == ("provisioned", found.provisioned_usd)


@given(st.floats(0.05, 1), st.floats(100, 1e5))
@settings(max_examples=50, deadline=None)
def test_on_demand_wins_exactly_below_the_break_even(use: float, rate: float) -> None:
    """Of capacity that is used by a share, whatever the load."""
    flat = profile(
        per_second={"recordProgress": rate},
        dynamodb_target_utilisation=use,
        capacity_mode_saving=0.0,
    )
    found = table(flat, writes=1.0)
    saving = 1 - found.provisioned_usd / found.on_demand_usd
    assert found.write_utilisation == pytest.approx(use, rel=0.02)
    if use > PRICES.break_even_write * 1.05:
        assert saving > 0
        assert found.mode == "provisioned"
    if use < PRICES.break_even_write * 0.95:
        assert saving < 0
        assert found.mode == "on demand"


def test_a_saving_that_is_too_small_is_left() -> None:
    flat = profile(per_second={"recordProgress": 100.0}, capacity_mode_saving=0.9)
    found = table(flat, writes=1.0)
    assert found.mode == "on demand"
    assert "would save" in found.because


def test_a_load_that_rises_faster_than_autoscaling_stays_on_demand() -> None:
    """Room for 43 % above a use of 70 %, and half as much again within five minutes."""
    steep = profile(per_second={"recordProgress": 100.0}, ramp_per_minute=0.1)
    found = table(steep, writes=1.0)
    assert found.mode == "on demand"
    assert "50%" in found.because
    assert "43%" in found.because


@given(st.floats(0, 1e5), st.floats(1, 4), st.floats(1, 10))
@settings(max_examples=50, deadline=None)
def test_more_load_is_never_cheaper(rate: float, more: float, peak: float) -> None:
    def usd(of: float) -> tuple[float, float]:
        load = profile(per_second={"recordProgress": of}, peak_factor=peak)
        found = table(load, reads=2.0, writes=1.0)
        return found.on_demand_usd, found.provisioned_usd

    less, greater = usd(rate), usd(rate * more)
    assert greater[0] >= less[0] - 1e-9
    assert greater[1] >= less[1] - 1e-9


def test_the_hottest_course_by_hand() -> None:
    """A thousand openings a second in the busiest hour, 5 % of one course, 4 units each."""
    load = profile(per_second={"getCourse": 250.0}, peak_factor=4.0)
    plan = make_plan(inputs(load, consumed=capacity(reads=4.0)))
    key = next(one for one in plan.hot_keys if "course that most open" in one.key)
    assert key.kind == "read"
    assert key.units_per_second == pytest.approx(1000 * 0.05 * 4)


def test_a_cache_bounds_what_a_hot_content_takes() -> None:
    """However many play it: every task reads it once in five seconds."""
    load = profile(per_second={"getContent": 100_000.0})
    plan = make_plan(inputs(load, measured=measurements(0.01), consumed=capacity(reads=1.0)))
    key = next(one for one in plan.hot_keys if one.key.startswith("Content"))
    assert key.units_per_second == plan.services["content_delivery"].peak.all / 5


def test_keys_are_told_hottest_first() -> None:
    units = [key.units_per_second for key in make_plan(inputs()).hot_keys]
    assert units == sorted(units, reverse=True)
