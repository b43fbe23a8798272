"""Tells of tasks that ended as they should not: what ECS knows of it, and the task's last lines.

What a task writes, the embedded AWS keeps in a file of each. Starts and stops nothing.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from deploy.local._cluster._definitions import CLUSTER, ECS_SERVICES, STOP_TIMEOUT_SECONDS
from deploy.local._supervisor import last_lines

_LOOK_SECONDS = 1.0
_MAX_DESCRIBED = 100  # DescribeTasks
_SHORT_ID = 8
# SIGTERM of a program that installs no handler is as good an end as any.
_ENDED_WELL = frozenset({0, 128 + signal.SIGTERM})


class Listener(Protocol):
    """Is told what happens to the tasks."""

    def task_died(self, name: str, task: str, how: str, last_lines: Sequence[str]) -> None:
        """A task of the ECS service `name` ended, or could not be started, without being told to."""

    def task_failed(self, name: str, task: str, reason: str, last_lines: Sequence[str]) -> None:
        """ECS stops a task that runs but does not do its work."""

    def task_stopped_badly(self, name: str, task: str, how: str, last_lines: Sequence[str]) -> None:
        """A task that was told to stop ended otherwise than with exit code 0, or was killed."""


@asynccontextmanager
async def watching(
    ecs: Any,
    logs: Path,
    listener: Listener,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """Watches the cluster's tasks, and looks once more at the end.

    `ecs` is a client of ECS; `logs` has the tasks' log files.
    """
    watch = _Watch(ecs, logs, listener)

    async def look_again_and_again() -> None:
        while True:
            # An embedded AWS that is gone is told of by who watches it.
            with suppress(BotoCoreError, ClientError):
                await watch.look()
            await sleep(_LOOK_SECONDS)

    task = asyncio.create_task(look_again_and_again(), name="watch tasks")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        with suppress(BotoCoreError, ClientError):
            await watch.look()


def short_id(task_arn: str) -> str:
    """The beginning of a task's id, by which people tell it from others."""
    return task_arn.rpartition("/")[2][:_SHORT_ID]


def log_of(logs: Path, family: str, task_arn: str) -> Path:
    """The file of what a task writes."""
    return logs / f"{family}-{task_arn.rpartition('/')[2]}.log"


class _Watch:
    def __init__(self, ecs: Any, logs: Path, listener: Listener) -> None:
        self._ecs = ecs
        self._logs = logs
        self._listener = listener
        self._told: set[str] = set()
        self._failing: set[str] = set()

    async def look(self) -> None:
        """Tells what is new."""
        listed = await self._ecs.list_tasks(cluster=CLUSTER, desiredStatus="STOPPED")
        arns = [arn for arn in listed["taskArns"] if arn not in self._told]
        for start in range(0, len(arns), _MAX_DESCRIBED):
            described = await self._ecs.describe_tasks(
                cluster=CLUSTER, tasks=arns[start : start + _MAX_DESCRIBED]
            )
            for task in described["tasks"]:
                self._tell(task)
        self._told &= set(listed["taskArns"])  # ECS forgets them after a while, and so does this

    def _tell(self, task: Mapping[str, Any]) -> None:
        arn, name = task["taskArn"], task["group"].partition(":")[2]
        if name not in ECS_SERVICES:
            self._told.add(arn)
            return
        code, reason = task.get("stopCode", ""), task.get("stoppedReason", "")
        short = short_id(arn)
        if "health checks" in reason and arn not in self._failing:
            self._failing.add(arn)
            self._listener.task_failed(name, short, reason, self._last_lines(name, arn))
        if task["lastStatus"] != "STOPPED":
            return
        self._told.add(arn)
        self._failing.discard(arn)
        exit_code = task["containers"][0].get("exitCode")
        lines = self._last_lines(name, arn)
        if code == "TaskFailedToStart":
            self._listener.task_died(name, short, f"could not be started ({reason})", lines)
        elif code == "EssentialContainerExited":
            self._listener.task_died(name, short, _how(exit_code, task), lines)
        elif exit_code == 128 + signal.SIGKILL:
            how = f"did not stop within {STOP_TIMEOUT_SECONDS} s and was killed"
            self._listener.task_stopped_badly(name, short, how, lines)
        elif exit_code is not None and exit_code not in _ENDED_WELL:
            self._listener.task_stopped_badly(name, short, _how(exit_code, task), lines)

    def _last_lines(self, name: str, arn: str) -> list[str]:
        return last_lines(log_of(self._logs, name, arn))


def _how(code: int | None, task: Mapping[str, Any]) -> str:
    reason = task["containers"][0].get("reason") or ""
    if code is None:
        return f"ended ({reason or 'nobody knows how'})"
    how = f"ended with exit code {code}"
    if code > 128:
        with suppress(ValueError):
            how = f"was ended by {signal.Signals(code - 128).name}"
    return f"{how} ({reason})" if reason.startswith("OutOfMemory") else how
