"""`deploy/images/engine.sh`: an engine of one's own starts, and leaves nothing when it is stopped."""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import engine_programs

_IMAGES = Path(__file__).parents[2] / "deploy" / "images"
_NOTHING = "lyceum/nothing:test"


@pytest.fixture(autouse=True, scope="module")
def programs() -> None:
    engine_programs("the engine that engine.sh starts")


def engine(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(_IMAGES / "engine.sh"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


def docker(host: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(_IMAGES / "docker"), *arguments],
        env={**os.environ, "DOCKER_HOST": host},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def mounts_below(folder: Path) -> list[str]:
    written = str(folder).replace(" ", "\\040")
    points = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    return [point for point in points if point.startswith(written)]


@pytest.fixture()
def folder() -> Iterator[Path]:
    """A folder whose name has a space, and whose engine is ended whatever becomes of the test."""
    folder = Path(tempfile.mkdtemp(prefix="an engine "))
    yield folder
    if (folder / "engine.pid").exists():
        engine("stop", folder)


def test_a_stopped_engine_leaves_a_folder_that_can_be_removed(folder: Path, tmp_path: Path) -> None:
    started = engine("start", folder)
    assert started.returncode == 0, started.stderr
    host = started.stdout.strip()
    assert host == f"unix://{folder}/docker.sock"
    again = engine("start", folder)
    assert again.stdout.strip() == host

    # A container on the machine's network is what makes the engine mount a network's namespace. Its
    # image is empty, so that nothing in it can run, but that is found after the mounting.
    empty = tmp_path / "empty.tar"
    tarfile.open(empty, "w").close()
    assert docker(host, "import", str(empty), _NOTHING).returncode == 0
    ran = docker(host, "run", "--rm", "--network", "host", _NOTHING, "/nothing")
    assert "no such file or directory" in ran.stderr
    assert mounts_below(folder)

    stopped = engine("stop", folder)
    assert stopped.returncode == 0, stopped.stderr
    assert docker(host, "version").returncode
    assert not mounts_below(folder)
    # As `.ci/run` does; what the engine wrote is root's.
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    subprocess.run([*sudo, "rm", "-rf", str(folder)], check=True, timeout=60)
    assert not folder.exists()


def test_what_cannot_be_done_is_one_line(tmp_path: Path) -> None:
    nobody = engine("stop", tmp_path)
    assert (nobody.returncode, nobody.stderr) == (
        1,
        f"engine.sh: there is no engine of {tmp_path}\n",
    )
    unknown = engine("restart", tmp_path)
    assert unknown.returncode == 2
    assert unknown.stderr == "engine.sh: there is no command restart; there are start and stop\n"
    assert engine("start").returncode == 2
    long = engine("start", tmp_path / ("long" * 20))
    assert (long.returncode, long.stdout) == (2, "")
    assert "sockets allow 70. Name a shorter folder." in long.stderr
