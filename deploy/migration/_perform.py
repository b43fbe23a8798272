"""What each command does and says, in the order of a migration.

Owns the words and the exit codes. What is safe is the engine's business (`commands.py`, `worker.py`).
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar

from deploy.migration._context import Context
from deploy.migration._control import CANCELLED, QUARANTINE, SOURCE, TARGET
from deploy.migration._estimate import Estimate, estimate, read_prices
from deploy.migration._presence import Presence
from deploy.migration._session import Session, process_name, shown, stopped
from deploy.migration._status import Speed, document, lines, next_steps
from deploy.migration._tables import check_rights
from deploy.migration._verify import Verification
from deploy.migration.commands import BadInputError, RefusedError
from deploy.migration.planning import Survey
from deploy.migration.worker import Worker
from libs.console import Style

Result = TypeVar("Result")

DONE, FAILED, BAD_INPUT, UNKNOWN = 0, 1, 2, 3

_LOOKS_EVERY_SECONDS: Final = 1.0
_TOLD_EVERY_SECONDS: Final = 10.0
_SHOWN: Final = 20
_SECONDS_A_WORKER_MAY_NEED: Final = 30.0


# --- before anything is changed -----------------------------------------------------------------


async def plan(run: Session) -> int:
    """All that the mapping means for the data."""
    survey = await run.migration.plan()
    run.report.end_progress()
    _say_plan(run, survey)
    if survey.problems:
        raise BadInputError(*survey.lines())
    await run.say_next()
    return DONE


def _say_plan(run: Session, survey: Survey) -> None:
    mapping = run.mapping
    lines_of_rules = [
        f"  {rule.name:12} {survey.by_rule[rule.name]:>10,}  → {rule.target.module}"
        for rule in mapping.rules
    ] + [
        f"  {nobody.name:12} {survey.by_rule[nobody.name]:>10,}  nobody's: {nobody.why}"
        for nobody in mapping.nobody
    ]
    text = [
        f"{mapping.source.name}: {survey.items:,} items, {_size(survey.bytes)},"
        f" by {len(mapping.rules)} rules",
        *lines_of_rules,
        *(
            f"{target.table.name}: {survey.rows_by_module[target.module]:,} rows,"
            f" {_size(survey.bytes_by_module[target.module])}, the largest"
            f" {survey.largest[target.module]:,} bytes"
            for target in mapping.targets
        ),
    ]
    fields: dict[str, object] = {
        "items": survey.items,
        "bytes": survey.bytes,
        "byRule": dict(survey.by_rule),
        "rowsByModule": dict(survey.rows_by_module),
        "bytesByModule": dict(survey.bytes_by_module),
        "problems": survey.lines(),
        "warnings": survey.warnings,
    }
    warnings = list(survey.warnings)
    if not survey.problems:
        takes = estimate(
            mapping, survey, run.context.settings, workers=getattr(run.options, "workers", 1),
            prices=read_prices(),
        )  # fmt: skip
        text += _takes(takes)
        warnings += takes.warnings
        fields |= {"warnings": warnings, "estimate": _takes_document(takes)}
    run.report.came_out("planned", "\n".join(text), fields)
    if not run.options.json:
        for warning in warnings:
            run.report.warn("planned", f"warning: {warning}", {})
        if survey.more_warnings:
            run.report.warn("planned", f"and {survey.more_warnings} more like these", {})


def _takes(takes: Estimate) -> list[str]:
    prices = takes.prices
    return [
        *(
            f"capacity   {load.table}: {load.units:,} {load.kind} units; {load.bound_by}"
            for load in takes.loads
        ),
        f"time       about {_duration(takes.seconds)} for the copy: {takes.slowest}",
        f"cost       {_usd(takes.usd_copy)} USD for the copy, {_usd(takes.usd_verify)} for one"
        f" verification of everything, {_usd(takes.usd_per_day)} a day for reading streams,"
        f" {_usd(takes.usd_per_month_stored)} a month for what is kept twice (on-demand prices of"
        f" {prices.region}, read {prices.read_on})",
    ]


def _usd(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.005 else "less than 0.01"


def _takes_document(takes: Estimate) -> dict[str, object]:
    return {
        "loads": [vars(load) for load in takes.loads],
        "seconds": round(takes.seconds, 1),
        "slowest": takes.slowest,
        "verifyReadUnits": takes.verify_read_units,
        "streamReadsPerDay": takes.stream_reads_per_day,
        "usdCopy": round(takes.usd_copy, 4),
        "usdVerify": round(takes.usd_verify, 4),
        "usdPerDay": round(takes.usd_per_day, 4),
        "usdPerMonthStored": round(takes.usd_per_month_stored, 4),
        "pricesReadOn": takes.prices.read_on.isoformat(),
        "region": takes.prices.region,
    }


async def start(run: Session) -> int:
    """Begin, with the settings that were given."""
    code = await _start(run, rehearsal=False)
    if not run.options.dry_run:
        await run.say_next()
    return code


async def _start(run: Session, *, rehearsal: bool) -> int:
    if run.options.dry_run:
        survey = await run.migration.plan()
        run.report.end_progress()
        _say_plan(run, survey)
        if survey.problems:
            raise BadInputError(*survey.lines())
        _would(run, "begin to read the streams, and to copy")
        return DONE
    began = await run.doing_it(run.migration.start(rehearsal=rehearsal))
    if began is None:
        run.report.came_out("started", "it was started already", {"wasStarted": True})
    else:
        run.report.came_out(
            "started",
            f"started: {began.items:,} items are to be copied, changes are replicated",
            {"wasStarted": False, "items": began.items, "bytes": began.bytes},
        )
    return DONE


# --- while it runs ------------------------------------------------------------------------------


async def copy(run: Session) -> int:
    """Wait until everything is copied."""
    if run.options.dry_run:
        return await _would_after_look(run, "wait for the workers' copy, and end it")
    began = run.context.clock()
    await run.doing_it(_worked(run, run.migration.copied()))
    progress = await run.migration.progress()
    run.report.came_out(
        "copied",
        f"copied: {progress.items:,} items, {_size(progress.copied_bytes)};" " replication goes on",
        {
            "items": progress.items,
            "bytes": progress.copied_bytes,
            "seconds": round(run.context.clock() - began, 3),
        },
    )
    return DONE


async def _worked(run: Session, act: Awaitable[Result]) -> Result:
    """Do it; where nobody works for long, say so: it would wait for ever."""
    watching = asyncio.create_task(_warn_without_workers(run))
    try:
        return await act
    finally:
        watching.cancel()


async def _warn_without_workers(run: Session) -> None:
    presence = Presence(run.context, run.migration.control)
    while True:
        await asyncio.sleep(_SECONDS_A_WORKER_MAY_NEED / 2)
        if not await presence.workers():
            run.report.warn(
                "noWorker",
                f"no worker works on it, and this waits for one: {run.command('worker')}",
                {},
            )
        await asyncio.sleep(_SECONDS_A_WORKER_MAY_NEED / 2)


async def pause(run: Session) -> int:
    """Hold the copy."""
    return await _hold(run, paused=True)


async def resume(run: Session) -> int:
    """Let it go on."""
    return await _hold(run, paused=False)


async def _hold(run: Session, *, paused: bool) -> int:
    what = "hold the copy" if paused else "let the copy go on"
    if run.options.dry_run:
        return await _would_after_look(run, what)
    await run.migration.pause(paused=paused)
    said = "the copy is held; replication goes on" if paused else "the copy goes on"
    run.report.came_out("paused" if paused else "resumed", said, {})
    return DONE


async def throttle(run: Session) -> int:
    """What the copy may take."""
    options = run.options
    read, write, lag = options.read, options.write, options.max_lag
    if options.capacity is not None:
        read = write = options.capacity
    if options.off:
        read = write = lag = 0.0
    if options.dry_run:
        return await _would_after_look(run, "change how much the copy may take")
    await run.migration.throttle(read_units=read, write_units=write, max_lag=lag)
    view = await run.migration.control.view()
    assert view is not None
    usual = run.context.settings
    units = [one or usual.units_per_second for one in (view.run.read_units, view.run.write_units)]
    bound = view.run.max_lag or usual.max_lag
    run.report.came_out(
        "throttled",
        f"the copy may take {units[0]:g} read units a second of the source and {units[1]:g} write"
        f" units of each target, and waits while replication is more than {bound:g} s behind",
        {"readUnits": units[0], "writeUnits": units[1], "maxLagSeconds": bound},
    )
    return DONE


async def verify(run: Session) -> int:
    """Compare both sides."""
    module = run.options.module
    if run.options.dry_run:
        what = f"compare {module} with {run.mapping.source.name}, in both directions"
        return await _would_after_look(run, what)
    found = await run.doing_it(
        _worked(run, run.migration.verify(module, repair=run.options.repair))
    )
    _say_verification(run, module, found, await _told(run, found))
    if found.is_clean:
        return DONE
    run.report.next_step(run.command(f"verify {module} --repair"))
    return FAILED


async def _told(run: Session, found: Verification) -> dict[str, str]:
    """Why something differs, where that is known: what is in quarantine of it."""
    keys = {str(cell) for one in found.differences for cell in (one.source, one.cell)}
    return {
        key: str(row.values["why"])
        for row in (await run.migration.control.rows(QUARANTINE) if keys else ())
        if (key := row.key.removeprefix(QUARANTINE)) in keys
    }


def _say_verification(
    run: Session, module: str, found: Verification, told: Mapping[str, str]
) -> None:
    moving = f", {len(found.moving)} moved and are compared at the switch" if found.moving else ""
    head = f"{module}: {found.items:,} items against {found.rows:,} rows: "
    if found.is_clean:
        text, style = f"{head}nothing differs{moving}", Style.GREEN
    else:
        shown = [f"  {difference}" for difference in found.differences[:_SHOWN]]
        more = len(found.differences) - len(shown)
        shown += [f"  and {more} more"] if more else []
        reasons = [f"  {key} {why}" for key, why in told.items()]
        shown += reasons[:_SHOWN]
        text, style = (
            "\n".join([f"{head}{len(found.differences)} differ{moving}", *shown]),
            Style.RED,
        )
    run.report.came_out(
        "verified",
        text,
        {
            "module": module,
            "items": found.items,
            "rows": found.rows,
            "isClean": found.is_clean,
            "differences": [str(difference) for difference in found.differences],
            "quarantine": dict(told),
            "moving": len(found.moving),
        },
        style=style,
    )


async def resync(run: Session) -> int:
    """Copy again what was missed."""
    view = await run.migration.control.view()
    lost = (
        [] if view is None else [view.run.lost, *(m.name for m in view.modules.values() if m.lost)]
    )
    named = ", ".join(filter(None, lost))
    if run.options.dry_run:
        return await _would_after_look(
            run, f"copy again: {named}" if named else "do nothing: no position is lost"
        )
    await run.doing_it(run.migration.resync())
    said = f"a new epoch was begun: {named}" if named else "no position is lost"
    run.report.came_out("resynced", said, {"lost": named or None})
    return DONE


async def rehearse(run: Session) -> int:
    """Everything but the switches."""
    if run.options.dry_run:
        code = await _start(run, rehearsal=True)
        _would(run, "then verify each module, and remove what was written")
        return code
    began = run.context.clock()
    await _start(run, rehearsal=True)
    await run.use_kept_settings()

    async def the_rest() -> list[tuple[str, Verification]]:
        await run.migration.copied()
        names = [target.module for target in run.mapping.targets]
        found = [(name, await run.migration.verify(name)) for name in names]
        await run.migration.cancel()
        return found

    found = await run.doing_it(_worked(run, the_rest()))
    for name, verification in found:
        _say_verification(run, name, verification, {})
    is_clean = all(verification.is_clean for _, verification in found)
    seconds = run.context.clock() - began
    run.report.came_out(
        "rehearsed",
        f"rehearsed in {_duration(seconds)}; what was written is removed",
        {"seconds": round(seconds, 3), "isClean": is_clean},
    )
    return DONE if is_clean else FAILED


# --- the switch and the way back ----------------------------------------------------------------


async def switch(run: Session) -> int:
    """The module's table becomes the owner."""
    return await _change_owner(run, TARGET)


