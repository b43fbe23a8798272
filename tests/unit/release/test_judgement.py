"""What counts of a canary mean: the rules, one by one, and what holds for any counts."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.release._judgement import Judgement, Outcome, Period, Policy, Side, _tail, judge

POLICY = Policy()
NOBODY = Side()


def side(requests: int, errors: int = 0, p99_ms: float | None = 100.0, periods: int = 10) -> Side:
    """Evenly spread over its periods."""
    return Side(
        tuple(
            Period(
                requests * (number + 1) // periods - requests * number // periods,
                errors * (number + 1) // periods - errors * number // periods,
                p99_ms,
            )
            for number in range(periods)
        )
    )


GOOD = side(100_000, 100)


def judged(
    canary: Side,
    stable: Side = GOOD,
    before: Side = GOOD,
    *,
    over: bool = True,
    policy: Policy = POLICY,
) -> Judgement:
    return judge(policy, canary, stable, before, time_is_over=over)


# Errors.


def test_as_few_errors_pass_when_the_time_is_over_and_not_before() -> None:
    assert judged(side(1_000, 2)).outcome is Outcome.PASSED
    assert judged(side(1_000, 2), over=False).outcome is Outcome.WATCHING


@pytest.mark.parametrize(("requests", "errors"), [(2, 2), (10, 3), (1_000, 25)])
def test_errors_that_leave_no_doubt_end_it_early(requests: int, errors: int) -> None:
    found = judged(side(requests, errors, None), over=False)
    assert found.outcome is Outcome.FAILED
    assert f"{errors} of {requests:,} requests failed" in found.reason


def test_a_single_error_is_chance() -> None:
    assert judged(side(1, 1), over=False).outcome is Outcome.WATCHING


def test_more_errors_than_may_be_do_not_pass_though_it_may_be_chance() -> None:
    some = side(1_000, 14)  # 1.4 %, 1.1 % may fail
    assert judged(some, over=False).outcome is Outcome.WATCHING
    assert judged(some).outcome is Outcome.FAILED


def test_the_yardstick_is_what_is_usual_here() -> None:
    """A service of which 5 % fail, for reasons of its clients' or its own, may go on doing so."""
    usual = side(100_000, 5_000)
    assert judged(side(1_000, 55), usual, usual).outcome is Outcome.PASSED
    assert judged(side(1_000, 55)).outcome is Outcome.FAILED


def test_where_both_sides_have_got_worse_it_is_no_time_to_go_on() -> None:
    found = judged(side(1_000, 200), side(9_000, 1_800), GOOD)
    assert found.outcome is Outcome.FAILED
    assert "of the stable side 20.00 % fail too" in found.reason


def test_a_stable_side_that_counts_the_canarys_requests_too_hides_nothing() -> None:
    """Not every series of a stage leaves the canary's requests out: what was before is clean."""
    mixed = Side((Period(2_000, 400, 2_000.0),) * 5)
    assert judged(side(5_000, 1_000), mixed).outcome is Outcome.FAILED
    assert judged(side(5_000, 0, 2_000.0), mixed).outcome is Outcome.FAILED


def test_with_all_requests_the_canary_is_compared_with_before() -> None:
    assert judged(side(10_000, 20), NOBODY).outcome is Outcome.PASSED
    assert judged(side(10_000, 300), NOBODY).outcome is Outcome.FAILED


def test_without_any_yardstick_the_margin_alone_counts() -> None:
    found = judged(side(1_000, 5), NOBODY, NOBODY)
    assert found.outcome is Outcome.PASSED
    assert "nothing to compare it with" in found.reason
    assert judged(side(1_000, 15), NOBODY, NOBODY).outcome is Outcome.FAILED


# Too little.


@pytest.mark.parametrize("requests", [0, 1, 99])
def test_too_few_requests_decide_nothing_good(requests: int) -> None:
    found = judged(side(requests))
    assert found.outcome is Outcome.UNDECIDED
    assert found.reason == f"only {requests} requests, at least 100 are needed"


