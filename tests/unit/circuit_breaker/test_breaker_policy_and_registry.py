"""Policies are checked whole; a registry has one breaker per name."""

import math

import pytest

from libs.circuit_breaker import (
    BreakerEvent,
    BreakerPolicy,
    CircuitBreaker,
    CircuitBreakerRegistry,
    CircuitOpenError,
    Outcome,
    State,
    StateChanged,
)
from libs.circuit_breaker.testing import ManualClock
from tests.unit.circuit_breaker.dependency import answer, open_circuit


def test_every_problem_of_a_policy_is_named_at_once() -> None:
    with pytest.raises(ValueError, match="failure_threshold") as caught:
        BreakerPolicy(
            failure_threshold=0,
            open_seconds=-1,
            permitted_calls_in_half_open=0,
            call_timeout_seconds=0,
            success_threshold=0,
        )
    for field in (
        "failure_threshold",
        "open_seconds",
        "permitted_calls_in_half_open",
        "call_timeout_seconds",
        "success_threshold",
    ):
        assert field in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "5"])
def test_counts_are_whole_numbers_of_at_least_one(value: object) -> None:
    for field in ("failure_threshold", "permitted_calls_in_half_open", "success_threshold"):
        with pytest.raises(ValueError, match=field):
            BreakerPolicy(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -0.5, math.inf, math.nan, True, "5"])
def test_durations_are_finite_and_above_zero(value: object) -> None:
    for field in ("open_seconds", "call_timeout_seconds"):
        with pytest.raises(ValueError, match=field):
            BreakerPolicy(**{field: value})  # type: ignore[arg-type]


def test_a_breaker_has_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        CircuitBreaker("", BreakerPolicy())


async def test_a_call_passes_arguments_and_result_through() -> None:
    async def add(one: int, *, other: int) -> int:
        return one + other

    assert await CircuitBreaker("sums", BreakerPolicy()).call(add, 1, other=2) == 3


async def test_a_success_resets_the_count_of_failures(clock: ManualClock) -> None:
    breaker = CircuitBreaker("dependency", BreakerPolicy(failure_threshold=2), clock=clock)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            await breaker.call(_divide_by_zero)
        await breaker.call(answer)
    assert breaker.state is State.CLOSED
    assert breaker.snapshot().consecutive_failures == 0


def test_the_registry_gives_the_same_breaker_for_the_same_name() -> None:
    registry = CircuitBreakerRegistry()
    first = registry.breaker("dynamodb:read", BreakerPolicy(), _ignore)
    assert registry.breaker("dynamodb:read", BreakerPolicy(), _ignore) is first
    assert registry.breaker("dynamodb:write", BreakerPolicy(), _ignore) is not first


def test_the_registry_refuses_a_second_meaning_of_a_name() -> None:
    registry = CircuitBreakerRegistry()
    registry.breaker("s3", BreakerPolicy(), _ignore)
    with pytest.raises(ValueError, match="circuit s3 exists with BreakerPolicy"):
        registry.breaker("s3", BreakerPolicy(failure_threshold=9), _ignore)
    with pytest.raises(ValueError, match="another classifier"):
        registry.breaker("s3", BreakerPolicy())


async def test_the_registry_shares_its_clock_and_listeners(clock: ManualClock) -> None:
    heard: list[BreakerEvent] = []
    registry = CircuitBreakerRegistry(clock=clock, listeners=[heard.append])
    policy = BreakerPolicy(failure_threshold=1, open_seconds=2)
    for name in ("b", "a"):
        await open_circuit(registry.breaker(name, policy))
    assert heard == [
        StateChanged("b", State.CLOSED, State.OPEN),
        StateChanged("a", State.CLOSED, State.OPEN),
    ]
    clock.advance(1.5)
    assert [
        (snapshot.name, snapshot.state, snapshot.retry_after_seconds)
        for snapshot in registry.snapshots()
    ] == [("a", State.OPEN, 0.5), ("b", State.OPEN, 0.5)]
    with pytest.raises(CircuitOpenError, match=r"circuit a is open, retry after 0\.500 s"):
        await registry.breaker("a", policy).call(answer)


async def _divide_by_zero() -> float:
    return 1 / 0


def _ignore(_: BaseException) -> Outcome:
    return Outcome.IGNORE
