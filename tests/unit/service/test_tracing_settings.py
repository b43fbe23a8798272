"""The `TRACING_*` variables: what they set, and every problem under its name."""

from __future__ import annotations

import json

import pytest

from libs.config import ConfigurationError, Environment
from libs.service import ServiceSettings, read_service_settings
from libs.tracing import SamplingRule

RULES = [
    {"RuleName": "writes", "Priority": 1, "FixedRate": 1, "HTTPMethod": "PUT"},
    {"RuleName": "all", "Priority": 9999, "FixedRate": 0.05, "ReservoirSize": 1},
]


def read(**variables: str) -> ServiceSettings:
    given = {
        "CATALOG_AUTH_ISSUER": "https://issuer.invalid/pool",
        "CATALOG_AUTH_JWKS_URL": "https://issuer.invalid/pool/.well-known/jwks.json",
        "CATALOG_AUTH_CLIENT_IDS": "client",
        "AWS_REGION": "us-east-1",
        **{f"CATALOG_TRACING_{name}": value for name, value in variables.items()},
    }
    return read_service_settings(Environment("CATALOG_", given), given, service="course_catalog")


def problems(**variables: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        read(**variables)
    return refused.value.problems


def test_without_variables_a_share_is_sampled_and_nobody_is_asked() -> None:
    settings = read()
    assert (settings.tracing_daemon, settings.tracing_rate) == (None, 0.05)
    assert (settings.tracing_rules, settings.tracing_central_sampling) == ((), False)


def test_every_variable_has_its_effect() -> None:
    settings = read(DAEMON="127.0.0.1:2000", RULES=json.dumps(RULES), CENTRAL_SAMPLING="true")
    assert settings.tracing_rules == (
        SamplingRule("writes", 1, priority=1, http_method="PUT"),
        SamplingRule("all", 0.05, reservoir_size=1, priority=9999),
    )
    assert settings.tracing_central_sampling is True


def test_a_daemon_alone_is_not_asked_for_rules() -> None:
    assert read(DAEMON="127.0.0.1:2000").tracing_central_sampling is False


def test_every_problem_is_told_at_once() -> None:
    rules = [{"RuleName": "r", "Priority": 0, "FixedRate": 2}, {"RuleName": "s"}]
    assert set(problems(RATE="7", RULES=json.dumps(rules), CENTRAL_SAMPLING="true")) == {
        "CATALOG_TRACING_RATE must be a number from 0 to 1",
        "CATALOG_TRACING_RULES is not valid: rule r: Priority must be between 1 and 9999",
        "CATALOG_TRACING_RULES is not valid: rule r: FixedRate must be between 0 and 1",
        "CATALOG_TRACING_RULES is not valid: rule 2: Priority is missing",
        "CATALOG_TRACING_RULES is not valid: rule 2: FixedRate is missing",
        "CATALOG_TRACING_CENTRAL_SAMPLING needs TRACING_DAEMON",
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[", "must be a JSON document without duplicate keys"),
        ("{}", "is not valid: the document must be an array of rules"),
        ("[[]]", "is not valid: rule 1 must be an object"),
    ],
)
def test_rules_that_are_none_are_told(value: str, problem: str) -> None:
    assert problems(RULES=value) == (f"CATALOG_TRACING_RULES {problem}",)
