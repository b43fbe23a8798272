"""How far a migration is, who works on it, and what is to be done next: read, and put into words.

Reading changes nothing. What is said follows from what was read alone.
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deploy.migration._context import Context
from deploy.migration._control import (
    CANCELLED,
    COMPLETED,
    COPYING,
    DRAINING,
    POSITION_LOST,
    REPLICATING,
    REVERSING,
    RUNNING,
    SOURCE,
    SWITCHED,
    VERIFIED,
    Module,
)
from deploy.migration._presence import Doing, Presence, Seen
from deploy.migration.commands import Migration, Progress
from libs.console import bar, time_left

_WINDOW_SECONDS = 15.0
_SHOWN = 5


@dataclass(frozen=True)
class Look:
    """What was found at one moment. `progress` None: it was never started."""

    clock: float
    wall: float
    progress: Progress | None
    doing: Doing | None
    workers: tuple[Seen, ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        progress = self.progress
        return progress is not None and (
            (progress.phase == CANCELLED and not progress.run.leftovers)
            or all(module.phase == COMPLETED for module in progress.modules)
        )


async def look(context: Context, migration: Migration) -> Look:
    """Look now."""
    presence = Presence(context, migration.control)
    is_started = await migration.control.view() is not None
    return Look(
        clock=context.clock(),
        wall=context.wall(),
        progress=await migration.progress() if is_started else None,
        doing=await presence.doing(),
        workers=tuple(await presence.workers()),
    )


class Speed:
    """Items a second over the last looks; from one look alone, since the copy began."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, found: Look) -> float:
        """The speed now."""
        progress = found.progress
        if progress is None or progress.run.phase != COPYING:
            self._seen.clear()
            return 0.0
        self._seen.append((found.clock, progress.items))
        while len(self._seen) > 2 and found.clock - self._seen[0][0] > _WINDOW_SECONDS:
            self._seen.popleft()
        began, items = self._seen[0]
        elapsed = found.clock - began
        if elapsed > 0:
            return max(progress.items - items, 0) / elapsed
        elapsed = found.wall - progress.run.copying_since
        return progress.items / elapsed if elapsed > 0 else 0.0


def lines(found: Look, context: Context, speed: float) -> list[str]:
    """For a person."""
    mapping, progress = context.mapping, found.progress
    names = ", ".join(target.table.name for target in mapping.targets)
    if progress is None:
        return [f"{mapping.source.name} → {names}: not started"]
    what = f"{progress.phase}{' (rehearsal)' if progress.run.rehearsal else ''}"
    said = [f"{mapping.source.name} → {names}: {what}, {_counted(len(found.workers), 'worker')}"]
    if progress.phase == POSITION_LOST:
        said.append(f"lost    {progress.run.lost}")
    if progress.phase == CANCELLED:
        if progress.run.leftovers:
            said.append("left    what it wrote is not removed yet")
        if found.doing is not None:
            said.append(_doing_line(found.doing, found.wall, context.settings.lease))
        return said
    said += [*_copy_lines(progress, speed), *_lag_lines(progress, context)]
    if found.doing is not None:
        said.append(_doing_line(found.doing, found.wall, context.settings.lease))
    width = max(len(module.name) for module in progress.modules)
    for module in progress.modules:
        said.append(f"module  {module.name:{width}}  {_state(module, context)}")
    for key, why in list(progress.quarantine.items())[:_SHOWN]:
        said.append(f"quarantine  {key}: {why}")
    if len(progress.quarantine) > _SHOWN:
        said.append(f"quarantine  and {len(progress.quarantine) - _SHOWN} more")
    return said


def _copy_lines(progress: Progress, speed: float) -> list[str]:
    total = max(progress.run.items, progress.items)
    is_done = progress.run.phase not in (REPLICATING, COPYING, POSITION_LOST, CANCELLED)
    share = 1.0 if is_done else min(progress.items / total, 1.0) if total else 0.0
    counted = f"{progress.items:,} of {total:,} items  {progress.copied_bytes / 1e6:,.1f} MB"
    line = f"copy    {bar(share)} {int(share * 100):3}%  {counted}"
    if progress.run.phase != COPYING:
        return [line]
    left = time_left(1.0, speed, speed + total - progress.items) if speed else "ETA --:--"
    said = [f"{line}  {speed:,.0f}/s  {left}"]
    return [*said, *(f"        waits: {reason}" for reason in progress.waits)]


