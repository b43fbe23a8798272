"""The composition root of the course catalog: the one place where its parts are put together.

Nothing else wires, and nothing here decides about courses.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from libs.aws import open_clients
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import CursorCodec, Lifespan, Verifier
from libs.http import create_app as create_http_app
from libs.idempotency import DynamoDBIdempotencyStore, Idempotency, IdempotencyStore
from libs.logging import get_logger
from libs.metrics import Metrics, Unit
from libs.resilience import PipelineRegistry
from libs.service import common_parts, read_contract
from libs.timestamps import Clock, utc_now
from libs.tracing import Tracer
from services.course_catalog.api.handlers import CATALOG, Catalog
from services.course_catalog.api.pages import RenderedPages
from services.course_catalog.api.routes import problems, routes
from services.course_catalog.api.schemas import pack_summary, render_course, unpack_summary
from services.course_catalog.config import SERVICE, Config
from services.course_catalog.domain.authoring import Authoring
from services.course_catalog.domain.course import Course, Tombstone
from services.course_catalog.domain.course_documents import CourseDocuments
from services.course_catalog.domain.directory import Directory
from services.course_catalog.domain.directory_refresh import (
    DirectoryRefresher,
    Refreshed,
    RefreshFailed,
)
from services.course_catalog.domain.repository import CourseRepository
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository

_log = get_logger(__name__)


@dataclass(frozen=True)
class Storage:
    """Where courses and idempotency keys are kept."""

    courses: CourseRepository
    keys: IdempotencyStore


@dataclass(frozen=True)
class Dependencies:
    """What the application stands on. `real_dependencies` makes the real ones.

    `open_storage` is entered before the first request and left after the last; `background`
    runs around it. `readiness` are named checks without input or output. `new_id` gives 12
    characters that have never been a course's id.
    """

    open_storage: Callable[[], AbstractAsyncContextManager[Storage]]
    verifier: Verifier
    tracer: Tracer
    breakers: CircuitBreakerRegistry
    metrics: Metrics = field(default_factory=lambda: Metrics(SERVICE))
    pipelines: PipelineRegistry = field(default_factory=PipelineRegistry)
    now: Clock = utc_now
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    new_id: Callable[[], str] = lambda: secrets.token_urlsafe(9)
    background: Sequence[Lifespan] = ()
    readiness: Mapping[str, Callable[[], bool]] = field(default_factory=dict)


def create_app(config: Config, *, dependencies: Dependencies | None = None) -> web.Application:
    """The application of the course catalog; tests bring dependencies of their own.

    Connections are opened when it starts, before it listens; the directory is loaded beside it,
    and until then the process is not ready.
    """
    parts = dependencies or real_dependencies(config)
    app = create_http_app(
        service=config.service,
        routes=routes(),
        openapi=contract,
        verifier=parts.verifier,
        tracer=parts.tracer,
        breakers=parts.breakers,
        metrics=parts.metrics,
        access_log=config.access_log,
        pipelines=parts.pipelines,
        request_timeout_seconds=config.request_timeout_seconds,
        problems=problems(),
        lifespan=[*parts.background, catalog(config, parts)],
        readiness={**parts.readiness, "directory": lambda: app[CATALOG].refresher.loaded},
        cors_origins=config.cors_origins,
    )
    return app


def catalog(config: Config, parts: Dependencies) -> Lifespan:
    """What the handlers answer from, as long as the application runs."""

    @asynccontextmanager
    async def answering(app: web.Application) -> AsyncIterator[None]:
        async with parts.open_storage() as storage:
            made = _catalog(config, parts, storage)
            _report(parts.metrics, made)
            app[CATALOG] = made
            refreshing = asyncio.create_task(made.refresher.run())
            try:
                yield
            finally:
                refreshing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await refreshing

    return answering


def contract() -> Mapping[str, object]:
    """This service's `openapi.yaml` as a plain value."""
    return read_contract("services.course_catalog")


