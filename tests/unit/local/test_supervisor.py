"""The supervisor with real processes: start, report, restart, order, and that nothing is left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local._supervisor import BackOff, Program, StartError, Supervisor

READY_THEN_WAIT = """
    import signal, sys
    print("ready", flush=True)
    while True:
        signal.pause()
"""
# Says when it was told to stop, and takes its leave.
POLITE = """
    import os, signal, sys
    def stop(*_):
        with open(sys.argv[1], "a") as order:
            order.write(sys.argv[2] + "\\n")
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    while True:
        signal.pause()
"""
STUBBORN = """
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        signal.pause()
"""


@dataclass
class Heard:
    """A listener that remembers."""

    events: list[tuple[str, str]] = field(default_factory=list)
    lines: list[Sequence[str]] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def died(self, name: str, how: str, last_lines: Sequence[str], again_in: float) -> None:
        self.lines.append(last_lines)
        self.delays.append(again_in)
        self._heard(name, how)

    def back(self, name: str) -> None:
        self._heard(name, "back")

    def stopped_badly(self, name: str, how: str, last_lines: Sequence[str]) -> None:
        self.lines.append(last_lines)
        self._heard(name, how)

    def killed(self, name: str, seconds: float) -> None:
        self._heard(name, "killed")

    def _heard(self, name: str, what: str) -> None:
        self.events.append((name, what))
        self.changed.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.events) < count:
                self.changed.clear()
                await self.changed.wait()


async def _said_ready(output: str) -> bool:
    return "ready" in output


def program(name: str, code: str, *arguments: str, **options: object) -> Program:
    return Program(
        name,
        [sys.executable, "-I", "-S", "-c", textwrap.dedent(code), *arguments],
        {"PATH": os.environ.get("PATH", "")},
        _said_ready,
        **options,  # type: ignore[arg-type]
    )


def alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def until_gone(process_id: int) -> None:
    async with asyncio.timeout(30):
        while alive(process_id):
            await asyncio.sleep(0)


@pytest.fixture()
def heard() -> Heard:
    return Heard()


@pytest.fixture()
async def supervisor(tmp_path: Path, heard: Heard) -> AsyncIterator[Supervisor]:
    back_off = BackOff(first_seconds=0.01, maximum_seconds=0.04)
    made = Supervisor(tmp_path, heard, back_off=back_off, clock=time.monotonic)
    yield made
    made.kill()


async def test_a_program_is_started_and_stopped(supervisor: Supervisor, heard: Heard) -> None:
    await supervisor.start(program("one", READY_THEN_WAIT))
    process_id = supervisor.process_ids["one"]
    assert alive(process_id)
    assert await supervisor.stop("one")
    assert not alive(process_id)
    assert supervisor.process_ids == {}
    assert heard.events == []


async def test_one_that_ends_before_it_is_ready_is_told_with_its_last_lines(
    supervisor: Supervisor,
) -> None:
    with pytest.raises(StartError, match="one ended with exit code 3") as caught:
        await supervisor.start(program("one", "import sys; print('no table'); sys.exit(3)"))
    assert caught.value.last_lines == ("no table",)
    assert supervisor.process_ids == {}


async def test_one_that_is_never_ready_is_ended(supervisor: Supervisor) -> None:
    silent = "import signal; signal.pause()"
    with pytest.raises(StartError, match=r"one was not ready within 0.2 s"):
        await supervisor.start(program("one", silent, ready_seconds=0.2))
    assert supervisor.process_ids == {}


async def test_one_that_dies_is_reported_and_started_again(
    supervisor: Supervisor, heard: Heard, tmp_path: Path
) -> None:
    await supervisor.start(program("one", READY_THEN_WAIT))
    first = supervisor.process_ids["one"]
    os.kill(first, signal.SIGKILL)
    await heard.until(2)
    assert heard.events == [("one", "was ended by SIGKILL"), ("one", "back")]
    assert heard.lines == [["ready"]]
    second = supervisor.process_ids["one"]
    assert second != first
    assert alive(second)
    assert (tmp_path / "one.log").read_text() == "ready\nready\n"


async def test_one_that_keeps_dying_is_started_with_growing_delays(
    supervisor: Supervisor, heard: Heard, tmp_path: Path
) -> None:
    once = """
        import os, sys
        if os.path.exists(sys.argv[1]):
            print("broken", flush=True)
            sys.exit(1)
        open(sys.argv[1], "w").close()
        print("ready", flush=True)
        import signal
        signal.pause()
    """
    await supervisor.start(program("one", once, str(tmp_path / "once")))
    os.kill(supervisor.process_ids["one"], signal.SIGTERM)
    await heard.until(5)
    assert heard.events[1:5] == [("one", "ended with exit code 1")] * 4
    assert heard.delays[:5] == [0.01, 0.02, 0.04, 0.04, 0.04]
    (tmp_path / "once").unlink()
    while heard.events[-1] != ("one", "back"):
        await heard.until(len(heard.events) + 1)


async def test_what_must_happen_after_a_restart_happens_before_it_is_back(
    supervisor: Supervisor, heard: Heard
) -> None:
    calls: list[int] = []

    async def restarted() -> None:
        calls.append(len(heard.events))
        if len(calls) == 1:
            raise RuntimeError("no bucket")

    await supervisor.start(program("one", READY_THEN_WAIT, restarted=restarted))
    os.kill(supervisor.process_ids["one"], signal.SIGKILL)
    await heard.until(3)
    assert heard.events == [
        ("one", "was ended by SIGKILL"),
        ("one", "is of no use: no bucket"),
        ("one", "back"),
    ]
    assert calls == [1, 2]


async def test_one_whose_log_is_gone_is_reported_until_it_can_be_started_again(
    tmp_path: Path, heard: Heard
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    back_off = BackOff(first_seconds=0.01, maximum_seconds=0.04)
    supervisor = Supervisor(logs, heard, back_off=back_off, clock=time.monotonic)
    await supervisor.start(program("one", READY_THEN_WAIT))
    shutil.rmtree(logs)
    os.kill(supervisor.process_ids["one"], signal.SIGKILL)
    await heard.until(2)
    assert heard.events[0] == ("one", "was ended by SIGKILL")
    assert heard.events[1][1].startswith("is of no use: [Errno 2]")
    assert "can not be read" in heard.lines[0][0]
    logs.mkdir()
    while heard.events[-1] != ("one", "back"):
        await heard.until(len(heard.events) + 1)
    assert await supervisor.stop("one")


async def test_programs_stop_in_the_order_in_which_they_are_told(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    order = tmp_path / "order"
    names = ["gateway", "catalog", "content", "aws"]
    for name in names:
        await supervisor.start(program(name, POLITE, str(order), name))
    process_ids = list(supervisor.process_ids.values())
    assert await supervisor.stop("gateway")
    assert await supervisor.stop("catalog", "content")
    assert await supervisor.stop("aws")
    told = order.read_text().split()
    assert told[0] == "gateway"
    assert set(told[1:3]) == {"catalog", "content"}
    assert told[3] == "aws"
    assert not any(alive(process_id) for process_id in process_ids)


async def test_one_that_does_not_stop_is_killed_and_reported(
    supervisor: Supervisor, heard: Heard
) -> None:
    await supervisor.start(program("one", STUBBORN, stop_seconds=0.2))
    process_id = supervisor.process_ids["one"]
    assert not await supervisor.stop("one")
    assert heard.events == [("one", "killed")]
    assert not alive(process_id)


async def test_one_that_stops_with_an_error_is_reported(
    supervisor: Supervisor, heard: Heard
) -> None:
    failing = """
        import signal, sys
        def stop(*_):
            print("could not write", flush=True)
            sys.exit(1)
        signal.signal(signal.SIGTERM, stop)
        print("ready", flush=True)
        signal.pause()
    """
    await supervisor.start(program("one", failing))
    assert not await supervisor.stop("one")
    assert heard.events == [("one", "ended with exit code 1")]
    assert heard.lines == [["ready", "could not write"]]


async def test_nothing_is_started_again_once_that_is_over(tmp_path: Path, heard: Heard) -> None:
    supervisor = Supervisor(tmp_path, heard, clock=time.monotonic)
    await supervisor.start(program("one", READY_THEN_WAIT))
    process_id = supervisor.process_ids["one"]
    await supervisor.stop_restarting()
    os.kill(process_id, signal.SIGKILL)
    await until_gone(process_id)
    assert await supervisor.stop("one") is False
    assert heard.events == [("one", "was ended by SIGKILL")]


async def test_what_follows_a_restart_can_be_broken_off_even_where_it_fails_at_that(
    supervisor: Supervisor, heard: Heard
) -> None:
    entered = asyncio.Event()

    async def restarted() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("nothing to clean up")

    await supervisor.start(program("one", READY_THEN_WAIT, restarted=restarted))
    os.kill(supervisor.process_ids["one"], signal.SIGKILL)
    async with asyncio.timeout(30):
        await entered.wait()
        await supervisor.stop_restarting()
    assert await supervisor.stop("one")
    assert heard.events == [("one", "was ended by SIGKILL")]


async def test_one_that_waits_to_be_started_again_can_be_stopped(
    tmp_path: Path, heard: Heard
) -> None:
    back_off = BackOff(first_seconds=3600)
    supervisor = Supervisor(tmp_path, heard, back_off=back_off, clock=time.monotonic)
    await supervisor.start(program("one", READY_THEN_WAIT))
    os.kill(supervisor.process_ids["one"], signal.SIGKILL)
    await heard.until(1)
    assert await supervisor.stop("one")
    assert supervisor.process_ids == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_a_terminals_signals_do_not_reach_the_programs(
    supervisor: Supervisor, heard: Heard, number: signal.Signals
) -> None:
    await supervisor.start(program("one", POLITE, os.devnull, "one"))
    process_id = supervisor.process_ids["one"]
    os.kill(process_id, number)
    pending = Path(f"/proc/{process_id}/status").read_text()
    assert f"ShdPnd:\t{1 << (number - 1):016x}" in pending
    assert alive(process_id)
    assert await supervisor.stop("one")
    assert heard.events == []


async def test_programs_stay_in_the_process_group(supervisor: Supervisor) -> None:
    await supervisor.start(program("one", READY_THEN_WAIT))
    assert os.getpgid(supervisor.process_ids["one"]) == os.getpgid(0)


async def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = """
        import asyncio, sys, time
        from pathlib import Path
        from tests.unit.local.test_supervisor import Heard, READY_THEN_WAIT, STUBBORN, program
        from deploy.local._supervisor import Supervisor

        async def main():
            supervisor = Supervisor(Path(sys.argv[1]), Heard(), clock=time.monotonic)
            await supervisor.start(program("one", READY_THEN_WAIT))
            await supervisor.start(program("two", STUBBORN))
            print(*supervisor.process_ids.values(), flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """
    root = Path(__file__).parents[3]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(code), str(tmp_path)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    children = [int(word) for word in (await process.stdout.readline()).split()]
    assert len(children) == 2
    process.kill()
    await process.wait()
    for child in children:
        await until_gone(child)


def test_the_delay_doubles_up_to_a_bound() -> None:
    back_off = BackOff(first_seconds=0.25, maximum_seconds=3)
    assert [back_off.delay(deaths) for deaths in (1, 2, 3, 4, 5, 1000)] == [0.25, 0.5, 1, 2, 3, 3]
