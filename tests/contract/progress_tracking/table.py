"""The service's own client and table on an emulator, and a client that counts or breaks calls."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from libs.aws import AwsSettings, DependencyUnavailable, DynamoDB, open_clients
from libs.resilience import PipelineRegistry
from libs.tracing import SamplingRules, create_tracer
from tests.backends import Backend, create_table

TABLE_JSON = Path("services/progress_tracking/table.json")


@asynccontextmanager
async def dynamodb_on(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, settings: AwsSettings | None = None
) -> AsyncIterator[DynamoDB]:
    """The client as the service opens it, led to the backend by the SDK's own variables."""
    for name, value in backend.variables.items():
        monkeypatch.setenv(name, value)
    tracer = create_tracer(
        service="progress_tracking",
        version="0.0.0",
        daemon_address=None,
        rules=SamplingRules(default_rate=0.0),
        random=random.Random(0),
    )
    async with open_clients(
        settings or backend.settings(), registry=PipelineRegistry(), tracer=tracer
    ) as clients:
        yield clients.dynamodb


async def new_table(backend: Backend) -> str:
    """An empty table of this service under a name of its own."""
    return await create_table(backend, TABLE_JSON, f"Progress-{uuid4().hex}")


class ObservedDynamoDB(DynamoDB):
    """A client that keeps every request and the capacity that the backend says it took.

    `fail_write` n makes the n-th write (counted from 1) fail: before it reaches the backend, or,
    with `fail_after`, once the backend has done it and only the answer is lost.
    `rows_per_query` ends every page of a Query early, as a megabyte would.
    `hold_writes_until` makes concurrent callers meet in the worst way there is.
    """

    def __init__(self, inner: DynamoDB) -> None:
        self.inner = inner
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.capacity: list[float] = []
        self.written_capacity: list[float] = []
        self.fail_write: int | None = None
        self.fail_after = False
        self.rows_per_query: int | None = None
        self._queries = 0
        self._awaited_queries = 0
        self._may_write = asyncio.Event()
        self._may_write.set()
        self.write_held = asyncio.Event()

    @property
    def writes(self) -> list[dict[str, Any]]:
        """The parameters of every write so far."""
        return [params for name, params in self.calls if name in ("update_item", "put_item")]

    def hold_writes_until(self, queries: int) -> None:
        """Let no write through before so many queries have been answered: whoever is about to
        write has then read what none of the others has changed yet."""
        self._awaited_queries = self._queries + queries
        self._may_write.clear()

    def hold_writes(self) -> None:
        """Let no write through before `release_writes`; `write_held` is set when one waits."""
        self.hold_writes_until(1_000_000)

    def release_writes(self) -> None:
        """Let the held writes, and all later ones, through."""
        self._awaited_queries = 0
        self._may_write.set()

    def reset(self) -> None:
        """Forget the calls so far."""
        self.calls.clear()
        self.capacity.clear()
        self.written_capacity.clear()

    async def query(self, **params: Any) -> dict[str, Any]:
        if self.rows_per_query is not None:
            params["Limit"] = min(self.rows_per_query, params.get("Limit", self.rows_per_query))
        answer = await self._call("query", params)
        self._queries += 1
        if self._queries >= self._awaited_queries:
            self._may_write.set()
        return answer

    async def batch_get_item(self, **params: Any) -> dict[str, Any]:
        return await self._call("batch_get_item", params)

    async def put_item(self, **params: Any) -> dict[str, Any]:
        return await self._observed_write("put_item", params)

    async def update_item(self, **params: Any) -> dict[str, Any]:
        return await self._observed_write("update_item", params)

    async def _observed_write(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        if not self._may_write.is_set():
            self.write_held.set()
        await self._may_write.wait()
        failing = self.fail_write is not None and len(self.writes) + 1 == self.fail_write
        if failing and not self.fail_after:
            self.calls.append((name, params))
            raise DependencyUnavailable("dynamodb", name, reason="connection")
        answer = await self._call(name, params)
        if failing:
            raise DependencyUnavailable("dynamodb", name, reason="timeout")
        return answer

    async def _call(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((name, params))
        function = getattr(self.inner, name)
        answer: dict[str, Any] = await function(**params, ReturnConsumedCapacity="TOTAL")
        consumed = answer.get("ConsumedCapacity")
        for entry in consumed if isinstance(consumed, list) else [consumed]:
            if entry:
                self.capacity.append(float(entry["CapacityUnits"]))
                if name in ("update_item", "put_item"):
                    self.written_capacity.append(self.capacity[-1])
        return answer
