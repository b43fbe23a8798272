"""A Docker engine without containers: answers on a socket as told, and writes down what it is asked."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

FIT: Mapping[str, Any] = {
    "OSType": "linux",
    "Plugins": {"Network": ["bridge", "host", "null"]},
    "SecurityOptions": ["name=seccomp,profile=default"],
}


class FakeEngine:
    """`info`, `images` and `containers` (id to labels) may be changed at any time."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "engine.sock"
        self.info: Mapping[str, Any] = FIT
        self.images: set[str] = set()
        self.containers: dict[str, dict[str, str]] = {}
        self.calls: list[tuple[str, str]] = []
        self.subscribed = asyncio.Event()
        self._outputs: dict[str, asyncio.Queue[bytes]] = {}
        self._events: asyncio.Queue[bytes] = asyncio.Queue()

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    def tell(self, action: str, container: str, **attributes: str) -> None:
        """An event of a container; an attribute's name is as the engine writes it."""
        actor = {"ID": container, "Attributes": {**self.containers[container], **attributes}}
        event = {"Type": "container", "Action": action, "Actor": actor}
        self._events.put_nowait(json.dumps(event).encode() + b"\n")

    def end_events(self) -> None:
        """As when the engine is restarted."""
        self._events.put_nowait(b"")

    def write(self, container: str, output: bytes, *, stream: int = 1) -> None:
        """What a container writes; nothing is its end."""
        frame = struct.pack(">BxxxL", stream, len(output)) + output if output else b""
        self._output(container).put_nowait(frame)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeEngine]:
        application = web.Application(middlewares=[self._noted])
        application.router.add_get("/info", self._info)
        application.router.add_get("/images/{name:.+}/json", self._image)
        application.router.add_get("/containers/json", self._list)
        application.router.add_get("/containers/{id}/logs", self._logs)
        application.router.add_post("/containers/{id}/stop", self._gone)
        application.router.add_delete("/containers/{id}", self._gone)
        application.router.add_get("/events", self._stream_events)
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        await web.UnixSite(runner, str(self.socket)).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _noted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append((request.method, request.path_qs))
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response(self.info)

    async def _image(self, request: web.Request) -> web.Response:
        if request.match_info["name"] not in self.images:
            return web.json_response({"message": "no such image"}, status=404)
        return web.json_response({})

    async def _list(self, request: web.Request) -> web.Response:
        (label,) = json.loads(request.query["filters"])["label"]
        name, _, value = label.partition("=")
        return web.json_response(
            [
                {"Id": container, "Labels": labels}
                for container, labels in self.containers.items()
                if labels.get(name) == value
            ]
        )

    async def _gone(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.containers:
            return web.json_response({"message": "no such container"}, status=404)
        if request.method == "DELETE":
            del self.containers[request.match_info["id"]]
        return web.Response(status=204)

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        return await _streamed(request, self._output(request.match_info["id"]))

    async def _stream_events(self, request: web.Request) -> web.StreamResponse:
        self.subscribed.set()
        return await _streamed(request, self._events)

    def _output(self, container: str) -> asyncio.Queue[bytes]:
        return self._outputs.setdefault(container, asyncio.Queue())


async def _streamed(request: web.Request, chunks: asyncio.Queue[bytes]) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while chunk := await chunks.get():
        await answer.write(chunk)
    return answer
