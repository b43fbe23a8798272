"""The environment MiniStack is imported in: nothing inherited can soften it."""

from pathlib import Path

import pytest

from deploy.local.embedded_aws._state import StateFolder
from deploy.local.embedded_aws._variables import hardened_variables

STATE = StateFolder(Path("/state"))


def variables(inherited: dict[str, str]) -> dict[str, str]:
    return hardened_variables(
        inherited,
        port=4567,
        region="eu-central-1",
        services=frozenset({"s3", "dynamodb"}),
        state=STATE,
        root_access_key="ROOTKEY",
        root_secret_key="ROOTSECRET",
        log_level="WARNING",
    )


def test_every_dangerous_default_is_set() -> None:
    hardened = variables({})
    assert hardened["AUTH"] == "true"
    assert hardened["BIND_HOST"] == "127.0.0.1"
    assert hardened["IOT_MTLS_ENABLED"] == "0"
    assert hardened["SFTP_ENABLED"] == "0"
    assert hardened["SERVICES"] == "dynamodb,s3"
    assert hardened["PERSIST_STATE"] == hardened["S3_PERSIST"] == "1"
    assert hardened["STATE_DIR"] == "/state/services"
    assert hardened["S3_DATA_DIR"] == "/state/objects"
    assert hardened["TMPDIR"] == "/state/temporary"
    assert hardened["DOCKER_HOST"] == "unix:///state/temporary/no-docker.sock"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH", "false"),
        ("AWS_ACCESS_KEY_ID", "known"),
        ("AWS_SESSION_TOKEN", "known"),
        ("BIND_HOST", "0.0.0.0"),
        ("COGNITO_EMAIL_ENABLED", "true"),
        ("DOCKER_HOST", "tcp://docker"),
        ("EDGE_PORT", "1"),
        ("IOT_MTLS_ENABLED", "1"),
        ("LAMBDA_EXECUTOR", "local"),
        ("LOCALSTACK_PERSISTENCE", "1"),
        ("MINISTACK_ACCOUNT_ID", "123456789012"),
        ("PERSIST_STATE", "0"),
        ("SERVICES", "lambda"),
        ("SFTP_ENABLED", "1"),
        ("STATE_DIR", "/elsewhere"),
        ("USE_SSL", "1"),
    ],
)
def test_what_is_inherited_changes_nothing(name: str, value: str) -> None:
    assert variables({name: value}) == variables({})


def test_the_rest_of_the_environment_stays() -> None:
    assert variables({"PATH": "/bin", "HOME": "/root"})["PATH"] == "/bin"