def real_dependencies(config: Config) -> Dependencies:
    """DynamoDB, the token issuer and X-Ray, as `config` names them. Opens nothing yet."""
    parts = common_parts(config)

    @asynccontextmanager
    async def storage() -> AsyncIterator[Storage]:
        async with open_clients(
            config.aws(),
            registry=parts.pipelines,
            tracer=parts.tracer,
            observer=parts.observer,
            services=("dynamodb",),
        ) as clients:
            yield Storage(
                courses=DynamoDBCourseRepository(
                    clients.dynamodb, config.table, trace=parts.tracer.current
                ),
                keys=DynamoDBIdempotencyStore(
                    clients.dynamodb,
                    config.table,
                    key_attributes=["courseId"],
                    ttl_attribute="expiresAt",
                ),
            )

    return Dependencies(
        open_storage=storage,
        verifier=parts.verifier,
        tracer=parts.tracer,
        breakers=parts.breakers,
        metrics=parts.metrics,
        pipelines=parts.pipelines,
        background=parts.background,
        readiness=parts.readiness,
    )


def _catalog(config: Config, parts: Dependencies, storage: Storage) -> Catalog:
    directory = Directory(pack_summary, unpack_summary)
    refresher = DirectoryRefresher(
        directory,
        storage.courses,
        config.refresh,
        now=parts.now,
        monotonic=parts.monotonic,
        random=parts.random,
        sleep=parts.sleep,
        report=_log_refresh,
    )
    documents = CourseDocuments(
        storage.courses,
        render=render_course,
        known_status=directory.status,
        monotonic=parts.monotonic,
        max_bytes=config.last_known_bytes,
        max_age=config.last_known_seconds,
    )

    def learn(change: Course | Tombstone) -> None:
        refresher.learn(change.summary() if isinstance(change, Course) else change)
        documents.learn(change)

    return Catalog(
        directory=directory,
        refresher=refresher,
        pages=RenderedPages(
            revision=lambda: directory.revision, max_bytes=config.rendered_pages_bytes
        ),
        documents=documents,
        cursors=CursorCodec(config.cursor_secrets),
        wait_seconds=config.directory_wait_seconds,
        authoring=Authoring(storage.courses, now=parts.now, learn=learn),
        idempotency=Idempotency(storage.keys, now=parts.now),
        new_id=parts.new_id,
    )


def _report(metrics: Metrics, catalog: Catalog) -> None:
    directory, refresher, documents = catalog.directory, catalog.refresher, catalog.documents
    metrics.gauge("DirectoryAge", lambda: refresher.age, unit=Unit.SECONDS)
    metrics.gauge("DirectoryCourses", lambda: len(directory))
    metrics.observed_counter("DirectoryRefreshes", lambda: refresher.statistics().succeeded)
    metrics.observed_counter("DirectoryRefreshFailures", lambda: refresher.statistics().failed)
    metrics.observed_counter("RenderedPageHits", lambda: catalog.pages.statistics().hits)
    metrics.gauge("RenderedPagesBytes", lambda: catalog.pages.statistics().bytes, unit=Unit.BYTES)
    metrics.observed_counter("StaleAnswers", lambda: documents.statistics().stale_answers)
    metrics.gauge("LastKnownCourses", lambda: documents.statistics().entries)
    metrics.gauge("LastKnownBytes", lambda: documents.statistics().bytes, unit=Unit.BYTES)


def _log_refresh(outcome: Refreshed | RefreshFailed) -> None:
    match outcome:
        case Refreshed(full=False, changed=0):
            _log.debug("directory_refreshed", full=False, changed=0, courses=outcome.courses)
        case Refreshed():
            _log.info(
                "directory_refreshed",
                full=outcome.full,
                changed=outcome.changed,
                courses=outcome.courses,
            )
        case RefreshFailed():
            _log.warning(
                "directory_refresh_failed",
                error=outcome.error,
                loaded=outcome.age is not None,
                ageSeconds=None if outcome.age is None else round(outcome.age),
            )