def _lag_lines(progress: Progress, context: Context) -> list[str]:
    bound = progress.run.max_lag or context.settings.max_lag
    line = (
        f"lag     {bar(progress.lag / bound)} {progress.lag:3.0f} s; the copy waits from"
        f" {bound:.0f} s, a switch from {context.settings.max_lag_to_switch:g} s"
    )
    others = [
        f"        {table}: {lag:.0f} s"
        for table, lag in list(progress.lags.items())[1:]
        if lag > context.settings.max_lag_to_switch
    ]
    return [line, *others]


def _doing_line(doing: Doing, now: float, lease: float) -> str:
    name = "verify" if doing.command.startswith("verify") else "at work"
    share = (
        f"{bar(doing.done / doing.total)} {int(doing.done / doing.total * 100):3}%  "
        if (doing.total)
        else ""
    )
    who = doing.by
    if now - doing.at > lease:
        who += f", not heard of for {round(now - doing.at):,} s: the next command takes its place"
    return f"{name:7} {share}{doing.what or doing.command} ({who})"


def _state(module: Module, context: Context) -> str:
    owner = context.mapping.source.name
    if module.owner != SOURCE:
        owner = context.mapping.target(module.name).table.name
    said = f"{module.phase:9}  owner {owner}"
    if module.fence:
        said += ", requests wait"
    if module.lost:
        said += ", the position in its stream is lost"
    if module.verification and not module.clean and module.phase not in (DRAINING, REVERSING):
        said += ", verification has not come out clean"
    return said


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def document(found: Look, context: Context, speed: float) -> dict[str, object]:
    """For a script."""
    progress = found.progress
    common: dict[str, object] = {
        "source": context.mapping.source.name,
        "workers": [vars(worker) for worker in found.workers],
        "operator": None if found.doing is None else vars(found.doing),
    }
    if progress is None:
        return {**common, "phase": None}
    left = max(progress.run.items - progress.items, 0)
    return {
        **common,
        "phase": progress.phase,
        "epoch": progress.run.epoch,
        "rehearsal": progress.run.rehearsal,
        "leftovers": progress.run.leftovers,
        "lost": progress.run.lost or None,
        "items": progress.items,
        "itemsTotal": progress.run.items,
        "bytes": progress.copied_bytes,
        "bytesTotal": progress.run.bytes,
        "itemsPerSecond": round(speed, 1),
        "secondsLeft": round(left / speed, 1) if speed else None,
        "lagSeconds": dict(progress.lags),
        "waits": list(progress.waits),
        "modules": [
            {
                "name": module.name,
                "owner": module.owner,
                "phase": module.phase,
                "isClean": module.clean,
                "isFenced": bool(module.fence),
                "generation": module.generation,
                "positionLost": module.lost,
            }
            for module in progress.modules
        ],
        "quarantine": dict(progress.quarantine),
    }


def next_steps(found: Look, command: Callable[[str], str]) -> list[str]:
    """What is to be done now. `command` gives the whole line of a command."""
    progress = found.progress
    if progress is None or progress.phase == CANCELLED:
        return [command("cancel" if progress is not None and progress.run.leftovers else "start")]
    steps = []
    if not found.workers and not found.is_over:
        steps.append(f"{command('worker')}   in terminals of their own, one or more")
    if progress.run.rehearsal:
        return [*steps, command("rehearse")]
    if progress.phase == POSITION_LOST or any(module.lost for module in progress.modules):
        return [*steps, command("resync")]
    if progress.run.paused and progress.phase != RUNNING:
        return [*steps, command("resume")]
    if progress.phase in (REPLICATING, COPYING):
        return [*steps, command("copy")]
    if progress.quarantine:
        key = next(iter(progress.quarantine))
        quoted = shlex.quote(key)
        return [*steps, f"{command('forgive')} {quoted}   once it is known what became of it"]
    return [*steps, *_steps_of_modules(progress, command)]


def _steps_of_modules(progress: Progress, command: Callable[[str], str]) -> list[str]:
    by_phase: Mapping[str, Callable[[str], str]] = {
        RUNNING: lambda name: command(f"verify {name}"),
        VERIFIED: lambda name: command(f"switch {name}"),
        DRAINING: lambda name: command(f"switch {name}"),
        REVERSING: lambda name: command(f"reverse {name}"),
        SWITCHED: lambda name: f"{command(f'complete {name}')}   when no way back is needed any more"
        f" (back: `verify {name}`, then `reverse {name}`)",
    }
    for phase in (DRAINING, REVERSING, VERIFIED, RUNNING, SWITCHED):
        for module in progress.modules:
            if module.phase == phase:
                return [by_phase[phase](module.name)]
    return ["nothing: every module is completed; its items in the source are yours to remove"]
