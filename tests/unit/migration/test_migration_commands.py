"""What an operator meets: refusals with every reason, planted differences, pause, cancel, the log."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest

from deploy.migration._context import Context, Settings
from deploy.migration._control import RUNNING, SOURCE, TARGET, Control
from deploy.migration._copy import Pace
from deploy.migration._items import MARK, Item, Mark, Order, live, marked, padded
from deploy.migration._ports import Equal, Missing, Page
from deploy.migration._sweep import is_tombstone
from deploy.migration._verify import Difference, Verifier
from deploy.migration.commands import AbortedError, BadInputError, Migration, RefusedError
from deploy.migration.gate import Gate
from deploy.migration.mapping import Cell
from deploy.migration.worker import Worker
from tests.unit.migration.simulator.clients import SimulatedDatabase, World
from tests.unit.migration.simulator.library import BOOKS, CONTROL, MAPPING, MONOLITH, SHELVES
from tests.unit.migration.simulator.machine import SETTINGS
from tests.unit.migration.simulator.virtual_time import run


class Platform:
    """Tables without traps, one worker, and whoever else a test makes."""

    def __init__(self, *, view: str = "NEW_AND_OLD_IMAGES", stream: bool = True) -> None:
        self.world = World(1)
        self.names = 0
        self.monolith = self.world.create(MONOLITH, view=view)
        self.books = self.world.create(BOOKS.table, stream=stream)
        self.shelves = self.world.create(SHELVES.table)
        self.world.create(CONTROL, stream=False)
        self.tasks: list[asyncio.Task[None]] = []

    def context(self, settings: Settings = SETTINGS) -> Context:
        self.names += 1
        loop = asyncio.get_running_loop()
        return Context(
            f"p{self.names}", MAPPING, SimulatedDatabase(self.world, reliable=True), CONTROL,
            loop.time, loop.time, asyncio.sleep, random.Random(self.names), settings,
        )  # fmt: skip

    def migration(self) -> Migration:
        return Migration(self.context())

    def work(self) -> Worker:
        worker = Worker(self.context())
        self.tasks.append(asyncio.get_running_loop().create_task(worker.run()))
        return worker

    async def running(self) -> Migration:
        migration = self.migration()
        await migration.start()
        self.work()
        await migration.copied()
        return migration


def book(name: str, title: str = "t", **more: str) -> Item:
    values = {"pk": f"BOOK#{name}", "sk": "META", "kind": "book", "name": title, **more}
    return {attribute: {"S": value} for attribute, value in values.items()}


def cell(name: str) -> Cell:
    return Cell("Books", name, None)


def played(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """The test in virtual time."""

    @wraps(test)
    def in_virtual_time(**fixtures: object) -> None:
        async def main() -> None:
            await test(**fixtures)

        run(main())

    return in_virtual_time


@played
async def test_everything_that_forbids_a_start_is_named_at_once() -> None:
    platform = Platform(view="NEW_IMAGE", stream=False)
    native = {"bookId": {"S": "x"}}
    platform.books.write(cell("x"), native)
    unknown: Item = {"pk": {"S": "PEN#1"}, "sk": {"S": "META"}}
    platform.monolith.write(MONOLITH.cell(unknown), unknown)
    with pytest.raises(RefusedError) as refused:
        await platform.migration().start()
    assert refused.value.reasons == (
        "Monolith: its stream must be NEW_AND_OLD_IMAGES, and is NEW_IMAGE: aws dynamodb update-table"
        " --table-name Monolith --stream-specification StreamEnabled=false, then aws dynamodb"
        " update-table --table-name Monolith --stream-specification"
        " StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES",
        "Books: its stream must be NEW_AND_OLD_IMAGES, and is off: aws dynamodb update-table"
        " --table-name Books --stream-specification"
        " StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES",
        "Books is not empty: Books x is somebody's (empty the table, or say in the mapping that it"
        " stays)",
        "Monolith PEN#1 / META: no rule is for it",
    )
    assert platform.world.tables["Control"].items == {}


@played
async def test_planted_differences_are_all_found_and_repaired() -> None:
    platform = Platform()
    for name in "abcdef":
        platform.monolith.write(MONOLITH.cell(book(name)), book(name))
    migration = await platform.running()
    assert (await migration.verify("books")).is_clean
    mark = platform.books.items[cell("a")][MARK]
    planted = {
        "missing": (cell("a"), None),
        "stale": (cell("b"), {**platform.books.items[cell("b")], "title": {"S": "old"}}),
        "another type": (cell("c"), {**platform.books.items[cell("c")], "title": {"N": "1"}}),
        "resurrected": (cell("g"), {"bookId": {"S": "g"}, "title": {"S": "x"}, MARK: mark}),
    }
    stream, platform.books.stream = platform.books.stream, None
    for where, item in planted.values():
        platform.books.write(where, item)
    platform.books.stream = stream
    found = await migration.verify("books")
    assert sorted(map(str, found.differences)) == [
        "Books a: missing", "Books b: differs: title", "Books c: differs: title", "Books g: extra",
    ]  # fmt: skip
    assert not found.moving
    with pytest.raises(RefusedError, match="was not verified, or differed"):
        await migration.switch("books")
    assert (await migration.verify("books", repair=True)).is_clean
    await migration.switch("books")


@played
async def test_what_lag_explains_is_no_difference() -> None:
    platform = Platform()
    migration = await platform.running()

    async def write() -> None:
        for number in range(400):
            name = "abcdefgh"[number % 8]
            item = None if number % 5 == 0 else book(name, str(number % 3))
            platform.monolith.write(MONOLITH.cell(book(name)), item)
            await asyncio.sleep(0.02)

    writing = asyncio.get_running_loop().create_task(write())
    for _ in range(3):
        assert (await migration.verify("books")).differences == ()
    await writing


@played
async def test_behind_the_fence_only_what_was_touched_of_late_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform = Platform()
    for number in range(200):
        platform.monolith.write(MONOLITH.cell(book(f"b{number}")), book(f"b{number}"))
    migration = await platform.running()
    await migration.verify("books")
    gate = Gate(platform.context())
    compared: list[int] = []
    compare, scan = Verifier.compare_moving, SimulatedDatabase.scan

    async def counted(self: Verifier, standing: Any, *rest: Any) -> list[Difference]:
        compared.append(len(standing))
        return await compare(self, standing, *rest)

    async def watched(self: SimulatedDatabase, *arguments: Any, **named: Any) -> Page:
        _, module = await migration.control.module("books")
        assert not module.fence, "a table is read whole while users wait"
        return await scan(self, *arguments, **named)

    monkeypatch.setattr(Verifier, "compare_moving", counted)
    monkeypatch.setattr(SimulatedDatabase, "scan", watched)
    switched = False

    async def use() -> None:
        number = 0
        while not switched:
            number += 1
            name = f"b{number % 200}"
            async with gate.enter("books") as owner:
                if owner == SOURCE:
                    item = None if number % 3 == 0 else book(name, str(number))
                    platform.monolith.write(MONOLITH.cell(book(name)), item)
            await asyncio.sleep(0.03)

    using = asyncio.get_running_loop().create_task(use())
    await asyncio.sleep(5)
    await migration.switch("books")
    switched = True
    await using
    assert len(compared) >= 2
    assert compared == sorted(compared, reverse=True)  # each leaves less
    assert not any(is_tombstone(item) for item in platform.books.items.values())
    assert await migration.control.rows("quarantine#") == []


@pytest.mark.parametrize(("touched", "rounds"), [(10, []), (40, [40])])
def test_what_was_touched_once_is_not_compared_while_users_wait(
    monkeypatch: pytest.MonkeyPatch, touched: int, rounds: list[int]
) -> None:
    compared: list[int] = []
    behind: list[int] = []
    compare, compare_moving = Verifier.compare, Verifier.compare_moving

    async def frozen(self: Verifier, standing: Any) -> list[Difference]:
        behind.append(len(standing))
        return await compare(self, standing)

    async def moving(self: Verifier, standing: Any, *rest: Any) -> list[Difference]:
        compared.append(len(standing))
        return await compare_moving(self, standing, *rest)

    monkeypatch.setattr(Verifier, "compare", frozen)
    monkeypatch.setattr(Verifier, "compare_moving", moving)

    async def main() -> None:
        platform = Platform()
        await platform.running()
        migration = Migration(platform.context(replace(SETTINGS, touched_to_switch=100)))
        await migration.verify("books")
        for number in range(touched):
            platform.monolith.write(MONOLITH.cell(book(f"b{number}")), book(f"b{number}"))
        await asyncio.sleep(5)
        await migration.switch("books")

    run(main())
    assert compared == rounds
    assert behind == [0 if rounds else touched]


@played
async def test_who_writes_behind_the_fence_ends_it() -> None:
    """A request that the application gave up is carried out when everything has been compared and the
    owner is about to change. It counts: the owner stays, and replication has it."""
    platform = Platform()
    migration = await platform.running()
    await migration.verify("books")
    audit = migration.control.audit

    async def met_by_a_late_write(event: str, **details: object) -> None:
        await audit(event, **details)
        if event == "flip":
            platform.monolith.write(MONOLITH.cell(book("a")), book("a", "late"))
            await asyncio.sleep(2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migration.control, "audit", met_by_a_late_write)
        with pytest.raises(AbortedError, match="somebody has written behind it"):
            await migration.switch("books")
    events = [(entry["event"], entry["details"]) for entry in await migration.control.audit_log()]
    (why,) = (details for event, details in events if event == "fence ended by a late write")
    assert json.loads(why) == {"module": "books", "key": "Monolith BOOK#a / META"}
    view = await migration.control.view()
    assert view is not None
    module = view.modules["books"]
    assert (module.owner, module.fence, module.phase) == (SOURCE, "", RUNNING)
    assert live(platform.books.items[cell("a")]) == MAPPING.rows(book("a", "late"))[cell("a")]
    assert await migration.control.rows("quarantine#") == []
    assert (await migration.verify("books")).is_clean
    await migration.switch("books")
    assert live(platform.books.items[cell("a")]) == MAPPING.rows(book("a", "late"))[cell("a")]


@played
async def test_the_source_is_watched_after_a_switch() -> None:
    platform = Platform()
    migration = await platform.running()
    await migration.verify("books")
    await migration.switch("books")
    await migration.switch("books")  # again: nothing happens
    platform.monolith.write(MONOLITH.cell(book("a")), book("a"))
    await asyncio.sleep(5)
    (row,) = await migration.control.rows("quarantine#")
    assert row.values["why"] == (
        "was written in the source after books was switched: by a request that was given up and"
        " landed late, or by who asks no gate"
    )
    assert cell("a") not in platform.books.items
    await migration.verify("books")
    with pytest.raises(RefusedError, match="in quarantine: Monolith BOOK#a / META"):
        await migration.reverse("books")
    await migration.forgive(row.key)
    with pytest.raises(RefusedError, match="is not in quarantine"):
        await migration.forgive(row.key)
    assert (await migration.verify("books", repair=True)).is_clean
    await migration.reverse("books")
    assert MAPPING.rows(live(platform.monolith.items.get(MONOLITH.cell(book("a"))))) == {}
    assert (await migration.progress()).modules[0].owner == SOURCE


@played
async def test_after_completion_there_is_no_way_back() -> None:
    platform = Platform()
    migration = await platform.running()
    with pytest.raises(RefusedError, match="books is not switched"):
        await migration.complete("books")
    await migration.verify("books")
    await migration.switch("books")
    with pytest.raises(RefusedError, match="books is switched: reverse it first"):
        await migration.cancel()
    assert list((await migration.progress()).lags) == ["Monolith", "Books", "Shelves"]
    await migration.complete("books")
    await migration.complete("books")
    # Nobody reads the way back, so that it is not behind either.
    assert list((await migration.progress()).lags) == ["Monolith", "Shelves"]
    with pytest.raises(RefusedError, match="there is no way back"):
        await migration.reverse("books")


@played
async def test_a_cancelled_migration_leaves_nothing_behind() -> None:
    platform = Platform()
    platform.monolith.write(MONOLITH.cell(book("a")), book("a"))
    migration = await platform.running()
    platform.monolith.write(MONOLITH.cell(book("a")), None)
    await migration.verify("books")
    stays = {"bookId": {"S": "native"}}
    platform.books.write(cell("native"), stays)
    await migration.cancel()
    assert platform.books.items == {cell("native"): stays}
    assert platform.monolith.items == {}
    await asyncio.wait(platform.tasks)


@played
async def test_a_paused_copy_waits_and_replication_goes_on() -> None:
    platform = Platform()
    for number in range(30):
        platform.monolith.write(MONOLITH.cell(book(f"b{number}")), book(f"b{number}"))
    stream = platform.monolith.stream
    assert stream is not None
    migration = platform.migration()
    await migration.start()
    await migration.pause()
    for shard in stream.open_shards():
        shard.records.clear()  # they are from before the stream
    platform.work()
    await asyncio.sleep(5)
    platform.monolith.write(MONOLITH.cell(book("new")), book("new"))
    await asyncio.sleep(5)
    progress = await migration.progress()
    assert (progress.phase, progress.items, progress.waits) == ("PAUSED", 0, ("paused",))
    assert platform.books.items.keys() == {cell("new")}
    await migration.pause(paused=False)
    await migration.copied()
    assert len(platform.books.items) == 31


@played
async def test_two_operators_do_not_work_at_once() -> None:
    platform = Platform()
    first, second = platform.migration(), platform.migration()
    await first.start()
    async with first._operator("verify books"):
        with pytest.raises(
            RefusedError, match="p1 is at work with `verify books` since 1970-01-01"
        ):
            await second.resync()


@played
async def test_a_worker_that_is_stopped_gives_its_work_back() -> None:
    platform = Platform()
    migration = platform.migration()
    await migration.start()
    worker = platform.work()
    await migration.copied()
    worker.stop()
    await asyncio.wait(platform.tasks)
    assert {row.values["owner"] for row in await migration.control.rows("work#1#stream#")} == {""}
    assert await migration.control.disturbances() == 0


@played
async def test_an_item_that_no_rule_is_for_is_quarantined_and_nowhere() -> None:
    platform = Platform()
    platform.monolith.write(MONOLITH.cell(book("a")), book("a"))
    migration = await platform.running()
    platform.monolith.write(MONOLITH.cell(book("a")), {**book("a"), "kind": {"S": "odd"}})
    await asyncio.sleep(3)
    (row,) = await migration.control.rows("quarantine#")
    assert row.values["why"] == "Monolith BOOK#a / META: no rule is for it"
    assert (await migration.verify("books")).is_clean  # it is nowhere, and known not to be


@played
async def test_the_log_shows_that_it_was_changed() -> None:
    platform = Platform()
    migration = await platform.running()
    log = await migration.control.audit_log()
    assert [entry["event"] for entry in log] == ["start", "copied"]
    row = await migration.control.read("audit#0000000000")
    assert row is not None
    await migration.control.write(row.key, {**row.values, "event": "stop"}, row)
    with pytest.raises(ValueError, match="changed at entry 0"):
        await migration.control.audit_log()


@played
async def test_a_fence_whose_operator_is_gone_is_ended_by_the_application() -> None:
    platform = Platform()
    migration = await platform.running()
    await migration.verify("books")
    context = platform.context()
    gate = Gate(context)
    async with gate.enter("books") as owner:
        assert owner == SOURCE
    fenced = await migration._fence("books", "DRAINING")
    await asyncio.sleep(SETTINGS.gate_lease)
    began = context.clock()
    async with gate.enter("books") as owner:
        assert owner == SOURCE
    assert context.clock() - began >= SETTINGS.fence
    # The operator was only slow: its flip is refused.
    with pytest.raises(Exception, match="state#module#books"):
        await migration._flip(fenced, TARGET)
    with pytest.raises(TimeoutError):
        async with gate.enter("books"):
            await asyncio.sleep(SETTINGS.longest_request + 1)


@played
async def test_a_shards_beginning_that_was_left_unread_is_a_lost_position() -> None:
    platform = Platform()
    migration = platform.migration()
    await migration.start()
    worker = platform.work()
    await migration.copied()
    worker.stop()
    await asyncio.wait(platform.tasks)
    # No record was ever read: the iterator would begin at whatever is the oldest by then.
    platform.monolith.write(MONOLITH.cell(book("a")), book("a"))
    await asyncio.sleep(25 * 3600)
    platform.work()
    await asyncio.sleep(5)
    progress = await migration.progress()
    assert progress.phase == "POSITION_LOST"
    lost = "the position in the stream is lost: .* was not read for 25 hours; `resync` copies again"
    for command in (migration.copied(), migration.verify("books"), migration.switch("books")):
        with pytest.raises(BadInputError, match=lost):
            await command
    await migration.resync()
    await migration.copied()
    assert cell("a") in platform.books.items


@played
async def test_the_copy_waits_for_replication_and_for_capacity() -> None:
    platform = Platform()
    migration = await platform.running()
    view = await migration.control.view()
    assert view is not None
    context = platform.context(replace(SETTINGS, units_per_second=10.0, max_lag=60.0))
    pace = Pace(context)
    assert pace.wait(view) == (0.0, "")
    pace.spent("Monolith", 20)
    seconds, reason = pace.wait(view)
    assert round(seconds, 3) == 2.0
    assert reason == "10 read units a second of Monolith are taken"
    # Of the targets each has its own; what `throttle` said counts, shared with another worker.
    pace.follow(replace(view.run, write_units=4.0), 2)
    pace.spent("Books", 10)
    pace.spent("Shelves", 2)
    seconds, reason = pace.wait(view)
    assert (round(seconds, 3), reason) == (5.0, "4 write units a second of Books are taken")
    pace.refused("Shelves")
    assert pace.wait(view)[1] == "Shelves refuses calls (throttled)"
    pace.lag = 61
    assert pace.wait(view) == (1.0, "replication is more than 60 s behind")
    slack = replace(view, run=replace(view.run, max_lag=120.0))
    assert pace.wait(slack)[1] == "Shelves refuses calls (throttled)"
    paused = replace(view, run=replace(view.run, paused=True))
    assert pace.wait(paused) == (1.0, "paused")


@played
async def test_a_row_of_the_control_table_has_one_writer_at_a_time() -> None:
    platform = Platform()
    control = Control(platform.context())

    async def count() -> None:
        for _ in range(20):
            await control.update("n", lambda values: {"n": (values or {"n": 0})["n"] + 1})

    await asyncio.gather(*(count() for _ in range(5)))
    row = await control.read("n")
    assert row is not None
    assert row.values["n"] == 100


def test_marks_are_compared_as_dynamodb_would() -> None:
    order = Order(2, padded("7"))
    assert Order(1, padded("9")) < order < Order(2, padded("10"))
    item = marked({"bookId": {"S": "a"}}, Mark(order))
    assert Equal((MARK,), item[MARK]) == Equal((MARK,), Mark(order).value())
    assert Missing(("x",)) != Missing(("y",))
