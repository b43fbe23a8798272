"""The removal of tombstones (I5), of what an earlier epoch left, and of all that a cancelled
migration wrote.

A tombstone may go when no older write can come any more: the backfill has drained, every checkpoint
is past the tombstone (a barrier that began after it was seen), and no request can be on its way that
nobody waits for (quiet). It is removed on the condition that it still is what was seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from deploy.migration._barrier import barrier
from deploy.migration._cells import Cells, as_it_was
from deploy.migration._context import Context, Tell, silent
from deploy.migration._control import Control, Quiet
from deploy.migration._copy import Pace
from deploy.migration._forward import together
from deploy.migration._items import MARK, START, Item, Mark, Order, mark_of, write_units
from deploy.migration._ports import AllOf, AnyOf, Condition, Less, Missing, Present
from deploy.migration._shards import Stream
from deploy.migration.mapping import RESERVED, Cell, Origin, Table

_MOST_AT_ONCE = 10_000
_TOLD_EVERY = 100
"""Of the rows that are removed, each of which takes a call."""


class NotQuietError(Exception):
    """An answer was lost, or a worker vanished, a short time ago."""


async def pages(
    context: Context,
    table: Table,
    tell: Callable[[int], None] = lambda _: None,
    pace: Pace | None = None,
) -> AsyncIterator[list[Item]]:
    """Every item of a table, but the migration's own, a page at a time. `tell` hears how many were
    read so far; with a pace it takes no more of the table than that allows."""
    start: Item | None = None
    count = 0
    while True:
        page = await context.patience.answer(
            partial(
                context.database.scan,
                table, segment=0, segments=1, start=start, limit=context.settings.scan_page,
            )
        )  # fmt: skip
        count += len(page.items)
        tell(count)
        if pace is not None:
            pace.spent(table.name, page.units)
        yield [item for item in page.items if not table.cell(item).partition.startswith(RESERVED)]
        start = page.next
        if start is None:
            return
        while pace is not None and (seconds := pace.due()[0]):
            await context.sleep(min(seconds, 1.0))


async def sweep(
    context: Context,
    control: Control,
    table: Table,
    feed: Stream,
    quiet: Quiet,
    *,
    only: Callable[[Cell], bool] = lambda _: True,
    tell: Tell = silent,
) -> int:
    """Remove the tombstones of a table that `feed` wrote, once it is quiet; gives how many there were.

    The backfill must have drained.
    """
    removed = 0
    while True:
        tell(f"removing tombstones from {table.name}", removed, 0)
        found: list[tuple[Cell, Item]] = []
        async for page in pages(context, table):
            tombstones = [(table.cell(item), item) for item in page if is_tombstone(item)]
            found += [(cell, item) for cell, item in tombstones if only(cell)]
            if len(found) >= _MOST_AT_ONCE:
                break
        removed += await remove_tombstones(context, control, table, found, feed, quiet, tell=tell)
        if len(found) < _MOST_AT_ONCE:
            # Where deletions go on there are always new ones; those are touched, and go when what
            # was touched is compared.
            return removed


async def remove_tombstones(
    context: Context,
    control: Control,
    table: Table,
    found: Sequence[tuple[Cell, Item]],
    feed: Stream,
    quiet: Quiet,
    *,
    wait: bool = True,
    tell: Tell = silent,
) -> int:
    """Remove tombstones that were just seen; gives how many went.

    The backfill must have drained. Without `wait` raises NotQuietError when it is not quiet now.
    """
    if not found:
        return 0
    await barrier(context, control, feed)
    if wait:
        await quiet.wait(tell)
    elif not await quiet.observe():
        raise NotQuietError("an answer was lost or a worker vanished a short time ago")
    cells = Cells(context, control)
    return sum([await cells.remove(table, cell, as_it_was(table, item)) for cell, item in found])


async def remove_rows(
    context: Context,
    control: Control,
    table: Table,
    pace: Pace,
    *,
    is_ours: Callable[[Item], bool],
    tell: Tell = silent,
) -> None:
    """Remove what a migration that is cancelled leaves in a target, as it was seen."""
    cells = Cells(context, control, meter=pace)
    at_once = context.settings.concurrency

    async def remove(item: Item) -> None:
        await cells.remove(table, table.cell(item), as_it_was(table, item))
        pace.spent(table.name, write_units(item))

    what = f"removing what was written in {table.name}"
    facts = await context.patience.answer(lambda: context.database.describe(table))
    done, total = 0, 0 if facts is None else facts.items
    async for page in pages(context, table, pace=pace):
        for start in range(0, len(page), _TOLD_EVERY):
            tell(what, done, max(done, total))
            part = page[start : start + _TOLD_EVERY]
            await together([remove(item) for item in part if is_ours(item)], at_once)
            done += len(part)


async def remove_marks(
    context: Context, control: Control, table: Table, pace: Pace, items: int, tell: Tell = silent
) -> None:
    """Remove the marks that the way back left in the source. The owner goes on writing: an item stays
    whatever the owner makes of it, and what the owner put has no mark."""
    cells = Cells(context, control, meter=pace)

    async def unmark(item: Item) -> None:
        if is_tombstone(item):
            await cells.remove(table, table.cell(item), as_it_was(table, item))
        else:
            await cells.unmark(table, item)

    what = f"removing marks from {table.name}"
    async for page in pages(
        context, table, lambda count: tell(what, count, max(count, items)), pace
    ):
        marked = [unmark(item) for item in page if MARK in item]
        await together(marked, context.settings.concurrency)


def is_tombstone(item: Item) -> bool:
    """Whether it is the migration's word that nothing stands there."""
    mark = mark_of(item)
    return mark is not None and mark.tombstone


async def end_old_epochs(
    context: Context,
    control: Control,
    table: Table,
    epoch: int,
    quiet: Quiet,
    *,
    adopt: bool,
    tell: Tell = silent,
) -> int:
    """After a resync's backfill: what is still of an earlier epoch has no item in the source any
    more, and becomes a tombstone. Gives how many did.

    `adopt`: also what has no mark, because this table was the owner before.
    """
    await quiet.wait(tell)
    cells = Cells(context, control)
    order = Order(epoch, START)
    older: list[Condition] = [Less((MARK, "e"), {"N": str(epoch)})]
    if adopt:
        older.append(AllOf((Present((table.partition,)), Missing((MARK,)))))
    ended = 0
    what = f"looking in {table.name} for what is of earlier epochs"
    async for page in pages(context, table, lambda count: tell(what, count, 0)):
        for item in page:
            cell = table.cell(item)
            mark = mark_of(item)
            is_old = adopt if mark is None else mark.order is not None and mark.order.epoch < epoch
            if is_old and isinstance(context.mapping.origin(cell), Origin):
                refused = await cells.put(table, cell, None, Mark(order), AnyOf(tuple(older)))
                ended += refused is None
    return ended
