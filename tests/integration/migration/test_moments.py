"""Moments that a live split has to stand, made on real databases rather than waited for.

Between two calls of a worker somebody else acts: where that is left to chance, a mistake is seen once
in many hours. Here a call is held at the moment, and what comes in between is written in the test.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest

from deploy.migration._context import Context, Settings
from deploy.migration._control import QUARANTINE, SOURCE, TARGET
from deploy.migration._items import MARK, Item, live, mark_of
from deploy.migration.commands import AbortedError, Migration, RefusedError
from deploy.migration.mapping import Cell, Table
from deploy.migration.mappings.lyceum import PROGRESS
from deploy.migration.worker import Worker
from tests.backends import Backend
from tests.integration.migration.held_requests import way_to
from tests.integration.migration.history import Key
from tests.integration.migration.live_application import rows_of, source_item
from tests.integration.migration.live_stage import Stage, rows_in, staged
from tests.unit.migration.simulator.broken import BROKEN

MODULE = PROGRESS.module
SETTINGS = Settings(
    segments=1, page=20, scan_page=20, batch=20, poll=0.1, look=0.2, discover=2.0, lease=10.0, settle=0.3,
    gate_lease=0.2, longest_request=0.3, fence=20.0, max_lag_to_switch=10.0, units_per_second=1e6,
)  # fmt: skip
LONG = 30.0
"""For what comes within a second where nobody else computes."""
FIRST, SECOND = (MODULE, 0), (MODULE, 1)


@asynccontextmanager
async def worked(context: Context) -> AsyncIterator[None]:
    """A worker in this process."""
    worker = Worker(context)
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    ends = time.monotonic() + LONG
    while not await what():
        assert time.monotonic() < ends
        await asyncio.sleep(SETTINGS.poll)


def source_cell(stage: Stage, key: Key) -> Cell:
    return stage.split.source.cell(source_item(stage.split, key, ""))


async def in_source(stage: Stage, key: Key) -> Item | None:
    return await stage.operator.database.get(stage.split.source, source_cell(stage, key))


async def in_target(stage: Stage, key: Key) -> dict[Cell, Item]:
    found = await rows_in(stage.operator, stage.split.target(MODULE).table)
    return {cell: row for cell, row in found.items() if cell in rows_of(stage.split, key, "any")}


async def put(stage: Stage, key: Key, value: str | None, owner: str = SOURCE) -> None:
    """As the application does that owns the module."""
    await stage.application.write(owner, key, value)


async def has(stage: Stage, key: Key, value: str | None) -> bool:
    """Whether the target has this and nothing else of it."""
    return await in_target(stage, key) == rows_of(stage.split, key, value)


@pytest.fixture(params=["ministack", "moto"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found = request.getfixturevalue(f"{request.param}_backend")
    assert isinstance(found, Backend)
    return found


@pytest.mark.parametrize("is_naive", [True, False], ids=["without I3", "the engine"])
async def test_what_is_written_between_scan_and_put(
    backend: Backend, is_naive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy has read a page; an item of it is written over and one is deleted, and replication has
    done its part. A copy that overwrites makes the one stale and the other rise again."""
    if is_naive:
        BROKEN["backfill overwrites"](monkeypatch)
    async with staged(backend, 1, SETTINGS, keys=3) as stage:
        await put(stage, FIRST, "before")
        await put(stage, SECOND, "before")
        context = stage.context("worker")
        scan = context.database.scan
        met = 0

        async def met_by_writes(table: Table, **options: Any) -> Any:
            nonlocal met
            page = await scan(table, **options)
            cells = {table.cell(item) for item in page.items}
            if not met and {source_cell(stage, FIRST), source_cell(stage, SECOND)} <= cells:
                met += 1
                await put(stage, FIRST, "after")
                await put(stage, SECOND, None)

                async def replicated() -> bool:
                    return await has(stage, FIRST, "after") and await has(stage, SECOND, None)

                # The deletion leaves nothing to wait for but its tombstone.
                target = stage.split.target(MODULE).table
                head = next(iter(rows_of(stage.split, SECOND, "any")))

                async def has_tombstone() -> bool:
                    stands = await stage.operator.database.get(target, head)
                    return stands is not None and live(stands) is None

                await until(replicated)
                await until(has_tombstone)
            return page

        monkeypatch.setattr(context.database, "scan", met_by_writes)
        await stage.migration.start()
        async with worked(context):
            await stage.migration.copied()
        assert met == 1
        stale, resurrected = (
            await has(stage, FIRST, "before"),
            await has(stage, SECOND, "before"),
        )
        assert (stale, resurrected) == (is_naive, is_naive)
        assert is_naive or (await has(stage, FIRST, "after") and await has(stage, SECOND, None))