def test_a_side_with_too_few_requests_is_no_yardstick() -> None:
    """Else one bad minute at night would excuse whatever comes."""
    assert judged(side(1_000, 200), side(50, 25), NOBODY).outcome is Outcome.FAILED


# Latency.


def test_a_canary_that_is_slower_fails_once_it_has_been_so_for_some_time() -> None:
    slow = side(1_000, 0, 250.0)  # 100 ms times 1.5 and 50 ms: 200 ms
    assert judged(slow, over=False).outcome is Outcome.FAILED
    assert judged(slow).reason.startswith("p99 250 ms, at most 200 ms may be")
    assert judged(side(1_000, 0, 250.0, periods=2), over=False).outcome is Outcome.WATCHING
    assert judged(side(1_000, 0, 250.0, periods=2)).outcome is Outcome.FAILED


def test_small_latencies_differ_by_nothing() -> None:
    fast = side(10_000, 0, 4.0)
    assert judged(side(1_000, 0, 40.0), fast, fast).outcome is Outcome.PASSED


def test_one_bad_period_or_many_with_few_requests_are_not_what_most_requests_saw() -> None:
    bad, good = Period(100, 0, 5_000.0), Period(100, 0, 100.0)
    assert judged(Side((bad, good, good, good))).outcome is Outcome.PASSED
    few = (Period(3, 0, 5_000.0),) * 10
    assert judged(Side((*few, *(good,) * 3))).outcome is Outcome.PASSED
    assert judged(Side((bad, bad, bad, good))).outcome is Outcome.FAILED


def test_slowness_of_few_requests_waits_for_more() -> None:
    assert judged(side(60, 0, 9_000.0), over=False).outcome is Outcome.WATCHING


# What holds for any counts.

_periods = st.lists(
    st.builds(
        lambda requests, share, p99: Period(requests, int(requests * share), p99),
        st.integers(0, 5_000),
        st.floats(0, 1),
        st.none() | st.floats(0.1, 30_000),
    ),
    max_size=8,
)
_sides = st.builds(lambda periods: Side(tuple(periods)), _periods)
_policies = st.builds(
    Policy,
    min_requests=st.integers(1, 2_000),
    error_margin=st.floats(0, 0.5),
    slowdown=st.floats(1, 10),
    slack_ms=st.floats(0, 500),
    doubt=st.floats(1e-6, 0.05),
    slow_periods=st.integers(1, 5),
)
_RANK = {Outcome.PASSED: 0, Outcome.WATCHING: 0, Outcome.UNDECIDED: 0, Outcome.FAILED: 1}


@given(_policies, _sides, _sides, _sides, st.booleans())
def test_always_decided_when_the_time_is_over_and_never_good_before(
    policy: Policy, canary: Side, stable: Side, before: Side, over: bool
) -> None:
    found = judge(policy, canary, stable, before, time_is_over=over)
    assert found.reason
    if over:
        assert found.outcome is not Outcome.WATCHING
    else:
        assert found.outcome in (Outcome.WATCHING, Outcome.FAILED)


@given(_policies, _sides, _sides, _sides)
def test_what_passes_has_enough_requests_and_is_within_the_margins(
    policy: Policy, canary: Side, stable: Side, before: Side
) -> None:
    if judge(policy, canary, stable, before, time_is_over=True).outcome is not Outcome.PASSED:
        return
    assert canary.requests >= policy.min_requests
    for yardstick in (stable, before):
        if yardstick.requests >= policy.min_requests:
            assert canary.error_rate <= yardstick.error_rate + policy.error_margin
            if yardstick.p99_ms is not None and canary.p99_ms is not None:
                bound = yardstick.p99_ms * policy.slowdown + policy.slack_ms
                assert canary.p99_ms <= bound


