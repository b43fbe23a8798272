"""The service on a real socket, with a repository in memory, a clock that stands still and a token
issuer of its own."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from json import dumps
from pathlib import Path

from aiohttp import ClientResponse, ClientSession, DummyCookieJar, web

from libs.auth import KeysUnavailableError, Principal
from libs.auth.testing import TokenIssuer
from libs.aws import DependencyUnavailable
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import Verifier
from libs.tracing import SamplingRules, Tracer, create_tracer
from services.progress_tracking.app import Dependencies, create_app
from services.progress_tracking.config import Config
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import CourseProgress, ProgressUpdate
from services.progress_tracking.domain.repository import ProgressRepository, Recorded, SummaryPage
from services.progress_tracking.storage.memory import MemoryProgressRepository
from tests.contract.openapi import Contract
from tests.contract.serving import Served, serving
from tests.unit.progress_tracking.updates import NOW

CONTRACT = Contract(Path("services/progress_tracking/openapi.yaml"))
LIST = "/progress/{userId}"
COURSE = "/progress/{userId}/{courseId}"
BATCH = "/progress/{userId}/batch"
SECRET = "a-secret-of-at-least-thirty-two-bytes"
OTHER_SECRET = "another-secret-of-more-than-32-bytes"

VARIABLES = {
    "PROGRESS_AUTH_ISSUER": "https://issuer.invalid/pool",
    "PROGRESS_AUTH_JWKS_URL": "https://issuer.invalid/pool/.well-known/jwks.json",
    "PROGRESS_AUTH_CLIENT_IDS": "test-client",
    "PROGRESS_CURSOR_SECRETS": SECRET,
    "PROGRESS_OUTLINE_CACHE_SECONDS": "0",
    "AWS_REGION": "us-east-1",
}


class Stage:
    """What the suite is played on: the service, on its twin in memory. A test folder that plays it on
    something else puts a stage of its own in the place of `STAGE`."""

    def repository(self) -> ProgressRepository:
        """An empty one."""
        return MemoryProgressRepository()

    def application(self, config: Config, dependencies: Dependencies) -> web.Application:
        """What is served."""
        return create_app(config, dependencies=dependencies)

    def serving(self, app: web.Application) -> AbstractAsyncContextManager[Served]:
        """The application where its callers find it."""
        return serving(app)


STAGE = Stage()


class FailingRepository(MemoryProgressRepository):
    """Its table does not answer."""

    async def read(self, user_id: str, course_id: str) -> CourseProgress | None:
        raise DependencyUnavailable("dynamodb", "Query", reason="timeout")

    async def list_summaries(self, user_id: str, *, after: str | None, limit: int) -> SummaryPage:
        raise DependencyUnavailable("dynamodb", "Query", reason="timeout")

    async def record(
        self,
        user_id: str,
        course_id: str,
        update: ProgressUpdate,
        *,
        outline: Outline | None,
        at: datetime,
    ) -> Recorded:
        raise DependencyUnavailable("dynamodb", "Query", reason="timeout")


class NoKeys:
    """A verifier whose issuer was never reached."""

    async def verify(self, token: str) -> Principal:
        raise KeysUnavailableError(1.0)


@dataclass
class Service:
    """The running service. `now` may be set; `repository` may be written to beside the API."""

    repository: ProgressRepository
    issuer: TokenIssuer = field(default_factory=TokenIssuer)
    now: datetime = NOW
    ready: bool = True
    served: Served = field(init=False)
    session: ClientSession = field(init=False)

    def token(self, sub: str = "learner-a", groups: Iterable[str] = ()) -> dict[str, str]:
        """The Authorization header of a user."""
        return {"Authorization": f"Bearer {self.issuer.token(sub=sub, groups=groups)}"}

    async def request(
        self,
        method: str,
        path: str,
        *,
        sub: str | None = "learner-a",
        groups: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
        json: object = None,
        data: bytes | AsyncIterator[bytes] | None = None,
    ) -> ClientResponse:
        """Send a request; `path` goes out as it is, byte for byte. `sub` None sends no token."""
        sent = {**(self.token(sub, groups) if sub is not None else {}), **(headers or {})}
        if json is not None:
            data = dumps(json).encode()
            sent["Content-Type"] = "application/json"
        return await self.session.request(
            method, self.served.url(path), headers=sent, data=data, allow_redirects=False
        )


@asynccontextmanager
async def running(
    repository: ProgressRepository | None = None,
    *,
    variables: Mapping[str, str] | None = None,
    verifier: Verifier | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[Service]:
    """The service, answering on a free port of 127.0.0.1."""
    service = Service(repository=repository or STAGE.repository())

    @asynccontextmanager
    async def open_repository() -> AsyncIterator[ProgressRepository]:
        yield service.repository

    dependencies = Dependencies(
        open_repository=open_repository,
        verifier=verifier or service.issuer.verifier(),
        tracer=tracer
        or create_tracer(
            service="progress_tracking",
            version="0.0.0",
            daemon_address=None,
            rules=SamplingRules(default_rate=0.0),
            random=random.Random(0),
        ),
        breakers=CircuitBreakerRegistry(),
        clock=lambda: service.now,
        readiness={"keys": lambda: service.ready},
    )
    config = Config.from_environment({**VARIABLES, **(variables or {})})
    async with (
        STAGE.serving(STAGE.application(config, dependencies)) as service.served,
        ClientSession(cookie_jar=DummyCookieJar(), skip_auto_headers=["Content-Type"]) as session,
    ):
        service.session = session
        yield service
