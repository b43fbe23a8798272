"""One curve for real, and a soak that is interrupted: processes are started, asked and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.growing.curves import CURVES
from tests.integration.service_process import python_path

# Three starts and a few short rounds; far more than they take, so that only what hangs is an error.
SECONDS = 90


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONPATH": python_path()}


def test_a_quick_look_at_one_curve() -> None:
    """Three processes of a service, the fake DynamoDB and the load really run."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.growth", "--quick", "--json", "--only", "concurrency"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=_environment(),
    )
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["curves"].values()
    curve = next(curve for curve in CURVES if curve.name == "concurrency")
    assert [one["size"] for one in found["sizes"]] == list(curve.quick)
    for one in found["sizes"]:
        assert one["loadedMebibytes"] > 0
        assert set(one["cases"]) == set(curve.cases)
        for case in one["cases"].values():
            assert case["requests"] > 0
            assert case["cpuMicroseconds"]["median"] > 0
        # The course that is read has 60 items, as the file of a plan's consumed capacity has it.
        assert one["cases"]["course"]["readUnits"] == 4
        assert one["cases"]["page"]["readUnits"] == 0
    assert {one["verdict"] for one in found["fits"].values()} <= {
        *("sub-linear", "linear", "worse than linear", "undecided"),
    }


def test_who_is_interrupted_leaves_nothing_running() -> None:
    arguments = ["--only", "content_delivery", "--minutes", "5"]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.soak", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
        start_new_session=True,
    ) as running:
        started: list[Path] = []
        try:
            until = time.monotonic() + SECONDS
            while not any("services." in _command(one) for one in started):
                assert running.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
                started = _children(running.pid)
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=SECONDS)
        finally:
            running.kill()
    assert running.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == ("soak: interrupted; everything that was started has been ended")
    # What Python itself starts beside a process of its own ends a moment after its parent.
    while time.monotonic() < until and any(map(_runs, started)):
        time.sleep(0.02)
    assert [_command(one) for one in started if _runs(one)] == []


def _children(process_id: int) -> list[Path]:
    children = Path(f"/proc/{process_id}/task/{process_id}/children")
    try:
        return [Path(f"/proc/{child}") for child in children.read_text(encoding="ascii").split()]
    except OSError:
        return []


def _runs(process: Path) -> bool:
    try:
        state = (process / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"  # ended, and not yet asked for


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
