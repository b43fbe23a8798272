"""The wrapper: which Pants it runs, and the one line it says where it can't run any."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What the wrapper itself calls; nothing else is on PATH here.
PROGRAMS = (
    "bash", "cat", "cut", "dirname", "env", "false", "grep", "ln", "mkdir", "mktemp", "ps",
    "pwd", "rm", "sed", "sha256sum", "sleep", "tail", "timeout", "tr", "uname", "wc",
)  # fmt: skip


class Machine:
    """A machine with nothing but the programs above, an empty home and a checkout."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.bin = folder / "bin"
        self.checkout = folder / "checkout"
        for directory in (self.home, self.bin, self.checkout / "3rdparty/python"):
            directory.mkdir(parents=True)
        for name in PROGRAMS:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)
        for name in ("pantsw", "pants.toml", "3rdparty/python/pants.lock"):
            shutil.copy(name, self.checkout / name)

    def install(self, name: str, script: str) -> None:
        program = self.bin / name
        program.write_text(f"#!/usr/bin/env bash\n{script}\n")
        program.chmod(0o755)

    def install_python_3_11(self) -> None:
        self.install("python3.11", f'exec "{sys.executable}" "$@"')

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": str(self.bin), "HOME": str(self.home)}

    def pantsw(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.checkout / "pantsw"), *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture()
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_python_3_11_one_line_says_how_to_get_it(machine: Machine) -> None:
    done = machine.pantsw("--version")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("pantsw: Python 3.11 is missing")
    assert "apt-get install python3.11" in line


def test_without_launcher_and_python_3_9_one_line_says_how_to_get_them(machine: Machine) -> None:
    machine.install_python_3_11()
    done = machine.pantsw("--version")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("pantsw: Python 3.9 is missing")
    assert "PANTSW_PYTHON" in line


def test_a_wrong_python_is_not_taken_for_3_9(machine: Machine) -> None:
    machine.install_python_3_11()
    done = machine.pantsw("--version", PANTSW_PYTHON=sys.executable)
    assert done.returncode == 2
    assert "Python 3.9 is missing" in done.stderr


def test_a_launcher_that_works_is_used_with_the_arguments(machine: Machine) -> None:
    machine.install_python_3_11()
    machine.install("pants", 'printf "launcher %s\\n" "$*"')
    done = machine.pantsw("test", "::")
    assert done.returncode == 0
    assert done.stdout == "launcher test ::\n"


@pytest.mark.parametrize("script", ["false", "sleep 600"], ids=["fails", "hangs"])
def test_a_launcher_that_does_not_work_is_left_aside(machine: Machine, script: str) -> None:
    machine.install_python_3_11()
    machine.install("pants", f"exec {script}")
    done = machine.pantsw("--version", PANTSW_PROBE_S="1")
    assert done.returncode == 2
    assert "Python 3.9 is missing" in done.stderr


def test_a_launcher_that_is_asked_for_and_missing_is_told(machine: Machine) -> None:
    machine.install_python_3_11()
    done = machine.pantsw("--version", PANTSW="launcher")
    assert done.returncode == 2
    assert "no 'pants' on PATH" in done.stderr


def test_an_unknown_choice_is_told(machine: Machine) -> None:
    machine.install_python_3_11()
    done = machine.pantsw("--version", PANTSW="other")
    assert done.returncode == 2
    assert done.stderr == "pantsw: PANTSW is 'other'; it must be 'launcher' or 'index'.\n"


def test_a_second_command_does_not_wait_for_the_daemon_of_the_first(machine: Machine) -> None:
    """`up.py -- token` has to work while `up.py` runs, and Pants' daemon serves one at a time."""
    machine.install_python_3_11()
    # The first says that it runs, and ends when its input does.
    machine.install(
        "pants", 'printf "%s\\n" "${PANTS_CONCURRENT:-no}"; [ "$1" != wait ] || read -r'
    )
    with subprocess.Popen(
        [str(machine.checkout / "pantsw"), "wait"],
        env={**machine.environment, "PANTSW": "launcher"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout
        assert first.stdin
        assert first.stdout.readline() == "no\n"
        assert machine.pantsw("second", PANTSW="launcher").stdout == "true\n"
        first.stdin.close()
    assert machine.pantsw("third", PANTSW="launcher").stdout == "no\n"
