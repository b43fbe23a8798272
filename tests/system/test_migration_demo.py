"""The demo of the migration in its small form, to its end: forward, and half-way back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.platform_process import ROOT, is_alive

_SECONDS = 900
pytestmark = pytest.mark.timeout(_SECONDS + 60)
_MODULES = {"course_catalog", "content_delivery", "progress_tracking"}


def demo(*arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of ``demo.py``."""
    command = [sys.executable, str(ROOT / "deploy" / "migration" / "demo.py"), *arguments]
    return command, {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def played(directory: Path, *arguments: str) -> list[dict[str, Any]]:
    """What a whole run of the small demo said."""
    command, environment = demo("--fast", "--json", "--keep", str(directory / "demo"), *arguments)
    run = subprocess.run(
        command,
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    return [json.loads(line) for line in run.stdout.splitlines()]


def facts_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    facts = documents[-1]
    assert facts["event"] == "facts"
    return facts


def assert_nobody_noticed(facts: dict[str, Any]) -> None:
    assert facts["isWhole"]
    assert {
        name: facts[name] for name in ("failures", "lost", "stale", "resurrected", "invented")
    } == dict.fromkeys(("failures", "lost", "stale", "resurrected", "invented"), 0)
    assert facts["reads"] > 200
    assert all(counts["requests"] > 50 for counts in facts["byModule"].values())
    assert facts["items"] >= 600


def test_a_migration_to_its_end(tmp_path: Path) -> None:
    documents = played(tmp_path, "--seed", "1")

    facts = facts_of(documents)
    assert_nobody_noticed(facts)
    assert facts["writePauses"].keys() == _MODULES
    assert not facts["writePausesBack"]
    events = [document["event"] for document in documents]
    canaries = [document for document in documents if document["event"] == "canary"]
    assert [canary["percent"] for canary in canaries] == [1, 10, 50, 100]
    assert 0 < canaries[2]["toServices"] < canaries[2]["requests"]
    assert events.count("switched") == 3
    (retired,) = (document for document in documents if document["event"] == "retired")
    assert retired["requestsOfTheMonolith"] == 0
    steps = [document["number"] for document in documents if document["event"] == "step"]
    assert [number for number in steps if number] == list("012345678")


def test_a_migration_half_way_and_back(tmp_path: Path) -> None:
    documents = played(tmp_path, "--seed", "2", "--reverse")

    facts = facts_of(documents)
    assert_nobody_noticed(facts)
    assert facts["reversed"]
    assert facts["writePauses"].keys() == facts["writePausesBack"].keys() == _MODULES
    events = [document["event"] for document in documents]
    assert events.count("switched") == events.count("reversed") == 3
    assert [document["percent"] for document in documents if document["event"] == "canary"] == [
        1, 10, 50,
    ]  # fmt: skip


@pytest.fixture()
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo, which is ended by its id whatever becomes of the test."""
    command, environment = demo("--fast", "--json")
    process = subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(_SECONDS)
        assert process.stdout is not None
        process.stdout.close()


def descendants(process_id: int) -> set[int]:
    found: set[int] = set()
    waiting = [process_id]
    while waiting:
        for path in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            children = {int(word) for word in path.read_text().split()}
            waiting += children - found
            found |= children
    return found


def started_until_planned(demo: subprocess.Popen[str]) -> set[int]:
    """All processes that there are below the demo when it has planned."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if json.loads(line)["event"] == "planned":
            break
    started = descendants(demo.pid)
    # The embedded AWS, the gateway, the monolith and the services among them.
    assert len(started) >= 6
    return started


def test_ctrl_c_leaves_nothing_running(running: subprocess.Popen[str]) -> None:
    started = started_until_planned(running)

    running.send_signal(signal.SIGINT)

    assert running.wait(_SECONDS) == 130
    assert not [process_id for process_id in started if is_alive(process_id)]


def test_a_demo_that_is_killed_leaves_nothing_running(running: subprocess.Popen[str]) -> None:
    started = started_until_planned(running)

    running.kill()

    until = time.monotonic() + _SECONDS
    while any(map(is_alive, started)):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--items", "3"], "'3' is not a number of items (400 to 2,000,000)"),
        (["--seed", "x"], "'x' is not a seed (a whole number)"),
        (["--keep", str(ROOT)], "is not empty"),
    ],
)
def test_bad_input_is_one_line_before_anything_starts(arguments: list[str], says: str) -> None:
    command, environment = demo(*arguments)

    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )

    assert run.returncode == 2
    assert says in run.stderr.splitlines()[-1]
    assert run.stdout == ""


def test_help_has_examples() -> None:
    command, environment = demo("--help")

    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )

    assert run.returncode == 0
    assert "./pantsw run deploy/migration/demo.py -- --reverse" in run.stdout