async def reverse(run: Session) -> int:
    """The source becomes the owner again."""
    return await _change_owner(run, SOURCE)


async def _change_owner(run: Session, owner: str) -> int:
    name = run.options.module
    table = run.mapping.source.name if owner == SOURCE else run.mapping.target(name).table.name
    event = "switched" if owner == TARGET else "reversed"
    if run.options.dry_run:
        obstacles = await run.migration.obstacles(name, owner)
        if obstacles is None:
            return _say_done_already(run, event, name, table)
        if obstacles:
            raise RefusedError(*obstacles)
        settings = run.context.settings
        _would(
            run,
            f"make {table} the owner of {name}; requests would wait about"
            f" {settings.gate_lease + settings.longest_request:g} s, at most {settings.fence:g} s",
        )
        return DONE
    began = run.context.clock()

    async def change() -> float | None:
        if run.options.work:
            await _caught_up(run)
        if owner == TARGET:
            return await run.migration.switch(name)
        return await run.migration.reverse(name)

    pause = await run.doing_it(_worked(run, change()))
    if pause is None:
        return _say_done_already(run, event, name, table)
    run.report.came_out(
        event,
        f"{name}: {table} is its owner now; requests waited {pause:.2f} s at most",
        {
            "module": name,
            "wasDone": False,
            "pauseSeconds": round(pause, 3),
            "seconds": round(run.context.clock() - began, 3),
        },
        style=Style.GREEN,
    )
    return DONE


