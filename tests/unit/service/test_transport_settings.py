"""Which transport to DynamoDB is configured, and what is told of one that there is not."""

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


def test_by_default_it_is_our_own() -> None:
    assert read().aws().dynamodb_transport == "direct"


@pytest.mark.parametrize("transport", ["direct", "sdk"])
def test_the_clients_are_told_which(transport: str) -> None:
    assert read(DYNAMODB_TRANSPORT=transport).aws().dynamodb_transport == transport


def test_another_one_is_told() -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(DYNAMODB_TRANSPORT="DIRECT")
    assert refused.value.problems == ("CATALOG_DYNAMODB_TRANSPORT must match direct|sdk",)
