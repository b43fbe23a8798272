"""What an operator does with a migration. Each command can be killed at any moment and run again.

Owns the states and the order of a switch's steps. Every step is written in the audit log before it
is made, and can be made twice. Work is the workers'; a command only waits for it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial

from deploy.migration._back import Back
from deploy.migration._barrier import BarrierError, barrier, next_number, remove_sentinels
from deploy.migration._cells import Cells
from deploy.migration._context import Context, Tell, silent
from deploy.migration._control import (
    CANCELLED,
    COMPLETED,
    COPYING,
    DRAINING,
    POSITION_LOST,
    QUARANTINE,
    REPLICATING,
    REVERSING,
    RUNNING,
    SOURCE,
    SWITCHED,
    TARGET,
    VERIFIED,
    ConflictError,
    Control,
    Hold,
    LeaseLostError,
    Leases,
    Module,
    Quiet,
    Row,
    Run,
    View,
)
from deploy.migration._copy import Pace, prefix
from deploy.migration._forward import together
from deploy.migration._items import MARK, Item, live, mark_of
from deploy.migration._shards import Stream
from deploy.migration._sweep import (
    NotQuietError,
    end_old_epochs,
    is_tombstone,
    pages,
    remove_marks,
    remove_rows,
    remove_tombstones,
    sweep,
)
from deploy.migration._tables import check_tables
from deploy.migration._verify import Standing, Verification, Verifier
from deploy.migration.mapping import Cell, Origin, Target
from deploy.migration.planning import Survey, check_mapping, survey_table


class RefusedError(Exception):
    """The command would not be safe, or not make sense, now. `reasons`: all of them, a line each."""

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class BadInputError(RefusedError):
    """It can not be done with this mapping, these tables, these rights or this stream."""


class AbortedError(Exception):
    """A switch that was begun was given up; the owner is as before and the fence is gone."""


_ROUNDS = 5
"""Where so much is written that each leaves as much, the fence comes after these."""

_FEW = 10
"""So many are compared behind the fence without another round."""

_COMMANDS = {TARGET: "switch", SOURCE: "reverse"}
_UNDER_WAY = {
    True: "a rehearsal is under way: `rehearse` goes on with it, `cancel` ends it",
    False: "a migration is under way: there is nothing to rehearse",
}
_FENCE_ENDED = (
    "its fence was ended: by the application, for which it stood too long, or by a worker, because"
    " somebody has written behind it (`audit` says which)"
)
_GIVEN_UP = (
    AbortedError,
    BarrierError,
    NotQuietError,
    LeaseLostError,
    ConflictError,
    TimeoutError,
)


@dataclass(frozen=True)
class Progress:
    """How far a migration is. `copied_bytes` as `items`, of what the plan found (`run`); `lags` in
    seconds by table whose stream is read; `quarantine` the reasons by key."""

    phase: str
    run: Run
    segments_done: int
    items: int
    copied_bytes: int
    lags: Mapping[str, float]
    waits: tuple[str, ...]
    quarantine: Mapping[str, str]
    modules: tuple[Module, ...]

    @property
    def lag(self) -> float:
        """Of the source."""
        return next(iter(self.lags.values()), 0.0)


class Migration:
    """The commands, for one operator."""

    def __init__(self, context: Context, *, tell: Tell = silent, wait: bool = False) -> None:
        """`tell` hears what is being done; with `wait` another operator is waited for."""
        self._context = context
        self._mapping = context.mapping
        self._tell = tell
        self._waits = wait
        self.control = Control(context)
        self._quiet = Quiet(context, self.control)

    # --- before anything is changed -------------------------------------------------------------

    async def plan(self) -> Survey:
        """Everything that stands in the way, at once; changes nothing."""
        survey = check_mapping(self._mapping)
        facts = await check_tables(self._context, survey)
        readable = {name for name, known in facts.items() if known.is_readable}
        for target in self._mapping.targets:
            if target.table.name in readable:
                await self._check_empty(target, survey)
        source = self._mapping.source
        if source.name in readable:
            expected = facts[source.name].facts.items

            def tell(count: int) -> None:
                self._tell(f"reading {source.name}", count, max(expected, count))

            await survey_table(self._mapping, pages(self._context, source, tell), survey)
        return survey

    async def start(self, *, rehearsal: bool = False) -> Survey | None:
        """Begin: streams are read from now on, then the backfill. Gives what `plan` found, None
        where it had begun. Raises BadInputError with everything that `plan` found."""
        names = [target.module for target in self._mapping.targets]
        rows = await self._present(names)
        if not _may_begin(rows["state#run"], rehearsal):
            return None
        survey = await self.plan()
        if survey.problems:
            raise BadInputError(*survey.lines())
        async with self._operator("start"):
            # Written as they were read before the plan: two that started at once begin once.
            if not _may_begin(await self.control.read("state#run"), rehearsal):
                return None
            await self.control.audit("start", rehearsal=rehearsal)
            for row in await self.control.rows(QUARANTINE):
                await self.control.remove(row)  # of the one that was cancelled
            await self.control.update("settings", lambda _: asdict(self._context.settings))
            last = rows["state#run"]
            # A new epoch: what was written for the one that was cancelled is older.
            run = Run(
                REPLICATING,
                1 if last is None else last.values["epoch"] + 1,
                self._context.settings.segments,
                since=self._context.wall(),
                items=survey.items,
                bytes=survey.bytes,
                rehearsal=rehearsal,
            )
            try:
                for name in names:
                    before = rows[f"state#module#{name}"]
                    epoch = 1 if before is None else before.values["stream_epoch"] + 1
                    module = Module(name, stream_epoch=epoch, since=self._context.wall())
                    await self.control.write(f"state#module#{name}", vars(module), before)
                await self.control.write("state#run", vars(run), last)
            except ConflictError:
                raise RefusedError("somebody else was starting it: run it again") from None
            return survey

    async def _present(self, modules: Sequence[str]) -> dict[str, Row | None]:
        keys = ("state#run", *(f"state#module#{name}" for name in modules))
        if (
            await self._context.patience.answer(
                lambda: self._context.database.describe(self._context.control)
            )
            is None
        ):
            return dict.fromkeys(keys)  # that there is no control table is for the plan to say
        return {key: await self.control.read(key) for key in keys}

    # --- while it runs --------------------------------------------------------------------------

    async def copied(self) -> None:
        """Wait until the backfill has drained and nothing of earlier epochs is left.

        Raises RefusedError when the position is lost.
        """
        async with self._operator("copy") as hold:
            while True:
                view = await self._view()
                _refuse_lost(view)
                if view.run.phase == CANCELLED:
                    raise RefusedError("the migration is cancelled")
                if view.run.phase == RUNNING:
                    return
                segments = await self.control.rows(prefix(view.run.epoch))
                if segments and all(row.values["done"] for row in segments):
                    break
                self._tell_copied(view, segments)
                await self._context.sleep(self._context.settings.poll)
                hold.check()
            for target in self._mapping.targets:
                module = view.modules[target.module]
                if view.run.epoch > 1 and module.owner == SOURCE:
                    await end_old_epochs(
                        self._context, self.control, target.table, view.run.epoch, self._quiet,
                        adopt=module.generation > 0, tell=self._tell,
                    )  # fmt: skip
            hold.check()
            await self.control.audit("copied", epoch=view.run.epoch)
            await self.control.update_run(
                lambda run: (
                    replace(run, phase=RUNNING)
                    if (run.phase, run.epoch) == (COPYING, view.run.epoch)
                    else None
                )
            )

    def _tell_copied(self, view: View, segments: Sequence[Row]) -> None:
        items = sum(int(row.values["items"]) for row in segments)
        waits = sorted({str(row.values["waits"]) for row in segments} - {""})
        what = "waiting for a worker" if not segments else "; ".join(["copying", *waits])
        self._tell(what, items, max(view.run.items, items) if segments else 0)

    async def pause(self, *, paused: bool = True) -> None:
        """Hold the backfill, or let it go on; replication always goes on."""
        await self._view()
        await self.control.audit("pause" if paused else "resume")
        await self.control.update_run(lambda run: replace(run, paused=paused))

    async def throttle(
        self,
        *,
        read_units: float | None = None,
        write_units: float | None = None,
        max_lag: float | None = None,
    ) -> None:
        """How much the copy may take, see `Run`; 0 is as the settings say, None leaves it."""
        await self._view()
        given = {"read_units": read_units, "write_units": write_units, "max_lag": max_lag}
        changes = {name: value for name, value in given.items() if value is not None}
        await self.control.audit("throttle", **changes)
        await self.control.update_run(lambda run: replace(run, **changes))  # type: ignore[arg-type]

    async def resync(self) -> None:
        """After a lost position: read the streams from where they are now, and copy again."""
        async with self._operator("resync"):
            view = await self._view()
            await self.control.disturb()  # by who still works in the old epoch
            if view.run.phase == POSITION_LOST:
                await self.control.audit("resync", epoch=view.run.epoch + 1)
                for name in view.modules:
                    # What was touched meanwhile is not known.
                    await self.control.update_module(name, _unverified)
                await self.control.update_run(
                    lambda run: (
                        replace(
                            run,
                            phase=REPLICATING,
                            epoch=run.epoch + 1,
                            lost="",
                            since=self._context.wall(),
                        )
                        if run.phase == POSITION_LOST
                        else None
                    )
                )
            for target in self._mapping.targets:
                if view.modules[target.module].lost:
                    await self._resync_back(target)

    async def verify(self, module: str, *, repair: bool = False) -> Verification:
        """Compare a module's rows with the source; with `repair`, until nothing differs."""
        async with self._operator(f"verify {module}"):
            view = await self._copied_view()
            verifier = self._verifier(view, module)
            await self.control.audit("verify", module=module, repair=repair)
            found = await verifier.verify()
            if repair and not found.is_clean:
                await verifier.repair(found.differences)
                found = await verifier.verify()
            if found.is_clean:
                await self.control.update_module(
                    module,
                    lambda row: replace(row, phase=VERIFIED) if row.phase == RUNNING else row,
                )
            return found

    async def progress(self) -> Progress:
        """How far it is."""
        view = await self._view()
        segments = await self.control.rows(prefix(view.run.epoch))
        # Of a module that is completed nobody reads the way back any more.
        ways_back = [name for name, row in view.modules.items() if row.phase != COMPLETED]
        streams = [self._source(view), *(self._back(view, name) for name in ways_back)]
        return Progress(
            phase="PAUSED" if view.run.paused and view.run.phase == COPYING else view.run.phase,
            run=view.run,
            segments_done=sum(bool(row.values["done"]) for row in segments),
            items=sum(int(row.values["items"]) for row in segments),
            copied_bytes=sum(int(row.values["bytes"]) for row in segments),
            lags={stream.table.name: stream.lag(await stream.rows()) for stream in streams},
            waits=tuple(sorted({str(row.values["waits"]) for row in segments} - {""})),
            quarantine={
                row.key.removeprefix(QUARANTINE): str(row.values["why"])
                for row in await self.control.rows(QUARANTINE)
            },
            modules=tuple(view.modules[target.module] for target in self._mapping.targets),
        )

    async def forgive(self, key: str) -> None:
        """Take a key out of quarantine."""
        row = await self.control.read(f"{QUARANTINE}{key.removeprefix(QUARANTINE)}")
        if row is None:
            raise RefusedError(f"{key} is not in quarantine")
        await self.control.audit("forgive", key=key, why=row.values["why"])
        await self.control.remove(row)

    # --- the switch and the way back ------------------------------------------------------------

    async def obstacles(self, module: str, owner: str) -> list[str] | None:
        """What stands in the way of that owner now, all of it; None where it is the owner. Changes
        nothing. Raises RefusedError."""
        view = await self._copied_view()
        if view.modules[module].owner == owner:
            return None
        return await self._reasons(view, view.modules[module])

    async def switch(self, module: str) -> float | None:
        """Make the module's own table its owner; gives the seconds that its requests waited at most,
        None where it was the owner. Raises RefusedError and AbortedError."""
        return await self._change_owner(module, TARGET)

    async def reverse(self, module: str) -> float | None:
        """As `switch`: the source is its owner again; nothing that the new owner wrote is lost."""
        return await self._change_owner(module, SOURCE)

    async def complete(self, module: str) -> None:
        """The one step without a way back: the source is no longer kept up."""
        async with self._operator(f"complete {module}"):
            await self._take_fence_away(module)
            if not await self.may_complete(module):
                return
            await self.control.audit("complete", module=module)
            await self.control.update_module(module, lambda row: replace(row, phase=COMPLETED))
            await remove_sentinels(self._context, self._mapping.target(module).table)

    async def may_complete(self, module: str) -> bool:
        """Whether there is anything to complete. Raises RefusedError where it may not be."""
        found = (await self._view()).modules[module]
        if found.phase == COMPLETED:
            return False
        if found.owner != TARGET:
            raise RefusedError(f"{module} is not switched")
        return True

    async def may_cancel(self) -> None:
        """Raises RefusedError while a module is switched."""
        view = await self._view()
        switched = [name for name, row in view.modules.items() if row.owner != SOURCE]
        if switched:
            raise RefusedError(*(f"{name} is switched: reverse it first" for name in switched))

    async def cancel(self) -> None:
        """End the migration and remove all that it wrote: in the targets, and the marks that a way
        back left in the source. Raises RefusedError when a module is switched."""
        async with self._operator("cancel"):
            for target in self._mapping.targets:
                await self._take_fence_away(target.module)
            await self.may_cancel()
            await self.control.audit("cancel")
            await self.control.update_run(lambda run: replace(run, phase=CANCELLED, leftovers=True))
            await self.control.disturb()  # by workers that have not heard of it
            await self._quiet.wait(self._tell)
            view = await self._view()
            quarantine = {
                row.key.removeprefix(QUARANTINE) for row in await self.control.rows(QUARANTINE)
            }
            pace = Pace(self._context)
            pace.follow(view.run, 1)
            for target in self._mapping.targets:
                was_owner = view.modules[target.module].generation > 0
                await remove_rows(
                    self._context, self.control, target.table, pace,
                    is_ours=partial(self._is_ours, target, was_owner, quarantine), tell=self._tell,
                )  # fmt: skip
                await remove_sentinels(self._context, target.table)
            source = self._mapping.source
            await remove_marks(
                self._context, self.control, source, pace, view.run.items, self._tell
            )
            await remove_sentinels(self._context, source)
            await self.control.update_run(lambda run: replace(run, leftovers=False))

    def _is_ours(self, target: Target, was_owner: bool, quarantine: Set[str], item: Item) -> bool:
        """Whether a cancelled migration wrote it, or its table while it was the owner: that was
        replicated back. What is in quarantine is somebody's."""
        if mark_of(item) is not None:
            return True
        cell = target.table.cell(item)
        is_of_a_rule = isinstance(self._mapping.origin(cell), Origin)
        return was_owner and is_of_a_rule and str(cell) not in quarantine

    async def _change_owner(self, name: str, owner: str) -> float | None:
        async with self._operator(f"{_COMMANDS[owner]} {name}") as hold:
            await self._copied_view()
            await self._take_fence_away(name)
            view = await self._copied_view()
            module = view.modules[name]
            if module.owner == owner:
                return None
            reasons = await self._reasons(view, module)
            if reasons:
                raise RefusedError(*reasons)
            feed, follower = self._follower(view, module)
            # What a killed worker holds is taken over now, and that is waited for, while no user is.
            await self._pass_barriers(view, name)
            if not await self._quiet.observe():
                await self._quiet.wait(self._tell)
            await self._sweep(name, follower, feed)
            await self._compare_touched(view, name, feed, follower)
            hold.check()
            await self.control.audit("fence", module=name, to=owner)
            fenced_at = self._context.clock()
            fenced = await self._fence(name, DRAINING if owner == TARGET else REVERSING)
            try:
                await self._behind_the_fence(view, fenced, feed, follower)
                hold.check()
                await self.control.audit("flip", module=name, to=owner)
                await self._flip(fenced, owner)
            except BaseException as error:
                # Whatever it was, users wait for nothing. A flip that is still on its way competes
                # with this: one of the two is carried out.
                await self._open(fenced)
                if not isinstance(error, _GIVEN_UP):
                    raise
                why = str(error) or "replication did not drain in time"
                if isinstance(error, ConflictError):
                    why = _FENCE_ENDED
                await self.control.audit("aborted", module=name, why=why)
                raise AbortedError(why) from error
            pause = self._context.clock() - fenced_at
            await self.control.audit("flipped", module=name, to=owner, pause=round(pause, 3))
            return pause

    async def _reasons(self, view: View, module: Module) -> list[str]:
        """What stands in the way of changing the owner, all of it."""
        if module.phase == COMPLETED:
            return [f"{module.name} is completed: there is no way back"]
        reasons = []
        if view.run.rehearsal:
            reasons.append("this is a rehearsal: nothing is switched")
        if not module.clean:
            reasons.append(f"{module.name} was not verified, or differed (`verify {module.name}`)")
        if module.lost:
            reasons.append(f"the position in the stream of {module.name}'s table is lost")
        reasons += [
            f"in quarantine: {row.key.removeprefix(QUARANTINE)}: {row.values['why']}"
            for row in await self.control.rows(QUARANTINE)
        ]
        bound = self._context.settings.max_lag_to_switch
        for stream in (self._source(view), self._back(view, module.name)):
            if not await stream.is_discovered():
                reasons.append(f"the stream of {stream.table.name} is not read yet")
            lag = stream.lag(await stream.rows())
            if lag > bound:
                reasons.append(f"replication of {stream.table.name} is {round(lag)} s behind")
        return reasons

    async def _take_fence_away(self, name: str) -> None:
        """Of an operator that is gone: users wait for nothing. Its flip, should it still be on its
        way, is conditional on the row that this changes."""
        if (await self._view()).modules[name].fence:
            await self.control.update_module(name, Module.opened)

    async def _fence(self, name: str, phase: str) -> tuple[Row, Module]:
        """Fence a module; an earlier fence, of an operator that is gone, is replaced."""
        number = await next_number(self.control)
        while True:
            row, module = await self.control.module(name)
            fenced = replace(module, fence=self._context.token(), phase=phase, barrier=number)
            try:
                return await self.control.write_module(row, fenced), fenced
            except ConflictError:
                continue

    async def _behind_the_fence(
        self, view: View, fenced: tuple[Row, Module], feed: Stream, follower: Target | None
    ) -> None:
        """Until nothing of the module moves: requests end, replication drains, what was touched is
        compared, tombstones go."""
        _, module = fenced
        settings = self._context.settings
        self._tell("requests wait; those under way end", 0, 0)
        await self._context.sleep(settings.gate_lease + settings.longest_request)
        self._tell("requests wait; replication drains", 0, 0)
        async with asyncio.timeout(settings.fence):
            # Through the follower's stream too: what was written there should be nobody's, and is
            # told before it could become the owner's.
            await self._pass_barriers(view, module.name, module.barrier)
        touched = await self.control.all_touched(module.verification)
        self._tell(f"requests wait; {len(touched)} touched items are compared", 0, 0)
        verifier = self._verifier(view, module.name)
        standing = await verifier.standing(touched)
        differences = await verifier.compare(standing)
        if differences:
            raise AbortedError("; ".join(map(str, differences[:5])))
        async with asyncio.timeout(settings.fence):
            await self._remove_tombstones(standing, feed, follower, wait=False)
        if not await self._quiet.observe():
            raise NotQuietError("an answer was lost or a worker vanished a short time ago")
        if await self.control.rows(QUARANTINE):
            raise AbortedError("a key went into quarantine")

    async def _pass_barriers(self, view: View, name: str, number: int | None = None) -> None:
        """A barrier through the source's stream and the module's own."""
        await together(
            [
                barrier(self._context, self.control, stream, number)
                for stream in (self._source(view), self._back(view, name))
            ],
            at_once=2,
        )

    async def _compare_touched(
        self, view: View, name: str, feed: Stream, follower: Target | None
    ) -> None:
        """Compare what was touched since the verification, as often as that is much or a round leaves
        less than half of it: behind the fence it would make users wait. Raises RefusedError where
        something differs."""
        most = self._context.settings.touched_to_switch
        before = math.inf
        for _ in range(_ROUNDS):
            _, module = await self.control.module(name)
            touched = await self.control.all_touched(module.verification)
            if len(touched) <= min(most, _FEW) or before / 2 <= len(touched) <= most:
                return
            before = len(touched)
            begun = self._context.token()
            # Should this process die, what was touched under the old name was not compared.
            await self.control.update_module(
                name,
                lambda row, begun=begun: replace(row, verification=begun, clean=False),  # type: ignore[misc]
            )
            await barrier(self._context, self.control, feed)
            touched |= await self.control.all_touched(module.verification)
            self._tell(f"comparing {len(touched)} items that were touched since", 0, 0)
            verifier = self._verifier(view, name)
            standing = await verifier.standing(touched)
            differences = await verifier.compare_moving(standing, feed, begun)
            if differences:
                raise RefusedError(*map(str, differences[:5]))
            await self._remove_tombstones(standing, feed, follower, wait=True)
            await self.control.update_module(
                name,
                lambda row, begun=begun: (  # type: ignore[misc]
                    replace(row, clean=True) if row.verification == begun else row
                ),
            )

    async def _remove_tombstones(
        self, standing: Standing, feed: Stream, follower: Target | None, *, wait: bool
    ) -> None:
        """Those of the follower in these cells."""
        if follower is not None:
            table = follower.table
            items = [entry for rows in standing.values() for entry in rows.items()]
        else:
            table = self._mapping.source
            items = []
            cells = list(standing)
            for start in range(0, len(cells), 100):
                chunk = cells[start : start + 100]
                found = await self._context.patience.answer(
                    partial(self._context.database.get_many, table, chunk)
                )
                items += found.items()
        tombstones = [(cell, item) for cell, item in items if is_tombstone(item)]
        await remove_tombstones(
            self._context, self.control, table, tombstones, feed, self._quiet, wait=wait,
            tell=self._tell,
        )  # fmt: skip

    async def _flip(self, fenced: tuple[Row, Module], owner: str) -> None:
        """Change the owner if the fence still stands. Raises ConflictError."""
        row, module = fenced
        phase = SWITCHED if owner == TARGET else RUNNING
        await self.control.write_module(
            row,
            replace(
                module, owner=owner, fence="", phase=phase, generation=module.generation + 1,
                verification="", clean=False, since=self._context.wall(),
            ),
        )  # fmt: skip

    async def _open(self, fenced: tuple[Row, Module]) -> None:
        row, module = fenced
        try:
            await self.control.write_module(row, module.opened())
        except ConflictError:
            return  # the application was first

    # --- parts ----------------------------------------------------------------------------------

    def _follower(self, view: View, module: Module) -> tuple[Stream, Target | None]:
        """The stream that feeds whoever is not the owner, and the target where that is it."""
        if module.owner == SOURCE:
            return self._source(view), self._mapping.target(module.name)
        return self._back(view, module.name), None

    async def _sweep(self, module: str, target: Target | None, feed: Stream) -> None:
        """The follower's tombstones; of the source those that this module's table feeds."""
        table = self._mapping.source if target is None else target.table
        rules = [rule for rule in self._mapping.rules if rule.target.module == module]

        def only(cell: Cell) -> bool:
            return target is not None or any(self._mapping.is_like(rule, cell) for rule in rules)

        await sweep(
            self._context, self.control, table, feed, self._quiet, only=only, tell=self._tell
        )

    async def _resync_back(self, target: Target) -> None:
        """A new epoch of a module's way back: every item is brought up to date once."""
        await self.control.audit("resync", module=target.module)
        module = await self.control.update_module(
            target.module,
            lambda row: (
                replace(_unverified(row), stream_epoch=row.stream_epoch + 1, lost=False)
                if row.lost
                else row
            ),
        )
        view = await self._view()
        stream = self._back(view, target.module)
        while not await stream.is_discovered():
            await self._context.sleep(self._context.settings.poll)
        if module.owner == SOURCE:
            return
        cells = Cells(self._context, self.control)
        back = Back(self._context, self.control, cells, target)
        read = partial(_tell_count, self._tell, f"bringing {self._mapping.source.name} up to date")
        async for page in pages(self._context, target.table, read):
            for item in page:
                origin = self._mapping.origin(target.table.cell(item))
                if isinstance(origin, Origin):
                    await back.bring(origin.rule, origin.source)
        async for page in pages(self._context, self._mapping.source, read):
            for item in page:
                cell = self._mapping.source.cell(item)
                rule = None if live(item) is None else self._mapping.place(item).rule
                if rule is not None and rule.target == target:
                    await back.bring(rule, cell)

    def _source(self, view: View) -> Stream:
        return Stream(self._context, self.control, self._mapping.source, view.run.epoch)

    def _back(self, view: View, module: str) -> Stream:
        epoch = view.modules[module].stream_epoch
        table = self._mapping.target(module).table
        return Stream(self._context, self.control, table, epoch)

    def _verifier(self, view: View, module: str) -> Verifier:
        target = self._mapping.target(module)
        return Verifier(
            self._context, self.control, target, self._source(view), self._back(view, module),
            expected=view.run.items, tell=self._tell,
        )  # fmt: skip

    async def _view(self) -> View:
        view = await self.control.view()
        if view is None:
            raise RefusedError("the migration was not started")
        return view

    async def _copied_view(self) -> View:
        view = await self._view()
        _refuse_lost(view)
        if view.run.phase != RUNNING:
            raise RefusedError(f"the migration is {view.run.phase}, not {RUNNING}")
        return view

    async def _check_empty(self, target: Target, survey: Survey) -> None:
        async for page in pages(self._context, target.table):
            for item in page:
                cell: Cell = target.table.cell(item)
                if isinstance(self._mapping.origin(cell), Origin):
                    survey.problem(
                        f"{target.table.name} is not empty: {cell} is "
                        + (
                            "an earlier migration's (`cancel` of that removes it)"
                            if MARK in item
                            else "somebody's (empty the table, or say in the mapping that it stays)"
                        )
                    )
                    return

    @asynccontextmanager
    async def _operator(self, command: str) -> AsyncIterator[Hold]:
        """One operator at a time. Raises RefusedError with whoever holds the lease, since when."""
        hold = await self._lease(command)
        keeping = asyncio.create_task(hold.keep())
        try:
            yield hold
        except LeaseLostError as error:
            raise RefusedError(
                f"the operator's lease ran out ({error}): somebody else may be at work"
            ) from error
        finally:
            keeping.cancel()
            await _release(hold)

    async def _lease(self, command: str) -> Hold:
        await self.control.update("operator", lambda row: {"owner": ""} if row is None else None)
        leases = Leases(self._context, self.control)
        first: Row | None = None
        while True:
            row = await self.control.read("operator")
            assert row is not None
            hold = await leases.take(row, command=command, since=self._context.wall())
            if hold is not None:
                return hold
            if first is None or row.values["owner"] != first.values["owner"]:
                first = row
            elif row.written_by != first.written_by and not self._waits:
                # Whoever holds it is heard of. One that is not has died: then `take` has it soon.
                raise RefusedError(f"{_holder(row)}; --wait waits for it")
            self._tell(f"waiting: {_holder(row)}", 0, 0)
            await self._context.sleep(self._context.settings.poll)


