"""The repositories that the contract suite holds to one behaviour."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.aws import DynamoDB, open_clients
from libs.resilience import PipelineRegistry
from libs.tracing import SamplingRules, create_tracer
from services.course_catalog.domain.repository import CourseRepository
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from services.course_catalog.storage.memory import InMemoryCourseRepository
from tests.backends import Backend, create_table

TABLE_JSON = Path("services/course_catalog/table.json")

_numbers = itertools.count(1)


@asynccontextmanager
async def dynamodb_table(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[DynamoDB, str]]:
    """The service's client on a table of its own."""
    table = await create_table(backend, TABLE_JSON, f"CourseCatalog-contract-{next(_numbers)}")
    for name, value in backend.variables.items():
        monkeypatch.setenv(name, value)
    tracer = create_tracer(
        service="test",
        version="0",
        daemon_address=None,
        rules=SamplingRules(),
        random=random.Random(1),
    )
    async with open_clients(
        backend.settings(), registry=PipelineRegistry(), tracer=tracer
    ) as clients:
        yield clients.dynamodb, table


@pytest.fixture(params=["ministack", "moto"])
async def table(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[DynamoDB, str]]:
    """A table on each emulator."""
    backend: Backend = request.getfixturevalue(f"{request.param}_backend")
    async with dynamodb_table(backend, monkeypatch) as made:
        yield made


@pytest.fixture(params=["memory", "ministack", "moto"])
async def repository(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CourseRepository]:
    """An empty repository of each kind."""
    if request.param == "memory":
        yield InMemoryCourseRepository()
        return
    backend: Backend = request.getfixturevalue(f"{request.param}_backend")
    async with dynamodb_table(backend, monkeypatch) as (dynamodb, table):
        yield DynamoDBCourseRepository(dynamodb, table)
