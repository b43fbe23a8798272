"""How the way out is configured, and what is told of a configuration that could not work."""

from __future__ import annotations

import pytest

from libs.config import ConfigurationError, Environment
from libs.service import ServiceSettings, read_service_settings

NEEDED = {
    "CATALOG_AUTH_ISSUER": "https://issuer.example",
    "CATALOG_AUTH_JWKS_URL": "https://issuer.example/keys",
    "CATALOG_AUTH_CLIENT_IDS": "web",
    "AWS_REGION": "eu-central-1",
}


def read(**variables: str) -> ServiceSettings:
    given = NEEDED | {f"CATALOG_{name}": value for name, value in variables.items()}
    return read_service_settings(Environment("CATALOG_", given), given, service="sample")


def test_by_default_requests_are_taken_for_a_quarter_of_a_second_more() -> None:
    settings = read()
    assert (settings.drain_seconds, settings.readiness_notice_seconds) == (20, 0.25)


def test_a_drain_that_is_shorter_than_that_is_all_notice() -> None:
    assert read(DRAIN_SECONDS="0.1").readiness_notice_seconds == 0.1


def test_the_notice_is_configured() -> None:
    settings = read(DRAIN_SECONDS="30", READINESS_NOTICE_SECONDS="12.5")
    assert (settings.drain_seconds, settings.readiness_notice_seconds) == (30, 12.5)
    assert read(READINESS_NOTICE_SECONDS="0").readiness_notice_seconds == 0


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"READINESS_NOTICE_SECONDS": "soon"}, "must be a number from 0 to 110"),
        ({"READINESS_NOTICE_SECONDS": "111"}, "must be a number from 0 to 110"),
        (
            {"DRAIN_SECONDS": "5", "READINESS_NOTICE_SECONDS": "6"},
            "must not be above DRAIN_SECONDS",
        ),
    ],
)
def test_a_notice_that_can_not_be_is_told(variables: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(**variables)
    assert refused.value.problems == (f"CATALOG_READINESS_NOTICE_SECONDS {problem}",)
