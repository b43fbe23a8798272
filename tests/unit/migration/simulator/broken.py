"""The engine with one rule of its protocol taken out, so that the machine can be seen to see.

Each is a way in which such tools are written, or in which this one was or could be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from deploy.migration import (
    _back,
    _cells,
    _control,
    _forward,
    _shards,
    _sweep,
    commands,
)
from deploy.migration._items import Item, Mark, is_migrations_write
from deploy.migration._ports import AnyOf, Change, Condition, Missing, Present
from deploy.migration.mapping import Cell, Table

Break = Callable[[pytest.MonkeyPatch], None]


def _always(table: Table, *_: object, **__: object) -> Condition:
    return AnyOf((Missing((table.partition,)), Present((table.partition,))))


def _backfill_overwrites(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_forward, "backfill_condition", _always)


def _records_in_any_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_forward, "apply_condition", _always)


def _no_tombstones(patch: pytest.MonkeyPatch) -> None:
    put = _cells.Cells.put

    async def put_or_delete(
        self: _cells.Cells, table: Table, cell: Cell, item: Item | None, mark: Mark, c: Condition
    ) -> Item | None:
        if item is not None:
            return await put(self, table, cell, item, mark, c)
        return None if await self.remove(table, cell, c) else {}

    patch.setattr(_cells.Cells, "put", put_or_delete)


def _numbers_as_text(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_forward, "padded", lambda number: number)


def _new_images_alone(patch: pytest.MonkeyPatch) -> None:
    apply = _forward.Forward._apply_key

    async def without_old(self: Any, cell: Any, changes: Any, view: Any, touched: Any) -> None:
        kept = [c if c.new is None else c._replace(old=None) for c in changes]
        await apply(self, cell, kept, view, touched)

    patch.setattr(_forward.Forward, "_apply_key", without_old)


def _checkpoint_before_application(patch: pytest.MonkeyPatch) -> None:
    apply = _shards.Stream._apply

    async def saved_first(
        self: Any, hold: Any, records: Any, function: Any, is_current: Any, asked_at: Any
    ) -> None:
        await hold.save(after=records[-1].sequence)
        await apply(self, hold, records, function, is_current, asked_at)

    patch.setattr(_shards.Stream, "_apply", saved_first)


def _sweep_at_any_time(patch: pytest.MonkeyPatch) -> None:
    async def at_once(*_: object) -> bool:
        return True

    async def nothing(*_: object) -> None:
        return None

    patch.setattr(_control.Quiet, "observe", at_once)
    patch.setattr(_control.Quiet, "wait", nothing)
    patch.setattr(_sweep, "barrier", nothing)


def _flip_right_behind_the_fence(patch: pytest.MonkeyPatch) -> None:
    """Requests end, and that is all. (Without the barrier alone nothing is lost: the removal of
    tombstones has one of its own, and the comparison of what was touched sees the rest.)"""

    async def requests_end(self: commands.Migration, *_: object) -> None:
        settings = self._context.settings
        await self._context.sleep(settings.gate_lease + settings.longest_request)

    patch.setattr(commands.Migration, "_behind_the_fence", requests_end)


def _requests_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    behind = commands.Migration._behind_the_fence

    async def at_once(self: commands.Migration, *arguments: Any) -> None:
        context = self._context
        hasty = replace(context.settings, gate_lease=0.0, longest_request=0.0)
        self._context = replace(context, settings=hasty)
        try:
            await behind(self, *arguments)
        finally:
            self._context = context

    patch.setattr(commands.Migration, "_behind_the_fence", at_once)


def _old_epochs_left(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object, **__: object) -> int:
        return 0

    patch.setattr(commands, "end_old_epochs", nothing)


def _composed_without_comparing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_back, "as_it_was", _always)


def _owner_asked_before_the_records(patch: pytest.MonkeyPatch) -> None:
    """A worker that believes for ever what it once saw."""
    view = _control.Control.view
    seen: dict[int, Any] = {}

    async def remembered(self: _control.Control) -> Any:
        found = await view(self)
        if found is None or "worker" not in self._context.name:
            return found
        first = seen.setdefault(id(self), found)
        return replace(found, modules=first.modules)

    patch.setattr(_control.Control, "view", remembered)


def _own_writes_replicated(patch: pytest.MonkeyPatch) -> None:
    """Replication both ways at the same time, as of a canary for writes."""
    patch.setattr(_back, "is_migrations_write", lambda *_: False)
    patch.setattr(_forward, "is_migrations_write", lambda *_: False)


def _way_back_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What the way back wrote is passed over, also where the source owns the module again."""
    apply = _forward.Forward.apply

    async def of_the_owner(
        self: _forward.Forward, changes: Sequence[Change], view: Any, number: str
    ) -> None:
        owners = [one for one in changes if not is_migrations_write(one.old, one.new)]
        await apply(self, owners, view, number)

    patch.setattr(_forward.Forward, "apply", of_the_owner)


