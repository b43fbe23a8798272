"""The control table: state, work, leases, quiet and the audit log, each a row with a version.

Owns compare-and-set of rows and what the rows mean. Every change is conditional on the very write
that was read, so of two processes one is first, and a request that lands late changes nothing; also
where the row was removed and made anew, and counts its versions from one again.

| key (`sk`) | what |
|---|---|
| `state#run` | phase, epoch, pause, what was lost |
| `state#module#<module>` | owner, fence, generation, phase, the last verification |
| `work#<epoch>#stream#<table>#<shard>` | a shard: parent, the last applied record, its lease |
| `work#<epoch>#copy#<segment>` | a segment of the backfill: where it goes on, its lease |
| `member#<name>` | a worker that is there, and since when |
| `quiet` | how often an answer was lost or a worker vanished |
| `touched#<verification>#<number>` | source keys that changed since a verification began |
| `quarantine#<key>` | what could not be placed, and writes where nobody should write |
| `audit#<number>` | what was done, by whom; each with the hash of the one before |
| `operator` | the lease of whoever gives a command, which one, and since when |
| `settings`, `doing#<name>`, `worker#<name>` | of the command line (`_settings.py`, `_presence.py`) |
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from deploy.migration._context import Context, Tell, silent
from deploy.migration._items import Item
from deploy.migration._ports import Change, ConditionFailed, Equal, Missing, Page
from deploy.migration.mapping import Cell
from libs.aws import marshal, unmarshal

SOURCE: Final = "source"
TARGET: Final = "target"

REPLICATING: Final = "REPLICATING"
COPYING: Final = "COPYING"
RUNNING: Final = "RUNNING"
POSITION_LOST: Final = "POSITION_LOST"
CANCELLED: Final = "CANCELLED"
VERIFIED: Final = "VERIFIED"
DRAINING: Final = "DRAINING"
SWITCHED: Final = "SWITCHED"
REVERSING: Final = "REVERSING"
COMPLETED: Final = "COMPLETED"

QUARANTINE: Final = "quarantine#"
"""What the keys of rows begin with that are in quarantine."""

_READ_OFTEN: Final = ("state#", "work#", "member#")

Values = Mapping[str, Any]


class ConflictError(Exception):
    """The row was changed by somebody else."""


@dataclass(frozen=True)
class Row:
    """A row of the control table as it was read. `written_by` names one write, and no other."""

    key: str
    version: int
    values: Values
    written_by: str


@dataclass(frozen=True)
class Run:
    """The migration as a whole. `lost` names the table whose stream was trimmed.

    `since` is the time of day at which the epoch began, before anything was read; `items` and `bytes`
    are what the plan found in the source; `copying_since` is a time of day. What `throttle` said takes
    the place of the settings where it is not 0: units a second that the copy takes of the source and of each
    target, and seconds of lag. A `rehearsal` is torn down, and switches nothing.
    `leftovers`: it was cancelled, and what it wrote is not removed yet.
    """

    phase: str
    epoch: int
    segments: int
    paused: bool = False
    lost: str = ""
    since: float = 0
    items: int = 0
    bytes: int = 0
    copying_since: float = 0
    read_units: float = 0
    write_units: float = 0
    max_lag: float = 0
    rehearsal: bool = False
    leftovers: bool = False


@dataclass(frozen=True)
class Module:
    """A module. `fence` is the token of a switch under way, "" when open.

    `generation` counts changes of owner. `verification` names the running or last one, of which
    `clean` says whether it found no difference. `stream_epoch` is of the way back. `since` is the
    time of day since when the owner is the owner, in this migration. `barrier` is of the last fence:
    behind it nobody who asked the gate writes any more.
    """

    name: str
    owner: str = SOURCE
    fence: str = ""
    generation: int = 0
    phase: str = RUNNING
    verification: str = ""
    clean: bool = False
    stream_epoch: int = 1
    lost: bool = False
    since: float = 0
    barrier: int = 0

    def opened(self) -> Module:
        """Without its fence, owned as before."""
        phase = self.phase
        if phase in (DRAINING, REVERSING):
            phase = RUNNING if self.owner == SOURCE else SWITCHED
        return replace(self, fence="", phase=phase)

    def is_behind(self, change: Change) -> bool:
        """Whether a record is from behind the barrier of the last fence."""
        return 0 < self.barrier <= change.passed


@dataclass(frozen=True)
class View:
    """What was true of the run and of every module at one moment."""

    run: Run
    modules: Mapping[str, Module]


class Control:
    """The control table of one migration, which is named by its source table."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._table = context.control
        self._partition = context.mapping.source.name
        self._known: dict[str, Row] = {}
        self._viewed: tuple[list[Row], View | None] = ([], None)

    # --- rows -----------------------------------------------------------------------------------

    async def read(self, key: str) -> Row | None:
        """A row."""
        database = self._context.database
        item = await self._context.patience.answer(
            lambda: database.get(self._table, self._cell(key))
        )
        return None if item is None else self._row(item)

    async def rows(self, prefix: str) -> list[Row]:
        """All rows whose key begins so, in order."""
        found: list[Row] = []
        start: Item | None = None
        while True:
            page = await self._context.patience.answer(partial(self._page, prefix, start))
            found += map(self._row, page.items)
            start = page.next
            if start is None:
                return found

    def _row(self, item: Item) -> Row:
        """The rows that are read again and again are seldom another than before."""
        key = str(item[self._sort]["S"])
        if not key.startswith(_READ_OFTEN):
            return _row(item, self._sort)
        known = self._known.get(key)
        if known is None or known.written_by != item["w"]["S"]:
            known = self._known[key] = _row(item, self._sort)
        return known

    async def _page(self, prefix: str, start: Item | None) -> Page:
        database = self._context.database
        return await database.query(self._table, self._partition, prefix, start)

    async def write(self, key: str, values: Values, previous: Row | None) -> Row:
        """Write a row that is still as `previous`, None for one that is not there.

        Raises ConflictError. An answer that was lost is asked for again: the row tells who wrote it.
        """
        version = 1 if previous is None else previous.version + 1
        writer = self._context.token()
        row = Row(key, version, values, writer)
        condition = (
            Missing((self._table.partition,))
            if previous is None
            else Equal(("w",), {"S": previous.written_by})
        )
        item = {
            **self._table.key(self._cell(key)),
            **marshal({"v": version, "w": writer, "values": dict(values)}),
        }

        async def attempt() -> None:
            try:
                await self._context.database.put(self._table, item, condition)
            except ConditionFailed as failed:
                if failed.item is None or _row(failed.item, self._sort).written_by != writer:
                    raise ConflictError(key) from None

        await self._context.patience.answer(attempt)
        return row

    async def remove(self, row: Row) -> None:
        """Remove a row that is still as it was read. Raises ConflictError."""
        database = self._context.database
        as_it_was = Equal(("w",), {"S": row.written_by})
        try:
            await self._context.patience.answer(
                lambda: database.delete(self._table, self._cell(row.key), as_it_was)
            )
        except ConditionFailed as failed:
            if failed.item is not None:
                raise ConflictError(row.key) from None

    async def update(
        self, key: str, change: Callable[[Values | None], Values | None]
    ) -> Row | None:
        """Write what `change` makes of a row, as often as somebody else is first.

        `change` gives None where nothing is to be written; then so does this.
        """
        while True:
            row = await self.read(key)
            values = change(None if row is None else row.values)
            if values is None:
                return None
            try:
                return await self.write(key, values, row)
            except ConflictError:
                continue

    # --- state ----------------------------------------------------------------------------------

    async def view(self) -> View | None:
        """The run and its modules; None before it was started."""
        rows = await self.rows("state#")
        if rows != self._viewed[0]:
            self._viewed = rows, _view(rows)
        return self._viewed[1]

    async def module(self, name: str) -> tuple[Row, Module]:
        """A module and its row."""
        row = await self.read(f"state#module#{name}")
        if row is None:
            raise LookupError(f"{name} is no module of this migration")
        return row, Module(**row.values)

    async def write_module(self, row: Row, module: Module) -> Row:
        """Change a module. Raises ConflictError."""
        return await self.write(row.key, vars(module), row)

    async def update_module(self, name: str, change: Callable[[Module], Module]) -> Module:
        """Change a module, whoever else changes it."""
        row = await self.update(
            f"state#module#{name}", lambda values: vars(change(Module(**(values or {}))))
        )
        assert row is not None
        return Module(**row.values)

    async def end_fence(self, fenced: Module, cell: Cell) -> None:
        """Take away the fence that was seen, because somebody has written behind its barrier. It
        competes with the flip: of the two one is carried out."""
        row, module = await self.module(fenced.name)
        if module.fence == fenced.fence:
            try:
                await self.write_module(row, module.opened())
            except ConflictError:
                return
            await self.audit("fence ended by a late write", module=module.name, key=str(cell))

    async def update_run(self, change: Callable[[Run], Run | None]) -> bool:
        """Change the run, where `change` gives anything; whether it did."""

        def changed(values: Values | None) -> Values | None:
            run = None if values is None else change(Run(**values))
            return None if run is None else vars(run)

        return await self.update("state#run", changed) is not None

    # --- quiet ----------------------------------------------------------------------------------

    async def disturb(self) -> None:
        """Write down that a request may be on its way that nobody waits for."""
        await self.update("quiet", lambda values: {"n": (values or {"n": 0})["n"] + 1})

    async def disturbances(self) -> int:
        """How often that was so."""
        row = await self.read("quiet")
        return 0 if row is None else int(row.values["n"])

    # --- quarantine and touched keys ------------------------------------------------------------

    async def quarantine(self, cell: Cell, why: str) -> None:
        """Keep a key that needs a person."""
        await self.update(f"{QUARANTINE}{cell}", lambda _: {"why": why, "at": self._context.wall()})

    async def touched(self, verification: str, number: str, cells: set[Cell]) -> None:
        """Keep source keys that changed since a verification began."""
        keys = [[cell.partition, cell.sort] for cell in sorted(cells, key=str)]
        await self.update(f"touched#{verification}#{number}", lambda _: {"keys": keys})

    async def all_touched(self, verification: str) -> set[Cell]:
        """All of them."""
        source = self._context.mapping.source.name
        return {
            Cell(source, partition, sort)
            for row in await self.rows(f"touched#{verification}#")
            for partition, sort in row.values["keys"]
        }

    # --- audit ----------------------------------------------------------------------------------

    async def audit(self, event: str, **details: object) -> None:
        """Append to the log. Each entry has the hash of the one before it."""
        while True:
            entries = await self.rows("audit#")
            before = str(entries[-1].values["hash"]) if entries else ""
            entry = {
                "at": self._context.wall(),
                "by": self._context.name,
                "event": event,
                "details": json.dumps(details, sort_keys=True, default=str),
                "before": before,
            }
            try:
                await self.write(
                    f"audit#{len(entries):010d}", {**entry, "hash": _hash(entry)}, None
                )
            except ConflictError:
                continue
            return

    async def audit_log(self) -> list[Values]:
        """The log. Raises ValueError where an entry was changed, removed or put in."""
        before = ""
        log: list[Values] = []
        for number, row in enumerate(await self.rows("audit#")):
            entry = {name: value for name, value in row.values.items() if name != "hash"}
            wrong = (
                row.key != f"audit#{number:010d}"
                or entry["before"] != before
                or row.values["hash"] != _hash(entry)
            )
            if wrong:
                raise ValueError(f"the audit log was changed at entry {number}")
            before = str(row.values["hash"])
            log.append(entry)
        return log

    def _cell(self, key: str) -> Cell:
        return Cell(self._table.name, self._partition, key)

    @property
    def _sort(self) -> str:
        assert self._table.sort is not None
        return self._table.sort


