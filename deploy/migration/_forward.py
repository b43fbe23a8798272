"""Forward: what a change of the source, or an item that the backfill read, writes in the targets.

Owns which cells are written with which order, whose changes count, and what is quarantined. The
modules' owners are read after the records were (`view`): a write that was made after a switch is
then always seen with the switch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from deploy.migration._cells import Cells, apply_condition, backfill_condition
from deploy.migration._context import Context
from deploy.migration._control import SOURCE, Control, Module, View
from deploy.migration._items import (
    START,
    Item,
    Mark,
    Order,
    is_migrations_write,
    live,
    mark_of,
    padded,
)
from deploy.migration._ports import Change
from deploy.migration.mapping import RESERVED, Cell, MappingError, Placed

BY_WHOM: Final = ": by a request that was given up and landed late, or by who asks no gate"

_NOWHERE = Placed(None, {})


class Forward:
    """Writes the targets for one lease."""

    def __init__(self, context: Context, control: Control, cells: Cells) -> None:
        self._context = context
        self._mapping = context.mapping
        self._control = control
        self._cells = cells

    async def apply(self, changes: Sequence[Change], view: View, number: str) -> None:
        """Apply records in their order, different keys at the same time (I2, I4).

        `number` names the batch. Raises what a write raises, after which nothing of the batch
        counts as applied.
        """
        view = await self._without_fences(changes, view)
        by_key: dict[Cell, list[Change]] = {}
        for change in changes:
            image = change.new if change.new is not None else change.old
            if image is None:
                continue
            cell = self._mapping.source.cell(image)
            if not cell.partition.startswith(RESERVED):
                by_key.setdefault(cell, []).append(change)
        touched: dict[str, set[Cell]] = {}
        await together(
            [self._apply_key(cell, records, view, touched) for cell, records in by_key.items()],
            self._context.settings.concurrency,
        )
        for verification, cells in touched.items():
            await self._control.touched(verification, number, cells)

    async def _without_fences(self, changes: Sequence[Change], view: View) -> View:
        """Behind a fence's barrier nobody should write. Who does ends the fence: were the owner to
        change while the record is being applied, that would write over the new owner's."""
        for change in changes:
            if not any(module.fence for module in view.modules.values()):
                break
            image = change.new if change.new is not None else change.old
            if image is None or is_migrations_write(change.old, change.new):
                continue
            for item in (change.old, change.new):
                rule = (await self._place(live(item), report=False)).rule
                module = None if rule is None else view.modules[rule.target.module]
                if module is None or not module.fence or module.owner != SOURCE:
                    continue
                if module.is_behind(change):
                    await self._control.end_fence(module, self._mapping.source.cell(image))
                    now = await self._control.view()
                    assert now is not None
                    view = replace(view, modules=now.modules)
        return view

    async def copy(self, items: Iterable[Item], view: View) -> None:
        """Write items that a consistent read gave (I3)."""
        await together(
            [self._copy_item(item, view) for item in items], self._context.settings.concurrency
        )

    async def _apply_key(
        self, cell: Cell, changes: Iterable[Change], view: View, touched: dict[str, set[Cell]]
    ) -> None:
        for change in changes:
            # What the way back wrote is the source's past where the source is the owner again; a
            # stream that is read anew, in a new epoch, shows all of it.
            is_own = is_migrations_write(change.old, change.new)
            old = await self._place(live(change.old), report=False)
            new = await self._place(live(change.new))
            rows = {**dict.fromkeys(old.rows), **new.rows}
            modules = {
                placed.rule.target.module: placed.rule.target
                for placed in (old, new)
                if placed.rule is not None
            }
            for name, target in modules.items():
                module = view.modules[name]
                if is_own and module.owner != SOURCE:
                    continue
                if module.verification:
                    touched.setdefault(module.verification, set()).add(cell)
                if module.owner != SOURCE:
                    if module.is_behind(change) or change.created_at >= module.since:
                        await self._control.quarantine(
                            cell, f"was written in the source after {name} was switched{BY_WHOM}"
                        )
                    continue
                if change.created_at < view.run.since - self._context.settings.clock_skew:
                    # The backfill reads what came of it. Of what is that old a later record may be
                    # trimmed already, in another shard.
                    continue
                order = Order(view.run.epoch, padded(change.sequence))
                for row_cell, row in rows.items():
                    if row_cell.table == target.table.name:
                        await self._write(row_cell, row, Mark(order), module)

    async def _write(self, cell: Cell, row: Item | None, mark: Mark, module: Module) -> None:
        assert mark.order is not None
        table = self._mapping.target(module.name).table
        condition = apply_condition(table, mark.order, adopt=module.generation > 0)
        stands = await self._cells.put(table, cell, row, mark, condition)
        if stands and mark_of(stands) is None:
            await self._control.quarantine(
                cell, f"was written in the target before {module.name} was switched"
            )

    async def _copy_item(self, item: Item, view: View) -> None:
        placed = await self._place(live(item))
        if placed.rule is None:
            return
        module = view.modules[placed.rule.target.module]
        if module.owner != SOURCE:
            return
        table = placed.rule.target.table
        condition = backfill_condition(table, view.run.epoch, adopt=module.generation > 0)
        for cell, row in placed.rows.items():
            await self._cells.put(table, cell, row, Mark(Order(view.run.epoch, START)), condition)

    async def _place(self, item: Item | None, *, report: bool = True) -> Placed:
        """An item's place. One that has none is quarantined, and is nowhere in the targets."""
        if item is None:
            return _NOWHERE
        try:
            return self._mapping.place(item)
        except MappingError as error:
            if report:
                await self._control.quarantine(self._mapping.source.cell(item), str(error))
            return _NOWHERE


def behind_barriers(
    changes: Iterable[Change], partition: str, passed: int
) -> tuple[list[Change], int]:
    """The records of a shard that has passed this barrier, each with the last one before it; and the
    last of all."""
    found: list[Change] = []
    for change in changes:
        found.append(change._replace(passed=passed) if passed else change)
        passed = max(passed, _sentinel(change.new, partition))
    return found, passed


def _sentinel(item: Mapping[str, Mapping[str, str]] | None, partition: str) -> int:
    if item is None or not item[partition].get("S", "").startswith(RESERVED):
        return 0
    return int(item.get("barrier", {"N": "0"})["N"])


async def together(tasks: Sequence[Awaitable[None]], at_once: int) -> None:
    """Run all, some at a time; the first error ends the others and is raised."""
    turns = asyncio.Semaphore(at_once)

    async def in_turn(task: Awaitable[None]) -> None:
        async with turns:
            await task

    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(in_turn(task))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    finally:
        for task in tasks:
            if asyncio.iscoroutine(task):
                task.close()
