"""The composition root of content delivery: the one place where its parts are put together.

Nothing else wires, and nothing here decides about content.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiohttp import web

from libs.aws import open_clients
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import CursorCodec, Lifespan, Verifier
from libs.http import create_app as create_http_app
from libs.idempotency import DynamoDBIdempotencyStore, Idempotency, IdempotencyStore
from libs.logging import get_logger
from libs.metrics import Metrics
from libs.resilience import PipelineRegistry
from libs.service import common_parts, read_contract, report_caches
from libs.timestamps import utc_now
from libs.tracing import Tracer
from services.content_delivery.api.authoring_handlers import STUDIO, Studio
from services.content_delivery.api.handlers import DELIVERY
from services.content_delivery.api.routes import problems, routes
from services.content_delivery.config import SERVICE, Config
from services.content_delivery.domain.authoring import Authoring
from services.content_delivery.domain.background import BackgroundWork
from services.content_delivery.domain.delivery import ContentDelivery
from services.content_delivery.domain.errors import ContentDeliveryError
from services.content_delivery.domain.metadata_cache import CachedContents
from services.content_delivery.domain.object_store import ObjectStore
from services.content_delivery.domain.repository import ContentRepository
from services.content_delivery.domain.uploads import Uploads, UploadStatus
from services.content_delivery.storage.dynamodb import DynamoContentRepository
from services.content_delivery.storage.s3 import S3ObjectStore

_log = get_logger(__name__)


def new_identifier() -> str:
    """A new id: 12 characters, 72 bits."""
    return secrets.token_urlsafe(9)


@dataclass(frozen=True)
class Storage:
    """Where metadata and objects are, opened and ready to be asked."""

    contents: ContentRepository
    objects: ObjectStore
    idempotency: IdempotencyStore


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
    new_id: Callable[[], str] = new_identifier
    background: Sequence[Lifespan] = ()
    readiness: Mapping[str, Callable[[], bool]] = field(default_factory=dict)


def create_app(config: Config, *, dependencies: Dependencies | None = None) -> web.Application:
    """The application of content delivery; tests bring dependencies of their own.

    Connections are opened when it starts, before it listens.
    """
    parts = dependencies or real_dependencies(config)
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
        lifespan=[*parts.background, delivery(config, parts)],
        readiness=parts.readiness,
        cors_origins=config.cors_origins,
    )


def delivery(config: Config, parts: Dependencies) -> Lifespan:
    """What the handlers answer from, as long as the application runs."""

    @asynccontextmanager
    async def answering(app: web.Application) -> AsyncIterator[None]:
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
            verifications: BackgroundWork[UploadStatus] = BackgroundWork(
                maximum=config.verifications,
                wait_seconds=config.upload_wait_seconds,
                failed=_verification_failed,
            )
            app[STUDIO] = Studio(
                uploads=Uploads(
                    contents=storage.contents,
                    objects=storage.objects,
                    policy=config.uploads,
                    clock=parts.clock,
                    new_id=parts.new_id,
                    verifications=verifications,
                ),
                authoring=Authoring(
                    contents=storage.contents,
                    objects=storage.objects,
                    retention=timedelta(days=config.retention_days),
                    clock=parts.clock,
                    new_id=parts.new_id,
                ),
                cursors=CursorCodec(config.cursor_secrets),
                idempotency=Idempotency(storage.idempotency, now=parts.clock),
                new_id=parts.new_id,
            )
            try:
                yield
            finally:
                await verifications.close()

    return answering


def contract() -> Mapping[str, object]:
    """This service's ``openapi.yaml`` as a plain value."""
    return read_contract("services.content_delivery")


def _verification_failed(name: str, error: Exception) -> None:
    """Told of what nobody waited for. Whoever completes the upload again gets the answer anew."""
    if isinstance(error, ContentDeliveryError):
        _log.info("upload_not_accepted", error=type(error).__name__)
    else:
        _log.warning("upload_verification_failed", error=type(error).__name__)


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
                idempotency=DynamoDBIdempotencyStore(
                    clients.dynamodb,
                    config.table,
                    key_attributes=["contentId"],
                    ttl_attribute="purgeAt",
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
