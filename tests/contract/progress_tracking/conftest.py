"""The repositories that must agree: in memory, on MiniStack, on moto."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.progress_tracking.domain.repository import ProgressRepository
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from services.progress_tracking.storage.memory import MemoryProgressRepository
from tests.backends import Backend
from tests.contract.progress_tracking.table import dynamodb_on, new_table


@pytest.fixture(params=["memory", "ministack", "moto"])
async def repository(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ProgressRepository]:
    """An empty repository of each kind."""
    if request.param == "memory":
        yield MemoryProgressRepository()
        return
    backend = request.getfixturevalue(f"{request.param}_backend")
    assert isinstance(backend, Backend)
    table = await new_table(backend)
    async with dynamodb_on(backend, monkeypatch) as dynamodb:
        yield DynamoDBProgressRepository(dynamodb, table=table)
