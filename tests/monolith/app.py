"""The composition root of the monolith: three modules in one application, on one table.

A module is what its service will be: the service's routes and rules, on storage of the monolith's own. So
what differs between the two is where things are kept, and who says so: the migration gate.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aioboto3
from aiohttp import web
from botocore.config import Config as ClientConfig

from deploy.migration._context import Context
from deploy.migration._control import SOURCE, TARGET
from deploy.migration._dynamodb import DynamoDBDatabase
from deploy.migration.gate import Gate as MigrationGate
from deploy.migration.mapping import Table as MappedTable
from deploy.migration.mappings.lyceum import mapping
from libs.aws import Clients, open_clients
from libs.http import create_app as create_http_app
from libs.idempotency import DynamoDBIdempotencyStore, IdempotencyStore
from libs.metrics import Metrics, reported
from libs.service import Parts, common_parts
from services.content_delivery import app as content_app
from services.content_delivery.api import routes as content_routes
from services.content_delivery.domain.repository import ContentRepository
from services.content_delivery.storage.dynamodb import DynamoContentRepository
from services.content_delivery.storage.s3 import S3ObjectStore
from services.course_catalog import app as catalog_app
from services.course_catalog.api import routes as catalog_routes
from services.course_catalog.api.handlers import CATALOG as CATALOG_KEY
from services.course_catalog.domain.repository import CourseRepository
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from services.progress_tracking import app as progress_app
from services.progress_tracking.api import routes as progress_routes
from services.progress_tracking.domain.repository import ProgressRepository
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.monolith.catalog import LegacyCourses
from tests.monolith.config import NAME, Config
from tests.monolith.content import LegacyContents
from tests.monolith.contract import contract
from tests.monolith.dynamodb_table import DynamoDBTable
from tests.monolith.gated import (
    CATALOG,
    CONTENT,
    PROGRESS,
    Gate,
    GatedContents,
    GatedCourses,
    GatedKeys,
    GatedProgress,
    Owned,
    UsersProgress,
)
from tests.monolith.outlines import OutlinesOfCourses
from tests.monolith.progress import LegacyProgress

KEY_PREFIXES = {CATALOG: "IDEMPOTENCY#CATALOG#", CONTENT: "IDEMPOTENCY#CONTENT#"}
"""What the keys of a module's idempotency keys begin with in the one table."""


@dataclass(frozen=True)
class Dependencies:
    """What the application stands on: what its modules do, and the parts that they share."""

    catalog: catalog_app.Dependencies
    content: content_app.Dependencies
    progress: progress_app.Dependencies
    common: Parts


def create_app(config: Config, *, dependencies: Dependencies | None = None) -> web.Application:
    """The application of the monolith; tests bring dependencies of their own."""
    parts = dependencies or real_dependencies(config)
    app = create_http_app(
        service=config.service,
        routes=[
            *catalog_routes.routes(),
            *content_routes.routes(),
            *progress_routes.routes(progress_app.handlers(config.progress, parts.progress)),
        ],
        openapi=contract(),
        verifier=parts.common.verifier,
        tracer=parts.common.tracer,
        breakers=parts.common.breakers,
        metrics=parts.common.metrics,
        access_log=config.access_log,
        pipelines=parts.common.pipelines,
        request_timeout_seconds=config.request_timeout_seconds,
        problems={
            **catalog_routes.problems(),
            **content_routes.problems(),
            **progress_routes.problems(),
        },
        lifespan=[
            *parts.common.background,
            catalog_app.catalog(config.catalog, parts.catalog),
            content_app.delivery(config.content, parts.content),
            progress_app.tracking(config.progress, parts.progress),
        ],
        readiness={
            **parts.common.readiness,
            "directory": lambda: app[CATALOG_KEY].refresher.loaded,
        },
        cors_origins=config.cors_origins,
    )
    return app


@dataclass(frozen=True)
class Storage:
    """What the modules keep things in, opened, each as the gate says."""

    catalog: catalog_app.Storage
    content: content_app.Storage
    progress: ProgressRepository


