"""The settings of progress tracking: defaults, and every problem at once."""

from __future__ import annotations

import pytest

from libs.auth import DEFAULT_PERMISSIONS
from libs.config import ConfigurationError
from services.progress_tracking.config import Config

SECRET = "0123456789abcdef0123456789abcdef"
NEEDED = {
    "AWS_REGION": "eu-central-1",
    "PROGRESS_AUTH_ISSUER": "https://issuer.example/pool",
    "PROGRESS_AUTH_JWKS_URL": "https://issuer.example/pool/jwks.json",
    "PROGRESS_AUTH_CLIENT_IDS": "web,mobile",
    "PROGRESS_CURSOR_SECRETS": SECRET,
}


def test_what_is_needed_is_enough() -> None:
    config = Config.from_environment({**NEEDED, "PATH": "/bin", "CATALOG_TABLE": "other"})
    assert (config.host, config.port, config.drain_seconds) == ("127.0.0.1", 8080, 20)
    assert (config.table, config.region) == ("Progress", "eu-central-1")
    assert (config.service.name, config.service.version) == ("progress_tracking", "0.0.0+local")
    assert config.auth.client_ids == {"web", "mobile"}
    assert config.auth.permissions is DEFAULT_PERMISSIONS
    assert config.cursor_secrets == (SECRET.encode(),)
    assert (config.outline_cache_seconds, config.outline_cache_entries) == (30, 2000)
    assert (config.tracing_daemon, config.tracing_rate, config.log_level) == (None, 0.05, "INFO")
    assert config.cors_origins == ()


def test_everything_can_be_set() -> None:
    config = Config.from_environment(
        {
            **NEEDED,
            "PROGRESS_HOST": "0.0.0.0",
            "PROGRESS_PORT": "0",
            "PROGRESS_TABLE": "Progress-blue",
            "PROGRESS_DRAIN_SECONDS": "2.5",
            "PROGRESS_VERSION": "1.0.0",
            "PROGRESS_REVISION": "abc",
            "PROGRESS_IMAGE_HASH": "def",
            "PROGRESS_CURSOR_SECRETS": f"{SECRET[::-1]},{SECRET}",
            "PROGRESS_OUTLINE_CACHE_SECONDS": "0",
            "PROGRESS_OUTLINE_CACHE_ENTRIES": "1",
            "PROGRESS_AUTH_PERMISSIONS": '{"groups": {"tutors": ["progress:any"]}}',
            "PROGRESS_BREAKER_FAILURE_THRESHOLD": "2",
            "PROGRESS_BREAKER_OPEN_SECONDS": "0.5",
            "PROGRESS_BREAKER_CALL_TIMEOUT_SECONDS": "1.5",
            "PROGRESS_TRACING_DAEMON": "127.0.0.1:2000",
            "PROGRESS_TRACING_RATE": "1",
            "PROGRESS_CORS_ORIGINS": "https://app.example, http://127.0.0.1:5173",
            "PROGRESS_LOG_LEVEL": "WARNING",
        }
    )
    assert config.cursor_secrets == (SECRET[::-1].encode(), SECRET.encode())
    assert config.auth.permissions.by_group == {"tutors": {"progress:any"}}
    assert (config.breaker.failure_threshold, config.breaker.open_seconds) == (2, 0.5)
    assert config.cors_origins == ("https://app.example", "http://127.0.0.1:5173")
    assert (config.outline_cache_seconds, config.tracing_daemon) == (0, "127.0.0.1:2000")


def test_the_region_may_come_by_its_other_name() -> None:
    variables = {**NEEDED, "AWS_DEFAULT_REGION": "us-east-1"}
    del variables["AWS_REGION"]
    assert Config.from_environment(variables).region == "us-east-1"


def test_every_problem_is_told_at_once_and_no_secret_with_it() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Config.from_environment(
            {
                "PROGRESS_PORT": "http",
                "PROGRESS_CURSOR_SECRETS": "too-short",
                "PROGRESS_CURSOR_SECRET": SECRET,
                "PROGRESS_CORS_ORIGINS": "app.example",
                "PROGRESS_AUTH_PERMISSIONS": "[]",
                "AWS_REGION": "Frankfurt",
            }
        )
    problems = str(refusal.value)
    for name in (
        "PROGRESS_PORT must be a whole number",
        "PROGRESS_AUTH_ISSUER is missing",
        "PROGRESS_AUTH_JWKS_URL is missing",
        "PROGRESS_AUTH_CLIENT_IDS is missing",
        "PROGRESS_CURSOR_SECRETS must have at least 32 bytes",
        "PROGRESS_CORS_ORIGINS must be origins",
        "PROGRESS_AUTH_PERMISSIONS is not valid",
        "PROGRESS_CURSOR_SECRET is not a known variable",
        "AWS_REGION must be a region",
    ):
        assert name in problems
    assert "too-short" not in problems
    assert SECRET not in problems


def test_the_configuration_does_not_show_its_secrets() -> None:
    assert SECRET not in repr(Config.from_environment(NEEDED))
