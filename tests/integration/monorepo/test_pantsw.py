"""The wrapper: which Pants it runs, and the one line it says where it can't run any."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What the wrapper itself calls; nothing else is on PATH here.
PROGRAMS = (
    "bash", "cat", "chmod", "cut", "dirname", "env", "false", "grep", "head", "ln", "mkdir",
    "mktemp", "mv", "ps", "pwd", "rm", "sed", "sh", "sha256sum", "sleep", "tail", "timeout", "tr",
    "uname", "wc",
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
        (self.checkout / "deploy/images").mkdir(parents=True)
        for name in ("pantsw", "pants.toml", "3rdparty/python/pants.lock", "deploy/images/docker"):
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


# A launcher that starts docker as Pants does: with the path that it is given, and nothing else.
STARTS_DOCKER = """
path=${PANTS_DOCKER_EXECUTABLE_SEARCH_PATHS#"[\'"}
exec env -i "${path%"\']"}/docker" build --tag it .
"""


def test_docker_is_told_by_a_script_what_the_machine_says(machine: Machine) -> None:
    """In the environment that Pants gives it, it would be part of the images' hashes."""
    machine.install_python_3_11()
    machine.install("pants", STARTS_DOCKER)
    machine.install(
        "docker",
        '[ "$1" != --version ] || { echo "Docker version 20.10.24"; exit; }\n'
        'first="$1 $2"; shift 4; echo "$DOCKER_HOST, $DOCKER_BUILDKIT, $first $*"',
    )
    done = machine.pantsw("x", PANTSW="launcher", DOCKER_HOST="unix:///a folder/it's.sock")
    assert done.stdout == "unix:///a folder/it's.sock, 1, build --network=none --tag it .\n"
    done = machine.pantsw("x", PANTSW="launcher", DOCKER_HOST="tcp://127.0.0.1:2375")
    assert done.stdout.startswith("tcp://127.0.0.1:2375, ")


@pytest.mark.parametrize(
    ("version", "buildx", "builder"),
    [
        pytest.param("20.10.24+dfsg1", "exit 1", "1", id="BuildKit inside"),
        pytest.param("28.2.2", "exit 0", "1", id="BuildKit by its plug-in"),
        pytest.param("28.2.2", "exit 1", "0", id="the classic builder"),
    ],
)
def test_a_command_line_builds_with_what_it_has(
    machine: Machine, version: str, buildx: str, builder: str
) -> None:
    machine.install_python_3_11()
    machine.install("pants", STARTS_DOCKER)
    machine.install(
        "docker",
        f'case $1 in --version) echo "Docker version {version}, build x";; buildx) {buildx};;'
        ' *) echo "$DOCKER_BUILDKIT";; esac',
    )
    assert machine.pantsw("x", PANTSW="launcher").stdout == f"{builder}\n"


def test_the_id_of_what_was_built_is_written_as_pants_reads_it(machine: Machine) -> None:
    """BuildKit writes `writing image sha256:… 0.1s done` where it takes its time."""
    machine.install_python_3_11()
    machine.install("pants", STARTS_DOCKER)
    machine.install(
        "docker",
        '[ "$1" != --version ] || { echo "Docker version 20.10.24"; exit; }\n'
        'while [ "$1" != --iidfile ]; do shift; done; printf sha256:beef > "$2"',
    )
    done = machine.pantsw("x", PANTSW="launcher")
    assert done.stderr == "writing image sha256:beef done\n"


def test_a_build_that_fails_says_what_to_do_without_a_base(machine: Machine) -> None:
    machine.install_python_3_11()
    machine.install("pants", STARTS_DOCKER)
    machine.install(
        "docker",
        '[ "$1" != --version ] || { echo "Docker version 20.10.24"; exit; }\n'
        "echo 'failed to resolve the base' >&2; exit 17",
    )
    done = machine.pantsw("x", PANTSW="launcher")
    assert done.returncode == 17
    first, second = done.stderr.splitlines()
    assert first == "failed to resolve the base"
    assert "deploy/images/README.md" in second


def test_tests_that_images_are_packaged_for_are_those_that_are_left_out() -> None:
    """By the tag `container`: without it, all tests would end where no engine answers."""
    files = [
        text
        for path in Path().rglob("BUILD")
        if "runtime_package_dependencies" in (text := path.read_text(encoding="utf-8"))
    ]
    assert len(files) == 3
    for text in files:
        assert text.count("runtime_package_dependencies") == text.count('"container"')


@pytest.mark.parametrize("goal", ["package", "test"])
def test_without_an_engine_all_is_all_but_the_images(machine: Machine, goal: str) -> None:
    """Tests that need images have Pants package them before: they could not skip themselves."""
    machine.install_python_3_11()
    machine.install("pants", 'echo "${PANTS_TAG:-all}"')
    done = machine.pantsw(goal, "::", PANTSW="launcher")
    assert done.stdout == "['-container']\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith("pantsw: no Docker engine answers, container images are left out")
    # Who asks for one by its name is told what is missing; other goals need no Docker.
    for arguments in (("package", "services/course_catalog:image"), ("check", "::")):
        done = machine.pantsw(*arguments, PANTSW="launcher")
        assert (done.stdout, done.stderr) == ("all\n", "")


def test_tests_are_told_where_the_repository_is(machine: Machine) -> None:
    machine.install_python_3_11()
    machine.install("pants", 'echo "$LYCEUM_REPOSITORY"')
    done = machine.pantsw("check", "::", PANTSW="launcher")
    assert done.stdout == f"{machine.checkout}\n"


@pytest.mark.parametrize(
    ("arguments", "whole"),
    [
        ("--tag=long test ::", "true"),
        ("test tests/unit:: -- -k run", "true"),
        ("run tests/bench/start.py -- test", "no"),
        ("package ::", "no"),
    ],
)
def test_tests_run_on_the_whole_lock(machine: Machine, arguments: str, whole: str) -> None:
    machine.install_python_3_11()
    machine.install("pants", 'echo "${PANTS_PYTHON_RUN_AGAINST_ENTIRE_LOCKFILE:-no}"')
    machine.install("docker", "exit 0")
    assert machine.pantsw(*arguments.split(), PANTSW="launcher").stdout == f"{whole}\n"


def test_with_an_engine_all_packages_are_all(machine: Machine) -> None:
    machine.install_python_3_11()
    machine.install("pants", 'echo "${PANTS_TAG:-all}"')
    machine.install("docker", "exit 0")
    done = machine.pantsw("package", "::", PANTSW="launcher")
    assert (done.stdout, done.stderr) == ("all\n", "")


def test_an_image_without_docker_is_one_line(machine: Machine) -> None:
    machine.install_python_3_11()
    machine.install("pants", STARTS_DOCKER)
    done = machine.pantsw("package", "services/course_catalog:image", PANTSW="launcher")
    assert done.returncode == 127
    (line,) = done.stderr.splitlines()
    assert line.startswith("docker: there is no docker on PATH")
