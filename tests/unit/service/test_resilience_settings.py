"""The `BULKHEAD_*`, `RETRY_*` and `REQUEST_TIMEOUT_SECONDS` variables: each sets its field, and every
problem is told under its name, with those of what does not go together."""

from __future__ import annotations

import dataclasses

import pytest

from libs.config import ConfigurationError, Environment
from libs.resilience import BulkheadPolicy, RetryBudgetPolicy, RetryPolicy
from libs.service import ServiceSettings, read_service_settings

NEEDED = {
    "CATALOG_AUTH_ISSUER": "https://issuer.example",
    "CATALOG_AUTH_JWKS_URL": "https://issuer.example/keys",
    "CATALOG_AUTH_CLIENT_IDS": "web",
    "AWS_REGION": "eu-central-1",
}
EVERYTHING = {
    "BULKHEAD_MAX_CONCURRENT_CALLS": "7",
    "BULKHEAD_MAX_QUEUED_CALLS": "0",
    "BULKHEAD_MAX_WAIT_SECONDS": "0.25",
    "RETRY_MAX_ATTEMPTS": "2",
    "RETRY_BASE_DELAY_SECONDS": "0.1",
    "RETRY_MAX_DELAY_SECONDS": "0.5",
    "RETRY_BUDGET_RATIO": "0.2",
    "RETRY_BUDGET_MIN_RETRIES_PER_SECOND": "2",
    "RETRY_BUDGET_MAX_BALANCE": "9",
    "REQUEST_TIMEOUT_SECONDS": "3",
}


def read(variables: dict[str, str]) -> ServiceSettings:
    given = NEEDED | {f"CATALOG_{name}": value for name, value in variables.items()}
    return read_service_settings(Environment("CATALOG_", given), given, service="sample")


def problems(variables: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        read(variables)
    return [problem.removeprefix("CATALOG_") for problem in refused.value.problems]


def test_without_variables_the_policies_are_the_libraries() -> None:
    settings = read({})
    assert settings.bulkhead == BulkheadPolicy()
    assert settings.retry == RetryPolicy()
    assert settings.retry_budget == RetryBudgetPolicy()
    assert settings.request_timeout_seconds == 5


def test_every_field_has_its_variable() -> None:
    fields = {
        *(f"BULKHEAD_{field.name}" for field in dataclasses.fields(BulkheadPolicy)),
        *(f"RETRY_{field.name}" for field in dataclasses.fields(RetryPolicy)),
        *(f"RETRY_BUDGET_{field.name}" for field in dataclasses.fields(RetryBudgetPolicy)),
    }
    named = {name.upper() for name in fields}
    assert named | {"REQUEST_TIMEOUT_SECONDS"} == EVERYTHING.keys()
    settings = read(EVERYTHING)
    assert settings.bulkhead == BulkheadPolicy(7, 0, 0.25)
    assert settings.retry == RetryPolicy(2, 0.1, 0.5)
    assert settings.retry_budget == RetryBudgetPolicy(0.2, 2, 9)
    assert settings.request_timeout_seconds == 3


def test_the_clients_of_aws_get_the_policies() -> None:
    settings = read(EVERYTHING)
    aws = settings.aws()
    assert aws.region == "eu-central-1"
    assert (aws.breaker, aws.bulkhead) == (settings.breaker, settings.bulkhead)
    assert (aws.retry, aws.retry_budget) == (settings.retry, settings.retry_budget)


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_value_that_is_none_is_told_under_its_name(name: str) -> None:
    told = problems({**EVERYTHING, name: "many"})
    assert [line for line in told if line.startswith(f"{name} must ")]


@pytest.mark.parametrize(
    ("variables", "sum_of_times"),
    [
        ({"REQUEST_TIMEOUT_SECONDS": "2"}, "(2 + 0.5)"),
        ({"REQUEST_TIMEOUT_SECONDS": "2.5"}, "(2 + 0.5)"),
        ({"BREAKER_CALL_TIMEOUT_SECONDS": "4.5"}, "(4.5 + 0.5)"),
        ({"BULKHEAD_MAX_WAIT_SECONDS": "3"}, "(2 + 3)"),
    ],
)
def test_a_whole_attempt_must_fit_into_a_request(
    variables: dict[str, str], sum_of_times: str
) -> None:
    (told,) = problems(variables)
    assert told.startswith("REQUEST_TIMEOUT_SECONDS must be above BREAKER_CALL_TIMEOUT_SECONDS")
    assert sum_of_times in told


def test_all_problems_are_told_at_once() -> None:
    told = problems(
        {
            "REQUEST_TIMEOUT_SECONDS": "1",
            "RETRY_BASE_DELAY_SECONDS": "5",
            "RETRY_BUDGET_RATIO": "2",
            "BULKHEAD_MAX_QUEUED_CALLS": "-1",
            "BULKHEAD_MAX_WAIT": "1",
        }
    )
    assert [line.partition(" ")[0] for line in told] == [
        "BULKHEAD_MAX_QUEUED_CALLS",
        "RETRY_MAX_DELAY_SECONDS",
        "RETRY_BUDGET_RATIO",
        "REQUEST_TIMEOUT_SECONDS",
        "BULKHEAD_MAX_WAIT",
    ]
