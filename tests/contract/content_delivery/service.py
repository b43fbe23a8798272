"""The service over a real socket, standing on its twins in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import aiohttp
from aiohttp import web

from libs.auth import AuthSettings, KeysUnavailableError, Principal
from libs.auth.testing import TokenIssuer
from libs.circuit_breaker import BreakerPolicy, CircuitBreakerRegistry
from libs.http import ServiceInfo, Verifier
from libs.idempotency.testing import InMemoryIdempotencyStore
from libs.tracing import Tracer
from libs.tracing.testing import recording_tracer
from services.content_delivery.app import Dependencies, Storage, create_app
from services.content_delivery.config import Config
from services.content_delivery.domain.content import Content
from services.content_delivery.domain.repository import (
    Change,
    ContentPage,
    ContentRepository,
    ListPosition,
)
from services.content_delivery.domain.uploads import UploadPolicy
from services.content_delivery.storage.memory import MemoryContentRepository, MemoryObjectStore
from services.content_delivery.storage.rows import Row, encode
from tests.contract.serving import Served, serving
from tests.unit.content_delivery.samples import deleted, failed, pending, ready

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
ORIGIN = "https://app.example"
POLICY = UploadPolicy(
    single_bytes=100,
    part_bytes=40,
    maximum_bytes=10_000,
    url_seconds=3600,
    pending_seconds=7 * 86_400,
)
"""Small enough that a test sends real parts."""


def config(auth: AuthSettings, **changes: object) -> Config:
    """Settings of a service that keeps metadata for five seconds."""
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": 0,
        "drain_seconds": 1.0,
        "service": ServiceInfo("content_delivery", "1.2.3", "abc1234", "0f0f0f"),
        "log_level": "DEBUG",
        "cors_origins": (ORIGIN,),
        "auth": auth,
        "region": "eu-central-1",
        "table": "Content",
        "bucket": "lyceum-content",
        "cursor_secrets": (b"a-secret-of-at-least-thirty-two-bytes",),
        "uploads": POLICY,
        "upload_wait_seconds": 5.0,
        "verifications": 4,
        "retention_days": 30,
        "cache_seconds": 5.0,
        "cache_entries": 100,
        "breaker": BreakerPolicy(),
        "tracing_daemon": None,
        "tracing_rate": 1.0,
    }
    return Config(**{**values, **changes})  # type: ignore[arg-type]  # one dictionary of all types


class KeptContents(ContentRepository, Protocol):
    """A repository that shows its rows, as the service's table would have them."""

    @property
    def rows(self) -> MutableMapping[str, Row]:
        """By id; a test may put one there that no code would write."""


class Stage:
    """What the suite is played on: the service, on its twin in memory. A test folder that plays it on
    something else puts a stage of its own in the place of `STAGE`."""

    def repository(self) -> KeptContents:
        """An empty one."""
        return MemoryContentRepository()

    def application(self, config: Config, dependencies: Dependencies) -> web.Application:
        """What is served."""
        return create_app(config, dependencies=dependencies)

    def serving(self, app: web.Application) -> AbstractAsyncContextManager[Served]:
        """The application where its callers find it."""
        return serving(app)


STAGE = Stage()


class FailingContents:
    """A repository that counts its reads and fails them on demand."""

    def __init__(self) -> None:
        self._kept = STAGE.repository()
        # What tells nothing of failures goes straight through.
        self.create_pending = self._kept.create_pending
        self.mark_ready = self._kept.mark_ready
        self.mark_failed = self._kept.mark_failed
        self.mark_deleted = self._kept.mark_deleted
        self.replace_media = self._kept.replace_media
        self.failure: Exception | None = None
        self.hangs = False
        self.reads = 0

    @property
    def rows(self) -> MutableMapping[str, Row]:
        return self._kept.rows

    async def get(self, content_id: str) -> Content | None:
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        if self.hangs:
            await asyncio.Event().wait()
        return await self._kept.get(content_id)

    async def change(self, content_id: str, change: Callable[[Content], Content]) -> Change:
        if self.failure is not None:
            raise self.failure
        return await self._kept.change(content_id, change)

    async def list_by_course(
        self, course_id: str, *, limit: int, after: ListPosition | None = None
    ) -> ContentPage:
        if self.failure is not None:
            raise self.failure
        return await self._kept.list_by_course(course_id, limit=limit, after=after)


