"""Starts the two AWS emulators that the repositories are tested on, each as a process of its own.

MiniStack (through the project's own hardened launcher) is what the local platform runs on; moto refuses
the invalid expressions that MiniStack lets by. So every repository suite runs on both, and with that on
both transports of `libs.aws`, one on each. A backend starts
when a test first asks for it, on a free port of 127.0.0.1, and is ended by its process id.

    async with ministack() as backend:
        await create_table(backend, Path("services/course_catalog/table.json"), "CourseCatalog")
"""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioboto3
from botocore.config import Config

from deploy.local._environment import (
    REPOSITORY_ROOT,
    embedded_aws_command,
    embedded_aws_python,
    embedded_aws_variables,
)
from deploy.local._tables import ensure_table, read_table
from libs.aws import DEFAULT_TRANSPORT, AwsSettings, Transport
from libs.circuit_breaker import BreakerPolicy
from tests.backends._process import serving

__all__ = ["Backend", "create_table", "ministack", "moto", "running_ministack", "running_moto"]

REGION = "us-east-1"

# Emulators need one round trip on loopback: what takes longer is stuck.
_CONFIG = Config(
    connect_timeout=2, read_timeout=10, retries={"mode": "standard", "max_attempts": 1}
)


@dataclass(frozen=True)
class Backend:
    """Where an emulator answers, and the credentials of one who may do everything there.

    transport: by which of them the services' own clients reach DynamoDB there.
    """

    endpoint_url: str
    region: str
    access_key: str
    secret_key: str
    transport: Transport = DEFAULT_TRANSPORT

    def client(self, service: str) -> Any:
        """An aioboto3 client of the service, as its asynchronous context manager."""
        return self.client_in(service, self.region)

    def client_in(self, service: str, region: str) -> Any:
        """As `client`, in another region."""
        return aioboto3.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=region,
        ).client(service, endpoint_url=self.endpoint_url, config=_CONFIG)

    def settings(self) -> AwsSettings:
        """Settings of the services' own clients, with the patience that an emulator on a busy
        machine needs: that is not what is tested on it."""
        return AwsSettings(
            region=self.region,
            dynamodb_transport=self.transport,
            read_timeout_seconds=20.0,
            breaker=BreakerPolicy(call_timeout_seconds=30.0),
        )

    @property
    def variables(self) -> dict[str, str]:
        """The SDK's environment variables that lead a process to this backend."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }


async def create_table(backend: Backend, table_json: Path, name: str) -> str:
    """Make the table of a `table.json` (path from the repository's root, or absolute) under `name`."""
    async with backend.client("dynamodb") as client:
        await ensure_table(client, read_table(REPOSITORY_ROOT / table_json), name)
    return name


@contextlib.asynccontextmanager
async def ministack() -> AsyncIterator[Backend]:
    """A MiniStack with an empty state; blocks the loop for the second or so that its start takes."""
    with running_ministack() as backend:
        yield backend


@contextlib.asynccontextmanager
async def moto() -> AsyncIterator[Backend]:
    """A moto with an empty state; blocks the loop for the seconds that its start takes."""
    with running_moto() as backend:
        yield backend


@contextlib.contextmanager
def running_ministack(
    state: Path | None = None, *, forwarded_from: Sequence[int] = ()
) -> Iterator[Backend]:
    """A MiniStack behind the project's guard, on `state` or an empty folder of its own.

    `forwarded_from` are ports from which the test forwards to it.
    """
    with contextlib.ExitStack() as stack:
        if state is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ministack-")))
        command = embedded_aws_command(
            embedded_aws_python(), state=state, region=REGION, forwarded_from=forwarded_from
        )
        ready = stack.enter_context(serving(command, embedded_aws_variables())).ready
        administrator = json.loads(Path(ready["administrator"]).read_text(encoding="utf-8"))
        yield Backend(
            endpoint_url=ready["endpoint"],
            region=REGION,
            access_key=administrator["accessKeyId"],
            secret_key=administrator["secretAccessKey"],
        )


@contextlib.contextmanager
def running_moto(additions: str | None = None) -> Iterator[Backend]:
    """A moto server; it takes any credentials. `additions` is a module whose `install()` adds to moto
    what it lacks."""
    command = [sys.executable, "-m", "tests.backends._moto_server", str(os.getpid())]
    if additions is not None:
        command.append(additions)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    variables["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY_ROOT), *filter(None, sys.path)])
    with serving(command, variables) as server:
        yield Backend(
            endpoint_url=server.ready["endpoint"],
            region=REGION,
            access_key="moto-access-key",
            secret_key="moto-secret-key",
            # So that every suite runs on both; MiniStack verifies the signatures of the other one.
            transport="sdk",
        )
