"""What tasks write is kept in a file of each, and an end that was not asked for is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local._cluster._engine import Engine
from deploy.local._cluster._watch import (
    FAMILY_LABEL,
    PLATFORM_LABEL,
    TASK_LABEL,
    put_aside,
    watching,
)
from tests.unit.local.fake_engine import FakeEngine

SIGTERM, SIGKILL = "15", "9"


class Told:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, tuple[str, ...]]] = []
        self.something = asyncio.Event()

    def task_died(self, name: str, how: str, last_lines: Sequence[str]) -> None:
        self._note("died", name, how, last_lines)

    def task_stopped_badly(self, name: str, how: str, last_lines: Sequence[str]) -> None:
        self._note("stopped badly", name, how, last_lines)

    def unwatched(self, reason: str) -> None:
        self._note("unwatched", "", reason, ())

    def _note(self, what: str, name: str, how: str, last_lines: Sequence[str]) -> None:
        self.lines.append((what, name, how, tuple(last_lines)))
        self.something.set()


def labels(family: str, task: str, platform: str = "mine") -> dict[str, str]:
    return {PLATFORM_LABEL: platform, TASK_LABEL: task, FAMILY_LABEL: family}


@pytest.fixture()
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


@asynccontextmanager
async def watched(tmp_path: Path, logs: Path) -> AsyncIterator[tuple[FakeEngine, Told]]:
    """An engine with one container that runs already, and a watch that has seen it."""
    told = Told()
    async with FakeEngine(tmp_path).serving() as fake, Engine.open(fake.host) as engine:
        fake.containers["a"] = labels("course_catalog", "0123456789ab")
        async with watching(engine, "mine", logs, told):
            await fake.subscribed.wait()
            yield fake, told


async def settled(fake: FakeEngine, told: Told) -> None:
    """All that was told before has been heard: so has one more end, which nobody asked for."""
    fake.containers["z"] = labels("other", "z")
    fake.tell("start", "z")
    fake.write("z", b"")
    fake.tell("die", "z", exitCode="7")
    while not any(line[1] == "other-z" for line in told.lines):
        told.something.clear()
        await told.something.wait()


async def test_each_task_has_a_file_of_its_own(tmp_path: Path, logs: Path) -> None:
    async with watched(tmp_path, logs) as (fake, told):
        fake.containers["b"] = labels("course_catalog", "fedcba9876543210")
        fake.tell("start", "b")
        fake.write("a", b'{"event":"listening"}\n')
        fake.write("b", b"of b\n")
        for container in ("a", "b"):
            fake.write(container, b"")
            fake.tell("kill", container, signal=SIGTERM)
            fake.tell("die", container, exitCode="0")
        await settled(fake, told)
    (logs / "other-z.log").unlink()
    written = {path.name: path.read_text() for path in logs.iterdir()}
    assert written == {
        "course_catalog-01234567.log": '{"event":"listening"}\n',
        "course_catalog-fedcba98.log": "of b\n",
    }
    assert {path.stat().st_mode & 0o777 for path in logs.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("signals", "code", "told"),
    [
        ([], "1", ("died", "ended with exit code 1")),
        ([], "0", ("died", "ended with exit code 0")),
        ([], "137", ("died", "was ended by SIGKILL")),
        ([SIGKILL], "137", ("died", "was ended by SIGKILL")),
        ([], "255", ("died", "ended with exit code 255")),
        ([SIGTERM], "0", None),
        ([SIGTERM], "143", None),
        ([SIGTERM], "3", ("stopped badly", "ended with exit code 3")),
        (
            [SIGTERM, SIGKILL],
            "137",
            ("stopped badly", "did not stop in its time and was killed"),
        ),
    ],
)
async def test_an_end_is_told_with_its_last_lines_where_it_was_not_asked_for(
    tmp_path: Path, logs: Path, signals: list[str], code: str, told: tuple[str, str] | None
) -> None:
    async with watched(tmp_path, logs) as (fake, listener):
        fake.write("a", b"".join(b"line %d\n" % number for number in range(20)))
        fake.write("a", b"")
        for signal in signals:
            fake.tell("kill", "a", signal=signal)
        fake.tell("die", "a", exitCode=code)
        await settled(fake, listener)
    found = [line for line in listener.lines if line[1] == "course_catalog-01234567"]
    if told is None:
        assert found == []
    else:
        ((what, _, how, last_lines),) = found
        assert (what, how) == told
        assert last_lines == tuple(f"line {number}" for number in range(5, 20))


async def test_an_engine_that_goes_away_is_told_once_and_watched_again(
    tmp_path: Path, logs: Path
) -> None:
    async with watched(tmp_path, logs) as (fake, told):
        fake.subscribed.clear()
        fake.end_events()
        await told.something.wait()
        assert [line[0] for line in told.lines] == ["unwatched"]
        assert fake.host in told.lines[0][2]
        await fake.subscribed.wait()
        # What started meanwhile is found, and what was there is not written twice.
        fake.write("a", b"once\n")
        fake.write("a", b"")
        fake.tell("die", "a", exitCode="9")
        told.something.clear()
        await told.something.wait()
    assert told.lines[-1] == (
        "died",
        "course_catalog-01234567",
        "ended with exit code 9",
        ("once",),
    )


def test_the_last_runs_files_are_put_aside_and_older_ones_go(logs: Path) -> None:
    for name in (
        "course_catalog-01234567.log",
        "progress_tracking-consumer-89abcdef.log",
        "content_delivery-76543210.log.1",
        "course_catalog.log",
        "gateway.log.1",
    ):
        (logs / name).touch()
    put_aside(logs)
    assert {path.name for path in logs.iterdir()} == {
        "course_catalog-01234567.log.1",
        "progress_tracking-consumer-89abcdef.log.1",
        # Processes' own: the supervisor's business.
        "course_catalog.log",
        "gateway.log.1",
    }
