"""What is printed: one JSON line, or a table with lines to copy; colours on terminals alone."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import shlex
import subprocess
from pathlib import Path

import pytest

from deploy.local._durations import Durations
from deploy.local._report import (
    COMMAND,
    ClusterAddress,
    Console,
    Journey,
    Ready,
    User,
    journey_line,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture()
def platform() -> Ready:
    names = ("learner-a", "learner-b", "author", "staff")
    return Ready(
        gateway="http://127.0.0.1:8080",
        services={"course_catalog": "http://127.0.0.1:1", "content_delivery": "http://127.0.0.1:2"},
        aws="http://127.0.0.1:3",
        s3="http://127.0.0.1:4",
        users={name: User(f"sub-{name}", f"token-{name}", Path("h") / name) for name in names},
        state=Path(".lyceum"),
        logs=Path(".lyceum/logs"),
        token_seconds=3600,
        journey=Journey("tides", "tides-1-1"),
    )


def ticking() -> float:
    return 0.0


def test_json_is_one_line_and_nothing_else(platform: Ready) -> None:
    output, errors = io.StringIO(), io.StringIO()
    console = Console(output, errors, as_json=True, clock=ticking)
    with console.step("embedded AWS"):
        pass
    console.ready(platform)
    (line,) = output.getvalue().splitlines()
    assert json.loads(line) == {
        "gateway": "http://127.0.0.1:8080",
        "services": {
            "course_catalog": "http://127.0.0.1:1",
            "content_delivery": "http://127.0.0.1:2",
        },
        "aws": "http://127.0.0.1:3",
        "s3": "http://127.0.0.1:4",
        "users": {
            name: {"sub": f"sub-{name}", "accessToken": f"token-{name}"} for name in platform.users
        },
    }
    assert "embedded AWS" in errors.getvalue()


def test_the_table_names_everything(platform: Ready) -> None:
    output = io.StringIO()
    Console(output, io.StringIO(), as_json=False, clock=ticking).ready(platform)
    text = output.getvalue()
    for expected in (
        *("http://127.0.0.1:8080", "http://127.0.0.1:1", "http://127.0.0.1:3", ".lyceum/logs"),
        *(f"sub-{name}" for name in platform.users),
        *(f"token-{name}" for name in platform.users),
        "curl -H @h/learner-a 'http://127.0.0.1:8080/courses?limit=5'",
        journey_line(platform.gateway, Path("h/learner-a"), Journey("tides", "tides-1-1")),
        "./pantsw run deploy/local/up.py -- token learner-a",
    ):
        assert expected in text
    assert "\x1b" not in text


def test_of_a_cluster_it_is_said_where_it_is_released_to(platform: Ready) -> None:
    ready = dataclasses.replace(platform, cluster=ClusterAddress("127.0.0.1:3", "lyceum"))
    output = io.StringIO()
    Console(output, io.StringIO(), as_json=True, clock=ticking).ready(ready)
    document = json.loads(output.getvalue())
    assert (document["registry"], document["cluster"]) == ("127.0.0.1:3", "lyceum")
    for state, where in ((Path(".lyceum"), ""), (Path("my state"), " 'my state'")):
        output = io.StringIO()
        there = dataclasses.replace(ready, state=state)
        Console(output, io.StringIO(), as_json=False, clock=ticking).ready(there)
        assert "  registry           127.0.0.1:3\n" in output.getvalue()
        assert f"deploy/release/release.py -- status --local{where}\n" in output.getvalue()


def test_where_the_traces_are_is_said(platform: Ready) -> None:
    for daemon, said in (
        (None, "  traces             ./pantsw run deploy/local/up.py -- traces\n"),
        ("127.0.0.1:2000", "  traces             sent to 127.0.0.1:2000\n"),
    ):
        output = io.StringIO()
        ready = dataclasses.replace(platform, tracing_daemon=daemon)
        Console(output, io.StringIO(), as_json=False, clock=ticking).ready(ready)
        assert said in output.getvalue()


def test_the_journey_is_a_single_line() -> None:
    line = journey_line("http://127.0.0.1:8080", Path("h/learner-a"), Journey("tides", "tides-1-1"))
    assert "\n" not in line
    for part in ("/courses?limit=3", "/courses/tides", "/content/tides-1-1", "-r 0-", "-X PUT"):
        assert part in line


def test_lines_to_copy_survive_a_state_folder_of_any_name(platform: Ready) -> None:
    state = Path("My state; it's here")
    user = User("sub", "token", state / "headers" / "learner-a")
    ready = dataclasses.replace(platform, state=state, users=dict.fromkeys(platform.users, user))
    output = io.StringIO()
    Console(output, io.StringIO(), as_json=False, clock=ticking).ready(ready)
    text = output.getvalue()
    for line in text.splitlines():
        if line.startswith("curl"):
            assert shlex.split(line)[:3] == ["curl", "-H", f"@{user.header_file}"]
        if COMMAND in line:
            words = shlex.split(line[line.index(COMMAND) :])
            assert words[3:6] == ["--", "--state", str(state)]
    assert text.count(COMMAND) == 2
    (journey,) = (line for line in text.splitlines() if line.startswith("G="))
    # As a shell takes it apart: one word, whatever is in it.
    echo = journey.partition("curl")[0] + 'printf "%s" "$H"'
    said = subprocess.run(["/bin/sh", "-c", echo], capture_output=True, text=True, check=True)
    assert said.stdout == f"@{user.header_file}"
    assert "-H $H" not in journey


def test_colours_appear_on_terminals_alone(platform: Ready) -> None:
    for make in (Terminal, io.StringIO):
        output, errors = make(), make()
        console = Console(output, errors, as_json=False, clock=ticking)
        with console.step("embedded AWS"):
            pass
        console.warn("careful")
        console.ready(platform)
        coloured = "\x1b[" in errors.getvalue(), "\x1b[1m" in output.getvalue()
        assert coloured == ((True, True) if make is Terminal else (False, False))


def test_a_terminal_says_what_is_waited_for() -> None:
    errors = Terminal()
    console = Console(io.StringIO(), errors, as_json=False, clock=ticking)
    with console.step("embedded AWS"):
        assert errors.getvalue().endswith("… embedded AWS")
    assert "0.0 s\n" in errors.getvalue()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def waited(errors: io.StringIO, clock: Clock, durations: Durations, *seconds: float) -> None:
    """A step during which it is looked at after each of so many seconds."""
    console = Console(io.StringIO(), errors, as_json=False, clock=clock)
    console.expect(durations)
    remaining = iter(seconds)
    done = asyncio.Event()

    async def sleep(_: float) -> None:
        passed = next(remaining, None)
        if passed is None:
            done.set()
            await asyncio.Event().wait()
        clock.now += passed or 0

    with console.step("images"):
        async with console.waiting(sleep=sleep):
            await done.wait()


async def test_who_waits_is_told_how_long_it_still_takes(tmp_path: Path) -> None:
    durations = Durations(tmp_path / "durations.json")
    # The first time nobody knows.
    errors = Terminal()
    await waited(errors, Clock(), durations, 1, 3, 4)
    assert "… images\r" in errors.getvalue()
    assert "… images 4 s\r" in errors.getvalue()
    assert "left" not in errors.getvalue()
    # The second time it took eight seconds, and the file says so.
    errors = Terminal()
    await waited(errors, Clock(), Durations(tmp_path / "durations.json"), 3, 4, 3)
    assert "… images 3 s, about 5 s left\r" in errors.getvalue()
    assert "… images 7 s, about 1 s left\r" in errors.getvalue()
    assert "… images 10 s\r" in errors.getvalue()  # late, and no longer foretold


async def test_where_lines_stay_it_is_told_now_and_then(tmp_path: Path) -> None:
    (tmp_path / "durations.json").write_text('{"images": 30}')
    errors = io.StringIO()
    await waited(errors, Clock(), Durations(tmp_path / "durations.json"), 5, 10)
    assert errors.getvalue().splitlines() == [
        "  … images 15 s, about 15 s left",
        f"  ✓ {'images':<44}{15.0:6.1f} s",
    ]


def test_durations_that_can_not_be_read_or_kept_are_no_reason_to_stop(tmp_path: Path) -> None:
    path = tmp_path / "durations.json"
    for text in ("", "[]", '{"a": "b"}', '{"a": null}', "{"):
        path.write_text(text)
        assert Durations(path).left("a", 0) is None
    nowhere = Durations(tmp_path / "no such folder" / "durations.json")
    nowhere.took("a", 5)
    assert nowhere.left("a", 1) == 4
    quick = Durations(tmp_path / "quick.json")
    quick.took("a", 0.5)
    assert not (tmp_path / "quick.json").exists()


def test_a_step_that_fails_is_not_said_to_be_done() -> None:
    errors = io.StringIO()
    console = Console(io.StringIO(), errors, as_json=False, clock=ticking)
    with pytest.raises(ValueError, match="no"), console.step("embedded AWS"):
        raise ValueError("no")
    assert errors.getvalue() == ""


def test_what_a_process_did_is_told_with_its_last_lines() -> None:
    errors = io.StringIO()
    console = Console(io.StringIO(), errors, as_json=False, clock=ticking)
    console.died("course_catalog", "ended with exit code 1", ["no table"], 0.5)
    console.back("course_catalog")
    console.killed("course_catalog", 15)
    console.stopped_badly("embedded-aws", "ended with exit code 1", ["disk full"])
    console.task_died("course_catalog", "0123abcd", "was ended by SIGKILL", ["no table"])
    console.task_failed("course_catalog", "0123abcd", "Task failed ELB health checks", [])
    console.output_of(f"course_catalog-0123abcd{'0' * 24}", "a line")
    assert errors.getvalue().splitlines() == [
        "course_catalog ended with exit code 1; it is started again in 0.5 s. Its last lines:",
        "    no table",
        "course_catalog is back",
        "course_catalog did not stop within 15 s and was killed",
        "embedded-aws ended with exit code 1 when it was stopped. Its last lines:",
        "    disk full",
        "course_catalog (task 0123abcd) was ended by SIGKILL; ECS starts another one."
        " Its last lines:",
        "    no table",
        "course_catalog (task 0123abcd) is replaced by ECS: Task failed ELB health checks."
        " It wrote nothing.",
        "course_catalog-0123abcd | a line",
    ]


def test_a_terminal_that_is_gone_stops_nothing(platform: Ready) -> None:
    console = Console(Gone(), Gone(), as_json=False, clock=ticking)
    with console.step("embedded AWS"):
        console.warn("careful")
    console.ready(platform)
