"""What the tool takes for the services' settings are their settings."""

from __future__ import annotations

from deploy.rightsizing._spike import Guards
from deploy.rightsizing._tables import (
    CONTENT_CACHE_SECONDS,
    DIRECTORY_REFRESH_SECONDS,
    DIRECTORY_SHARDS,
    OUTLINE_CACHE_SECONDS,
)
from services.content_delivery.config import Config as ContentConfig
from services.course_catalog.config import Config as CatalogConfig
from services.course_catalog.storage.items import SHARDS
from services.progress_tracking.config import Config as ProgressConfig
from tests.unit.rightsizing.inputs import committed


def variables(prefix: str) -> dict[str, str]:
    """Only what has no default."""
    own = {
        "AUTH_ISSUER": "https://issuer.invalid/pool",
        "AUTH_JWKS_URL": "https://issuer.invalid/jwks.json",
        "AUTH_CLIENT_IDS": "client",
        "CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
        **({"BUCKET": "a-bucket"} if prefix == "CONTENT_" else {}),
    }
    return {"AWS_REGION": "us-east-1", **{f"{prefix}{name}": value for name, value in own.items()}}


CATALOG = CatalogConfig.from_environment(variables("CATALOG_"))
CONTENT = ContentConfig.from_environment(variables("CONTENT_"))
PROGRESS = ProgressConfig.from_environment(variables("PROGRESS_"))


def test_the_guards_of_the_model_are_those_of_the_services() -> None:
    for config in (CATALOG, CONTENT, PROGRESS):
        assert Guards() == Guards(
            failures_that_open=config.breaker.failure_threshold,
            open_seconds=config.breaker.open_seconds,
            calls_at_once=config.bulkhead.max_concurrent_calls,
            wait_seconds=config.bulkhead.max_wait_seconds,
            attempt_seconds=config.breaker.call_timeout_seconds or 0.0,
            deadline_seconds=config.request_timeout_seconds,
            attempts=config.retry.max_attempts,
            retry_budget=config.retry_budget.ratio,
        )


def test_what_tasks_read_by_themselves() -> None:
    assert DIRECTORY_SHARDS == SHARDS
    assert CATALOG.refresh.interval == DIRECTORY_REFRESH_SECONDS
    assert CATALOG.refresh.reload == 3600
    assert CONTENT.cache_seconds == CONTENT_CACHE_SECONDS


def test_how_long_an_outline_is_kept() -> None:
    assert PROGRESS.outline_cache_seconds == OUTLINE_CACHE_SECONDS
    assert PROGRESS.outline_wait_seconds == 10


def test_the_profile_traces_as_much_as_the_services_do() -> None:
    traced = committed().profile.assumptions.traced_share.value
    assert traced == CATALOG.tracing_rate == CONTENT.tracing_rate == PROGRESS.tracing_rate