@dataclass
class World:
    """What a test sets before and while the service runs."""

    contents: FailingContents = field(default_factory=FailingContents)
    objects: MemoryObjectStore = field(init=False)
    idempotency: InMemoryIdempotencyStore = field(default_factory=InMemoryIdempotencyStore)
    credentials_expire_at: datetime | None = None
    seconds: float = 0.0  # since NOW, on both clocks
    keys_ready: bool = True
    issuer: TokenIssuer = field(default_factory=lambda: TokenIssuer(now=NOW.timestamp))

    def __post_init__(self) -> None:
        self.objects = MemoryObjectStore(credentials_expire_at=lambda: self.credentials_expire_at)

    def put(self, *contents: Content) -> None:
        """Store rows, whatever their status."""
        for content in contents:
            self.contents.rows[content.id] = encode(content)

    def damage(self, content_id: str, **changes: object) -> None:
        """Change attributes of a row as no code of the service would."""
        self.contents.rows[content_id] = {**self.contents.rows[content_id], **changes}


class _Verifier:
    """The issuer's verifier, or none while its keys cannot be had."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._verifier: Verifier = world.issuer.verifier()

    async def verify(self, token: str) -> Principal:
        if not self._world.keys_ready:
            raise KeysUnavailableError(1.0)
        return await self._verifier.verify(token)


class Service:
    """A running service, and requests to it exactly as they are written."""

    def __init__(self, served: Served, world: World, session: aiohttp.ClientSession) -> None:
        self.served = served
        self.world = world
        self._session = session
        self.token = world.issuer.token()
        self.author_token = world.issuer.token(sub="author", groups=["authors"])

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        anonymous: bool = False,
        as_author: bool = False,
        json: object = None,
        data: AsyncIterator[bytes] | bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request with a learner's or an author's token, unless it is anonymous or brings its
        own."""
        token = self.author_token if as_author else self.token
        sent = {} if anonymous else {"Authorization": f"Bearer {token}"}
        async with self._session.request(
            method,
            self.served.url(target),
            headers={**sent, **(headers or {})},
            json=json,
            data=data,
            allow_redirects=False,
        ) as response:
            yield response

    async def raw(self, target: bytes) -> tuple[int, bytes]:
        """Status and body of a GET with a target that no HTTP client would send as it is."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.served.own.port)
        try:
            writer.write(
                b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Authorization: Bearer " + self.token.encode() + b"\r\n\r\n"
            )
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1]), body
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def running(
    world: World | None = None,
    *,
    configured: Callable[[Config], Config] = lambda config: config,
    tracer: Tracer | None = None,
) -> AsyncIterator[Service]:
    """The service on a free port, with `usual_rows` unless the world brings rows of its own."""
    found = world or World()
    if not found.contents.rows:
        usual_rows(found)

    @asynccontextmanager
    async def storage() -> AsyncIterator[Storage]:
        yield Storage(
            found.contents,
            found.objects,
            found.idempotency,
        )

    app = STAGE.application(
        configured(config(found.issuer.settings)),
        Dependencies(
            open_storage=storage,
            verifier=_Verifier(found),
            tracer=tracer or recording_tracer()[0],
            breakers=CircuitBreakerRegistry(),
            clock=lambda: NOW + timedelta(seconds=found.seconds),
            monotonic=lambda: found.seconds,
            readiness={"keys": lambda: found.keys_ready},
        ),
    )
    async with (
        STAGE.serving(app) as served,
        aiohttp.ClientSession() as session,
    ):
        yield Service(served, found, session)


def usual_rows(world: World) -> None:
    """One content of each kind; ``broken`` is a row that points out of the service's prefix."""
    world.put(ready(), pending("pending"), failed("failed"), deleted("deleted"), ready("broken"))
    world.damage("broken", objectKey="backups/users.csv")