@given(_policies, _sides, _sides, _sides, st.booleans(), st.integers(1, 500))
def test_more_errors_never_make_it_better(
    policy: Policy, canary: Side, stable: Side, before: Side, over: bool, more: int
) -> None:
    worse = Side(
        tuple(
            Period(one.requests, min(one.errors + more, one.requests), one.p99_ms)
            for one in canary.periods
        )
    )
    first, second = (
        judge(policy, one, stable, before, time_is_over=over).outcome for one in (canary, worse)
    )
    assert _RANK[second] >= _RANK[first]


@given(_policies, _sides, _sides, _sides, st.floats(1, 50))
def test_slower_never_makes_it_better(
    policy: Policy, canary: Side, stable: Side, before: Side, factor: float
) -> None:
    slower = Side(
        tuple(
            Period(one.requests, one.errors, one.p99_ms and one.p99_ms * factor)
            for one in canary.periods
        )
    )
    first, second = (
        judge(policy, one, stable, before, time_is_over=True).outcome for one in (canary, slower)
    )
    assert _RANK[second] >= _RANK[first]


@given(_policies, _sides, _sides, st.booleans())
def test_without_an_error_and_as_fast_it_never_fails(
    policy: Policy, canary: Side, stable: Side, over: bool
) -> None:
    as_fast = Side(tuple(Period(one.requests, 0, 10.0) for one in canary.periods))
    usual = Side(tuple(Period(one.requests, one.errors, 10.0) for one in stable.periods))
    found = judge(policy, as_fast, usual, usual, time_is_over=over)
    assert found.outcome is not Outcome.FAILED


@given(_sides, st.randoms(use_true_random=False))
def test_the_order_of_periods_says_nothing(canary: Side, chance: random.Random) -> None:
    shuffled = list(canary.periods)
    chance.shuffle(shuffled)
    other = Side(tuple(shuffled))
    assert (other.requests, other.errors, other.p99_ms) == (
        canary.requests,
        canary.errors,
        canary.p99_ms,
    )
    assert judged(other) == judged(canary)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 50))
def test_the_tail_is_the_binomials(successes: int, trials: int, hundredths: int) -> None:
    successes, rate = min(successes, trials), Fraction(hundredths, 100)
    exact = sum(
        math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k)
        for k in range(successes, trials + 1)
    )
    found = _tail(successes, trials, float(rate))
    if successes <= trials * float(rate):
        assert found == 1.0  # by its word: no doubt is asked about there
    else:
        assert found == pytest.approx(float(exact), rel=1e-6, abs=1e-12)


def test_the_tail_of_large_counts_is_quick_and_sane() -> None:
    assert _tail(1_020_000, 100_000_000, 0.01) < 1e-50
    assert 0.001 < _tail(1_000_200, 100_000_000, 0.01) < 0.5


# How often it is wrong, by simulation.


def simulated(
    seed: int, error_rate: float, *, requests_a_minute: int, minutes: int = 10
) -> Outcome:
    """A canary that is looked at every minute, next to a stable side of which one in a thousand fails."""
    chance = random.Random(seed)
    periods: list[Period] = []
    for minute in range(1, minutes + 1):
        errors = sum(chance.random() < error_rate for _ in range(requests_a_minute))
        periods.append(Period(requests_a_minute, errors, 100.0))
        found = judged(Side(tuple(periods)), over=minute == minutes)
        if found.outcome is not Outcome.WATCHING:
            break
    return found.outcome


def test_a_canary_that_is_as_good_hardly_ever_fails_and_a_bad_one_always_does() -> None:
    seeds = range(300)
    for requests in (12, 120):
        as_good = [simulated(seed, 0.001, requests_a_minute=requests) for seed in seeds]
        assert as_good.count(Outcome.FAILED) <= 3
        bad = [simulated(seed, 0.05, requests_a_minute=requests) for seed in seeds]
        assert bad.count(Outcome.PASSED) <= (30 if requests == 12 else 0)
        worst = [simulated(seed, 0.2, requests_a_minute=requests) for seed in seeds]
        assert set(worst) == {Outcome.FAILED}