def _hash(entry: Values) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()


def _view(rows: Sequence[Row]) -> View | None:
    run: Run | None = None
    modules: dict[str, Module] = {}
    for row in rows:
        if row.key == "state#run":
            run = Run(**row.values)
        else:
            module = Module(**row.values)
            modules[module.name] = module
    return None if run is None else View(run, modules)


def _row(item: Mapping[str, Mapping[str, Any]], sort: str) -> Row:
    values = unmarshal(item)
    return Row(values[sort], values["v"], values["values"], values["w"])


class Quiet:
    """Whether a process has seen nothing disturbed for `settle` seconds, by its own clock."""

    def __init__(self, context: Context, control: Control) -> None:
        self._context = context
        self._control = control
        self._seen: tuple[int, float] | None = None

    async def observe(self) -> bool:
        """Look now; whether it has been quiet for long enough."""
        now = self._context.clock()
        count = await self._control.disturbances()
        if self._seen is None or self._seen[0] != count:
            self._seen = (count, self._context.clock())
            return False
        return now - self._seen[1] >= self._context.settings.settle

    async def wait(self, tell: Tell = silent) -> None:
        """Until it has been."""
        settings = self._context.settings
        while not await self.observe():
            assert self._seen is not None
            waited = self._context.clock() - self._seen[1]
            tell("waiting until it is quiet", waited, settings.settle)
            left = max(settings.settle - waited, settings.poll)
            await self._context.sleep(min(left, settings.poll * 10))


