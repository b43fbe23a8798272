"""The monolith, behind the local gateway, as the stage of the three services' contract suites.

Owns which module is owned by whom: before a migration by the one table, after a switch by the service's.
Everything else is the suites': clock, ids, failures, and what is kept in.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import web
from yarl import URL

from deploy.local._gateway import (
    Gateway,
    RouteTable,
    ServiceRoutes,
    Target,
    create_server,
    open_session,
)
from deploy.migration._control import SOURCE, TARGET
from libs.aws import marshal
from libs.http import serve
from libs.idempotency.testing import InMemoryIdempotencyStore
from libs.service import Parts, ServiceSettings
from services.content_delivery import app as content_app
from services.content_delivery import config as content_config
from services.content_delivery.domain.repository import ContentRepository
from services.content_delivery.storage.memory import MemoryContentRepository, MemoryObjectStore
from services.content_delivery.storage.rows import Row
from services.course_catalog import app as catalog_app
from services.course_catalog import config as catalog_config
from services.course_catalog.api.handlers import CATALOG as CATALOG_KEY
from services.course_catalog.domain.repository import CourseRepository
from services.course_catalog.storage.memory import InMemoryCourseRepository
from services.progress_tracking import app as progress_app
from services.progress_tracking import config as progress_config
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.repository import ProgressRepository
from services.progress_tracking.storage.memory import MemoryProgressRepository
from tests.contract.content_delivery import service as content_suite
from tests.contract.course_catalog import running as catalog_suite
from tests.contract.monolith.outlines import CourseOutlines
from tests.contract.progress_tracking import service as progress_suite
from tests.contract.serving import Served
from tests.monolith.app import Dependencies, create_app
from tests.monolith.catalog import LegacyCourses, course_key
from tests.monolith.config import Config
from tests.monolith.content import CONTENT as CONTENT_PREFIX
from tests.monolith.content import NAMES, LegacyContents, content_key, content_row
from tests.monolith.gated import (
    CATALOG,
    CONTENT,
    PROGRESS,
    GatedContents,
    GatedCourses,
    GatedProgress,
    Owned,
    UsersProgress,
)
from tests.monolith.memory_table import MemoryTable
from tests.monolith.progress import LegacyProgress
from tests.monolith.table import PARTITION

OWNERS: Final = (SOURCE, TARGET)

_VARIABLES: Final = {
    "MONOLITH_AUTH_ISSUER": "https://issuer.invalid/pool",
    "MONOLITH_AUTH_JWKS_URL": "https://issuer.invalid/pool/.well-known/jwks.json",
    "MONOLITH_AUTH_CLIENT_IDS": "client",
    "MONOLITH_CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
    "MONOLITH_BUCKET": "lyceum-content",
    "AWS_REGION": "us-east-1",
}


class FixedGate:
    """A gate of a migration at rest: each module has one owner."""

    def __init__(self, **owners: str) -> None:
        self._owners = owners

    @asynccontextmanager
    async def enter(self, module: str) -> AsyncIterator[str]:
        yield self._owners.get(module, SOURCE)


class CatalogStage(catalog_suite.Stage):
    """The catalog's suite on the monolith."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._kept: dict[int, MemoryTable | InMemoryCourseRepository] = {}

    def repository(self) -> CourseRepository:
        table, moved = MemoryTable(), InMemoryCourseRepository()
        courses = GatedCourses(
            Owned[CourseRepository](
                FixedGate(**{CATALOG: self._owner}),
                CATALOG,
                {SOURCE: LegacyCourses(table), TARGET: moved},
            )
        )
        self._kept[id(courses)] = table if self._owner == SOURCE else moved
        return courses

    def forget(self, repository: CourseRepository, course_id: str, attribute: str) -> None:
        kept = self._kept[id(repository)]
        if isinstance(kept, InMemoryCourseRepository):
            del kept._items[course_id][attribute]
            return
        item = kept.items[course_key(course_id)]
        kept.put({name: value for name, value in item.items() if name != attribute})

    def application(
        self, config: catalog_config.Config, dependencies: catalog_app.Dependencies
    ) -> web.Application:
        return _application(config, dependencies, catalog=config, of_catalog=dependencies)

    def serving(self, app: web.Application) -> AbstractAsyncContextManager[Served]:
        return behind_the_gateway(app)


class ContentStage(content_suite.Stage):
    """Content delivery's suite on the monolith."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def repository(self) -> content_suite.KeptContents:
        return _KeptContents(self._owner)

    def application(
        self, config: content_config.Config, dependencies: content_app.Dependencies
    ) -> web.Application:
        return _application(config, dependencies, content=config, of_content=dependencies)

    def serving(self, app: web.Application) -> AbstractAsyncContextManager[Served]:
        return _with_its_directory(app)


class ProgressStage(progress_suite.Stage):
    """Progress tracking's suite on the monolith."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def repository(self) -> ProgressRepository:
        return _KeptProgress(self._owner)

    def application(
        self, config: progress_config.Config, dependencies: progress_app.Dependencies
    ) -> web.Application:
        return _application(config, dependencies, progress=config, of_progress=dependencies)

    def serving(self, app: web.Application) -> AbstractAsyncContextManager[Served]:
        return _with_its_directory(app)


