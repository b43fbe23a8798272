"""A Docker engine without containers: answers on a socket as told, and writes down what it is asked."""

from __future__ import annotations

import json
import platform
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

FIT: Mapping[str, Any] = {
    "OSType": "linux",
    "KernelVersion": platform.release(),
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
        self.removals: list[str] = []

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeEngine]:
        application = web.Application()
        application.router.add_get("/info", self._info)
        application.router.add_get("/images/{name:.+}/json", self._image)
        application.router.add_get("/containers/json", self._list)
        application.router.add_delete("/containers/{id}", self._remove)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(self.socket)).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response(self.info)

    async def _image(self, request: web.Request) -> web.Response:
        if request.match_info["name"] not in self.images:
            return web.json_response({"message": "no such image"}, status=404)
        return web.json_response({})

    async def _list(self, request: web.Request) -> web.Response:
        assert request.query["all"] == "1"
        (label,) = json.loads(request.query["filters"])["label"]
        name, _, value = label.partition("=")
        return web.json_response(
            [
                {"Id": container, "Names": [f"/name-of-{container}"]}
                for container, labels in self.containers.items()
                if labels.get(name) == value
            ]
        )

    async def _remove(self, request: web.Request) -> web.Response:
        container = request.match_info["id"]
        if container not in self.containers:
            return web.json_response({"message": "no such container"}, status=404)
        assert request.query["force"] == "1"
        del self.containers[container]
        self.removals.append(container)
        return web.Response(status=204)
