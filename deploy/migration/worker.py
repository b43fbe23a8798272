"""A worker: takes shards and segments under leases and works on them until it is stopped.

Owns who does what. Any number of workers may run, each with its share (`_members.py`); what a silent
one had is taken over after its lease. A worker's error ends the work it concerns, which is taken up again from its checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from deploy.migration._members import Members
from deploy.migration._shards import PositionLostError, Stream
from deploy.migration.mapping import Target


@dataclass(frozen=True)
class _Work:
    """A row that may be worked on, and how."""

    row: Row
    follow: Callable[[Hold], Coroutine[Any, Any, None]]


class Worker:
    """One process that works. Make a new one for each start: its context's name is unique."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._control = Control(context)
        self._leases = Leases(context, self._control)
        self._pace = Pace(context)
        self._members = Members(context, self._control, self._leases)
        self._working: dict[str, asyncio.Task[None]] = {}
        self._holds: dict[str, Hold] = {}
        self._discover_at: dict[str, float] = {}
        self._ended: set[str] = set()
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
        for hold in self._holds.values():
            hold.is_asked_back = True

    async def run(self) -> None:
        """Work until stopped, or until the migration is cancelled."""
        async with asyncio.TaskGroup() as group:
            while not self._stopping:
                view = await self._control.view()
                if view is not None and view.run.phase == CANCELLED:
                    break
                if view is not None:
                    await self._members.observe()
                    await self._take_part(view, group)
                await self._context.sleep(self._context.settings.look)
            await self._members.leave()
            if not self._stopping:
                for task in self._working.values():
                    task.cancel()

    async def _take_part(self, view: View, group: asyncio.TaskGroup) -> None:
        """Each stream by itself: a position that is lost in one holds up no other."""
        rows = await self._control.rows("work#")
        shards: list[_Work] = []
        if view.run.phase != POSITION_LOST:
            source = self._source_stream(view)
            try:
                await self._discover(source, rows)
                await self._begin_copy(source, view, rows)
                known = source.among(rows)
                self._pace.lag = source.lag(known)
                forward = partial(self._forward, source)
                shards += [_Work(row, forward) for row in source.ready(known)]
            except PositionLostError as lost:
                await self._lost(lost)
        for target in self._context.mapping.targets:
            module = view.modules[target.module]
            if module.phase != COMPLETED and not module.lost:
                stream = Stream(self._context, self._control, target.table, module.stream_epoch)
                try:
                    await self._discover(stream, rows)
                    back = partial(self._back, stream, target)
                    shards += [_Work(row, back) for row in stream.ready(stream.among(rows))]
                except PositionLostError as lost:
                    await self._lost(lost)
        await self._take(shards, group, from_oldest=True)
        if view.run.phase == COPYING:
            copy = Copy(self._context, self._control, view.run.epoch, self._pace)
            segments = [
                _Work(row, partial(copy.follow, make=self._make_forward))
                for row in rows
                if row.key.startswith(copy.prefix) and not row.values["done"]
            ]
            self._pace.follow(view.run, min(len(self._members.names), len(segments)))
            await self._take(segments, group, from_oldest=False)

    async def _discover(self, stream: Stream, rows: Sequence[Row]) -> None:
        """One worker looks for new shards, and whoever came to the end of one."""
        if not self._members.is_oldest and stream.prefix not in self._ended:
            return
        now = self._context.clock()
        if stream.prefix in self._ended or now >= self._discover_at.get(stream.prefix, 0.0):
            self._ended.discard(stream.prefix)
            self._discover_at[stream.prefix] = now + self._context.settings.discover
            await stream.discover()

    def _source_stream(self, view: View) -> Stream:
        """The source's stream in the present epoch."""
        return Stream(self._context, self._control, self._context.mapping.source, view.run.epoch)

    async def _begin_copy(self, source: Stream, view: View, rows: Sequence[Row]) -> None:
        """I1: the backfill begins once every shard that there is will be read."""
        if view.run.phase == REPLICATING and source.is_found(rows):
            await create_segments(self._control, view.run.epoch, view.run.segments)
            await self._control.update_run(
                lambda run: (
                    replace(run, phase=COPYING, copying_since=self._context.wall())
                    if (run.phase, run.epoch) == (REPLICATING, view.run.epoch)
                    else None
                )
            )

    async def _take(
        self, works: Sequence[_Work], group: asyncio.TaskGroup, *, from_oldest: bool
    ) -> None:
        """Take what is missing to this worker's share of it, and give back what is beyond."""
        share = self._members.share(len(works), from_oldest=from_oldest)
        held = [
            self._holds[work.row.key]
            for work in works
            if work.row.key in self._holds and not self._holds[work.row.key].is_asked_back
        ]
        for hold in held[share:]:
            hold.is_asked_back = True
        missing = share - len(held)
        for work in works:
            if missing <= 0 or self._stopping:
                return
            if work.row.key in self._working:
                continue
            taken = await self._leases.take(work.row)
            if taken is not None:
                missing -= 1
                task = group.create_task(self._work(taken, work.follow(taken)))
                self._working[work.row.key] = task

    async def _work(self, hold: Hold, work: Coroutine[Any, Any, None]) -> None:
        self._holds[hold.row.key] = hold
        if self._stopping:
            hold.is_asked_back = True  # taken while `stop` was called
        keeping = asyncio.create_task(hold.keep())
        try:
            await work
        except LeaseLostError:
            pass
        except PositionLostError as lost:
            await self._lost(lost)
        finally:
            keeping.cancel()
            key = hold.row.key
            if hold.values.get("done") and "shard" in hold.values:
                self._ended.add(key.removesuffix(str(hold.values["shard"])))
            del self._holds[key], self._working[key]

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
