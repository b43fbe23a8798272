"""The container engine: the only module that speaks its API.

Containers carry the label of their platform, so that a later start finds what a killed one left. An
image is only ever pulled from the registry that the caller names credentials for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiodocker  # pants: no-infer-dep
import aiohttp

PLATFORM_LABEL = "lyceum.platform"
TASK_LABEL = "lyceum.task"

_ANSWER_SECONDS = 10.0
# Beyond the stop time-out, for the engine to kill and to say so.
_STOP_MARGIN_SECONDS = 10.0


class EngineError(Exception):
    """The engine refused or did not answer; one line says what."""


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    out_of_memory: bool = False


class Engine:
    """Containers of one platform.

    Args:
        url: the engine's socket, `unix:///var/run/docker.sock`: it is on this machine, as the
            containers share the machine's network.
        platform: the platform's id, the value of the label.
    """

    def __init__(self, url: str, platform: str) -> None:
        self._url = url
        self._platform = platform
        self._stack = AsyncExitStack()

    async def connect(self) -> None:
        """Raises EngineError where there is no engine that answers."""
        try:
            # As many connections as it takes: each container has one that waits for its end.
            connector = aiohttp.UnixConnector(self._url.removeprefix("unix://"), limit=0)
            session = aiohttp.ClientSession(connector=connector)
            self._stack.push_async_callback(session.close)
            self._docker = aiodocker.Docker(url="unix://localhost", session=session)
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._docker.version()
        except (aiodocker.DockerError, aiohttp.ClientError, OSError, ValueError) as error:
            await self.close()
            raise EngineError(f"no container engine answers at {self._url}: {error}") from error

    async def close(self) -> None:
        """Containers are not touched."""
        await self._stack.aclose()

    async def containers(self) -> list[str]:
        """The ids of the platform's containers, in whatever state."""
        with _errors("list containers"):
            found = await self._docker.containers.list(
                all="true", filters=_json_filter(label=f"{PLATFORM_LABEL}={self._platform}")
            )
        return [container.id for container in found]

    async def image_environment(self, reference: str) -> dict[str, str] | None:
        """The variables that an image sets; None where the engine does not have the image."""
        try:
            with _errors(f"look for {reference}"):
                image = await self._docker.images.inspect(reference)
        except _NotFoundError:
            return None
        variables = image["Config"].get("Env") or []
        return dict(variable.split("=", 1) for variable in variables)

    async def pull(self, reference: str, *, user: str, password: str) -> None:
        """Fetches an image from its registry."""
        with _errors(f"pull {reference}"):
            await self._docker.images.pull(reference, auth={"username": user, "password": password})

    async def forget_image(self, reference: str) -> None:
        """Takes this name from the engine, and the image with its last name."""
        with suppress(EngineError), _errors(f"remove {reference}"):
            await self._docker.images.delete(reference)

    async def start(self, name: str, task: str, configuration: Mapping[str, Any]) -> str:
        """Creates and starts a container of a task; gives its id."""
        labels = {PLATFORM_LABEL: self._platform, TASK_LABEL: task}
        with _errors(f"start {name}"):
            container = await self._docker.containers.create(
                {**configuration, "Labels": labels}, name=name
            )
            try:
                await container.start()
            except BaseException:
                # Whatever broke it off, it must not stay.
                await asyncio.shield(self.remove(container.id))
                raise
        return str(container.id)

    async def wait(self, container: str) -> Exit:
        """Waits until the container has ended."""
        handle = self._docker.containers.container(container)
        with _errors("wait for a container"):
            await handle.wait()
            state = (await handle.show())["State"]
        return Exit(int(state["ExitCode"]), bool(state.get("OOMKilled")))

    async def health(self, container: str) -> str:
        """`starting`, `healthy` or `unhealthy`, as its health check says."""
        with _errors("look at a container"):
            shown = await self._docker.containers.container(container).show()
        health: str = shown["State"].get("Health", {}).get("Status", "starting")
        return health

    async def stop(self, container: str, seconds: int) -> None:
        """SIGTERM, and SIGKILL after so many seconds; returns when the container has ended."""
        with suppress(_NotFoundError), _errors("stop a container"):
            async with asyncio.timeout(seconds + _STOP_MARGIN_SECONDS):
                await self._docker.containers.container(container).stop(t=seconds)

    async def remove(self, container: str) -> None:
        """Kills the container where it still runs, and removes it with its volumes."""
        with suppress(_NotFoundError), _errors("remove a container"):
            async with asyncio.timeout(_STOP_MARGIN_SECONDS):
                await self._docker.containers.container(container).delete(force=True, v=True)

    async def output(self, container: str) -> AsyncIterator[bytes]:
        """What the container writes, from its start to its end."""
        with _errors("read a container's output"):
            lines = self._docker.containers.container(container).log(
                stdout=True, stderr=True, follow=True
            )
            async for chunk in lines:
                yield chunk.encode()


class _NotFoundError(EngineError):
    pass


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Turns what may go wrong towards the engine into EngineError."""
    try:
        yield
    except aiodocker.DockerError as error:
        kind = _NotFoundError if error.status == HTTPStatus.NOT_FOUND else EngineError
        raise kind(f"{what}: {_one_line(error.message)}") from error
    except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
        raise EngineError(f"{what}: {_one_line(str(error)) or type(error).__name__}") from error


def _json_filter(**filters: str) -> str:
    return json.dumps({name: [value] for name, value in filters.items()})


def _one_line(text: str) -> str:
    return " ".join(str(text).split())
