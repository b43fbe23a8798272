"""The monolith's settings: what it is told, and every problem at once."""

from __future__ import annotations

import pytest

from libs.config import ConfigurationError
from tests.monolith.config import Config

VARIABLES = {
    "MONOLITH_AUTH_ISSUER": "https://issuer.invalid/pool",
    "MONOLITH_AUTH_JWKS_URL": "https://issuer.invalid/pool/.well-known/jwks.json",
    "MONOLITH_AUTH_CLIENT_IDS": "client",
    "MONOLITH_CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
    "MONOLITH_BUCKET": "lyceum-content",
    "AWS_REGION": "us-east-1",
}


def test_what_is_not_said_is_as_the_platform_names_it() -> None:
    config = Config.from_environment(VARIABLES)
    assert (config.table, config.control_table) == ("lyceum-monolith", "lyceum-migration")
    assert (config.catalog.table, config.content.table, config.progress.table) == (
        "CourseCatalog",
        "Content",
        "Progress",
    )
    assert config.service.name == "monolith"
    # The migration's commands are told nothing else by default.
    assert (config.gate.gate_lease, config.gate.longest_request) == (1.0, 2.0)


def test_what_is_said_is_taken() -> None:
    config = Config.from_environment(
        {
            **VARIABLES,
            "MONOLITH_TABLE": "everything",
            "MONOLITH_CONTROL_TABLE": "control",
            "MONOLITH_PROGRESS_TABLE": "Progress2",
            "MONOLITH_GATE_LEASE_SECONDS": "0.2",
            "MONOLITH_REQUEST_TIMEOUT_SECONDS": "25",
        }
    )
    assert (config.table, config.control_table) == ("everything", "control")
    assert config.progress.table == "Progress2"
    assert config.gate.gate_lease == 0.2
    assert config.catalog.request_timeout_seconds == 25


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Config.from_environment(
            {
                "MONOLITH_TABLE": "no table",
                "MONOLITH_GATE_LEASE_SECONDS": "0",
                "MONOLITH_LEASE": "1",
                "MONOLITH_BUCKET": "Bucket",
            }
        )
    told = "\n".join(refused.value.problems)
    for name in (
        *("MONOLITH_TABLE", "MONOLITH_GATE_LEASE_SECONDS", "MONOLITH_LEASE", "MONOLITH_BUCKET"),
        *("MONOLITH_CURSOR_SECRETS", "MONOLITH_AUTH_ISSUER", "AWS_REGION"),
    ):
        assert name in told