def real_dependencies(config: Config) -> Dependencies:
    """DynamoDB, S3, the token issuer and X-Ray, as `config` names them. Opens nothing yet."""
    common = common_parts(config)
    opened: list[Storage] = []

    @asynccontextmanager
    async def storage(_: web.Application) -> AsyncIterator[None]:
        async with (
            open_clients(
                config.aws(),
                registry=common.pipelines,
                tracer=common.tracer,
                observer=common.observer,
                services=("dynamodb", "s3"),
            ) as clients,
            open_gate(config) as gate,
        ):
            opened.append(_storage(config, common, clients, gate))
            yield

    @asynccontextmanager
    async def of_catalog() -> AsyncIterator[catalog_app.Storage]:
        yield opened[0].catalog

    @asynccontextmanager
    async def of_content() -> AsyncIterator[content_app.Storage]:
        yield opened[0].content

    @asynccontextmanager
    async def of_progress() -> AsyncIterator[ProgressRepository]:
        yield opened[0].progress

    # Of their own, because modules name theirs alike.
    metrics = {module: Metrics(f"{NAME}.{module}") for module in (CATALOG, CONTENT, PROGRESS)}

    @asynccontextmanager
    async def reporting(_: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for of_module in metrics.values():
                await stack.enter_async_context(
                    reported(of_module, every_seconds=config.metrics_flush_seconds)
                )
            yield

    shared: dict[str, Any] = {
        "verifier": common.verifier,
        "tracer": common.tracer,
        "breakers": common.breakers,
        "pipelines": common.pipelines,
    }
    return Dependencies(
        catalog=catalog_app.Dependencies(
            open_storage=of_catalog, metrics=metrics[CATALOG], **shared
        ),
        content=content_app.Dependencies(
            open_storage=of_content, metrics=metrics[CONTENT], **shared
        ),
        progress=progress_app.Dependencies(
            open_repository=of_progress, metrics=metrics[PROGRESS], **shared
        ),
        common=Parts(**{**vars(common), "background": [*common.background, reporting, storage]}),
    )


@asynccontextmanager
async def open_gate(config: Config) -> AsyncIterator[MigrationGate]:
    """The migration gate of this process, on a client that repeats nothing by itself: what an
    answer that was lost means is the gate's to decide."""
    session = aioboto3.Session(region_name=config.region)
    settings = ClientConfig(
        connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 1}, tcp_keepalive=True
    )
    async with session.client("dynamodb", config=settings) as dynamodb:
        yield MigrationGate(
            Context(
                name=f"monolith-{os.getpid()}-{secrets.token_hex(4)}",
                mapping=mapping(
                    source=config.table,
                    course_catalog=config.catalog.table,
                    content_delivery=config.content.table,
                    progress_tracking=config.progress.table,
                ),
                database=DynamoDBDatabase(dynamodb, None),
                control=MappedTable(config.control_table, "pk", "sk"),
                clock=time.monotonic,
                wall=time.time,
                sleep=asyncio.sleep,
                chance=random.Random(secrets.randbits(64)),
                settings=config.gate,
            )
        )


def _storage(config: Config, common: Parts, clients: Clients, gate: Gate) -> Storage:
    dynamodb = clients.dynamodb
    table = DynamoDBTable(dynamodb, config.table)
    courses = GatedCourses(
        Owned[CourseRepository](
            gate,
            CATALOG,
            {
                SOURCE: LegacyCourses(table),
                TARGET: DynamoDBCourseRepository(
                    dynamodb, config.catalog.table, trace=common.tracer.current
                ),
            },
        )
    )
    contents = Owned[ContentRepository](
        gate,
        CONTENT,
        {
            SOURCE: LegacyContents(table),
            TARGET: DynamoContentRepository(dynamodb, table=config.content.table),
        },
    )
    progress = Owned[UsersProgress](
        gate,
        PROGRESS,
        {
            SOURCE: LegacyProgress(table),
            TARGET: DynamoDBProgressRepository(dynamodb, table=config.progress.table),
        },
    )

    def keys(module: str, target: str, key: str, ttl: str) -> GatedKeys:
        return GatedKeys(
            Owned[IdempotencyStore](
                gate,
                module,
                {
                    SOURCE: DynamoDBIdempotencyStore(
                        dynamodb,
                        config.table,
                        key_attributes=["pk", "sk"],
                        ttl_attribute="expiresAt",
                        key_prefix=KEY_PREFIXES[module],
                    ),
                    TARGET: DynamoDBIdempotencyStore(
                        dynamodb, target, key_attributes=[key], ttl_attribute=ttl
                    ),
                },
            )
        )

    return Storage(
        catalog=catalog_app.Storage(
            courses=courses,
            keys=keys(CATALOG, config.catalog.table, "courseId", "expiresAt"),
        ),
        content=content_app.Storage(
            contents=GatedContents(contents),
            objects=S3ObjectStore(clients.s3, bucket=config.content.bucket),
            idempotency=keys(CONTENT, config.content.table, "contentId", "purgeAt"),
        ),
        progress=GatedProgress(progress, OutlinesOfCourses(courses)),
    )
