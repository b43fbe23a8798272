"""The variables of the access log and the metrics: defaults, bounds, and every problem at once."""

from __future__ import annotations

import pytest

from libs.config import ConfigurationError, Environment
from libs.http import AccessLogPolicy
from libs.service import ServiceSettings, read_service_settings

REQUIRED = {
    "CATALOG_AUTH_ISSUER": "https://issuer.example/pool",
    "CATALOG_AUTH_JWKS_URL": "https://issuer.example/keys",
    "CATALOG_AUTH_CLIENT_IDS": "web",
    "AWS_REGION": "eu-central-1",
}


def read(**variables: str) -> ServiceSettings:
    given = {**REQUIRED, **{f"CATALOG_{name}": value for name, value in variables.items()}}
    return read_service_settings(Environment("CATALOG_", given), given, service="course_catalog")


def test_everything_is_logged_and_metrics_are_written_each_minute_by_default() -> None:
    settings = read()
    assert settings.access_log == AccessLogPolicy(level="INFO", sample_rate=1, slow_seconds=1)
    assert settings.metrics_flush_seconds == 60


def test_every_variable_has_its_effect() -> None:
    settings = read(
        ACCESS_LOG_LEVEL="WARNING",
        ACCESS_LOG_SAMPLE_RATE="0.25",
        SLOW_REQUEST_SECONDS="0.5",
        METRICS_FLUSH_SECONDS="0",
    )
    assert settings.access_log == AccessLogPolicy(
        level="WARNING", sample_rate=0.25, slow_seconds=0.5
    )
    assert settings.metrics_flush_seconds == 0


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(
            ACCESS_LOG_LEVEL="LOUD",
            ACCESS_LOG_SAMPLE_RATE="1.5",
            SLOW_REQUEST_SECONDS="-1",
            METRICS_FLUSH_SECONDS="often",
        )
    assert refused.value.problems == (
        "CATALOG_ACCESS_LOG_LEVEL must match DEBUG|INFO|WARNING|ERROR|CRITICAL",
        "CATALOG_ACCESS_LOG_SAMPLE_RATE must be a number from 0 to 1",
        "CATALOG_SLOW_REQUEST_SECONDS must be a number from 0 to 60",
        "CATALOG_METRICS_FLUSH_SECONDS must be a number from 0 to 300",
    )
