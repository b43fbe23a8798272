"""The `BREAKER_*` variables: each sets its field, and every problem is told under its name."""

from __future__ import annotations

import dataclasses

import pytest

from libs.circuit_breaker import BreakerMode, BreakerPolicy, SlidingWindowType
from libs.config import ConfigurationError, Environment
from libs.service._breaker_settings import read_breaker_policy

EVERYTHING = {
    "FAILURE_THRESHOLD": "7",
    "OPEN_SECONDS": "2.5",
    "PERMITTED_CALLS_IN_HALF_OPEN": "3",
    "CALL_TIMEOUT_SECONDS": "4",
    "SUCCESS_THRESHOLD": "1",
    "SLIDING_WINDOW_TYPE": "time_based",
    "SLIDING_WINDOW_SIZE": "30",
    "MINIMUM_NUMBER_OF_CALLS": "40",
    "FAILURE_RATE_THRESHOLD": "12.5",
    "SLOW_CALL_DURATION_THRESHOLD_SECONDS": "0.75",
    "SLOW_CALL_RATE_THRESHOLD": "80",
    "OPEN_MULTIPLIER": "2",
    "MAX_OPEN_SECONDS": "60",
    "OPEN_JITTER": "0.5",
    "MODE": "disabled",
}


def read(variables: dict[str, str]) -> BreakerPolicy:
    environment = Environment(
        "CATALOG_", {f"CATALOG_BREAKER_{name}": value for name, value in variables.items()}
    )
    policy = read_breaker_policy(environment)
    environment.finish()
    return policy


def problems(variables: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        read(variables)
    return refused.value.problems


def test_without_variables_the_policy_counts_consecutive_failures() -> None:
    assert read({}) == BreakerPolicy(call_timeout_seconds=2)


def test_every_field_has_its_variable() -> None:
    assert {field.name.upper() for field in dataclasses.fields(BreakerPolicy)} == set(EVERYTHING)
    assert read(EVERYTHING) == BreakerPolicy(
        failure_threshold=7,
        open_seconds=2.5,
        permitted_calls_in_half_open=3,
        call_timeout_seconds=4,
        success_threshold=1,
        sliding_window_type=SlidingWindowType.TIME_BASED,
        sliding_window_size=30,
        minimum_number_of_calls=40,
        failure_rate_threshold=12.5,
        slow_call_duration_threshold_seconds=0.75,
        slow_call_rate_threshold=80,
        open_multiplier=2,
        max_open_seconds=60,
        open_jitter=0.5,
        mode=BreakerMode.DISABLED,
    )


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_value_that_is_none_is_told_under_its_name(name: str) -> None:
    told = problems({**EVERYTHING, name: "many"})
    assert any(line.startswith(f"CATALOG_BREAKER_{name} must ") for line in told)


def test_problems_of_values_and_of_what_does_not_go_together_are_told_at_once() -> None:
    told = problems(
        {
            "SLIDING_WINDOW_TYPE": "count_based",
            "SLIDING_WINDOW_SIZE": "10",
            "SUCCESS_THRESHOLD": "2",
            "SLOW_CALL_RATE_THRESHOLD": "50",
            "SLOW_CALL_DURATION_THRESHOLD_SECONDS": "6",
            "OPEN_MULTIPLIER": "2",
            "OPEN_JITTER": "1",
        }
    )
    for problem in (
        "MINIMUM_NUMBER_OF_CALLS must not be above sliding_window_size",
        "SUCCESS_THRESHOLD has no effect with a sliding window",
        "SLOW_CALL_DURATION_THRESHOLD_SECONDS must be below call_timeout_seconds",
        "MAX_OPEN_SECONDS is needed when open_multiplier is above 1",
        "OPEN_JITTER must be a number from 0 to 0.9",
    ):
        assert any(f"CATALOG_BREAKER_{problem}" in line for line in told), problem
    assert len(told) == 5
