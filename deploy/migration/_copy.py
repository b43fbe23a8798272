"""The backfill: segments of the source, each under a lease, slowed down for replication and tables.

Owns where each segment goes on, and the pace. A segment's place is written after its page is; the
page behind it is read meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Final

from deploy.migration._context import Context
from deploy.migration._control import COPYING, Control, Hold, Run, View
from deploy.migration._forward import Forward
from deploy.migration._items import Item, item_size
from deploy.migration._ports import Page

_AFTER_A_REFUSAL: Final = 1.0
_TOO_SHORT_TO_WAIT: Final = 0.05


class Pace:
    """How long the copy waits before its next page, and why.

    Units are earned with time and spent by pages, of each table for itself; what replication spends
    counts too, and what it needs comes first. The rates are of all workers together: each takes its
    share.
    """

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._settings = context.settings
        self._source = context.mapping.source.name
        self._free_at: dict[str, float] = {}
        self._refused_at: dict[str, float] = {}
        self._rates = {
            True: self._settings.units_per_second,
            False: self._settings.units_per_second,
        }
        self._workers = 1
        self.lag = 0.0
        """Seconds by which replication is behind; set by who knows."""

    def follow(self, run: Run, workers: int) -> None:
        """What `throttle` said, and how many workers there are to share it."""
        usual = self._settings.units_per_second
        self._rates = {True: run.read_units or usual, False: run.write_units or usual}
        self._workers = max(workers, 1)

    def spent(self, table: str, units: float) -> None:
        """So many units were consumed."""
        rate = self._rates[table == self._source] / self._workers
        now = self._clock()
        self._free_at[table] = max(self._free_at.get(table, now), now) + units / rate

    def refused(self, table: str) -> None:
        """The table refused a call: users come first."""
        self._refused_at[table] = self._clock()

    def wait(self, view: View) -> tuple[float, str]:
        """Seconds to wait now and the reason, (0, "") to go on."""
        if view.run.paused:
            return 1.0, "paused"
        bound = view.run.max_lag or self._settings.max_lag
        if self.lag > bound:
            return 1.0, f"replication is more than {bound:g} s behind"
        return self.due()

    def due(self) -> tuple[float, str]:
        """As `wait`, for the tables alone: what was spent, and what was refused."""
        now = self._clock()
        for table, at in self._refused_at.items():
            if now - at < _AFTER_A_REFUSAL:
                return at + _AFTER_A_REFUSAL - now, f"{table} refuses calls (throttled)"
        table, free_at = max(self._free_at.items(), key=_when, default=("", now))
        if free_at - now < _TOO_SHORT_TO_WAIT:
            return 0.0, ""
        rate, kind = (
            self._rates[table == self._source],
            "read" if table == self._source else "write",
        )
        return free_at - now, f"{rate:g} {kind} units a second of {table} are taken"


def _when(entry: tuple[str, float]) -> float:
    return entry[1]


class Copy:
    """The segments of one epoch."""

    def __init__(self, context: Context, control: Control, epoch: int, pace: Pace) -> None:
        self._context = context
        self._control = control
        self._pace = pace
        self._epoch = epoch
        self.prefix = prefix(epoch)

    async def follow(self, hold: Hold, make: Callable[[Hold], Forward]) -> None:
        """Copy a segment to its end, as long as this is its epoch. Raises LeaseLostError."""
        forward = make(hold)
        ahead: asyncio.Task[Page] | None = None
        try:
            while True:
                # Also where nothing is read or written for long: held, it would not notice otherwise.
                hold.check()
                view = await self._control.view()
                is_current = view is not None and (view.run.epoch, view.run.phase) == (
                    self._epoch,
                    COPYING,
                )
                if view is None or not is_current or hold.is_asked_back:
                    await hold.release(waits="")
                    return
                seconds, reason = self._pace.wait(view)
                if seconds:
                    if reason != hold.values["waits"]:
                        await hold.save(waits=reason)
                    await self._context.sleep(min(seconds, 1.0))
                    continue
                if ahead is None:
                    start: Item | None = json.loads(str(hold.values["start"]) or "null")
                    page = await self._read(hold, view.run.segments, start)
                else:
                    page = await ahead
                ahead = None
                if page.next is not None:
                    # What is read while this page is written may be older by then: the condition of
                    # its writes (I3) is the same as for one that was read a moment ago.
                    reading = self._read(hold, view.run.segments, page.next)
                    ahead = asyncio.create_task(reading)
                await forward.copy(page.items, view)
                count = {
                    "items": int(hold.values["items"]) + len(page.items),
                    "bytes": int(hold.values["bytes"]) + sum(map(item_size, page.items)),
                    "waits": "",
                }
                if page.next is None:
                    await hold.release(done=True, **count)
                    return
                await hold.save(start=json.dumps(page.next), **count)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    async def _read(self, hold: Hold, segments: int, start: Item | None) -> Page:
        source = self._context.mapping.source
        page = await self._context.patience.answer(
            partial(
                self._context.database.scan,
                source,
                segment=int(hold.values["segment"]),
                segments=segments,
                start=start,
                limit=self._context.settings.page,
            ),
            before=hold.check,
            throttled=lambda: self._pace.refused(source.name),
        )
        self._pace.spent(source.name, page.units)
        return page


def prefix(epoch: int) -> str:
    """What the keys of an epoch's segments begin with."""
    return f"work#{epoch}#copy#"


async def create_segments(control: Control, epoch: int, segments: int) -> None:
    """Rows for every segment of an epoch; those that are there stay."""
    for segment in range(segments):
        values = {
            "segment": segment,
            "start": "",
            "items": 0,
            "bytes": 0,
            "done": False,
            "owner": "",
            "waits": "",
        }
        await control.update(
            f"{prefix(epoch)}{segment:04d}",
            lambda present, values=values: values if present is None else None,  # type: ignore[misc]
        )
