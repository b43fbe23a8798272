"""The parts that every service's application stands on, made from its settings.

Owns the wiring of tracer, breakers, pipelines and token verifier, and what runs beside the requests for
them. A service's `app.py` adds its storage.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from libs.auth import JwksKeySource, TokenVerifier, http_fetch
from libs.circuit_breaker import BreakerEvent, CircuitBreakerRegistry, StateChanged
from libs.http import Lifespan, Verifier
from libs.logging import get_logger
from libs.resilience import PipelineRegistry
from libs.service._settings import ServiceSettings
from libs.tracing import SamplingRules, Tracer, client_trace_config, create_tracer

_log = get_logger(__name__)


@dataclass(frozen=True)
class Parts:
    """What `libs.http.create_app` is given besides routes and contract.

    ``background`` is entered before anything of the service's own and left after it;
    ``readiness`` are named checks without input or output.
    """

    tracer: Tracer
    breakers: CircuitBreakerRegistry
    pipelines: PipelineRegistry
    verifier: Verifier
    background: Sequence[Lifespan]
    readiness: Mapping[str, Callable[[], bool]]


def common_parts(settings: ServiceSettings) -> Parts:
    """X-Ray, the breakers and the token issuer, as ``settings`` names them. Opens nothing yet."""
    tracer = create_tracer(
        service=settings.service.name,
        version=settings.service.version,
        daemon_address=settings.tracing_daemon,
        rules=SamplingRules(default_rate=settings.tracing_rate),
    )
    issuer = _Issuer(settings.auth.jwks_url, tracer)
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

    breakers = CircuitBreakerRegistry(listeners=[_log_state])
    return Parts(
        tracer=tracer,
        breakers=breakers,
        pipelines=PipelineRegistry(breakers),
        verifier=TokenVerifier(settings.auth, keys),
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
