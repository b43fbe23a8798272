"""Finds the Docker engine that tests may use, or skips them.

The engine is the one that `DOCKER_HOST` names, else the default socket; it is spoken to by
`deploy/images/docker`, which chooses a CLI. This is the only place that decides whether Docker is
here. It starts nothing and reads nothing at import.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]
# An engine that answers does so in milliseconds; one that hangs is as good as none.
_ANSWER_SECONDS = 20.0


class EngineMissingError(Exception):
    """There is no engine that answers; the text says why, in one line."""


class DockerError(Exception):
    """A command of Docker's failed; the text has what it wrote."""


@dataclass(frozen=True)
class DockerEngine:
    """An engine that answered."""

    cli: Path
    version: str

    def run(self, *arguments: str, timeout: float = 120.0) -> str:
        """One command, such as `run("image", "inspect", name)`; what it wrote, stripped.

        Raises DockerError where it fails, subprocess.TimeoutExpired where it hangs.
        """
        done = subprocess.run(
            [str(self.cli), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip()
            raise DockerError(f"docker {' '.join(arguments)}: {said}")
        return done.stdout.strip()

    def remove_container(self, container: str) -> None:
        """End and remove a container of the caller's own, by its id; no error if it is gone."""
        subprocess.run(
            [str(self.cli), "rm", "--force", "--volumes", container],
            capture_output=True,
            check=False,
            timeout=120.0,
        )


def find_engine() -> DockerEngine:
    """The engine; raises EngineMissingError."""
    cli = _ROOT / "deploy" / "images" / "docker"
    try:
        done = subprocess.run(
            [str(cli), "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_ANSWER_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise EngineMissingError(f"no answer within {_ANSWER_SECONDS:.0f} s") from None
    version = done.stdout.strip()
    if done.returncode or not version:
        said = (done.stderr.strip() or "it has no server").splitlines()
        raise EngineMissingError(said[-1])
    return DockerEngine(cli=cli, version=version)


def docker_engine(what: str) -> DockerEngine:
    """The engine, or the test is skipped: `what` names what is then not run."""
    import pytest

    try:
        return find_engine()
    except EngineMissingError as missing:
        pytest.skip(f"Docker is not here: {what} ({missing})")


def engine_programs(what: str) -> None:
    """Nothing, where an engine could be started here, or the test is skipped as `docker_engine`'s."""
    import pytest

    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [
        name for name in ("dockerd", "containerd", "runc") if not shutil.which(name, path=path)
    ]
    if missing:
        pytest.skip(f"{', '.join(missing)} missing: {what}")
    if os.geteuid() and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode:
        pytest.skip(f"neither root nor sudo without a password: {what}")
