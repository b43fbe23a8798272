"""The settings of content delivery: defaults, and every problem at once."""

from __future__ import annotations

import pytest

from libs.auth import DEFAULT_PERMISSIONS
from libs.config import ConfigurationError
from services.content_delivery.config import Config
from services.content_delivery.domain.uploads import UploadPolicy

NEEDED = {
    "AWS_REGION": "eu-central-1",
    "CONTENT_AUTH_ISSUER": "https://issuer.example/pool/",
    "CONTENT_AUTH_JWKS_URL": "https://issuer.example/pool/jwks.json",
    "CONTENT_AUTH_CLIENT_IDS": "web,mobile",
    "CONTENT_BUCKET": "lyceum-content",
    "CONTENT_CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
}


def test_what_is_needed_is_enough() -> None:
    config = Config.from_environment({**NEEDED, "PATH": "/bin", "CATALOG_TABLE": "other"})
    assert (config.host, config.port, config.drain_seconds) == ("127.0.0.1", 8080, 20)
    assert (config.table, config.bucket, config.region) == (
        "Content",
        "lyceum-content",
        "eu-central-1",
    )
    assert (config.cache_seconds, config.cache_entries) == (5, 10_000)
    assert config.uploads == UploadPolicy(
        single_bytes=100_000_000,
        part_bytes=16_777_216,
        maximum_bytes=10_737_418_240,
        url_seconds=3600,
        pending_seconds=604_800,
    )
    assert (config.upload_wait_seconds, config.verifications, config.retention_days) == (2, 4, 30)
    assert "thirty-two" not in repr(config)
    assert (config.service.name, config.service.version) == ("content_delivery", "0.0.0+local")
    # Letter by letter as tokens repeat it.
    assert config.auth.issuer == "https://issuer.example/pool/"
    assert config.auth.client_ids == {"web", "mobile"}
    assert config.auth.permissions is DEFAULT_PERMISSIONS
    assert (config.breaker.failure_threshold, config.breaker.call_timeout_seconds) == (5, 2)
    assert config.request_timeout_seconds == 5
    assert (config.tracing_daemon, config.tracing_rate, config.log_level) == (None, 0.05, "INFO")
    assert config.cors_origins == ()


def test_everything_can_be_set() -> None:
    config = Config.from_environment(
        {
            **NEEDED,
            "CONTENT_HOST": "0.0.0.0",
            "CONTENT_PORT": "0",
            "CONTENT_TABLE": "Content-blue",
            "CONTENT_DRAIN_SECONDS": "2.5",
            "CONTENT_VERSION": "1.0.0",
            "CONTENT_REVISION": "abc",
            "CONTENT_IMAGE_HASH": "def",
            "CONTENT_CACHE_SECONDS": "0",
            "CONTENT_CACHE_ENTRIES": "1",
            "CONTENT_AUTH_PERMISSIONS": '{"groups": {"staff": ["content:write"]}}',
            "CONTENT_BREAKER_FAILURE_THRESHOLD": "2",
            "CONTENT_BREAKER_OPEN_SECONDS": "0.5",
            "CONTENT_BREAKER_CALL_TIMEOUT_SECONDS": "1.5",
            "CONTENT_TRACING_DAEMON": "127.0.0.1:2000",
            "CONTENT_TRACING_RATE": "1",
            "CONTENT_CORS_ORIGINS": "https://app.example, http://127.0.0.1:5173",
            "CONTENT_LOG_LEVEL": "WARNING",
            "CONTENT_UPLOAD_SINGLE_BYTES": "1000",
            "CONTENT_UPLOAD_PART_BYTES": "1024",
            "CONTENT_UPLOAD_MAXIMUM_BYTES": "5497558138880",
            "CONTENT_UPLOAD_URL_SECONDS": "60",
            "CONTENT_UPLOAD_PENDING_DAYS": "1",
            "CONTENT_UPLOAD_WAIT_SECONDS": "0.5",
            "CONTENT_UPLOAD_VERIFICATIONS": "2",
            "CONTENT_RETENTION_DAYS": "7",
        }
    )
    assert (config.port, config.cache_seconds, config.cache_entries) == (0, 0, 1)
    assert config.uploads == UploadPolicy(1000, 1024, 5 * 1024**4, 60, 86_400)
    assert (config.upload_wait_seconds, config.verifications, config.retention_days) == (0.5, 2, 7)
    assert config.auth.permissions.by_group == {"staff": {"content:write"}}
    assert config.breaker.open_seconds == 0.5
    assert config.tracing_daemon == "127.0.0.1:2000"
    assert config.cors_origins == ("https://app.example", "http://127.0.0.1:5173")


def test_the_region_may_come_by_its_other_name() -> None:
    variables = {**NEEDED, "AWS_DEFAULT_REGION": "us-east-1"}
    del variables["AWS_REGION"]
    assert Config.from_environment(variables).region == "us-east-1"


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Config.from_environment({"CONTENT_PORT": "http"})
    assert refusal.value.problems == (
        "CONTENT_CURSOR_SECRETS is missing",
        "CONTENT_BUCKET is missing",
        "CONTENT_PORT must be a whole number from 0 to 65535",
        "CONTENT_AUTH_ISSUER is missing",
        "CONTENT_AUTH_JWKS_URL is missing",
        "CONTENT_AUTH_CLIENT_IDS is missing",
        "AWS_REGION is missing",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONTENT_BUCKET", "Not_A_Bucket"),
        ("CONTENT_BUCKET", "a"),
        ("CONTENT_TABLE", "a b"),
        ("CONTENT_AUTH_ISSUER", "issuer"),
        ("CONTENT_AUTH_JWKS_URL", "file:///etc/passwd"),
        ("CONTENT_AUTH_CLIENT_IDS", "a,,b"),
        ("CONTENT_AUTH_PERMISSIONS", '{"groups": {"staff": ["everything"]}}'),
        ("CONTENT_AUTH_PERMISSIONS", "{"),
        ("CONTENT_CORS_ORIGINS", "*"),
        ("CONTENT_CORS_ORIGINS", "https://app.example/path"),
        ("CONTENT_CACHE_SECONDS", "61"),
        ("CONTENT_CACHE_SECONDS", "-1"),
        ("CONTENT_DRAIN_SECONDS", "111"),
        ("CONTENT_TRACING_DAEMON", "localhost"),
        ("CONTENT_TRACING_RATE", "2"),
        ("CONTENT_LOG_LEVEL", "info"),
        ("CONTENT_CURSOR_SECRETS", "short"),
        ("CONTENT_UPLOAD_SINGLE_BYTES", "0"),
        ("CONTENT_UPLOAD_PART_BYTES", "1023"),
        ("CONTENT_UPLOAD_MAXIMUM_BYTES", "5497558138881"),
        ("CONTENT_UPLOAD_URL_SECONDS", "59"),
        ("CONTENT_UPLOAD_PENDING_DAYS", "0"),
        ("CONTENT_UPLOAD_WAIT_SECONDS", "21"),
        ("CONTENT_UPLOAD_VERIFICATIONS", "0"),
        ("CONTENT_RETENTION_DAYS", "0"),
        ("CONTENT_SPELT_WRONG", "1"),
        ("AWS_REGION", "somewhere"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Config.from_environment({**NEEDED, name: value})
    (problem,) = refusal.value.problems
    assert problem.startswith(name)
