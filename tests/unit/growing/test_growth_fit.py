"""Exponents and drifts: what least squares find, and when the rules say that they do not know."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.growing.fit import Stays, Verdict, drift, growth, steady_drift, t_95

SIZES = [10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]


def rounds(costs: list[float], *, count: int = 5, noise: float = 0.0) -> list[list[float]]:
    """Each cost as so many rounds took it."""
    source = random.Random(1)
    return [[cost * (1 + source.uniform(-noise, noise)) for _ in range(count)] for cost in costs]


@pytest.mark.parametrize(
    ("power", "verdict"),
    [
        (0.0, Verdict.SUB_LINEAR),
        (0.5, Verdict.SUB_LINEAR),
        (1.0, Verdict.LINEAR),
        (1.2, Verdict.WORSE),
        (2.0, Verdict.WORSE),
    ],
)
def test_a_power_is_found(power: float, verdict: Verdict) -> None:
    found = growth(SIZES, rounds([3 * size**power for size in SIZES]))
    assert found.exponent == pytest.approx(power, abs=1e-9)
    assert found.end == pytest.approx(power, abs=1e-9)
    assert found.half == pytest.approx(0, abs=1e-6)
    assert found.verdict is verdict


@given(
    power=st.floats(-1, 3),
    cost=st.floats(1e-3, 1e3),
    unit=st.floats(1e-3, 1e3),
)
def test_units_do_not_matter(power: float, cost: float, unit: float) -> None:
    found = growth([unit * size for size in SIZES], rounds([cost * size**power for size in SIZES]))
    assert found.exponent == pytest.approx(power, abs=1e-6)


def test_the_order_of_sizes_does_not_matter() -> None:
    costs = [size**1.5 + 20 for size in SIZES]
    turned, found = growth(SIZES[::-1], rounds(costs[::-1])), growth(SIZES, rounds(costs))
    assert turned.exponent == pytest.approx(found.exponent)
    assert turned.half == pytest.approx(found.half)
    assert turned.at_the_end == found.at_the_end


def test_noise_is_no_growth() -> None:
    linear = growth(SIZES, rounds(list(SIZES), noise=0.1))
    assert linear.verdict is Verdict.LINEAR
    assert abs(linear.exponent - 1) <= linear.half < 0.25
    assert growth(SIZES, rounds([7.0] * 5, noise=0.3)).verdict is Verdict.SUB_LINEAR


def test_a_fixed_part_beside_a_linear_one_is_not_worse() -> None:
    found = growth(SIZES, rounds([1_000 + size for size in SIZES]))
    assert found.exponent < 0.7
    assert 0.9 < found.end < 1
    assert found.verdict is not Verdict.WORSE


def test_what_turns_worse_at_the_end_is_told() -> None:
    costs = [100.0, 100.0, 100.0, 100.0, 5_000.0]
    found = growth(SIZES, rounds(costs, noise=0.05))
    assert found.exponent < 1
    assert found.verdict is Verdict.WORSE
    # One round that was good says that it may have been the others' noise.
    one_good = rounds(costs)
    one_good[-1][2] = 150.0
    assert growth(SIZES, one_good).verdict is not Verdict.WORSE


def test_what_may_be_anything_is_undecided() -> None:
    found = growth([1.0, 2.0, 3.0], rounds([1.0, 5.0, 2.0]))
    assert found.half > 1
    assert found.verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("sizes", "costs"),
    [
        ([1.0, 2.0], [1.0, 2.0]),
        ([1.0, 1.0, 2.0], [1.0, 1.0, 2.0]),
        ([1.0, 2.0, 3.0], [1.0, 2.0]),
        ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [1.0, 0.0, 3.0]),
    ],
)
def test_what_can_not_be_fitted_is_refused(sizes: list[float], costs: list[float]) -> None:
    with pytest.raises(ValueError, match="a growth needs"):
        growth(sizes, rounds(costs))


def test_t_is_students() -> None:
    assert t_95(1) == 12.706
    assert t_95(30) == 2.042
    assert t_95(60) == pytest.approx(2.0003, abs=0.003)
    assert t_95(10_000) == pytest.approx(1.96, abs=0.001)
    assert [t_95(n) for n in range(1, 200)] == sorted(
        (t_95(n) for n in range(1, 200)), reverse=True
    )


TIMES = [15.0 * n for n in range(1, 41)]


def wandering(seed: int, *, keeps: float) -> list[float]:
    """Around 100, each value keeping so much of the last one's distance (a first-order
    autoregression)."""
    source, away = random.Random(seed), 0.0
    found = []
    for _ in TIMES:
        away = keeps * away + source.gauss(0, 0.05)
        found.append(100 + away)
    return found


def test_what_stays_is_flat() -> None:
    found = drift(TIMES, [64.0] * len(TIMES), limit=1)
    assert (found.change, found.low, found.high, found.verdict) == (0, 0, 0, Stays.FLAT)
    assert drift(TIMES, wandering(3, keeps=0.0), share=0.01).verdict is Stays.FLAT
    # What becomes less is not what is looked for.
    falling = drift(TIMES, [100 - time for time in TIMES], share=0.01)
    assert falling.verdict is Stays.FLAT


def test_a_leak_is_found_in_a_staircase() -> None:
    # An allocator asks the kernel for a quarter of a MiB now and then.
    leak = [100 + (time // 60) * 0.25 for time in TIMES]
    found = drift(TIMES, leak, share=0.01)
    assert found.change == pytest.approx(2, abs=0.3)
    assert found.verdict is Stays.GROWS


def test_a_leak_as_large_as_the_limit_is_undecided() -> None:
    source = random.Random(5)
    seconds = TIMES[-1] - TIMES[8]
    values = [100 + time / seconds + source.gauss(0, 0.1) for time in TIMES]
    assert drift(TIMES, values, limit=1.0).verdict is Stays.UNDECIDED


def test_correlated_samples_are_worth_fewer() -> None:
    correlated = wandering(7, keeps=0.9)
    mixed = list(correlated)
    random.Random(1).shuffle(mixed)
    wide, narrow = drift(TIMES, correlated, limit=1), drift(TIMES, mixed, limit=1)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_what_has_not_settled_is_not_judged() -> None:
    values = [50.0 if time < 100 else 64.0 for time in TIMES]
    assert drift(TIMES, values, limit=1).verdict is Stays.FLAT
    assert drift(TIMES, values, limit=1).level == 64


def test_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="four samples"):
        drift(TIMES[:3], [1.0, 2.0, 3.0], limit=1)
    with pytest.raises(ValueError, match="four samples"):
        steady_drift(TIMES[:3], [1.0, 2.0, 3.0], share=0.25)


def bursting(seed: int, *, rise: float = 0.0) -> list[float]:
    """A p99 about 5 ms, five times as much and more in an eighth of the windows, and at the end in
    every second one."""
    source = random.Random(seed)
    seconds = TIMES[-1] - TIMES[8]
    found = []
    for time in TIMES:
        often = 0.5 if time > TIMES[-1] - 60 else 0.125
        burst = source.uniform(20, 100) if source.random() < often else 0.0
        found.append(5 + rise * time / seconds + source.gauss(0, 0.4) + burst)
    return found


def test_bursts_are_no_growth() -> None:
    found = [steady_drift(TIMES, bursting(seed), share=0.25) for seed in range(200)]
    verdicts = [one.verdict for one in found]
    assert verdicts.count(Stays.GROWS) == 0
    assert verdicts.count(Stays.FLAT) > 80
    # Least squares see little else than the bursts.
    squares = [drift(TIMES, bursting(seed), share=0.25).verdict for seed in range(200)]
    assert squares.count(Stays.FLAT) < 10


def test_a_growth_under_bursts_is_seen() -> None:
    found = [steady_drift(TIMES, bursting(seed, rise=5.0), share=0.25) for seed in range(200)]
    assert [one.verdict for one in found].count(Stays.FLAT) == 0
    assert [one.verdict for one in found].count(Stays.GROWS) > 150


def test_the_interval_has_the_growth_in_it() -> None:
    """Of a value without bursts, as often as an interval of 95 % says; samples that follow each other
    make it wider."""
    source = random.Random(9)
    seconds = TIMES[-1] - TIMES[8]
    held = 0
    for _ in range(400):
        values = [100 + 2 * time / seconds + source.gauss(0, 1) for time in TIMES]
        found = steady_drift(TIMES, values, share=0.25)
        held += found.low <= 2 <= found.high
    assert 360 <= held <= 398
    correlated = wandering(7, keeps=0.9)
    mixed = list(correlated)
    random.Random(1).shuffle(mixed)
    wide, narrow = (
        steady_drift(TIMES, correlated, share=0.25),
        steady_drift(TIMES, mixed, share=0.25),
    )
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
