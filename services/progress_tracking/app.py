"""The composition root of progress tracking: the one place where its parts are put together.

Nothing else wires, and nothing here decides about progress.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from libs.aws import open_clients
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import CursorCodec, Lifespan, Verifier
from libs.http import create_app as create_http_app
from libs.metrics import Metrics
from libs.resilience import PipelineRegistry
from libs.service import common_parts, read_contract, report_caches
from libs.timestamps import Clock, utc_now
from libs.tracing import Tracer
from services.progress_tracking.api.handlers import TRACKING, ProgressHandlers
from services.progress_tracking.api.routes import problems, routes
from services.progress_tracking.config import SERVICE, Config
from services.progress_tracking.domain.outlines import KnownOutlines
from services.progress_tracking.domain.repository import ProgressRepository
from services.progress_tracking.domain.tracking import ProgressTracking
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository


@dataclass(frozen=True)
class Dependencies:
    """What the application stands on. `real_dependencies` makes the real ones.

    `open_repository` is entered before the first request and left after the last; `background`
    runs around it. `readiness` are named checks without input or output.
    """

    open_repository: Callable[[], AbstractAsyncContextManager[ProgressRepository]]
    verifier: Verifier
    tracer: Tracer
    breakers: CircuitBreakerRegistry
    metrics: Metrics = field(default_factory=lambda: Metrics(SERVICE))
    pipelines: PipelineRegistry = field(default_factory=PipelineRegistry)
    clock: Clock = utc_now
    monotonic: Callable[[], float] = time.monotonic
    background: Sequence[Lifespan] = ()
    readiness: Mapping[str, Callable[[], bool]] = field(default_factory=dict)


def create_app(config: Config, *, dependencies: Dependencies | None = None) -> web.Application:
    """The application of progress tracking; tests bring dependencies of their own.

    Connections are opened when it starts, before it listens.
    """
    parts = dependencies or real_dependencies(config)
    return create_http_app(
        service=config.service,
        routes=routes(handlers(config, parts)),
        openapi=contract(),
        verifier=parts.verifier,
        tracer=parts.tracer,
        breakers=parts.breakers,
        metrics=parts.metrics,
        access_log=config.access_log,
        pipelines=parts.pipelines,
        request_timeout_seconds=config.request_timeout_seconds,
        problems=problems(),
        lifespan=[*parts.background, tracking(config, parts)],
        readiness=parts.readiness,
        cors_origins=config.cors_origins,
    )


def tracking(config: Config, parts: Dependencies) -> Lifespan:
    """What the handlers answer from, as long as the application runs."""

    @asynccontextmanager
    async def answering(app: web.Application) -> AsyncIterator[None]:
        async with parts.open_repository() as repository:
            outlines = KnownOutlines(
                repository,
                maximum_age_seconds=config.outline_cache_seconds,
                maximum_entries=config.outline_cache_entries,
                monotonic=parts.monotonic,
            )
            report_caches(parts.metrics, {"outlines": outlines.statistics})
            app[TRACKING] = ProgressTracking(
                repository=repository,
                outlines=outlines,
                clock=parts.clock,
            )
            yield

    return answering


def handlers(config: Config, parts: Dependencies) -> ProgressHandlers:
    """What the routes lead to."""
    return ProgressHandlers(
        cursors=CursorCodec(config.cursor_secrets), clock=parts.clock, problems=problems()
    )


def contract() -> Mapping[str, object]:
    """This service's `openapi.yaml` as a plain value."""
    return read_contract("services.progress_tracking")


def real_dependencies(config: Config) -> Dependencies:
    """DynamoDB, the token issuer and X-Ray, as `config` names them. Opens nothing yet."""
    parts = common_parts(config)

    @asynccontextmanager
    async def repository() -> AsyncIterator[ProgressRepository]:
        async with open_clients(
            config.aws(),
            registry=parts.pipelines,
            tracer=parts.tracer,
            observer=parts.observer,
            services=("dynamodb",),
        ) as clients:
            yield DynamoDBProgressRepository(clients.dynamodb, table=config.table)

    return Dependencies(
        open_repository=repository,
        verifier=parts.verifier,
        tracer=parts.tracer,
        breakers=parts.breakers,
        metrics=parts.metrics,
        pipelines=parts.pipelines,
        background=parts.background,
        readiness=parts.readiness,
    )
