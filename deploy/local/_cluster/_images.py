"""The services' images: given by name or built, and sent to the registry of the embedded AWS.

Building and sending is `deploy/release`'s, as for AWS: here are only what it needs and where it runs.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress

from deploy.local._cluster._engine import Engine
from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._errors import PlatformError
from deploy.local._report import Console
from deploy.local._services import SERVICES, python_environment
from deploy.local._supervisor import tied_to_parent
from deploy.release import SERVICES as RELEASED
from deploy.release import Docker, PushedImage, RegistryLogin, ReleaseError, push_image

# The variable of the Dockerfile and of Pants, and what deploy/images/base makes.
_BASE_VARIABLE, _OWN_BASE = "BASE_IMAGE", "lyceum/base:debian12"
_PRELUDE = REPOSITORY_ROOT / "deploy" / "pants" / "service.prelude"
_PUBLIC_BASE = re.compile(rf"^ARG {_BASE_VARIABLE}=(\S+)$", re.MULTILINE)
_MAKES_IT = "./pantsw run deploy/images/base/build.py"


async def missing_images(engine: Engine, given: Mapping[str, str]) -> list[str]:
    """Why the images can't be had, a line each: one that was given is not there, or there is nothing
    to build the others on."""
    found = [
        f"the engine has no image {reference} (--image {service}=…)"
        for service, reference in given.items()
        if not await engine.has_image(reference)
    ]
    if set(SERVICES) - set(given) and await _base(engine) is None:
        named = os.environ.get(_BASE_VARIABLE)
        found.append(
            f"the engine has no image {named} ({_BASE_VARIABLE}) to build the services' on"
            if named
            else "the engine has no base image to build the services' on:"
            f" docker pull {_public_base()}, or {_MAKES_IT} makes an equal one"
        )
    return found


async def _base(engine: Engine) -> str | None:
    """The base that images are built on: the one that is named, the public one, or our own."""
    named = os.environ.get(_BASE_VARIABLE)
    for reference in [named] if named else [_public_base(), _OWN_BASE]:
        if await engine.has_image(reference):
            return reference
    return None


def _public_base() -> str:
    found = _PUBLIC_BASE.search(_PRELUDE.read_text(encoding="utf-8"))
    assert found is not None, f"{_PRELUDE} names no base image"
    return found[1]


class Images:
    """The images of one start; those that are not given are built once."""

    def __init__(self, given: Mapping[str, str], engine: Engine, console: Console) -> None:
        self._references = dict(given)
        self._engine = engine
        self._console = console

    async def build(self) -> None:
        """Builds what was not given. Raises PlatformError, EngineError."""
        missing = [service for service in SERVICES if service not in self._references]
        if not missing:
            return
        base = await _base(self._engine)
        with self._console.step(f"images of {', '.join(missing)}"):
            # A process: a thread could not be broken off.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "deploy.release.release", "build", *missing, "--json"),
                cwd=REPOSITORY_ROOT,
                env={
                    **os.environ,
                    **python_environment(),
                    **({_BASE_VARIABLE: base} if base is not None else {}),
                    "DOCKER_HOST": self._engine.host,
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                preexec_fn=tied_to_parent(os.getpid(), signal.SIGTERM),
            )
            try:
                output, errors = await process.communicate()
            except asyncio.CancelledError:
                with suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
                raise
        if process.returncode != 0:
            last_lines = errors.decode(errors="replace").splitlines()[-15:]
            raise PlatformError("the images could not be built", last_lines)
        for line in output.splitlines():
            document = json.loads(line)
            if document["event"] == "imageBuilt":
                self._references[document["service"]] = document["id"]

    async def push(self, login: RegistryLogin) -> dict[str, PushedImage]:
        """Sends every service's image. Raises PlatformError."""
        docker = Docker(REPOSITORY_ROOT, host=self._engine.host)

        def send(service: str) -> PushedImage:
            return push_image(
                RELEASED[service],
                login,
                root=REPOSITORY_ROOT,
                image=self._references[service],
                docker=docker,
                drafts=True,
            )

        with self._console.step("images into the registry"):
            try:
                # The layers that all have are sent with the first one alone.
                first, *others = SERVICES
                pushed = [await asyncio.to_thread(send, first)]
                pushed += await asyncio.gather(
                    *(asyncio.to_thread(send, service) for service in others)
                )
            except ReleaseError as error:
                raise PlatformError(f"the images could not be sent: {error}") from error
        return {image.service.name: image for image in pushed}
