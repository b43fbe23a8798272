"""The bill: tiers, sums, and a source for every line."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.rightsizing._bill import HOURS_PER_MONTH, charge, require_prices
from deploy.rightsizing._inputs import InputError, Price, Source, Tier
from deploy.rightsizing._plan import make_plan
from tests.unit.rightsizing.inputs import committed, inputs, profile

SOURCE = Source(page="a page", read=date(2026, 1, 1))
TIERED = Price(
    unit="GB",
    tiers=(Tier(up_to=100, usd=1.0), Tier(up_to=300, usd=0.5), Tier(usd=0.1)),
    source=SOURCE,
)


@pytest.mark.parametrize(
    ("quantity", "usd"),
    [(0, 0), (50, 50), (100, 100), (200, 150), (300, 200), (1300, 300)],
)
def test_each_unit_costs_what_its_tier_says(quantity: float, usd: float) -> None:
    assert charge(TIERED, "x", quantity) == pytest.approx(usd)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
@settings(deadline=None)
def test_tiers_never_make_more_cheaper(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert charge(TIERED, "x", less) <= charge(TIERED, "x", more) + 1e-9


def test_a_price_is_for_so_many_units() -> None:
    price = Price(unit="request", per=1_000_000, usd=3.5, source=SOURCE)
    assert charge(price, "x", 2_000_000) == 7


def test_an_unknown_price_is_asked_for_and_not_invented() -> None:
    unknown = Price(unit="GB", source=SOURCE)
    assert charge(unknown, "x", 0) == 0
    with pytest.raises(InputError, match="--price x=USD"):
        charge(unknown, "x", 1)


def test_a_missing_price_is_named_before_anything_is_worked_out() -> None:
    prices = committed().prices
    left = {name: price for name, price in prices.prices.items() if name != "xray.trace"}
    with pytest.raises(InputError, match=r"xray\.trace"):
        require_prices(prices.model_copy(update={"prices": left}))


def test_the_sum_is_the_sum_and_every_line_says_where_it_is_from() -> None:
    plan = make_plan(committed())
    prices = committed().prices.prices
    assert plan.usd == pytest.approx(sum(line.usd for line in plan.lines))
    assumed = {field.alias for field in type(plan.profile.assumptions).model_fields.values()}
    for line in plan.lines:
        assert line.usd >= 0
        assert line.how
        kinds = {source.split()[0] for source in line.sources}
        assert "price" in kinds
        assert kinds <= {"price", "profile", "measurements", "capacity", "assumption"}
        for source in line.sources:
            kind, _, name = source.partition(" ")
            assert kind != "price" or name in prices
            assert kind != "assumption" or name in assumed


def test_tasks_and_balancers_by_hand() -> None:
    """Two tasks of 0.25 vCPU and 0.5 GB all month, for each service and for the consumer."""
    plan = make_plan(inputs(profile(per_second={"recordProgress": 0.0})))
    tasks = [line for line in plan.lines if line.group == "Tasks"]
    each = 2 * HOURS_PER_MONTH * (0.25 * 0.04048 + 0.5 * 0.004445)
    assert [line.usd for line in tasks] == pytest.approx([each] * 4)
    balancer = next(line for line in plan.lines if line.item == "load balancers, hours")
    assert balancer.usd == pytest.approx(730 * 0.0225)


def test_each_request_is_logged_by_its_service_and_by_the_gateway() -> None:
    """Only what tasks log passes an endpoint."""
    plan = make_plan(inputs(profile(per_second={"recordProgress": 10.0})))
    quantities = {line.item: line.quantity for line in plan.lines}
    of_gateway = 10 * 500 * 730 * 3600 / 1e9
    assert quantities["logs, written"] - quantities["interface endpoints, data"] == (
        pytest.approx(of_gateway)
    )


def test_data_that_leaves_shares_its_tiers() -> None:
    """What is played and what the APIs answer are one volume, and each pays its part."""
    plan = make_plan(committed())
    lines = [line for line in plan.lines if line.item.startswith("data out")]
    price = committed().prices.prices["transfer.outGb"]
    volume = sum(line.quantity for line in lines)
    assert sum(line.usd for line in lines) == pytest.approx(charge(price, "x", volume))
    assert lines[0].usd / lines[0].quantity == pytest.approx(lines[1].usd / lines[1].quantity)


@given(st.floats(1, 1e8), st.floats(1, 10))
@settings(max_examples=25, deadline=None)
def test_more_learners_never_cost_less(learners: float, more: float) -> None:
    few = make_plan(committed().of(committed().profile.at(learners)))
    many = make_plan(committed().of(committed().profile.at(learners * more)))
    assert many.usd >= few.usd - 1e-6


def test_a_price_of_ones_own_takes_the_place_of_the_list() -> None:
    own = committed().prices.with_prices({"transfer.outGb": 0.0})
    cheap = make_plan(
        type(committed())(
            committed().profile,
            committed().measurements,
            committed().capacity,
            own,
            committed().quotas,
        )
    )
    assert cheap.usd < make_plan(committed()).usd
    with pytest.raises(InputError, match="there is no price nonsense"):
        committed().prices.with_prices({"nonsense": 1.0})


def test_committed_tiers_fall() -> None:
    for name, price in committed().prices.prices.items():
        if name == "cognito.activeUser":
            continue  # its first users are free
        assert all(before.usd > after.usd for before, after in pairwise(price.tiers)), name