async def _caught_up(run: Session) -> None:
    """A worker that has just begun reads what nobody has read: the switch would be refused."""
    while True:
        lags = (await run.migration.progress()).lags
        behind = max(lags.values())
        if behind <= run.context.settings.max_lag_to_switch:
            return
        run.tell("the worker catches up", 0, 0)
        await run.context.sleep(run.context.settings.poll)


def _say_done_already(run: Session, event: str, name: str, table: str) -> int:
    run.report.came_out(
        event, f"{name}: {table} is its owner already", {"module": name, "wasDone": True}
    )
    return DONE


async def complete(run: Session) -> int:
    """No way back any more."""
    name = run.options.module
    if run.options.dry_run:
        await run.migration.may_complete(name)
        return await _would_after_look(run, f"give up the way back of {name}")
    await run.doing_it(run.migration.complete(name))
    run.report.came_out(
        "completed", f"{name} is completed: the source is no longer kept up", {"module": name}
    )
    return DONE


async def cancel(run: Session) -> int:
    """Nothing is left of it."""
    if run.options.dry_run:
        await run.migration.may_cancel()
        return await _would_after_look(run, "end the migration, and remove what it wrote")
    await run.doing_it(run.migration.cancel())
    run.report.came_out(
        "cancelled", "cancelled: what was written is removed, and it can begin anew", {}
    )
    return DONE


