"""The Docker engine, by its command line: `deploy/images/docker`, which chooses one that works."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.release._errors import ReleaseError

_SECONDS = 600.0


@dataclass(frozen=True)
class LocalImage:
    """An image that the engine has. `size`: of its layers, unpacked, in bytes."""

    id: str
    size: int
    labels: Mapping[str, str]
    environment: Mapping[str, str]


class Docker:
    """Raises ReleaseError from each method: there is no engine, or it refused.

    Args:
        root: the repository.
        configuration: the CLI's folder of credentials; None is the user's own.
        host: the engine's address; None leaves it to the CLI.
    """

    def __init__(
        self, root: Path, *, configuration: Path | None = None, host: str | None = None
    ) -> None:
        self._cli = root / "deploy" / "images" / "docker"
        self._root = root
        self._options = ["--config", str(configuration)] if configuration else []
        self._host = host

    def image(self, name: str) -> LocalImage | None:
        """What the engine knows of an image; None where it has none of this name."""
        done = self._run("image", "inspect", name, check=False)
        if done.returncode:
            if "no such image" in done.stderr.lower():
                return None
            raise _refused("image inspect", done)
        found: dict[str, Any] = json.loads(done.stdout)[0]
        config = found.get("Config") or {}
        return LocalImage(
            id=found["Id"],
            size=int(found.get("Size", 0)),
            labels=config.get("Labels") or {},
            environment=dict(entry.split("=", 1) for entry in config.get("Env") or []),
        )

    def save(self, image: str, archive: Path) -> None:
        """Writes an image with all its layers as a tar."""
        self._run("image", "save", "--output", str(archive), image)

    def load(self, archive: Path) -> None:
        """Takes images from a tar."""
        self._run("image", "load", "--quiet", "--input", str(archive))

    def tag(self, image: str, name: str) -> None:
        """Gives an image another name."""
        self._run("image", "tag", image, name)

    def forget(self, name: str) -> None:
        """Takes a name, or an image without one, away; in use or gone, it is left alone."""
        self._run("image", "rm", "--no-prune", name, check=False)

    def push(self, name: str) -> None:
        """Sends an image to the registry that its name begins with."""
        self._run("image", "push", "--quiet", name)

    @contextmanager
    def logged_in(self, registry: str, user: str, password: str) -> Iterator[Docker]:
        """The same engine, with the credentials of a registry in a folder that is then removed:
        the user's own configuration is neither written nor read."""
        host = self._host or os.environ.get("DOCKER_HOST") or self._context_host()
        with tempfile.TemporaryDirectory(prefix="lyceum-docker-") as folder:
            other = Docker(self._root, configuration=Path(folder), host=host)
            other._run("login", "--username", user, "--password-stdin", registry, feed=password)
            yield other

    def _context_host(self) -> str | None:
        # A user may have chosen the engine in the configuration that is set aside.
        done = self._run(
            "context", "inspect", "--format", "{{.Endpoints.docker.Host}}", check=False
        )
        return done.stdout.strip() or None

    def _run(
        self, *arguments: str, check: bool = True, feed: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **({"DOCKER_HOST": self._host} if self._host else {})}
        try:
            done = subprocess.run(
                [str(self._cli), *self._options, *arguments],  # noqa: S603 - fixed, no shell
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
                env=environment,
                **({"input": feed} if feed is not None else {"stdin": subprocess.DEVNULL}),
            )
        except FileNotFoundError:
            raise ReleaseError(f"{self._cli} is missing") from None
        except subprocess.TimeoutExpired:
            raise ReleaseError(f"docker {arguments[0]} took longer than {_SECONDS:.0f} s") from None
        if check and done.returncode:
            raise _refused(" ".join(arguments[:2]), done)
        return done


def _refused(what: str, done: subprocess.CompletedProcess[str]) -> ReleaseError:
    said = (done.stderr.strip() or done.stdout.strip() or "without a word").splitlines()[-1]
    return ReleaseError(f"docker {what} failed: {said}")
