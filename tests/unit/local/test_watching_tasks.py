"""A task's end that was not asked for is told, once, with what ECS knows of it and its last lines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.local._cluster._watch import watching

ID = "0123456789abcdef0123456789abcdef"


class FakeEcs:
    """ListTasks and DescribeTasks of what stands in `tasks`; `refuses` while the service is away."""

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []
        self.refuses = False
        self.looked = asyncio.Event()

    async def list_tasks(self, **parameters: Any) -> dict[str, Any]:
        assert parameters == {"cluster": "lyceum", "desiredStatus": "STOPPED"}
        if self.refuses:
            self.looked.set()
            raise ClientError({"Error": {"Code": "ClusterNotFoundException"}}, "ListTasks")
        return {"taskArns": [task["taskArn"] for task in self.tasks]}

    async def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        assert len(tasks) <= 100
        return {"tasks": [task for task in self.tasks if task["taskArn"] in tasks]}


class Told:
    def __init__(self) -> None:
        self.lines: list[tuple[str, ...]] = []
        self.last_lines: Sequence[str] = ()

    def task_died(self, name: str, task: str, how: str, last_lines: Sequence[str]) -> None:
        self._note("died", name, task, how, last_lines)

    def task_failed(self, name: str, task: str, reason: str, last_lines: Sequence[str]) -> None:
        self._note("failed", name, task, reason, last_lines)

    def task_stopped_badly(self, name: str, task: str, how: str, last_lines: Sequence[str]) -> None:
        self._note("stopped badly", name, task, how, last_lines)

    def _note(self, what: str, name: str, task: str, how: str, last_lines: Sequence[str]) -> None:
        self.lines.append((what, name, task, how))
        self.last_lines = last_lines


def stopped(
    code: str,
    exit_code: int | None,
    *,
    reason: str = "",
    container: str = "",
    status: str = "STOPPED",
    group: str = "service:course_catalog",
    number: str = ID,
) -> dict[str, Any]:
    return {
        "taskArn": f"arn:aws:ecs:us-east-1:000000000000:task/lyceum/{number}",
        "group": group,
        "lastStatus": status,
        "stopCode": code,
        "stoppedReason": reason,
        "containers": [
            {"name": "course_catalog", "exitCode": exit_code, "reason": container or None}
        ],
    }


async def told_of(tmp_path: Path, *looks: list[dict[str, Any]]) -> Told:
    """What is told when the tasks are as given at one look after the other."""
    ecs, told = FakeEcs(), Told()
    remaining = iter(looks)
    ecs.tasks = next(remaining)
    done = asyncio.Event()

    async def sleep(_: float) -> None:
        following = next(remaining, None)
        if following is None:
            done.set()
            await asyncio.Event().wait()
        ecs.tasks = following or []

    async with watching(ecs, tmp_path, told, sleep=sleep):
        await done.wait()
    return told


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (stopped("EssentialContainerExited", 1), ("died", "ended with exit code 1")),
        (stopped("EssentialContainerExited", 0), ("died", "ended with exit code 0")),
        (stopped("EssentialContainerExited", 137), ("died", "was ended by SIGKILL")),
        (stopped("EssentialContainerExited", 255), ("died", "ended with exit code 255")),
        (
            stopped("EssentialContainerExited", 137, container="OutOfMemoryError: too much"),
            ("died", "was ended by SIGKILL (OutOfMemoryError: too much)"),
        ),
        (
            stopped("EssentialContainerExited", None, container="the engine is gone"),
            ("died", "ended (the engine is gone)"),
        ),
        (
            stopped("TaskFailedToStart", None, reason="CannotPullContainerError: not found"),
            ("died", "could not be started (CannotPullContainerError: not found)"),
        ),
        (stopped("ServiceSchedulerInitiated", 0), None),
        (stopped("ServiceSchedulerInitiated", 143), None),
        (stopped("UserInitiated", 0), None),
        (stopped("ServiceSchedulerInitiated", None), None),
        (
            stopped("ServiceSchedulerInitiated", 3),
            ("stopped badly", "ended with exit code 3"),
        ),
        (
            stopped("ServiceSchedulerInitiated", 137),
            ("stopped badly", "did not stop within 15 s and was killed"),
        ),
        (stopped("ServiceSchedulerInitiated", None, status="STOPPING"), None),
        # Not ours to watch: somebody tries something out.
        (stopped("EssentialContainerExited", 1, group="family:experiment"), None),
    ],
)
async def test_an_end_is_told_where_it_was_not_asked_for(
    tmp_path: Path, task: dict[str, Any], told: tuple[str, str] | None
) -> None:
    lines = (await told_of(tmp_path, [task], [task])).lines
    assert lines == ([] if told is None else [(told[0], "course_catalog", ID[:8], told[1])])


async def test_last_lines_are_the_tasks_own(tmp_path: Path) -> None:
    log = tmp_path / f"course_catalog-{ID}.log"
    log.write_text("".join(f"line {number}\n" for number in range(20)))
    told = await told_of(tmp_path, [stopped("EssentialContainerExited", 1)])
    assert told.last_lines == [f"line {number}" for number in range(5, 20)]


async def test_a_task_that_fails_its_checks_is_told_before_it_has_ended(tmp_path: Path) -> None:
    reason = "Task failed ELB health checks in (target-group course-catalog)"
    stopping = stopped("ServiceSchedulerInitiated", None, reason=reason, status="STOPPING")
    ended = stopped("ServiceSchedulerInitiated", 0, reason=reason)
    told = await told_of(tmp_path, [], [stopping], [stopping], [ended])
    assert told.lines == [("failed", "course_catalog", ID[:8], reason)]


async def test_what_ended_since_the_last_look_is_told_at_the_end(tmp_path: Path) -> None:
    ecs, told = FakeEcs(), Told()

    async def sleep(_: float) -> None:
        ecs.looked.set()
        await asyncio.Event().wait()

    async with watching(ecs, tmp_path, told, sleep=sleep):
        await ecs.looked.wait()
        ecs.tasks = [stopped("ServiceSchedulerInitiated", 2)]
    assert [line[0] for line in told.lines] == ["stopped badly"]


async def test_hundreds_of_ends_are_described_in_portions(tmp_path: Path) -> None:
    tasks = [
        stopped("EssentialContainerExited", 1, number=f"{number:032x}") for number in range(250)
    ]
    assert len((await told_of(tmp_path, tasks, tasks)).lines) == 250


async def test_an_ecs_that_is_away_is_asked_again(tmp_path: Path) -> None:
    ecs, told = FakeEcs(), Told()
    ecs.refuses = True
    ecs.tasks = [stopped("EssentialContainerExited", 1)]
    again = asyncio.Event()

    async def sleep(_: float) -> None:
        if not ecs.refuses:
            again.set()
            await asyncio.Event().wait()
        ecs.refuses = False

    async with watching(ecs, tmp_path, told, sleep=sleep):
        await again.wait()
    assert [line[0] for line in told.lines] == ["died"]
