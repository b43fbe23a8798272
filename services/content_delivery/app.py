"""The composition root of content delivery: the one place where its parts are put together.

Nothing else wires, and nothing here decides about content.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files

import yaml
from aiohttp import web

from libs.aws import open_clients
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import Lifespan, Verifier
from libs.http import create_app as create_http_app
from libs.metrics import Metrics
from libs.resilience import PipelineRegistry
from libs.service import common_parts, report_caches
from libs.timestamps import utc_now
from libs.tracing import Tracer
from services.content_delivery.api.handlers import DELIVERY
from services.content_delivery.api.routes import problems, routes
from services.content_delivery.config import SERVICE, Config
from services.content_delivery.domain.delivery import ContentDelivery
from services.content_delivery.domain.metadata_cache import CachedContents
from services.content_delivery.domain.object_store import ObjectStore
from services.content_delivery.domain.repository import ContentReader
from services.content_delivery.storage.dynamodb import DynamoContentRepository
from services.content_delivery.storage.s3 import S3ObjectStore


@dataclass(frozen=True)
class Storage:
    """Where metadata and objects are, opened and ready to be asked."""

    contents: ContentReader
    objects: ObjectStore


@dataclass(frozen=True)
class Dependencies:
    """What the application stands on. `real_dependencies` makes the real ones.

    ``open_storage`` is entered before the first request and left after the last; ``background``
    runs around it. ``readiness`` are named checks without input or output.
    """

    open_storage: Callable[[], AbstractAsyncContextManager[Storage]]
    verifier: Verifier
    tracer: Tracer
    breakers: CircuitBreakerRegistry
    metrics: Metrics = field(default_factory=lambda: Metrics(SERVICE))
    pipelines: PipelineRegistry = field(default_factory=PipelineRegistry)
    clock: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    background: Sequence[Lifespan] = ()
    readiness: Mapping[str, Callable[[], bool]] = field(default_factory=dict)


def create_app(config: Config, *, dependencies: Dependencies | None = None) -> web.Application:
    """The application of content delivery; tests bring dependencies of their own.

    Connections are opened when it starts, before it listens.
    """
    parts = dependencies or real_dependencies(config)

    @asynccontextmanager
    async def delivery(app: web.Application) -> AsyncIterator[None]:
        async with parts.open_storage() as storage:
            contents = CachedContents(
                storage.contents,
                maximum_age_seconds=config.cache_seconds,
                maximum_entries=config.cache_entries,
                monotonic=parts.monotonic,
            )
            report_caches(parts.metrics, {"contents": contents.statistics})
            app[DELIVERY] = ContentDelivery(
                contents=contents,
                objects=storage.objects,
                clock=parts.clock,
            )
            yield

    return create_http_app(
        service=config.service,
        routes=routes(),
        openapi=contract(),
        verifier=parts.verifier,
        tracer=parts.tracer,
        breakers=parts.breakers,
        metrics=parts.metrics,
        access_log=config.access_log,
        pipelines=parts.pipelines,
        request_timeout_seconds=config.request_timeout_seconds,
        problems=problems(),
        lifespan=[*parts.background, delivery],
        readiness=parts.readiness,
        cors_origins=config.cors_origins,
    )


def contract() -> Mapping[str, object]:
    """This service's ``openapi.yaml`` as a plain value."""
    text = files("services.content_delivery").joinpath("openapi.yaml").read_text("utf-8")
    document: Mapping[str, object] = yaml.safe_load(text)
    return document


def real_dependencies(config: Config) -> Dependencies:
    """DynamoDB, S3, the token issuer and X-Ray, as ``config`` names them. Opens nothing yet."""
    parts = common_parts(config)

    @asynccontextmanager
    async def storage() -> AsyncIterator[Storage]:
        async with open_clients(
            config.aws(),
            registry=parts.pipelines,
            tracer=parts.tracer,
            observer=parts.observer,
            services=("dynamodb", "s3"),
        ) as clients:
            yield Storage(
                contents=DynamoContentRepository(clients.dynamodb, table=config.table),
                objects=S3ObjectStore(clients.s3, bucket=config.bucket),
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