class LeaseLostError(Exception):
    """The work is, or may be, somebody else's by now."""


class Hold:
    """A leased row. Nothing may be done for it after `check` has raised."""

    def __init__(self, context: Context, control: Control, row: Row, taken_at: float) -> None:
        self._context = context
        self._control = control
        self._renewed(taken_at)
        self._turn = asyncio.Lock()
        self.row = row
        self.is_asked_back = False
        """Whoever works with it is to release it at its next safe place."""

    @property
    def values(self) -> Values:
        return self.row.values

    def check(self) -> None:
        """Raise LeaseLostError where the lease may have run out."""
        if self._context.clock() >= self._until:
            raise LeaseLostError(self.row.key)

    async def save(self, **changes: object) -> None:
        """Change the row and renew the lease. Raises LeaseLostError."""
        async with self._turn:
            self.check()
            # The lease counts from before the request: whoever watches the row sees it later.
            began = self._context.clock()
            values = {**self.row.values, **changes}
            try:
                self.row = await self._control.write(self.row.key, values, self.row)
            except ConflictError:
                self._until = began
                raise LeaseLostError(self.row.key) from None
            self._renewed(began)

    async def keep(self) -> None:
        """Renew the lease, where nothing else was saved, until it is lost or given back; meant to
        run beside the work."""
        while True:
            wait = self._renewed_at + self._context.settings.lease / 4 - self._context.clock()
            if wait > 0.0:
                await self._context.sleep(wait)
                continue
            try:
                # Cancelled in the middle, it would leave a write on its way, on which a `release`
                # that follows fails.
                await asyncio.shield(self.save())
            except LeaseLostError:
                return

    async def release(self, **changes: object) -> None:
        """Give the row back: nothing of ours is on its way. Raises LeaseLostError."""
        await self.save(owner="", **changes)
        self._until = self._context.clock()

    def _renewed(self, at: float) -> None:
        self._renewed_at = at
        self._until = at + self._context.settings.lease * 0.7


class Leases:
    """Takes leased rows, and those of owners that have not been heard of."""

    def __init__(self, context: Context, control: Control) -> None:
        self._context = context
        self._control = control
        self._seen: dict[str, tuple[str, float]] = {}

    async def take(self, row: Row, **changes: object) -> Hold | None:
        """The row leased to us, and changed; None while somebody else has it."""
        owner = row.values.get("owner", "")
        if owner and not self.is_silent(row):
            return None
        if owner:
            # Whoever had it may have requests on their way.
            await self._control.disturb()
        began = self._context.clock()
        try:
            taken = await self._control.write(
                row.key, {**row.values, "owner": self._context.name, **changes}, row
            )
        except ConflictError:
            return None
        self._seen.pop(row.key, None)
        return Hold(self._context, self._control, taken, began)

    def is_silent(self, row: Row) -> bool:
        """Whether nobody has changed the row for the time of a lease, while this was asked."""
        now = self._context.clock()
        # Not the version: a row that was removed and made anew counts from one again.
        write, since = self._seen.get(row.key, ("", now))
        if write != row.written_by:
            self._seen[row.key] = (row.written_by, now)
            return False
        return now - since >= self._context.settings.lease
