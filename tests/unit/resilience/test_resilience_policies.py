"""Policies: every mistake at once; waits that grow, by chance, up to their bound; the budget."""

import dataclasses
import math

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from libs.circuit_breaker.testing import ManualClock
from libs.resilience import (
    BulkheadPolicy,
    InvalidPolicyError,
    RetryBudget,
    RetryBudgetPolicy,
    RetryPolicy,
)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (
            BulkheadPolicy,
            {"max_concurrent_calls": 0, "max_queued_calls": -1, "max_wait_seconds": math.nan},
        ),
        (
            BulkheadPolicy,
            {"max_concurrent_calls": True, "max_queued_calls": 1.5, "max_wait_seconds": "1"},
        ),
        (
            RetryPolicy,
            {"max_attempts": 0, "base_delay_seconds": -1, "max_delay_seconds": math.inf},
        ),
        (RetryBudgetPolicy, {"ratio": 1.01, "min_retries_per_second": -1, "max_balance": 0.5}),
    ],
)
def test_every_wrong_field_is_named_at_once(kind: type, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidPolicyError) as refused:
        kind(**wrong)
    assert refused.value.problems.keys() == wrong.keys()
    assert {field.name for field in dataclasses.fields(kind)} == wrong.keys()


def test_a_bound_below_the_first_wait_is_refused() -> None:
    with pytest.raises(InvalidPolicyError, match="max_delay_seconds must not be below"):
        RetryPolicy(base_delay_seconds=2, max_delay_seconds=1)


def test_waits_double_up_to_their_bound_and_chance_takes_any_part_of_them() -> None:
    policy = RetryPolicy(max_attempts=100, base_delay_seconds=0.1, max_delay_seconds=1)
    almost = math.nextafter(1, 0)
    longest = [policy.backoff(retry, lambda: almost) for retry in (1, 2, 3, 4, 5, 5000)]
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1, 1])
    assert policy.backoff(3, lambda: 0.0) == 0
    assert policy.backoff(3, lambda: 0.5) == pytest.approx(0.2)


def test_ten_requests_pay_for_one_retry() -> None:
    policy = RetryBudgetPolicy(ratio=0.1, min_retries_per_second=0, max_balance=5)
    budget = RetryBudget(policy, clock=ManualClock())
    assert budget.withdraw(), "a process that has just begun may retry once"
    for _ in range(9):
        budget.deposit()
    assert not budget.withdraw()
    budget.deposit()
    assert budget.withdraw()
    assert not budget.withdraw()
    for _ in range(1000):
        budget.deposit()
    assert budget.balance == 5


def test_time_alone_pays_for_a_few() -> None:
    clock = ManualClock()
    budget = RetryBudget(RetryBudgetPolicy(0.1, 0.5, 3), clock=clock)
    assert budget.withdraw()
    clock.advance(1.5)
    assert not budget.withdraw()
    clock.advance(0.5)
    assert budget.withdraw()
    clock.advance(1000)
    assert [budget.withdraw() for _ in range(4)] == [True, True, True, False]


# A first attempt, a retry that somebody wants, or seconds that pass.
history = st.lists(st.sampled_from(["first", "retry"]) | st.floats(0, 5), max_size=200)
policies = st.builds(
    RetryBudgetPolicy,
    ratio=st.floats(0, 1),
    min_retries_per_second=st.floats(0, 3),
    max_balance=st.floats(1, 10),
)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(policies, history)
def test_retries_never_exceed_their_share_in_any_span_of_any_history(
    policy: RetryBudgetPolicy, events: list[str | float]
) -> None:
    clock = ManualClock(0)
    budget = RetryBudget(policy, clock=clock)
    # How much of a retry the traffic before each event had paid for, and when retries were made.
    earned = 0.0
    retries: list[float] = []
    for event in events:
        if isinstance(event, float):
            clock.advance(event)
            earned += event * policy.min_retries_per_second
        elif event == "first":
            budget.deposit()
            earned += policy.ratio
        elif budget.withdraw():
            retries.append(earned)
        assert -1e-6 <= budget.balance <= policy.max_balance
    for first in range(len(retries)):
        for last in range(first, len(retries)):
            paid = policy.max_balance + retries[last] - retries[first]
            assert last - first + 1 <= paid + 1e-6


@given(st.integers(1, 300), st.floats(0.05, 1))
def test_what_traffic_has_paid_for_may_be_used(requests: int, ratio: float) -> None:
    """Not only a bound: a budget that never paid out would keep it too."""
    budget = RetryBudget(RetryBudgetPolicy(ratio, 0, 1000), clock=ManualClock())
    for _ in range(requests):
        budget.deposit()
    made = 0
    while budget.withdraw():
        made += 1
    assert made == math.floor(1 + requests * ratio + 1e-9)
