"""The course catalog, served over a real socket on courses in memory, with the world in hand.

The clock stands still until a test moves it, the background refresh happens when a test asks for
it, and the store fails when a test says so.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from libs.auth.testing import TokenIssuer
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import Verifier
from libs.idempotency.testing import InMemoryIdempotencyStore
from libs.tracing import Tracer
from libs.tracing.testing import recording_tracer
from services.course_catalog.api.handlers import CATALOG, Catalog
from services.course_catalog.app import Dependencies, Storage, create_app
from services.course_catalog.config import Config
from services.course_catalog.domain.course import Change, Course, Status, Summary, Tombstone
from services.course_catalog.domain.errors import CatalogUnavailableError
from services.course_catalog.domain.repository import CourseRepository, Unchanged
from services.course_catalog.storage.memory import InMemoryCourseRepository
from tests.contract.serving import Served, serving
from tests.unit.course_catalog.courses import instant

SETTINGS: Mapping[str, str] = {
    "CATALOG_AUTH_ISSUER": "https://issuer.invalid/pool",
    "CATALOG_AUTH_JWKS_URL": "https://issuer.invalid/pool/.well-known/jwks.json",
    "CATALOG_AUTH_CLIENT_IDS": "client",
    "CATALOG_CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
    "CATALOG_DIRECTORY_WAIT_SECONDS": "0.05",
    "AWS_REGION": "us-east-1",
}


class Stage:
    """What the suite is played on: the service, on its twin in memory. A test folder that plays it on
    something else puts a stage of its own in the place of `STAGE`."""

    def repository(self) -> CourseRepository:
        """An empty one."""
        return InMemoryCourseRepository()

    def forget(self, repository: CourseRepository, course_id: str, attribute: str) -> None:
        """Take an attribute out of what `repository` keeps of a course."""
        assert isinstance(repository, InMemoryCourseRepository)
        del repository._items[course_id][attribute]

    def application(self, config: Config, dependencies: Dependencies) -> web.Application:
        """What is served."""
        return create_app(config, dependencies=dependencies)

    def serving(self, app: web.Application) -> AbstractAsyncContextManager[Served]:
        """The application where its callers find it."""
        return serving(app)


STAGE = Stage()


class FailingRepository:
    """A repository whose reads fail while `failing` is set, and whose next write fails, made or
    not, when a test says so."""

    def __init__(self, kept: CourseRepository) -> None:
        self.kept = kept
        self.failing = False
        self.reads = 0
        self.lose_answer = False
        self.refuse_write = False
        self.before_write: Callable[[], Awaitable[None]] | None = None

    def _read(self) -> None:
        self.reads += 1
        if self.failing:
            raise CatalogUnavailableError("the store fails", retry_after_seconds=2.5)

    async def get(self, course_id: str) -> Course | None:
        self._read()
        return await self.kept.get(course_id)

    async def get_newer(self, course_id: str, version: int) -> Course | Unchanged | None:
        self._read()
        return await self.kept.get_newer(course_id, version)

    async def create(self, course: Course) -> None:
        async with self._write():
            await self.kept.create(course)

    async def replace(self, course: Course, *, previous: Course) -> None:
        async with self._write():
            await self.kept.replace(course, previous=previous)

    async def delete(self, tombstone: Tombstone, *, previous: Course) -> None:
        async with self._write():
            await self.kept.delete(tombstone, previous=previous)

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[None]:
        before, self.before_write = self.before_write, None
        if before is not None:
            await before()
        if self.refuse_write:
            self.refuse_write = False
            raise CatalogUnavailableError("the store takes no writes", retry_after_seconds=1.5)
        yield
        if self.lose_answer:
            self.lose_answer = False
            raise CatalogUnavailableError("the answer was lost")

    async def listing(self, status: Status) -> AsyncIterator[Sequence[Summary]]:
        self._read()
        async for batch in self.kept.listing(status):
            yield batch

    async def changes(self, since: datetime) -> AsyncIterator[Sequence[Change]]:
        self._read()
        async for batch in self.kept.changes(since):
            yield batch


class RunningCatalog:
    """A served catalog, its store, its clock and its callers."""

    def __init__(self, ids: str) -> None:
        self.repository = FailingRepository(STAGE.repository())
        self.keys = InMemoryIdempotencyStore()
        self.new_ids = (f"{ids}-{number}" for number in itertools.count(1))
        self.passed = timedelta()
        self.issuer = TokenIssuer()
        self.seconds = 1000.0
        self.app: web.Application
        self.session: aiohttp.ClientSession
        self.served: Served

    @property
    def base(self) -> URL:
        """Where its API is."""
        return self.served.api

    def forget(self, course_id: str, attribute: str) -> None:
        """Keep a course as if it had been written before there was that attribute."""
        STAGE.forget(self.repository.kept, course_id, attribute)

    @property
    def catalog(self) -> Catalog:
        return self.app[CATALOG]

    async def add(self, *courses: Course) -> None:
        """Keep courses, and let the directory learn of them where it can."""
        for course in courses:
            await self.repository.create(course)
        if not self.repository.failing and hasattr(self, "app"):
            await self.catalog.refresher.refresh()

    def token(self, *groups: str, sub: str = "author-a") -> dict[str, str]:
        """The header of a caller in these groups."""
        return {"Authorization": f"Bearer {self.issuer.token(sub=sub, groups=groups)}"}

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        groups: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        anonymous: bool = False,
        body: object = None,
        data: AsyncIterator[bytes] | bytes | None = None,
        sub: str = "author-a",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request with the path and query exactly as given.

        `body` is sent as the JSON that the method takes, `data` as it is.
        """
        sent = {} if anonymous else self.token(*groups, sub=sub)
        if body is not None:
            data = json.dumps(body, ensure_ascii=False).encode()
            kind = "merge-patch+json" if method == "PATCH" else "json"
            sent["Content-Type"] = f"application/{kind}"
        async with self.session.request(
            method, self.served.url(path), data=data, headers={**sent, **(headers or {})}
        ) as response:
            yield response

    async def write(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        if_match: str | None = None,
        key: str | None = None,
        groups: Sequence[str] = ("authors",),
        sub: str = "author-a",
    ) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and JSON body of an author's request."""
        headers = {}
        if if_match is not None:
            headers["If-Match"] = if_match
        if key is not None:
            headers["Idempotency-Key"] = key
        async with self.request(
            method, path, headers=headers, body=body, groups=groups, sub=sub
        ) as response:
            text = await response.read()
            return response.status, response.headers, json.loads(text) if text else None

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
    kept_in: Storage | None = None,
    ids: str = "new",
) -> AsyncIterator[RunningCatalog]:
    """Serve a catalog of `courses`; loaded, unless the store is `failing` from the start.

    `kept_in` takes the place of the courses in memory, `ids` is how the ids of new ones begin.
    """
    running = RunningCatalog(ids)
    await running.add(*courses)
    running.repository.failing = failing

    @asynccontextmanager
    async def storage() -> AsyncIterator[Storage]:
        yield kept_in or Storage(running.repository, running.keys)

    async def never(_: float) -> None:
        await asyncio.Event().wait()

    running.app = STAGE.application(
        Config.from_environment({**SETTINGS, **(settings or {})}),
        Dependencies(
            open_storage=storage,
            verifier=verifier or running.issuer.verifier(),
            tracer=tracer or recording_tracer()[0],
            breakers=CircuitBreakerRegistry(),
            now=lambda: instant(30) + running.passed,
            monotonic=lambda: running.seconds,
            random=lambda: 0.5,
            sleep=never,
            new_id=lambda: next(running.new_ids),
        ),
    )
    async with (
        STAGE.serving(running.app) as running.served,
        aiohttp.ClientSession() as running.session,
    ):
        if not failing:
            assert await running.catalog.refresher.wait_until_loaded(5)
        yield running