async def forgive(run: Session) -> int:
    """A key leaves quarantine."""
    if run.options.dry_run:
        return await _would_after_look(run, f"take {run.options.key!r} out of quarantine")
    await run.migration.forgive(run.options.key)
    run.report.came_out(
        "forgiven", f"{run.options.key} is out of quarantine", {"key": run.options.key}
    )
    return DONE


# --- looking and working ------------------------------------------------------------------------


async def status(run: Session) -> int:
    """How far it is."""
    await run.use_kept_settings()
    speed = Speed()
    told_at = float("-inf")
    while True:
        found = await run.look()
        per_second = speed.see(found)
        is_last = not run.options.watch or found.is_over
        steps = next_steps(found, run.command)
        text = lines(found, run.context, per_second)
        if is_last:
            run.report.came_out(
                "status",
                "\n".join(text),
                {**document(found, run.context, per_second), "next": steps},
            )
            run.report.next_step(*steps)
            return DONE
        if run.report.is_watched:
            run.report.draw([*text, *(f"next: {step}" for step in steps)])
        elif run.context.clock() - told_at >= (
            _LOOKS_EVERY_SECONDS if run.options.json else _TOLD_EVERY_SECONDS
        ):
            told_at = run.context.clock()
            run.report.came_out(
                "status",
                "\n".join(text),
                {**document(found, run.context, per_second), "next": steps},
            )
        await asyncio.sleep(_LOOKS_EVERY_SECONDS)