def _no_gate(patch: pytest.MonkeyPatch) -> None:
    """The application goes on as it did; it hears of a switch when its lease has run out."""
    read = _control.Control.read

    async def unfenced(self: _control.Control, key: str) -> Any:
        row = await read(self, key)
        if row is not None and "application" in self._context.name and "fence" in row.values:
            return replace(row, values={**row.values, "fence": ""})
        return row

    patch.setattr(_control.Control, "read", unfenced)


def _children_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """Only what is listed counts, as if the list were of this moment."""
    patch.setattr(_shards, "_childless", lambda *_: [])


def _any_stream_of_the_table(patch: pytest.MonkeyPatch) -> None:
    """A stream that was turned off and on is read on as if it were the same."""
    listed = _shards.Stream._list

    async def of_the_table(self: _shards.Stream) -> Any:
        _, shards = await listed(self)
        return self.table.name, shards

    async def known_no_more(self: _shards.Stream) -> None:
        """Shards of which nothing is to be had count as read."""
        _, shards = await listed(self)
        ids = {shard.id for shard in shards}
        for row in await self.rows():
            if row.values["shard"] not in ids and not row.values["done"]:
                values = {**row.values, "done": True, "owner": ""}
                with suppress(_control.ConflictError):
                    await self._control.write(row.key, values, row)
        await discover(self)

    discover = _shards.Stream.discover
    patch.setattr(_shards.Stream, "_list", of_the_table)
    patch.setattr(_shards.Stream, "discover", known_no_more)
    patch.setattr(_shards, "_childless", lambda *_: [])


def _late_writes_replicated(patch: pytest.MonkeyPatch) -> None:
    """What is written behind a fence's barrier is applied while the owner changes."""

    async def nothing(*_: object) -> None:
        return None

    patch.setattr(_control.Control, "end_fence", nothing)


def _late_writes_known_by_the_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_control.Module, "is_behind", lambda *_: False)


BROKEN: Mapping[str, Break] = {
    "backfill overwrites": _backfill_overwrites,
    "records in any order": _records_in_any_order,
    "no tombstones": _no_tombstones,
    "sequence numbers compared as text": _numbers_as_text,
    "rules asked about the new image alone": _new_images_alone,
    "checkpoint before application": _checkpoint_before_application,
    "tombstones removed at any time": _sweep_at_any_time,
    "flip right behind the fence": _flip_right_behind_the_fence,
    "requests under way not waited for": _requests_not_waited_for,
    "resync that leaves earlier epochs": _old_epochs_left,
    "composed without comparing": _composed_without_comparing,
    "a worker that believes what it once saw": _owner_asked_before_the_records,
    "the migration's own writes replicated": _own_writes_replicated,
    "what the way back wrote passed over": _way_back_forgotten,
    "no gate": _no_gate,
    "children that are not listed yet not waited for": _children_not_waited_for,
    "any stream of the table": _any_stream_of_the_table,
    "late writes replicated": _late_writes_replicated,
    "late writes known by the clock": _late_writes_known_by_the_clock,
}
