"""What is printed: one JSON line, or a table with lines to copy; colours on terminals alone."""

from __future__ import annotations

import dataclasses
import io
import json
import shlex
import subprocess
from pathlib import Path

import pytest

from deploy.local._report import COMMAND, Console, Journey, Ready, User, journey_line


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
    assert errors.getvalue().splitlines() == [
        "course_catalog ended with exit code 1; it is started again in 0.5 s. Its last lines:",
        "    no table",
        "course_catalog is back",
        "course_catalog did not stop within 15 s and was killed",
        "embedded-aws ended with exit code 1 when it was stopped. Its last lines:",
        "    disk full",
    ]


def test_a_terminal_that_is_gone_stops_nothing(platform: Ready) -> None:
    console = Console(Gone(), Gone(), as_json=False, clock=ticking)
    with console.step("embedded AWS"):
        console.warn("careful")
    console.ready(platform)
