"""The parts that every service's application stands on, made from its settings.

Owns the wiring of tracer, breakers, pipelines, token verifier and metrics, and what runs beside the
requests for them. A service's `app.py` adds its storage.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from libs.auth import JwksKeySource, TokenVerifier, http_fetch
from libs.aws import CallObserver, CallOutcome, DependencyCall
from libs.circuit_breaker import BreakerEvent, CircuitBreakerRegistry, StateChanged
from libs.http import Lifespan, Verifier
from libs.logging import get_logger
from libs.metrics import Metrics, event_loop_watched, reported
from libs.resilience import PipelineRegistry
from libs.service._dependency_metrics import DependencyMetrics
from libs.service._resilience_metrics import BreakerMetrics, GuardMetrics
from libs.service._settings import ServiceSettings
from libs.tracing import (
    CentralRules,
    SamplingRules,
    Tracer,
    client_trace_config,
    create_tracer,
    keep_sampling_fresh,
)

_log = get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """What `libs.http.create_app` is given besides routes and contract.

    ``background`` is entered before anything of the service's own and left after it;
    ``readiness`` are named checks without input or output. ``observer`` is for the clients of
    `libs.aws`.
    """

    tracer: Tracer
    breakers: CircuitBreakerRegistry
    metrics: Metrics
    observer: CallObserver
    pipelines: PipelineRegistry
    verifier: Verifier
    background: Sequence[Lifespan]
    readiness: Mapping[str, Callable[[], bool]]


@dataclass(frozen=True)
class WorkerParts:
    """What a process stands on that answers no requests: `Parts` without tokens and readiness.

    ``background`` is entered before anything of the service's own and left after it.
    """

    tracer: Tracer
    breakers: CircuitBreakerRegistry
    metrics: Metrics
    observer: CallObserver
    pipelines: PipelineRegistry
    background: Sequence[Callable[[], AbstractAsyncContextManager[None]]]


def worker_parts(settings: ServiceSettings) -> WorkerParts:
    """X-Ray, the breakers and the metrics, as ``settings`` names them. Opens nothing yet."""
    metrics = Metrics(settings.service.name)
    observer = DependencyMetrics(metrics)
    breaker_metrics = BreakerMetrics(metrics)
    breakers = CircuitBreakerRegistry(listeners=[_log_state, breaker_metrics])
    breaker_metrics.watch(breakers)
    guard_metrics = GuardMetrics(metrics)
    pipelines = PipelineRegistry(breakers, listeners=[guard_metrics])
    guard_metrics.watch(pipelines)
    central = (
        CentralRules(service=settings.service.name) if settings.tracing_central_sampling else None
    )
    tracer = create_tracer(
        service=settings.service.name,
        version=settings.service.version,
        daemon_address=settings.tracing_daemon,
        rules=SamplingRules(default_rate=settings.tracing_rate, rules=settings.tracing_rules),
        central=central,
    )

    @asynccontextmanager
    async def reporting() -> AsyncIterator[None]:
        async with (
            reported(metrics, every_seconds=settings.metrics_flush_seconds),
            event_loop_watched(metrics),
        ):
            yield

    @asynccontextmanager
    async def emission() -> AsyncIterator[None]:
        try:
            yield
        finally:
            tracer.close()

    @asynccontextmanager
    async def central_sampling() -> AsyncIterator[None]:
        if central is None or settings.tracing_daemon is None:
            yield
            return
        asking = asyncio.create_task(
            keep_sampling_fresh(central, settings.tracing_daemon), name="central_sampling"
        )
        try:
            yield
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking

    return WorkerParts(
        tracer=tracer,
        breakers=breakers,
        metrics=metrics,
        observer=observer,
        pipelines=pipelines,
        # Metrics first: so their last flush comes after all else has ended.
        background=[reporting, emission, central_sampling],
    )


def common_parts(settings: ServiceSettings) -> Parts:
    """X-Ray, the breakers, the token issuer and the metrics, as ``settings`` names them. Opens
    nothing yet."""
    parts = worker_parts(settings)
    issuer = _Issuer(settings.auth.jwks_url, parts.tracer, parts.observer)
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

    return Parts(
        tracer=parts.tracer,
        breakers=parts.breakers,
        metrics=parts.metrics,
        observer=parts.observer,
        pipelines=parts.pipelines,
        verifier=TokenVerifier(settings.auth, keys),
        background=[*map(_lifespan, parts.background), signing_keys],
        readiness={"keys": lambda: keys.ready},
    )


def _lifespan(start: Callable[[], AbstractAsyncContextManager[None]]) -> Lifespan:
    return lambda app: start()


class _Issuer:
    """Fetches the token issuer's keys while it is connected."""

    def __init__(self, jwks_url: str, tracer: Tracer, observer: CallObserver) -> None:
        self._jwks_url = jwks_url
        self._tracer = tracer
        self._observer = observer
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
        started = time.perf_counter()
        outcome = CallOutcome.UNAVAILABLE
        try:
            fetched = await http_fetch(self._session, self._jwks_url)()
            outcome = CallOutcome.SUCCESS
        except asyncio.CancelledError:
            outcome = CallOutcome.CANCELLED
            raise
        except TimeoutError:
            outcome = CallOutcome.TIMEOUT
            raise
        finally:
            seconds = time.perf_counter() - started
            self._observer(DependencyCall("jwks", "Fetch", seconds, outcome))
        return fetched


def _log_state(event: BreakerEvent) -> None:
    if isinstance(event, StateChanged):
        _log.warning(
            "circuit_state_changed",
            breaker=event.name,
            old=event.old.value,
            new=event.new.value,
        )
