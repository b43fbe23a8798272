"""The monolith's table in memory and on the emulators, for the suites of the three repositories."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from libs.aws import open_clients
from libs.resilience import PipelineRegistry
from libs.tracing import SamplingRules, create_tracer
from tests.backends import Backend, create_table
from tests.monolith.dynamodb_table import DynamoDBTable
from tests.monolith.memory_table import MemoryTable
from tests.monolith.table import Table

KINDS = ("memory", "ministack", "moto")


@asynccontextmanager
async def table_of(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Table]:
    """An empty table of the kind that the fixture's parameter names."""
    if request.param == "memory":
        yield MemoryTable()
        return
    backend = request.getfixturevalue(f"{request.param}_backend")
    assert isinstance(backend, Backend)
    name = await create_table(backend, Path("tests/monolith/table.json"), f"Monolith-{uuid4().hex}")
    for variable, value in backend.variables.items():
        monkeypatch.setenv(variable, value)
    tracer = create_tracer(
        service="monolith",
        version="0",
        daemon_address=None,
        rules=SamplingRules(default_rate=0.0),
        random=random.Random(0),
    )
    async with open_clients(
        backend.settings(), registry=PipelineRegistry(), tracer=tracer
    ) as clients:
        yield DynamoDBTable(clients.dynamodb, name)