async def test_what_comes_again_while_its_tombstone_goes(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is the owner. The application has deleted, so a tombstone stands in the source; it
    writes anew, and the way back has read the tombstone when the switch back removes it."""
    async with staged(backend, 2, SETTINGS, keys=3) as stage:
        await put(stage, FIRST, "before")
        migration = stage.migration
        await migration.start()
        context = stage.context("worker")
        write = context.database.put
        is_meeting = is_removed = False
        met = asyncio.Event()

        async def met_by_removal(table: Table, item: Item, condition: Any = None) -> float:
            nonlocal is_meeting
            if is_meeting and table.cell(item) == source_cell(stage, FIRST):
                is_meeting = False
                met.set()
                await until(removed)
            return await write(table, item, condition)

        async def removed() -> bool:
            return is_removed or await in_source(stage, FIRST) is None

        async with worked(context):
            await migration.copied()
            await migration.verify(MODULE)
            await migration.switch(MODULE)
            await put(stage, FIRST, None, TARGET)
            await until(lambda: _stands_tombstone(stage, FIRST))
            await migration.verify(MODULE)
            monkeypatch.setattr(context.database, "put", met_by_removal)
            # What the sweep of a switch back removes has been seen some time ago, as where there are
            # many: in between the application writes, and replication is about to.
            remove = stage.operator.database.delete

            async def after_the_write(table: Table, cell: Cell, condition: Any = None) -> None:
                nonlocal is_meeting
                if table == stage.split.source and cell == source_cell(stage, FIRST):
                    is_meeting = True
                    await put(stage, FIRST, "again", TARGET)
                    await asyncio.wait_for(met.wait(), LONG)
                await remove(table, cell, condition)

            monkeypatch.setattr(stage.operator.database, "delete", after_the_write)
            with suppress(RefusedError, AbortedError):
                await migration.reverse(MODULE)
            assert met.is_set()
            monkeypatch.undo()
            found = await migration.verify(MODULE)
            assert [str(difference) for difference in found.differences] == []
            await migration.reverse(MODULE)
            item = live(await in_source(stage, FIRST))
            assert item is not None
            assert item["title"] == {"S": "again"}


async def _stands_tombstone(stage: Stage, key: Key) -> bool:
    mark = mark_of(await in_source(stage, key))
    return mark is not None and mark.tombstone


async def test_a_deletion_that_was_given_up_lands_after_the_switch(moto_backend: Backend) -> None:
    """The application has given a request up that the network still holds. It lands in a store that
    is no longer the owner: users see nothing of it, the operator is told, and it is put right."""
    async with (
        way_to(moto_backend) as (way, at_its_beginning),
        staged(moto_backend, 3, SETTINGS, keys=3, of_application=at_its_beginning) as stage,
        worked(stage.context("worker")),
    ):
        migration: Migration = stage.migration
        await put(stage, FIRST, "kept")
        await migration.start()
        await migration.copied()
        assert (await migration.verify(MODULE)).is_clean
        way.hold("DeleteItem", source_cell(stage, FIRST).partition)
        delete = partial(stage.application.write, key=FIRST, value=None)
        given_up = asyncio.create_task(_request(stage, delete))
        await asyncio.wait_for(way.is_holding.wait(), LONG)
        assert not await given_up
        await migration.switch(MODULE)
        way.let_go()
        await asyncio.wait_for(way.has_landed.wait(), LONG)
        assert await in_source(stage, FIRST) is None

        async def is_told() -> bool:
            return bool(await migration.control.rows(QUARANTINE))

        await until(is_told)
        (told,) = await migration.control.rows(QUARANTINE)
        assert told.key == f"{QUARANTINE}{source_cell(stage, FIRST)}"
        assert "after progress_tracking was switched" in told.values["why"]
        # What users have is as it was; the follower is not as the owner is.
        assert await has(stage, FIRST, "kept")
        found = await migration.verify(MODULE)
        assert {difference.kind for difference in found.differences} == {"extra"}
        assert {difference.cell for difference in found.differences} == set(
            rows_of(stage.split, FIRST, "kept")
        )
        with pytest.raises(RefusedError, match="in quarantine"):
            await migration.reverse(MODULE)
        assert (await migration.verify(MODULE, repair=True)).is_clean
        await migration.forgive(told.key)
        await migration.reverse(MODULE)
        item = await in_source(stage, FIRST)
        assert item is not None
        assert item["title"] == {"S": "kept"}
        assert MARK in item


async def _request(stage: Stage, act: Callable[[str], Awaitable[bool]]) -> bool:
    """One request of the application, made once."""
    try:
        async with stage.application.gate.enter(MODULE) as owner:
            return await act(owner)
    except TimeoutError:
        return False
