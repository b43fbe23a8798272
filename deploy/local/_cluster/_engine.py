"""The Docker engine, by its API on its socket: what it is and has, and what a killed run left in it.

Knows nothing of ECS. The embedded AWS starts and stops the containers; here they are found by a label.
Addresses carry no version: the engine then answers by its own, and old and new engines agree on all
that is asked for here (https://docs.docker.com/reference/api/engine/).
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

DEFAULT_HOST = "unix:///var/run/docker.sock"

_ANSWER_SECONDS = 20.0


class EngineError(Exception):
    """The engine does not answer, or refuses; one line says why."""


@dataclass(frozen=True)
class Container:
    """A container, running or not."""

    id: str
    name: str


def engine_host(variables: Mapping[str, str] | None = None) -> str:
    """The engine that `DOCKER_HOST` names, else the default one."""
    variables = os.environ if variables is None else variables
    return variables.get("DOCKER_HOST") or DEFAULT_HOST


def socket_of(host: str) -> Path:
    """The socket of `unix:///…`; raises EngineError for an engine that is reached otherwise."""
    scheme, separator, path = host.partition("://")
    if scheme != "unix" or not separator or not path.startswith("/"):
        raise EngineError(f"{host} is not like unix:///var/run/docker.sock")
    return Path(path)


class Engine:
    """An engine; every method raises EngineError where it can not do what it says."""

    def __init__(self, host: str, session: aiohttp.ClientSession) -> None:
        self.host = host
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(cls, host: str) -> AsyncIterator[Engine]:
        """The engine at this address; it need not be there yet."""
        connector = aiohttp.UnixConnector(str(socket_of(host)), limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield cls(host, session)

    async def info(self) -> Mapping[str, Any]:
        """What the engine says of itself (SystemInfo)."""
        answer: Mapping[str, Any] = await self._json("GET", "/info")
        return answer

    async def has_image(self, reference: str) -> bool:
        """Whether there is an image of this name or id."""
        try:
            await self._json("GET", f"/images/{quote(reference, safe='/:@')}/json")
        except _NotFoundError:
            return False
        return True

    async def containers(self, label: str) -> list[Container]:
        """The containers, running or not, that have this label (`name=value`)."""
        filters = json.dumps({"label": [label]})
        found = await self._json("GET", "/containers/json", {"all": "1", "filters": filters})
        return [Container(entry["Id"], entry["Names"][0].lstrip("/")) for entry in found]

    async def remove(self, container: str) -> None:
        """Kills and removes a container; nothing where it is gone or just going."""
        try:
            await self._json("DELETE", f"/containers/{container}", {"force": "1", "v": "1"})
        except (_NotFoundError, _ConflictError):
            return

    async def _json(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None
    ) -> Any:
        timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
        try:
            async with self._session.request(
                method, f"http://docker{path}", params=parameters, timeout=timeout
            ) as answer:
                body = await answer.text()
                if answer.status >= 400:
                    raise _refusal(answer.status, body)
                return json.loads(body) if body else None
        except aiohttp.ClientError as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise EngineError(f"no engine answers at {self.host}: {reason}") from error
        except TimeoutError as error:
            raise EngineError(
                f"the engine at {self.host} does not answer within {_ANSWER_SECONDS:g} s"
            ) from error


class _NotFoundError(EngineError):
    pass


class _ConflictError(EngineError):
    pass


def _refusal(status: int, body: str) -> EngineError:
    try:
        reason = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        reason = body
    kind = {404: _NotFoundError, 409: _ConflictError}.get(status, EngineError)
    return kind(" ".join(reason.split()) or f"the engine answers {status}")
