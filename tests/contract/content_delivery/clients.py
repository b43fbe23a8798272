"""The service's own AWS clients against an emulator, and what a test keeps there."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from libs.aws import Clients, open_clients
from libs.resilience import PipelineRegistry
from libs.tracing import SamplingRules, create_tracer
from tests.backends import Backend, create_table

TABLE_JSON = Path("services/content_delivery/table.json")


@asynccontextmanager
async def clients_of(
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[Clients]:
    """The clients as the service opens them, led to ``backend`` by the SDK's own variables."""
    for name, value in backend.variables.items():
        monkeypatch.setenv(name, value)
    tracer = create_tracer(
        service="content_delivery",
        version="0.0.0",
        daemon_address=None,
        rules=SamplingRules(default_rate=0.0),
        random=random.Random(0),
    )
    async with open_clients(
        backend.settings(),
        registry=PipelineRegistry(),
        tracer=tracer,
        services=("dynamodb", "s3"),
        now=now,
    ) as clients:
        yield clients


async def new_table(backend: Backend) -> str:
    """An empty table of this service under a name of its own."""
    return await create_table(backend, TABLE_JSON, f"Content-{uuid4().hex}")


async def new_bucket(backend: Backend) -> str:
    """An empty bucket under a name of its own."""
    name = f"content-{uuid4().hex}"
    async with backend.client("s3") as client:
        await client.create_bucket(Bucket=name)
    return name
