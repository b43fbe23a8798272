"""The comparison with the peers: that it really measures, and what its report makes of numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench import compare
from tests.bench.comparison import plot, report
from tests.bench.comparison.contestants import CASES, CONTESTANTS
from tests.bench.comparison.report import Measured, Process, Slices
from tests.integration.service_process import python_path

# A start and two short rounds; far more than they take, so that only what hangs is an error.
SECONDS = 90


def test_a_quick_look_at_one_service() -> None:
    """Its own process, the fake DynamoDB's and the load really run, and nothing stays behind."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.bench.compare"),
            *("--quick", "--json", "--only", "progress_tracking"),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**_environment(), "PYTHONPATH": python_path()},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["missing"] == {}
    assert set(found["cases"]) == {"progress", "heartbeat"}
    for case in found["cases"].values():
        ours = case["progress_tracking"]
        assert ours["requests"] > 0
        assert ours["rounds"] == compare.QUICK.rounds
        assert ours["cpuMicroseconds"]["median"] > 0
        assert 0 < ours["p50Milliseconds"]["median"] <= ours["p99Milliseconds"]["most"]
    assert found["processes"]["progress_tracking"]["loadedMebibytes"] > 0
    said = {(goal["path"], goal["goal"]): goal for goal in found["goals"]}
    # What needs a peer was not measured, and is not told as reached.
    assert {
        goal["reached"] for (path, _), goal in said.items() if path == "GET /progress/{userId}"
    } == {None}
    assert all(found["partsMicroseconds"][name]["median"] > 0 for name in ("presign", "log.line"))


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def measured() -> Measured:
    """A run in which everybody took as many microseconds as they are named in."""
    made = Measured(machine={"processor": "a processor"}, heartbeat_write_units=1.0)
    for number, contestant in enumerate(CONTESTANTS, start=1):
        made.processes[contestant.name] = Process(0.5, 60.0, 70.0 + number)
        for case in contestant.cases:
            made.cases.setdefault(case, {})[contestant.name] = Slices(
                [100.0 * number, 110.0 * number, 500.0 * number], [1.0] * 3, [2.0] * 3, 30, 618
            )
    made.parts = {
        name: {"median": 10.0, "least": 9.0, "most": 11.0}
        for name in (
            *("presign", "token.seen", "token.new", "token.rsa"),
            *("trace.unsampled", "breaker.closed", "log.line"),
        )
    }
    made.directory_courses = 100_000
    return made


def test_a_ratio_is_of_the_same_rounds() -> None:
    made = measured()
    ours = made.cases["progress"]["progress_tracking"].cpu_microseconds
    # A round that was slow for both says as much as any other.
    made.cases["progress"]["fastify"].cpu_microseconds = [4 * value for value in ours]
    assert made.ratio("progress", "progress_tracking", "progress", "fastify") == 0.25
    assert made.ratio("progress", "progress_tracking", "progress", "nobody") is None


def test_goals_stand_beside_what_was_measured() -> None:
    made = measured()
    found = {(goal.path, goal.wanted): goal for goal in report.goals(made)}
    assert found["pre-signing one URL", "at most 12 µs"].reached is True
    assert found["closed breaker", "at most 3 µs"].reached is False
    assert (
        found["token verified, new", "at most 1.2 x the RSA verification alone"].found == "1.00 x"
    )
    assert found["start to ready", "at most 0.6 s"].reached is True
    del made.cases["content"]["fastify"]
    made.missing["fastify"] = "Node.js with npm is not on this machine"
    goal = next(goal for goal in report.goals(made) if goal.path == "GET /content/{id}")
    assert (goal.found, goal.reached) == (None, None)
    assert "not measured" in report.goals_table(made)
    assert "Fastify + AWS SDK v3 (Node.js with npm is not" in report.machine_lines(made)


def test_the_document_has_a_place_for_every_part() -> None:
    made = measured()
    text = compare.DOCUMENT.read_text(encoding="utf-8")
    once = compare.renewed(text, report.document(made))
    assert compare.renewed(once, report.document(made)) == once
    with pytest.raises(ValueError, match="no place for goals"):
        compare.renewed("", report.document(made))


def test_the_plot_has_a_bar_for_everybody() -> None:
    made = measured()
    root = ElementTree.fromstring(plot.draw(made))
    space = "{http://www.w3.org/2000/svg}"
    bars = len(root.findall(f"{space}rect")) - 1  # the paper
    assert bars == sum(map(len, made.cases.values()))
    texts = {element.text for element in root.findall(f"{space}text")}
    assert {CASES[case] for case in made.cases} <= texts


def test_the_committed_picture_is_a_picture() -> None:
    ElementTree.parse(Path(compare.PICTURE))