def _holder(row: Row) -> str:
    """Who holds the operator's lease, with which command, since when."""
    since = datetime.fromtimestamp(float(row.values.get("since", 0)), UTC)
    what = row.values.get("command") or "a command"
    return f"{row.values['owner']} is at work with `{what}` since {since:%Y-%m-%d %H:%M:%S} UTC"


def _may_begin(row: Row | None, rehearsal: bool) -> bool:
    """Whether nothing is under way; False where the very same is. Raises RefusedError."""
    if row is not None and row.values.get("leftovers"):
        raise RefusedError(
            "what the cancelled migration wrote is not removed yet: `cancel` goes on with that"
        )
    if row is None or row.values["phase"] == CANCELLED:
        return True
    if bool(row.values["rehearsal"]) != rehearsal:
        raise RefusedError(_UNDER_WAY[bool(row.values["rehearsal"])])
    return False


def _refuse_lost(view: View) -> None:
    if view.run.phase == POSITION_LOST:
        raise BadInputError(
            f"the position in the stream is lost: {view.run.lost}; `resync` copies again what was"
            " missed"
        )


def _tell_count(tell: Tell, what: str, count: int) -> None:
    tell(what, count, 0)


def _unverified(module: Module) -> Module:
    phase = RUNNING if module.phase == VERIFIED else module.phase
    return replace(module, verification="", clean=False, phase=phase)


async def _release(hold: Hold) -> None:
    try:
        await hold.release()
    except LeaseLostError:
        return
