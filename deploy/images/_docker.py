"""Docker's command line, called and waited for.

Owns how it is called; what for is its callers' business.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

_CLI = Path(__file__).parent / "docker"
_SECONDS = 300.0


class DockerError(Exception):
    """A command failed, or there is no engine; the text is one line, Docker's own last one."""


def docker(*arguments: str) -> str:
    """One command; what it wrote to standard output, stripped. Raises DockerError."""
    try:
        done = subprocess.run(
            [str(_CLI), *arguments],  # noqa: S603 - fixed, no shell
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise DockerError(f"docker {arguments[0]}: no end within {_SECONDS:.0f} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        raise DockerError(f"docker {arguments[0]}: {said[-1]}")
    return done.stdout.strip()


def output_and_code(*arguments: str) -> tuple[str, int]:
    """One command that may fail: what it wrote to both outputs, and its exit code."""
    done = subprocess.run(
        [str(_CLI), *arguments],  # noqa: S603 - fixed, no shell
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    return done.stdout.strip(), done.returncode


def inspect_image(reference: str) -> dict[str, Any]:
    """What the engine knows of an image. Raises DockerError if it has none of that name."""
    (found,) = json.loads(docker("image", "inspect", reference))
    return dict(found)


def save_image(reference: str, to: Path) -> None:
    """Write an image's archive to a file. Raises DockerError."""
    docker("save", "--output", str(to), reference)
