"""The composition root of progress tracking: the one place where its parts are put together.

Nothing else wires, and nothing here decides about progress.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files

import aiohttp
import yaml
from aiohttp import web

from libs.auth import JwksKeySource, TokenVerifier, http_fetch
from libs.aws import AwsSettings, open_clients
from libs.circuit_breaker import BreakerEvent, CircuitBreakerRegistry, StateChanged
from libs.http import CursorCodec, Lifespan, Verifier
from libs.http import create_app as create_http_app
from libs.logging import get_logger
from libs.timestamps import Clock, utc_now
from libs.tracing import SamplingRules, Tracer, client_trace_config, create_tracer
from services.progress_tracking.api.handlers import TRACKING, ProgressHandlers
from services.progress_tracking.api.routes import problems, routes
from services.progress_tracking.config import Config
from services.progress_tracking.domain.outlines import KnownOutlines
from services.progress_tracking.domain.repository import ProgressRepository
from services.progress_tracking.domain.tracking import ProgressTracking
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository

_log = get_logger(__name__)


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
    clock: Clock = utc_now
    monotonic: Callable[[], float] = time.monotonic
    background: Sequence[Lifespan] = ()
    readiness: Mapping[str, Callable[[], bool]] = field(default_factory=dict)


def create_app(config: Config, *, dependencies: Dependencies | None = None) -> web.Application:
    """The application of progress tracking; tests bring dependencies of their own.

    Connections are opened when it starts, before it listens.
    """
    parts = dependencies or real_dependencies(config)

    @asynccontextmanager
    async def tracking(app: web.Application) -> AsyncIterator[None]:
        async with parts.open_repository() as repository:
            app[TRACKING] = ProgressTracking(
                repository=repository,
                outlines=KnownOutlines(
                    repository,
                    maximum_age_seconds=config.outline_cache_seconds,
                    maximum_entries=config.outline_cache_entries,
                    monotonic=parts.monotonic,
                ),
                clock=parts.clock,
            )
            yield

    return create_http_app(
        service=config.service,
        routes=routes(
            ProgressHandlers(cursors=CursorCodec(config.cursor_secrets), clock=parts.clock)
        ),
        openapi=contract(),
        verifier=parts.verifier,
        tracer=parts.tracer,
        breakers=parts.breakers,
        problems=problems(),
        lifespan=[*parts.background, tracking],
        readiness=parts.readiness,
        cors_origins=config.cors_origins,
    )


def contract() -> Mapping[str, object]:
    """This service's `openapi.yaml` as a plain value."""
    text = files("services.progress_tracking").joinpath("openapi.yaml").read_text("utf-8")
    document: Mapping[str, object] = yaml.safe_load(text)
    return document


def real_dependencies(config: Config) -> Dependencies:
    """DynamoDB, the token issuer and X-Ray, as `config` names them. Opens nothing yet."""
    tracer = create_tracer(
        service=config.service.name,
        version=config.service.version,
        daemon_address=config.tracing_daemon,
        rules=SamplingRules(default_rate=config.tracing_rate),
    )
    breakers = CircuitBreakerRegistry(listeners=[_log_state])
    issuer = _Issuer(config.auth.jwks_url, tracer)
    keys = JwksKeySource(issuer.fetch)

    @asynccontextmanager
    async def signing_keys(app: web.Application) -> AsyncIterator[None]:
        async with issuer.connected():
            refreshing = asyncio.create_task(keys.keep_fresh())
            try:
                yield
            finally:
                refreshing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await refreshing
                await keys.close()

    @asynccontextmanager
    async def emission(app: web.Application) -> AsyncIterator[None]:
        try:
            yield
        finally:
            tracer.close()

    @asynccontextmanager
    async def repository() -> AsyncIterator[ProgressRepository]:
        async with open_clients(
            AwsSettings(region=config.region, breaker=config.breaker),
            registry=breakers,
            tracer=tracer,
            services=("dynamodb",),
        ) as clients:
            yield DynamoDBProgressRepository(clients.dynamodb, table=config.table)

    return Dependencies(
        open_repository=repository,
        verifier=TokenVerifier(config.auth, keys),
        tracer=tracer,
        breakers=breakers,
        background=[emission, signing_keys],
        readiness={"keys": lambda: keys.ready},
    )


class _Issuer:
    """Fetches the token issuer's keys while it is connected."""

    def __init__(self, jwks_url: str, tracer: Tracer) -> None:
        self._jwks_url = jwks_url
        self._tracer = tracer
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            trace_configs=[client_trace_config(self._tracer)]
        ) as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    async def fetch(self) -> bytes:
        if self._session is None:
            raise RuntimeError("keys can be fetched while the application runs")
        return await http_fetch(self._session, self._jwks_url)()


def _log_state(event: BreakerEvent) -> None:
    if isinstance(event, StateChanged):
        _log.warning(
            "circuit_state_changed",
            breaker=event.name,
            old=event.old.value,
            new=event.new.value,
        )
