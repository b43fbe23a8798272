"""The backfill: segments of the source, each under a lease, slowed down for replication and tables.

Owns where each segment goes on, and the pace. A segment's place is written after its page is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from deploy.migration._context import Context
from deploy.migration._control import COPYING, Control, Hold, View
from deploy.migration._forward import Forward
from deploy.migration._items import Item


class Pace:
    """How long the copy waits before its next page, and why.

    Units are earned with time and spent by pages; replication that is too far behind comes first.
    """

    def __init__(self, context: Context) -> None:
        self._clock = context.clock
        self._rate = context.settings.units_per_second
        self._max_lag = context.settings.max_lag
        self._free_at = self._clock()
        self.lag = 0.0
        """Seconds by which replication is behind; set by who knows."""

    def spent(self, units: float) -> None:
        """So many units were consumed."""
        self._free_at = max(self._free_at, self._clock()) + units / self._rate

    def wait(self, view: View) -> tuple[float, str]:
        """Seconds to wait now and the reason, (0, "") to go on."""
        if view.run.paused:
            return 1.0, "paused"
        if self.lag > self._max_lag:
            return 1.0, f"replication is {round(self.lag)} s behind"
        wait = self._free_at - self._clock()
        return (wait, "the tables' capacity") if wait > 0 else (0.0, "")


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
        while True:
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
            start: Item | None = json.loads(str(hold.values["start"]) or "null")
            page = await self._context.patience.answer(
                partial(
                    self._context.database.scan,
                    self._context.mapping.source,
                    segment=int(hold.values["segment"]),
                    segments=view.run.segments,
                    start=start,
                    limit=self._context.settings.page,
                ),
                before=hold.check,
            )
            await forward.copy(page.items, view)
            self._pace.spent(page.units)
            items = int(hold.values["items"]) + len(page.items)
            if page.next is None:
                await hold.release(done=True, items=items, waits="")
                return
            await hold.save(start=json.dumps(page.next), items=items, waits="")


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
            "done": False,
            "owner": "",
            "waits": "",
        }
        await control.update(
            f"{prefix(epoch)}{segment:04d}",
            lambda present, values=values: values if present is None else None,  # type: ignore[misc]
        )
