"""The base as it is made from Debian's real packages: the same each time, and fit to run Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from deploy.images._contents import read_contents
from deploy.images.base._packages import PACKAGES
from tests.containers.engine import DockerEngine, docker_engine

# Not the name that a developer's own base has.
NAME = f"test-{uuid.uuid4().hex[:8]}"
# What services import of the standard library that needs a library of the system's.
_LOADED = "import asyncio, bz2, ctypes, decimal, hashlib, lzma, ssl, uuid, zlib, zoneinfo"


def make(archive: Path) -> dict[str, Any]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "deploy.images.base.build"),
            *("--json", f"--name={NAME}", f"--output={archive}"),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two bases, made one after the other."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not here: the base is not made from Debian packages")
    folder = tmp_path_factory.mktemp("base")
    first, second = folder / "first.tar", folder / "second.tar"
    assert make(first) == make(second)
    return first, second


def test_two_bases_are_the_same_bytes(archives: tuple[Path, Path]) -> None:
    first, second = archives
    assert first.read_bytes() == second.read_bytes()


def test_it_holds_python_and_no_other_program(archives: tuple[Path, Path]) -> None:
    contents = read_contents(archives[0])
    assert contents.size < 40_000_000
    programs = {
        path
        for path, member in contents.files.items()
        if not member.isdir() and path.rpartition("/")[0].endswith("bin")
    }
    assert programs == {"/usr/bin/python", "/usr/bin/python3", "/usr/bin/python3.11"}
    listed = {path.rpartition("/")[2] for path in contents.files if "/status.d/" in path}
    assert listed == set(PACKAGES)


def test_what_services_import_loads(archives: tuple[Path, Path]) -> None:
    engine: DockerEngine = docker_engine("nothing is run on the base")
    loaded = engine.run("load", "--input", str(archives[0]))
    names = [line.rpartition(" ")[2] for line in loaded.splitlines()]
    assert f"lyceum/base:{NAME}" in names
    certificates = f"{_LOADED}; print(len(ssl.create_default_context().get_ca_certs()) > 50)"
    try:
        said = engine.run(
            "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", names[0],
            "-I", "-c", f"{certificates}; print(zoneinfo.ZoneInfo('Europe/Berlin'))",
        )  # fmt: skip
    finally:
        engine.run("image", "rm", *names)
    assert said == "True\nEurope/Berlin"
