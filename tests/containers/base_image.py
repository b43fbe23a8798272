"""The base that images of tests are built on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.containers.engine import DockerEngine, DockerError

LOCAL = "lyceum/base:debian12"

_ROOT = Path(__file__).parents[2]


def base_image(engine: DockerEngine) -> str:
    """The one that BASE_IMAGE names; else the one from Debian packages, which is made if it is not
    there. The test is skipped where it can't be made."""
    named = os.environ.get("BASE_IMAGE")
    if named:
        return named
    try:
        engine.run("image", "inspect", LOCAL)
    except DockerError:
        _make()
    return LOCAL


def _make() -> None:
    import pytest

    done = subprocess.run(
        [sys.executable, "-m", "deploy.images.base.build"],
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"there is no base image, and none can be made: {done.stderr.splitlines()[-1]}")
