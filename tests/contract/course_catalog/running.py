"""The course catalog, served over a real socket on courses in memory, with the world in hand.

The clock stands still until a test moves it, the background refresh happens when a test asks for
it, and the store fails when a test says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import aiohttp
from aiohttp import web
from yarl import URL

from libs.auth.testing import TokenIssuer
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import Verifier, serve
from libs.tracing import Tracer
from libs.tracing.testing import recording_tracer
from services.course_catalog.api.handlers import CATALOG, Catalog
from services.course_catalog.app import Dependencies, create_app
from services.course_catalog.config import Config
from services.course_catalog.domain.course import Change, Course, Status, Summary
from services.course_catalog.domain.errors import CatalogUnavailableError
from services.course_catalog.domain.repository import CourseRepository
from services.course_catalog.storage.memory import InMemoryCourseRepository
from tests.unit.course_catalog.courses import instant

SETTINGS: Mapping[str, str] = {
    "CATALOG_AUTH_ISSUER": "https://issuer.invalid/pool",
    "CATALOG_AUTH_JWKS_URL": "https://issuer.invalid/pool/.well-known/jwks.json",
    "CATALOG_AUTH_CLIENT_IDS": "client",
    "CATALOG_CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
    "CATALOG_DIRECTORY_WAIT_SECONDS": "0.05",
    "AWS_REGION": "us-east-1",
}


class FailingRepository(InMemoryCourseRepository):
    """A repository whose reads fail while `failing` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.failing = False
        self.reads = 0

    def _read(self) -> None:
        self.reads += 1
        if self.failing:
            raise CatalogUnavailableError("the store fails", retry_after_seconds=2.5)

    async def get(self, course_id: str) -> Course | None:
        self._read()
        return await super().get(course_id)

    async def listing(self, status: Status) -> AsyncIterator[Sequence[Summary]]:
        self._read()
        async for batch in super().listing(status):
            yield batch

    async def changes(self, since: datetime) -> AsyncIterator[Sequence[Change]]:
        self._read()
        async for batch in super().changes(since):
            yield batch


class RunningCatalog:
    """A served catalog, its store, its clock and its callers."""

    def __init__(self) -> None:
        self.repository = FailingRepository()
        self.issuer = TokenIssuer()
        self.seconds = 1000.0
        self.app: web.Application
        self.session: aiohttp.ClientSession
        self.base = URL()

    @property
    def catalog(self) -> Catalog:
        return self.app[CATALOG]

    async def add(self, *courses: Course) -> None:
        """Keep courses, and let the directory learn of them where it can."""
        for course in courses:
            await self.repository.create(course)
        if not self.repository.failing and hasattr(self, "app"):
            await self.catalog.refresher.refresh()

    def token(self, *groups: str) -> dict[str, str]:
        """The header of a caller in these groups."""
        return {"Authorization": f"Bearer {self.issuer.token(groups=groups)}"}

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        groups: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request with the path and query exactly as given."""
        sent = {} if anonymous else self.token(*groups)
        url = URL(f"{self.base}{path}", encoded=True)
        async with self.session.request(
            method, url, headers={**sent, **(headers or {})}
        ) as response:
            yield response

    async def get(self, path: str, **options: object) -> tuple[int, Mapping[str, str], object]:
        """Status, headers and JSON body of a GET."""
        async with self.request("GET", path, **options) as response:  # type: ignore[arg-type]
            body = await response.json(content_type=None) if response.status != 304 else None
            return response.status, response.headers, body


@asynccontextmanager
async def running_catalog(
    *,
    courses: Sequence[Course] = (),
    settings: Mapping[str, str] | None = None,
    verifier: Verifier | None = None,
    failing: bool = False,
    tracer: Tracer | None = None,
) -> AsyncIterator[RunningCatalog]:
    """Serve a catalog of `courses`; loaded, unless the store is `failing` from the start."""
    running = RunningCatalog()
    await running.add(*courses)
    running.repository.failing = failing

    @asynccontextmanager
    async def repository() -> AsyncIterator[CourseRepository]:
        yield running.repository

    async def never(_: float) -> None:
        await asyncio.Event().wait()

    running.app = create_app(
        Config.from_environment({**SETTINGS, **(settings or {})}),
        dependencies=Dependencies(
            open_repository=repository,
            verifier=verifier or running.issuer.verifier(),
            tracer=tracer or recording_tracer()[0],
            breakers=CircuitBreakerRegistry(),
            now=lambda: instant(30),
            monotonic=lambda: running.seconds,
            random=lambda: 0.5,
            sleep=never,
        ),
    )
    async with (
        serve(running.app, host="127.0.0.1", port=0) as listener,
        aiohttp.ClientSession() as running.session,
    ):
        running.base = URL(f"http://127.0.0.1:{listener.port}")
        if not failing:
            assert await running.catalog.refresher.wait_until_loaded(5)
        yield running
