"""The fault server and the SDK's environment, so that nothing of the machine's is read."""

import os
from collections.abc import AsyncIterator

import pytest

from tests.unit.aws.fault_server import FaultServer, fault_server

ACCESS_KEY = "AKIAFAULTSERVER"
SECRET_KEY = "fault-server-secret"


@pytest.fixture()
def _sdk_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/credentials")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture()
async def aws(
    _sdk_environment: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FaultServer]:
    """A fault server that the SDK's environment points at, with static credentials."""
    async with fault_server() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        yield server