class _KeptContents(GatedContents):
    def __init__(self, owner: str) -> None:
        table, moved = MemoryTable(), MemoryContentRepository()
        super().__init__(
            Owned[ContentRepository](
                FixedGate(**{CONTENT: owner}),
                CONTENT,
                {SOURCE: LegacyContents(table), TARGET: moved},
            )
        )
        self._rows = _Rows(table) if owner == SOURCE else moved.rows

    @property
    def rows(self) -> MutableMapping[str, Row]:
        return self._rows


class _Rows(MutableMapping[str, Row]):
    """The contents of the one table, each as the service's table would have it."""

    def __init__(self, table: MemoryTable) -> None:
        self._table = table

    def __getitem__(self, content_id: str) -> Row:
        return content_row(self._table.items[content_key(content_id)])

    def __setitem__(self, content_id: str, row: Row) -> None:
        kept = {NAMES.get(name, name): value for name, value in row.items() if name != "contentId"}
        self._table.put({**content_key(content_id).item(), **marshal(kept)})

    def __delitem__(self, content_id: str) -> None:
        del self._table.items[content_key(content_id)]

    def __iter__(self) -> Iterator[str]:
        for item in self._table.items.values():
            yield str(item[PARTITION]["S"]).removeprefix(CONTENT_PREFIX)

    def __len__(self) -> int:
        return len(self._table.items)


class _KeptProgress(GatedProgress):
    """Progress of the owner; outlines of the catalog module, which owns them still."""

    def __init__(self, owner: str) -> None:
        table = MemoryTable()
        self._courses = CourseOutlines(table)
        super().__init__(
            Owned[UsersProgress](
                FixedGate(**{PROGRESS: owner}),
                PROGRESS,
                {SOURCE: LegacyProgress(table), TARGET: MemoryProgressRepository()},
            ),
            self._courses,
        )

    async def learn_outline(self, outline: Outline) -> bool:
        return await self._courses.learn_outline(outline)


def _application(
    config: ServiceSettings,
    dependencies: (catalog_app.Dependencies | content_app.Dependencies | progress_app.Dependencies),
    *,
    catalog: catalog_config.Config | None = None,
    content: content_config.Config | None = None,
    progress: progress_config.Config | None = None,
    of_catalog: catalog_app.Dependencies | None = None,
    of_content: content_app.Dependencies | None = None,
    of_progress: progress_app.Dependencies | None = None,
) -> web.Application:
    """The monolith with one module as a suite wants it, and two that are empty."""
    usual = Config.from_environment(_VARIABLES)
    shared: dict[str, Any] = {
        name: getattr(dependencies, name)
        for name in ("verifier", "tracer", "breakers", "pipelines")
    }

    @asynccontextmanager
    async def no_courses() -> AsyncIterator[catalog_app.Storage]:
        yield catalog_app.Storage(LegacyCourses(MemoryTable()), InMemoryIdempotencyStore())

    @asynccontextmanager
    async def no_contents() -> AsyncIterator[content_app.Storage]:
        yield content_app.Storage(
            LegacyContents(MemoryTable()), MemoryObjectStore(), InMemoryIdempotencyStore()
        )

    @asynccontextmanager
    async def no_progress() -> AsyncIterator[ProgressRepository]:
        yield _KeptProgress(SOURCE)

    return create_app(
        replace(
            usual,
            **{field.name: getattr(config, field.name) for field in fields(ServiceSettings)},
            catalog=catalog or usual.catalog,
            content=content or usual.content,
            progress=progress or usual.progress,
        ),
        dependencies=Dependencies(
            catalog=of_catalog or catalog_app.Dependencies(open_storage=no_courses, **shared),
            content=of_content or content_app.Dependencies(open_storage=no_contents, **shared),
            progress=of_progress
            or progress_app.Dependencies(open_repository=no_progress, **shared),
            common=Parts(
                metrics=dependencies.metrics,
                observer=lambda call: None,
                background=dependencies.background,
                readiness=dependencies.readiness,
                **shared,
            ),
        ),
    )


@asynccontextmanager
async def _with_its_directory(app: web.Application) -> AsyncIterator[Served]:
    """Served once the catalog module, of which a suite of another knows nothing, is ready."""
    async with behind_the_gateway(app) as served:
        assert await app[CATALOG_KEY].refresher.wait_until_loaded(10)
        yield served


@asynccontextmanager
async def behind_the_gateway(app: web.Application) -> AsyncIterator[Served]:
    """The application on a port of its own, and the local gateway that leads all three APIs to it."""
    async with serve(app, host="127.0.0.1", port=0) as listener, open_session() as session:
        own = f"http://127.0.0.1:{listener.port}"
        gateway = Gateway(
            {
                service: ServiceRoutes(templates, (Target("stable", own, 100),))
                for service, templates in _templates().items()
            },
            session,
            random=random.Random(0),
            now=time.time,
            token_hex=secrets.token_hex,
            log=lambda access: None,
        )
        runner = web.ServerRunner(create_server(gateway), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            host, port = runner.addresses[0][:2]
            yield Served(
                URL(own),
                URL(f"http://{host}:{port}"),
                lambda path: _routes().match(path) is not None,
            )
        finally:
            await runner.cleanup()


@cache
def _routes() -> RouteTable:
    return RouteTable(_templates())


@cache
def _templates() -> Mapping[str, tuple[str, ...]]:
    """Each service's paths, as the gateway reads them; once, because a contract is long."""
    return {
        service: tuple(
            yaml.load(
                Path(f"services/{service}/openapi.yaml").read_bytes(), Loader=yaml.CSafeLoader
            )["paths"]
        )
        for service in (CATALOG, CONTENT, PROGRESS)
    }