async def audit(run: Session) -> int:
    """The log."""
    await run.use_kept_settings()
    try:
        log = await run.migration.control.audit_log()
    except ValueError as error:
        run.report.can_not(str(error))
        return FAILED
    for number, entry in enumerate(log):
        at = datetime.fromtimestamp(float(entry["at"]), UTC)
        run.report.came_out(
            "auditEntry",
            f"{at:%Y-%m-%d %H:%M:%S} UTC  {entry['event']:10} {entry['details']}  {entry['by']}",
            {
                "number": number,
                "writtenAt": at.isoformat(),
                "by": entry["by"],
                "what": entry["event"],
                "details": json.loads(entry["details"]),
            },
        )
    return DONE


async def worker(run: Session) -> int:
    """Work until stopped."""
    wrong = await check_rights(run.context)
    if wrong:
        raise BadInputError(*wrong)
    if run.options.dry_run:
        _would(run, "work: all rights are there")
        return DONE
    try:
        while True:
            await _until_started(run)
            # Another name each time: one that others took for dead must not come back.
            name = (
                f"{run.options.name}-{secrets.token_hex(2)}" if run.options.name else process_name()
            )
            await _work(run, run.context_of(name))
    except asyncio.CancelledError:
        return DONE  # that is how a worker ends


async def _until_started(run: Session) -> None:
    is_told = False
    while True:
        view = await run.migration.control.view()
        if view is not None and view.run.phase != CANCELLED:
            await run.use_kept_settings()
            return
        if not is_told:
            is_told = True
            run.report.goes_on("workerWaits", "waiting for `start`", {})
        await asyncio.sleep(_LOOKS_EVERY_SECONDS)


async def _work(run: Session, context: Context) -> None:
    """Until it is cancelled, or the migration is; its work is given back first."""
    worker = Worker(context)
    running = asyncio.create_task(worker.run())
    run.report.goes_on(
        "workerStarted",
        f"worker {context.name} works on {run.mapping.source.name}; Ctrl-C gives its work back",
        {"name": context.name},
    )
    said: object = None
    async with shown(context, run.migration.control):
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=_TOLD_EVERY_SECONDS)
                work = (len(worker.work), round(worker.lag))
                if run.options.json or work != said:
                    _say_work(run, worker)
                said = work
        finally:
            worker.stop()
            await stopped(running)
            run.report.goes_on("workerStopped", f"worker {context.name} has stopped", {})
    if not running.cancelled():
        running.result()


def _say_work(run: Session, worker: Worker) -> None:
    segments = sum("#copy#" in key for key in worker.work)
    streams = len(worker.work) - segments
    run.report.goes_on(
        "workerProgress",
        f"{streams} shards, {segments} segments of the copy; replication is {worker.lag:.0f} s behind",
        {"shards": streams, "segments": segments, "lagSeconds": worker.lag},
    )


def _would(run: Session, what: str) -> None:
    run.report.came_out("wouldDo", f"would {what}", {"what": what})


async def _would_after_look(run: Session, what: str) -> int:
    """Where it stands, and what would be done."""
    found = await run.look()
    if found.progress is None:
        raise RefusedError("the migration was not started")
    run.report.came_out(
        "status", "\n".join(lines(found, run.context, 0.0)), document(found, run.context, 0.0)
    )
    _would(run, what)
    return DONE


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} KB"


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def _then_next(act: Callable[[Session], Awaitable[int]]) -> Callable[[Session], Awaitable[int]]:
    """The act, with the settings of the migration; where it is done, what is to be done next."""

    async def acted(run: Session) -> int:
        await run.use_kept_settings()
        code = await act(run)
        if code == DONE and run.options.dry_run:
            run.report.next_step("the same without --dry-run")
        elif code == DONE:
            await run.say_next()
        return code

    return acted


COMMANDS: Final[Mapping[str, Callable[[Session], Awaitable[int]]]] = {
    "plan": plan,
    "start": start,
    **{
        act.__name__: _then_next(act)
        for act in (
            copy, pause, resume, throttle, verify, switch, reverse, complete, cancel, resync,
            forgive,
        )
    },
    "rehearse": rehearse,
    "status": status,
    "audit": audit,
    "worker": worker,
}  # fmt: skip
