"""Progress is read and written by several calls at once: a circuit that was open closes all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from libs.aws import DependencyUnavailable, DynamoDB
from libs.circuit_breaker import BreakerPolicy, CircuitBreaker, CircuitOpenError, State
from libs.circuit_breaker.testing import ManualClock
from services.progress_tracking.domain.progress import ItemUpdate, ProgressUpdate
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
OPEN_SECONDS = 5.0
TURNS = 20


class Table:
    """An empty table behind two circuits; each call takes some turns of the loop, as real ones do."""

    def __init__(self, clock: ManualClock) -> None:
        policy = BreakerPolicy(
            failure_threshold=1, open_seconds=OPEN_SECONDS, permitted_calls_in_half_open=1
        )
        self.reads = CircuitBreaker("dynamodb:read", policy, clock=clock)
        self.writes = CircuitBreaker("dynamodb:write", policy, clock=clock)
        self.failing: Callable[[], bool] = lambda: False
        self.completed = 0
        self.cancelled = 0

    def may_be_read(self) -> bool:
        return self.reads.state is State.CLOSED

    async def query(self, **parameters: Any) -> dict[str, Any]:
        return await self.reads.call(self._answer, {"Items": []})

    async def update_item(self, **parameters: Any) -> dict[str, Any]:
        # What is asked for is there already: nothing is wanted of the row any more.
        return await self.writes.call(self._answer, {"Attributes": parameters["Key"]})

    async def _answer(self, answer: dict[str, Any]) -> dict[str, Any]:
        try:
            for _ in range(TURNS):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failing():
            raise DependencyUnavailable("dynamodb", "Query", reason="connection")
        self.completed += 1
        return answer


@pytest.fixture()
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture()
def table(clock: ManualClock) -> Table:
    return Table(clock)


@pytest.fixture()
def repository(table: Table) -> DynamoDBProgressRepository:
    return DynamoDBProgressRepository(cast(DynamoDB, table), table="Progress")


async def test_readers_of_one_course_alone_close_the_circuit(
    table: Table, repository: DynamoDBProgressRepository, clock: ManualClock
) -> None:
    table.failing = lambda: True
    with pytest.raises((DependencyUnavailable, CircuitOpenError)):
        await repository.read("user", "course")
    assert not table.may_be_read()
    table.failing = lambda: False
    clock.advance(OPEN_SECONDS)
    # The trial is one of its two calls; the other is rejected, and so is the reader, this once.
    with pytest.raises(CircuitOpenError):
        await repository.read("user", "course")
    assert (table.completed, table.cancelled) == (1, 0)
    assert table.may_be_read()
    assert await repository.read("user", "course") is None


async def test_a_reader_who_goes_takes_its_calls_along(
    table: Table, repository: DynamoDBProgressRepository
) -> None:
    reading = asyncio.create_task(repository.read("user", "course"))
    for _ in range(TURNS // 2):
        await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (table.completed, table.cancelled) == (0, 2)


async def test_a_writer_whose_reading_is_rejected_has_written_nothing(
    table: Table, repository: DynamoDBProgressRepository
) -> None:
    table.reads.force_open()
    update = ProgressUpdate(NOW, "phone", items=(ItemUpdate("a", NOW, completed=True),))
    with pytest.raises(CircuitOpenError):
        await repository.record("user", "course", update, outline=None, at=NOW)
    assert table.completed == 0
