"""One stream: its shards as rows of the control table, and the reading of one shard under a lease.

Owns the lineage (a child starts when its parent is applied), the checkpoint (the last record of the
contiguous prefix that was applied), and the ways a position is lost. Knows nothing of what applying
means.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

from deploy.migration._context import Context
from deploy.migration._control import ConflictError, Control, Hold, LeaseLostError, Row, View
from deploy.migration._forward import behind_barriers
from deploy.migration._ports import Batch, Change, IteratorExpired, Shard, Trimmed
from deploy.migration.mapping import Table

Apply = Callable[[Sequence[Change], View, str], Awaitable[None]]


class PositionLostError(Exception):
    """Records that were not applied are no longer in the stream."""

    def __init__(self, table: str, epoch: int, why: str) -> None:
        super().__init__(f"{table}: {why}")
        self.table = table
        self.epoch = epoch


class Stream:
    """The stream of one table in one epoch."""

    def __init__(self, context: Context, control: Control, table: Table, epoch: int) -> None:
        self._context = context
        self._control = control
        self.table = table
        self.epoch = epoch
        self.prefix = f"work#{epoch}#stream#{table.name}#"
        self._found = f"work#{epoch}#found#{table.name}"

    async def rows(self) -> list[Row]:
        """The shards that are known."""
        return await self._control.rows(self.prefix)

    def among(self, rows: Iterable[Row]) -> list[Row]:
        """The shards of this stream among rows of all work."""
        return [row for row in rows if row.key.startswith(self.prefix)]

    def is_found(self, rows: Iterable[Row]) -> bool:
        """Whether rows of all work say that the shards that there were at the beginning are known."""
        return any(row.key == self._found for row in rows)

    async def is_discovered(self) -> bool:
        """Whether the shards that there were at the beginning are known."""
        return await self._control.read(self._found) is not None

    async def discover(self) -> None:
        """Make rows of the shards that have none. Raises PositionLostError.

        What is found at first starts at its oldest record; the backfill reads what was before. A
        later shard whose parent was never seen had a parent that came and went unread.
        """
        found = await self._control.read(self._found)
        known = {row.values["shard"]: row for row in await self.rows()}
        stream, listed = await self._list()
        if found is not None and found.values["stream"] != stream:
            raise self._lost("the stream was turned off and on again")
        ids = {shard.id for shard in listed}
        for shard_id, row in known.items():
            if shard_id not in ids and not row.values["done"]:
                raise self._lost(f"{shard_id} was trimmed before its end")
        for shard in listed:
            if shard.id in known:
                continue
            parent = shard.parent if shard.parent in ids or shard.parent in known else None
            if parent is None and shard.parent is not None and found is not None:
                raise self._lost(f"{shard.parent} was never read")
            values = {
                "shard": shard.id,
                "parent": parent or "",
                "after": "",
                "done": False,
                "barrier": 0,
                "owner": "",
                "read_at": self._context.wall(),
                "lag": 0,
            }
            try:
                await self._control.write(f"{self.prefix}{shard.id}", values, None)
            except ConflictError:
                continue
        if found is None:
            values = {"at": self._context.wall(), "stream": stream}
            await self._control.update(self._found, lambda present: None if present else values)
        for shard_id in _childless(known.values(), listed):
            ended = self._context.wall() - float(known[shard_id].values["read_at"])
            if ended > self._context.settings.successor:
                raise self._lost(f"{shard_id} has ended and none follows it: the stream is off")

    async def behind(self, barrier: int) -> int:
        """How many shards are not past a barrier yet.

        Where one has ended whose child is not listed yet, that child is not either.
        """
        rows = await self.rows()
        _, listed = await self._list()
        passed = {
            str(row.values["shard"])
            for row in rows
            if row.values["done"] or int(row.values["barrier"]) >= barrier
        }
        return sum(shard.id not in passed for shard in listed) + len(_childless(rows, listed))

    async def _list(self) -> tuple[str, list[Shard]]:
        """Which stream it is, and every shard, page by page."""
        found: list[Shard] = []
        after: str | None = None
        while True:
            page = await self._context.patience.answer(
                partial(self._context.database.shards, self.table, after)
            )
            found += page.shards
            after = page.last
            if after is None:
                return page.stream, found

    def ready(self, rows: Sequence[Row]) -> list[Row]:
        """Those that may be read now: not at their end, and their parent is."""
        done = {row.values["shard"] for row in rows if row.values["done"]}
        return [
            row
            for row in rows
            if not row.values["done"] and (not row.values["parent"] or row.values["parent"] in done)
        ]

    def lag(self, rows: Sequence[Row]) -> float:
        """Seconds by which the reading of the shards is behind.

        A shard that nobody reads says nothing of itself: then it counts from its last reading.
        """
        now, quiet = self._context.wall(), self._context.settings.lease
        return max(
            (
                max(float(row.values["lag"]), unread if unread > quiet else 0.0)
                for row in self.ready(rows)
                for unread in [now - float(row.values["read_at"])]
            ),
            default=0.0,
        )

    async def follow(self, hold: Hold, apply: Apply, is_current: Callable[[View], bool]) -> None:
        """Read and apply a shard to its end. Raises PositionLostError and LeaseLostError.

        Nothing is applied once `is_current` is false: then the epoch is another's. An error of
        `apply` ends the reading where it is; nothing is skipped.
        """
        shard = str(hold.values["shard"])
        database, patience = self._context.database, self._context.patience
        iterator: str | None = None
        saved_at = self._context.clock()
        await self._inherit(hold)
        while True:
            if hold.is_asked_back:
                await hold.release()
                return
            try:
                if iterator is None:
                    after = str(hold.values["after"]) or None
                    self._check_age(hold, after)
                    iterator = await patience.answer(
                        partial(database.open_shard, self.table, shard, after), before=hold.check
                    )
                asked_at = self._context.wall()
                batch: Batch = await patience.answer(
                    partial(database.read_shard, iterator, self._context.settings.batch),
                    before=hold.check,
                )
            except IteratorExpired:
                iterator = None  # opened again behind the last record that was applied
                continue
            except Trimmed as error:
                raise self._lost(f"{shard}: {error}") from None
            if batch.records:
                await self._apply(hold, batch.records, apply, is_current, asked_at)
                saved_at = self._context.clock()
            iterator = batch.next
            if iterator is None:
                await hold.release(done=True, read_at=asked_at, lag=0)
                return
            if not batch.records:
                if self._context.clock() - saved_at > self._context.settings.lease / 4:
                    await hold.save(read_at=asked_at, lag=0)
                    saved_at = self._context.clock()
                await self._context.sleep(self._context.settings.poll)

    async def _inherit(self, hold: Hold) -> None:
        """What its parent is past a shard is past too: all that it has was written later."""
        if hold.values["parent"] and not hold.values["after"]:
            parent = await self._control.read(f"{self.prefix}{hold.values['parent']}")
            passed = 0 if parent is None else int(parent.values["barrier"])
            if passed > int(hold.values["barrier"]):
                await hold.save(barrier=passed)

    async def _apply(
        self,
        hold: Hold,
        records: Sequence[Change],
        apply: Apply,
        is_current: Callable[[View], bool],
        asked_at: float,
    ) -> None:
        # After the records, before their application: see `_forward`.
        view = await self._control.view()
        if view is None or not is_current(view):
            raise LeaseLostError(hold.row.key)
        last = records[-1].sequence
        passed = int(hold.values["barrier"])
        records, number = behind_barriers(records, self.table.partition, passed)
        await apply(records, view, f"{hold.values['shard']}#{last}")
        lag = max(0, round(asked_at - records[-1].created_at))
        await hold.save(after=last, barrier=number, read_at=asked_at, lag=lag)

    def _check_age(self, hold: Hold, after: str | None) -> None:
        """Behind a record, trimming is an error; at the beginning of a shard it passes in silence:
        TRIM_HORIZON is simply later. So a beginning that was left unread for long is lost."""
        unread = self._context.wall() - float(hold.values["read_at"])
        if after is None and unread > self._context.settings.most_unread:
            hours = round(unread / 3600)
            raise self._lost(f"{hold.values['shard']} was not read for {hours} hours")

    def _lost(self, why: str) -> PositionLostError:
        return PositionLostError(self.table.name, self.epoch, why)


def _childless(rows: Iterable[Row], listed: Iterable[Shard]) -> list[str]:
    """Shards that were read to their end and have no child. Each gets one, as long as the stream is
    on; the list of shards may show it later than the end shows itself."""
    rows = list(rows)
    parents = {row.values["parent"] for row in rows} | {shard.parent for shard in listed}
    return [
        str(row.values["shard"])
        for row in rows
        if row.values["done"] and row.values["shard"] not in parents
    ]
