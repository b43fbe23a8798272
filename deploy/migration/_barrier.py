"""Barriers: knowing that everything written to a table so far was applied.

A sentinel is an item of the migration's own whose record carries a number. A shard whose durable
checkpoint is past a sentinel is past everything that was written before it. Which shard a key's
records go to is not known, so keys are tried until every shard has one; a shard at its end needs
none, but its child does, which the list of shards may show a little later.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from deploy.migration._context import Context
from deploy.migration._control import POSITION_LOST, Control, View
from deploy.migration._items import Item
from deploy.migration._ports import AnyOf, Condition, ConditionFailed, Less, Missing
from deploy.migration._shards import Stream
from deploy.migration.mapping import RESERVED, Cell, Table

SLOTS: Final = 256
"""Keys that sentinels have: after a crash no more than these are left."""


class BarrierError(Exception):
    """The barrier will never be passed; the message says why."""


async def next_number(control: Control) -> int:
    """A number for a barrier, greater than all before it."""
    row = await control.update("barrier", lambda values: {"n": (values or {"n": 0})["n"] + 1})
    assert row is not None
    return int(row.values["n"])


async def barrier(
    context: Context, control: Control, stream: Stream, number: int | None = None
) -> None:
    """Return once everything that was written to the stream's table before the call is applied,
    and every checkpoint is past it. `number` is of `next_number`, where it is to be known before.

    Raises BarrierError when the position in the stream is lost. Needs a running worker.
    """
    if number is None:
        number = await next_number(control)
    attempt = 0
    while True:
        _check(context, await control.view(), stream)
        waiting = await stream.behind(number)
        if not waiting:
            return
        for _ in range(min(2 * waiting, 16)):
            attempt += 1
            await _write(context, stream.table, number, attempt)
        await context.sleep(context.settings.poll)


async def remove_sentinels(context: Context, table: Table) -> None:
    """Leave nothing of any barrier in a table."""
    for slot in range(SLOTS):
        await context.patience.answer(partial(context.database.delete, table, _cell(table, slot)))


async def _write(context: Context, table: Table, number: int, attempt: int) -> None:
    slot = context.chance.randrange(SLOTS)
    cell = _cell(table, slot)
    item: Item = {
        **table.key(cell),
        "barrier": {"N": str(number)},
        # The same item again would be no change, and so no record.
        "attempt": {"S": f"{context.name}/{attempt}"},
    }
    # A late one of an earlier barrier must not stand in the way of a later one.
    older: Condition = AnyOf(
        (Missing((table.partition,)), Less(("barrier",), {"N": str(number + 1)}))
    )
    await context.patience.answer(partial(_put, context, table, item, older))


async def _put(context: Context, table: Table, item: Item, condition: Condition) -> None:
    try:
        await context.database.put(table, item, condition)
    except ConditionFailed:
        return


def _cell(table: Table, slot: int) -> Cell:
    sort = None if table.sort is None else "sentinel"
    return Cell(table.name, f"{RESERVED}{slot}", sort)


def _check(context: Context, view: View | None, stream: Stream) -> None:
    if view is None:
        raise BarrierError("the migration was not started")
    source = stream.table.name == context.mapping.source.name
    if source and view.run.phase == POSITION_LOST:
        raise BarrierError(f"the position is lost: {view.run.lost}")
    if source and view.run.epoch != stream.epoch:
        raise BarrierError("a resync has begun")
    for target in context.mapping.targets:
        if target.table.name == stream.table.name and view.modules[target.module].lost:
            raise BarrierError(f"the position in the stream of {target.table.name} is lost")
