"""Writes of cells: the conditions of the protocol, and writing until it is decided.

Owns I2, I3 and I6 of README.md as conditions. A refused write is decided too: something newer, or
the owner's own, stands there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from deploy.migration._context import Context
from deploy.migration._control import Control
from deploy.migration._items import MARK, Item, Mark, Order, mark_of, marked, write_units
from deploy.migration._ports import (
    AllOf,
    AnyOf,
    Condition,
    ConditionFailed,
    Equal,
    Less,
    Missing,
    Present,
)
from deploy.migration.mapping import Cell, Table

_EPOCH, _SEQUENCE = (MARK, "e"), (MARK, "s")


def apply_condition(table: Table, order: Order, *, adopt: bool) -> Condition:
    """I2: nothing stands, or what came before. `adopt`: a native item is from a time when this
    table was the owner, and was replicated back since."""
    epoch, sequence = {"N": str(order.epoch)}, {"S": order.sequence}
    older: list[Condition] = [
        Missing((table.partition,)),
        Less(_EPOCH, epoch),
        AllOf((Equal(_EPOCH, epoch), Less(_SEQUENCE, sequence))),
    ]
    return AnyOf((*older, Missing((MARK,))) if adopt else tuple(older))


def backfill_condition(table: Table, epoch: int, *, adopt: bool) -> Condition:
    """I3: nothing stands, or what is of an earlier epoch."""
    older: list[Condition] = [
        Missing((table.partition,)),
        Less(_EPOCH, {"N": str(epoch)}),
    ]
    return AnyOf((*older, Missing((MARK,))) if adopt else tuple(older))


def as_it_was(table: Table, item: Item | None) -> Condition:
    """What stands has the very mark of `item`, or none as it has none."""
    mark = mark_of(item)
    if item is None:
        return Missing((table.partition,))
    if mark is None:
        return AllOf((Present((table.partition,)), Missing((MARK,))))
    return Equal((MARK,), item[MARK])


class Meter(Protocol):
    """Hears what a table gave and what it refused."""

    def spent(self, table: str, units: float) -> None:
        """So many units were consumed."""

    def refused(self, table: str) -> None:
        """A call was throttled."""


class Cells:
    """Writes cells for one lease, or for a command."""

    def __init__(
        self,
        context: Context,
        control: Control,
        before: Callable[[], None] = lambda: None,
        meter: Meter | None = None,
    ) -> None:
        """`before` is asked before every request, and raises when the work is somebody else's."""
        self._context = context
        self._control = control
        self._before = before
        self._meter = meter

    async def get(self, table: Table, cell: Cell) -> Item | None:
        """What stands in a cell."""
        return await self._context.patience.answer(
            partial(self._context.database.get, table, cell), before=self._before
        )

    async def put(
        self, table: Table, cell: Cell, item: Item | None, mark: Mark, condition: Condition
    ) -> Item | None:
        """Write an item, or a tombstone where it is None.

        Gives None where it was written, else what stands, which has no attribute where nothing does.
        (A write that was carried out, whose answer was lost and which was then refused on its own
        effect gives that effect.)
        """
        if item is None:
            row = marked(table.key(cell), Mark(mark.order, mark.tag, tombstone=True))
        else:
            row = marked(item, mark)
        try:
            units = await self._context.patience.answer(
                partial(self._context.database.put, table, row, condition),
                before=self._before,
                unanswered=self._control.disturb,
                throttled=lambda: self._refused(table),
            )
        except ConditionFailed as failed:
            # It is charged all the same, and says not how much: as what it met.
            self._spend(table, write_units(failed.item or row))
            return failed.item or {}
        self._spend(table, units)
        return None

    def _spend(self, table: Table, units: float) -> None:
        if self._meter is not None:
            self._meter.spent(table.name, units)

    def _refused(self, table: Table) -> None:
        if self._meter is not None:
            self._meter.refused(table.name)

    async def unmark(self, table: Table, item: Item) -> None:
        """Remove the mark that was seen on an item, if it is still there."""
        try:
            units = await self._context.patience.answer(
                partial(self._context.database.unmark, table, table.cell(item), item[MARK]),
                before=self._before,
                unanswered=self._control.disturb,
                throttled=lambda: self._refused(table),
            )
        except ConditionFailed as failed:
            units = write_units(failed.item or item)
        self._spend(table, units)

    async def remove(self, table: Table, cell: Cell, condition: Condition) -> bool:
        """Remove what stands; whether nothing does any more."""
        try:
            await self._context.patience.answer(
                partial(self._context.database.delete, table, cell, condition),
                before=self._before,
                unanswered=self._control.disturb,
                throttled=lambda: self._refused(table),
            )
        except ConditionFailed as failed:
            return failed.item is None
        return True
