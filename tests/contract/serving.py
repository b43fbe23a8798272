"""How the suites meet an application: over real sockets, at the address that a path is asked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from yarl import URL

from libs.http import PUBLIC_PATHS, serve


@dataclass(frozen=True)
class Served:
    """A served application: `own` is the process's address, `api` the one that its callers know."""

    own: URL
    api: URL

    def url(self, target: str) -> URL:
        """Where a path and query are asked for, exactly as they are written: what runs a process
        (health, version, contract) is asked at its own address."""
        base = self.own if target.partition("?")[0] in PUBLIC_PATHS else self.api
        return URL(f"{base}{target}", encoded=True)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Served]:
    """The application on a free port, with nothing in front of it."""
    async with serve(app, host="127.0.0.1", port=0) as listener:
        own = URL(f"http://127.0.0.1:{listener.port}")
        yield Served(own, own)
