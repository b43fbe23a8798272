"""A worker: takes shards and segments under leases and works on them until it is stopped.

Owns who does what. Any number of workers may run; what a silent one had is taken over after its
lease. A worker's error ends the work it concerns, which is taken up again from its checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from deploy.migration._back import Back
from deploy.migration._cells import Cells
from deploy.migration._context import Context
from deploy.migration._control import (
    CANCELLED,
    COMPLETED,
    COPYING,
    POSITION_LOST,
    REPLICATING,
    ConflictError,
    Control,
    Hold,
    LeaseLostError,
    Leases,
    Row,
    View,
)
from deploy.migration._copy import Copy, Pace, create_segments
from deploy.migration._forward import Forward
from deploy.migration._shards import PositionLostError, Stream
from deploy.migration.mapping import Target


class Worker:
    """One process that works. Make a new one for each start: its context's name is unique."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._control = Control(context)
        self._leases = Leases(context, self._control)
        self._pace = Pace(context)
        self._working: dict[str, asyncio.Task[None]] = {}
        self._discover_at: dict[str, float] = {}
        self._holds: set[Hold] = set()
        self._stopping = False

    @property
    def work(self) -> tuple[str, ...]:
        """The keys of what it works on."""
        return tuple(sorted(self._working))

    @property
    def lag(self) -> float:
        """Seconds by which replication is behind, as it last saw it."""
        return self._pace.lag

    def stop(self) -> None:
        """Let `run` end once everything that is held was given back."""
        self._stopping = True
        for hold in self._holds:
            hold.is_asked_back = True

    async def run(self) -> None:
        """Work until stopped, or until the migration is cancelled."""
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                view = await self._control.view()
                if view is not None and view.run.phase == CANCELLED:
                    break
                if view is not None:
                    await self._take_part(view, group)
                await self._context.sleep(self._context.settings.poll)
            if not self._stopping:
                for task in self._working.values():
                    task.cancel()

    async def _take_part(self, view: View, group: asyncio.TaskGroup) -> None:
        """Each stream by itself: a position that is lost in one holds up no other."""
        if view.run.phase != POSITION_LOST:
            try:
                await self._take_forward(view, group)
            except PositionLostError as lost:
                await self._lost(lost)
        for target in self._context.mapping.targets:
            module = view.modules[target.module]
            if module.phase != COMPLETED and not module.lost:
                stream = target_stream(self._context, self._control, target, module.stream_epoch)
                try:
                    await self._take_back(stream, target, group)
                except PositionLostError as lost:
                    await self._lost(lost)

    async def _take_forward(self, view: View, group: asyncio.TaskGroup) -> None:
        source = self.source_stream(view)
        await self._discover(source)
        await self._begin_copy(source, view)
        rows = await source.rows()
        self._pace.lag = source.lag(rows)
        await self._take(source.ready(rows), group, lambda hold: self._forward(source, hold))
        if view.run.phase == COPYING:
            copy = Copy(self._context, self._control, view.run.epoch, self._pace)
            segments = await self._control.rows(copy.prefix)
            self._pace.follow(view.run, len({row.values["owner"] for row in segments} - {""}))
            await self._take(
                [row for row in segments if not row.values["done"]],
                group,
                lambda hold: copy.follow(hold, self._make_forward),
            )

    async def _take_back(self, stream: Stream, target: Target, group: asyncio.TaskGroup) -> None:
        await self._discover(stream)
        await self._take(
            stream.ready(await stream.rows()),
            group,
            lambda hold: self._back(stream, target, hold),
        )

    async def _discover(self, stream: Stream) -> None:
        if self._context.clock() >= self._discover_at.get(stream.prefix, 0.0):
            await stream.discover()
            again = self._context.clock() + self._context.settings.discover
            self._discover_at[stream.prefix] = again

    def source_stream(self, view: View) -> Stream:
        """The source's stream in the present epoch."""
        return Stream(self._context, self._control, self._context.mapping.source, view.run.epoch)

    async def _begin_copy(self, source: Stream, view: View) -> None:
        """I1: the backfill begins once every shard that there is will be read."""
        if view.run.phase == REPLICATING and await source.is_discovered():
            await create_segments(self._control, view.run.epoch, view.run.segments)
            await self._control.update_run(
                lambda run: (
                    replace(run, phase=COPYING, copying_since=self._context.wall())
                    if (run.phase, run.epoch) == (REPLICATING, view.run.epoch)
                    else None
                )
            )

    async def _take(self, rows: list[Row], group: asyncio.TaskGroup, work: Any) -> None:
        """Take one of them: before the next, another worker has its turn."""
        for row in rows:
            if row.key in self._working:
                continue
            hold = await self._leases.take(row)
            if hold is not None:
                self._working[row.key] = group.create_task(self._work(hold, work(hold)))
                return

    async def _work(self, hold: Hold, work: Coroutine[Any, Any, None]) -> None:
        self._holds.add(hold)
        keeping = asyncio.create_task(hold.keep())
        try:
            await work
        except LeaseLostError:
            pass
        except PositionLostError as lost:
            await self._lost(lost)
        finally:
            keeping.cancel()
            self._holds.discard(hold)
            if hold.values.get("done"):
                self._discover_at.clear()
            self._working.pop(hold.row.key, None)

    async def _forward(self, stream: Stream, hold: Hold) -> None:
        await stream.follow(
            hold,
            self._make_forward(hold).apply,
            lambda view: (
                view.run.epoch == stream.epoch and view.run.phase not in (POSITION_LOST, CANCELLED)
            ),
        )

    async def _back(self, stream: Stream, target: Target, hold: Hold) -> None:
        cells = Cells(self._context, self._control, hold.check)
        await stream.follow(
            hold,
            Back(self._context, self._control, cells, target).apply,
            lambda view: (
                view.modules[target.module].stream_epoch == stream.epoch
                and not view.modules[target.module].lost
                and view.modules[target.module].phase != COMPLETED
                and view.run.phase != CANCELLED
            ),
        )

    def _make_forward(self, hold: Hold) -> Forward:
        cells = Cells(self._context, self._control, hold.check, self._pace)
        return Forward(self._context, self._control, cells)

    async def _lost(self, lost: PositionLostError) -> None:
        """Write it down, unless it is of an epoch that is over."""
        if lost.table == self._context.mapping.source.name:
            is_news = await self._control.update_run(
                lambda run: (
                    replace(run, phase=POSITION_LOST, lost=str(lost))
                    if run.epoch == lost.epoch and run.phase not in (POSITION_LOST, CANCELLED)
                    else None
                )
            )
        else:
            (name,) = (
                t.module for t in self._context.mapping.targets if t.table.name == lost.table
            )
            row, module = await self._control.module(name)
            is_news = module.stream_epoch == lost.epoch and not module.lost
            if is_news:
                try:
                    await self._control.write_module(row, replace(module, lost=True))
                except ConflictError:
                    return  # it will be found again
        if is_news:
            await self._control.audit("position lost", why=str(lost))


def target_stream(context: Context, control: Control, target: Target, epoch: int) -> Stream:
    """The stream of a module's table, in the epoch of its way back."""
    return Stream(context, control, target.table, epoch)
