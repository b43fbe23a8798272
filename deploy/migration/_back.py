"""The way back: what a change in a target writes in the source.

A source item is made of several rows, which change one by one, so the image of a record is not
enough: the rows are read and composed. The source item's mark is read first, then the rows, and the
write is conditional on that mark and brings one that was never there. So of two that write, the
second has read its rows after the first had written: no order of records is needed, and a stale one
is refused (`tests/unit/migration/models/reverse_model.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from deploy.migration._cells import Cells, as_it_was
from deploy.migration._context import Context
from deploy.migration._control import TARGET, Control, Module, View
from deploy.migration._forward import BY_WHOM, together
from deploy.migration._items import MARK, Item, Mark, is_migrations_write, live
from deploy.migration._ports import Change
from deploy.migration.mapping import RESERVED, Cell, MappingError, Origin, Rule, Stays, Target


class Back:
    """Writes the source for one lease."""

    def __init__(self, context: Context, control: Control, cells: Cells, target: Target) -> None:
        self._context = context
        self._mapping = context.mapping
        self._control = control
        self._cells = cells
        self._target = target

    async def apply(self, changes: Sequence[Change], view: View, number: str) -> None:
        """Bring every source item of these records up to date, each once."""
        module = await self._without_fence(changes, view.modules[self._target.module])
        found: dict[Cell, Rule] = {}
        for change in changes:
            image = change.new if change.new is not None else change.old
            if image is None or is_migrations_write(change.old, change.new):
                continue
            cell = self._target.table.cell(image)
            origin = self._mapping.origin(cell)
            if cell.partition.startswith(RESERVED) or isinstance(origin, Stays):
                continue
            if not isinstance(origin, Origin):
                await self._control.quarantine(cell, "is of no rule, and nothing that stays")
            elif module.owner == TARGET:
                found[origin.source] = origin.rule
            elif module.is_behind(change) or change.created_at >= module.since:
                when = "after {} was reversed" if module.generation else "before {} was switched"
                await self._control.quarantine(
                    cell, f"was written in the target {when.format(module.name)}{BY_WHOM}"
                )
        await together(
            [self.bring(rule, cell) for cell, rule in found.items()],
            self._context.settings.concurrency,
        )
        if module.verification and found:
            await self._control.touched(module.verification, number, set(found))

    async def _without_fence(self, changes: Sequence[Change], module: Module) -> Module:
        """As in `_forward`: who writes behind the barrier ends the fence."""
        for change in changes:
            image = change.new if change.new is not None else change.old
            if not module.fence or module.owner != TARGET:
                break
            if image is None or is_migrations_write(change.old, change.new):
                continue
            cell = self._target.table.cell(image)
            if module.is_behind(change) and isinstance(self._mapping.origin(cell), Origin):
                await self._control.end_fence(module, cell)
                _, module = await self._control.module(module.name)
        return module

    async def bring(self, rule: Rule, source: Cell) -> None:
        """Write the source item that the rows make now, or a tombstone."""
        table = self._mapping.source
        while True:
            stands = await self._cells.get(table, source)
            rows = await self.rows(rule, source)
            try:
                item = self._mapping.composed(rule, source, rows)
            except MappingError as error:
                await self._control.quarantine(source, str(error))
                return
            if not self._is_ours(rule, stands):
                # No rows, and an item that is nobody's or another rule's: it is none of ours.
                if item is not None:
                    await self._control.quarantine(source, f"is in the way of {rule.name!r}")
                return
            mark = Mark(tag=self._context.token())
            refused = await self._cells.put(table, source, item, mark, as_it_was(table, stands))
            if refused is None or refused.get(MARK) == mark.value():
                return

    def _is_ours(self, rule: Rule, stands: Item | None) -> bool:
        """Whether the rule may write over what stands."""
        item = live(stands)
        if item is None:
            return True
        try:
            placed = self._mapping.place(item)
        except MappingError:
            return False
        return placed.rule is rule

    async def rows(self, rule: Rule, source: Cell) -> list[Item]:
        """The rows of a source item as they stand, one after another."""
        return [row for row in map(live, await self.standing(rule, source)) if row is not None]

    async def standing(self, rule: Rule, source: Cell) -> list[Item]:
        """As `rows`, tombstones too, and with their marks."""
        found: list[Item] = []
        table = rule.target.table
        for lookup in self._mapping.lookups(rule, source):
            if lookup.prefix is None:
                cell = Cell(table.name, lookup.partition, lookup.sort)
                item = await self._cells.get(table, cell)
                found += [] if item is None else [item]
                continue
            start: Item | None = None
            while True:
                page = await self._context.patience.answer(
                    partial(
                        self._context.database.query, table, lookup.partition, lookup.prefix, start
                    )
                )
                found += page.items
                start = page.next
                if start is None:
                    break
        return found
