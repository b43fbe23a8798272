"""How the suites meet an application: over real sockets, at the address that a path is asked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from yarl import URL

from libs.http import PUBLIC_PATHS, serve


@dataclass(frozen=True)
class Served:
    """A served application: `own` is the process's address, `api` the one that its callers know.

    `is_routed` tells of a path whether `api` leads it to the process.
    """

    own: URL
    api: URL
    is_routed: Callable[[str], bool] = lambda path: path not in PUBLIC_PATHS

    def url(self, target: str) -> URL:
        """Where a path and query are asked for, exactly as they are written: what `api` does not
        lead on (health, a path of no contract) is asked at the process's own address."""
        base = self.api if self.is_routed(target.partition("?")[0]) else self.own
        return URL(f"{base}{target}", encoded=True)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Served]:
    """The application on a free port, with nothing in front of it."""
    async with serve(app, host="127.0.0.1", port=0) as listener:
        own = URL(f"http://127.0.0.1:{listener.port}")
        yield Served(own, own)
