"""A small application over `libs.http`: one route for each thing that the layer does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Literal

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy
from pydantic import Field
from yarl import URL

from libs.auth import KeysUnavailableError
from libs.auth.testing import TokenIssuer
from libs.aws import DependencyUnavailable, Throttled
from libs.circuit_breaker import BreakerPolicy, CircuitBreakerRegistry, CircuitOpenError
from libs.http import (
    AccessLogPolicy,
    CursorCodec,
    DecimalInteger,
    FieldError,
    Identifier,
    Listener,
    Problem,
    Schema,
    ServiceInfo,
    UtcTimestamp,
    create_app,
    json_response,
    parse_body,
    parse_query,
    path_identifier,
    principal,
    read_json,
    require,
    require_if_match,
    serve,
    validate_body,
    version_etag,
)
from libs.metrics import Metrics
from libs.resilience import (
    BulkheadFullError,
    BulkheadPolicy,
    DeadlineExceededError,
    PipelineRegistry,
    RetryBudgetPolicy,
    RetryPolicy,
    current_deadline,
)
from libs.tracing import Tracer
from libs.tracing.testing import recording_tracer

ISSUER = TokenIssuer()
BIG_BYTES = 16 << 20
CODEC = CursorCodec([b"0123456789abcdef0123456789abcdef"])
OPENAPI: Mapping[str, object] = {
    "openapi": "3.0.3",
    "info": {"title": "Sample", "version": "1.2.3"},
    "paths": {"/things": {"get": {"summary": "List <things>", "responses": {}}}},
}


class ThingMissingError(Exception):
    """The sample's own "not found"."""


class SpecialThingMissingError(ThingMissingError):
    """A subclass without a mapping of its own."""


class ListQuery(Schema):
    limit: Annotated[DecimalInteger, Field(ge=1, le=100)] = 50
    updated_since: UtcTimestamp | None = None
    kind: Literal["big", "small"] | None = None


class Part(Schema):
    name: Annotated[str, Field(min_length=1, max_length=20)]
    weight: Annotated[float, Field(ge=0, le=1)] = 1


class NewThing(Schema):
    thing_id: Identifier
    occurred_at: UtcTimestamp | None = None
    size: Annotated[int, Field(ge=0)] = 0
    done: bool = False
    parts: Annotated[tuple[Part, ...], Field(max_length=3)] = ()
    by_key: dict[Identifier, int] = Field(default_factory=dict)


class Sample:
    """The application's state that tests look at and act on."""

    def __init__(self) -> None:
        self.version = 1
        self.ready = True
        self.events: list[str] = []
        self.held = asyncio.Event()
        self.release = asyncio.Event()
        self.breakers = CircuitBreakerRegistry()
        self.breakers.breaker("things:read", BreakerPolicy())
        self.metrics: Metrics | None = None
        self.access_log: AccessLogPolicy | None = None
        self.clock: Callable[[], float] = time.perf_counter
        self.pipelines = PipelineRegistry(self.breakers)
        self.pipelines.pipeline(
            "things:read",
            breaker=BreakerPolicy(),
            bulkhead=BulkheadPolicy(),
            retry=RetryPolicy(),
            budget=RetryBudgetPolicy(),
        )
        self.request_timeout_seconds = 5.0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/things", self.list_things),
            web.post("/things", self.create_thing),
            web.get("/things/{thingId}", self.get_thing),
            web.put("/things/{thingId}", self.put_thing),
            web.patch("/things/{thingId}", self.patch_thing),
            web.get("/courses/{courseId}/contents/{contentId}", self.get_content),
            web.get("/raise/{name}", self.fail),
            web.get("/me", self.me),
            web.get("/admin", self.admin),
            web.get("/hold", self.hold),
            web.get("/big", self.big),
            web.post("/echo", self.echo),
            web.get("/stubborn", self.stubborn),
            web.get("/remaining", self.remaining),
        ]

    async def big(self, request: web.Request) -> web.StreamResponse:
        """More than the kernel takes of an answer that nobody reads."""
        return web.Response(body=bytes(BIG_BYTES))

    async def list_things(self, request: web.Request) -> web.StreamResponse:
        query = parse_query(request, ListQuery)
        body = query.model_dump(mode="json", by_alias=True)
        return json_response(request, body, cache_control="private, max-age=30")

    async def create_thing(self, request: web.Request) -> web.StreamResponse:
        thing = await parse_body(request, NewThing)
        return json_response(
            request,
            thing,
            status=201,
            cache_control="no-store",
            headers={"Location": f"/things/{thing.thing_id}"},
        )

    async def get_thing(self, request: web.Request) -> web.StreamResponse:
        thing_id = path_identifier(request, "thingId")
        return json_response(
            request,
            {"thingId": thing_id, "version": self.version, "title": "Größe"},
            etag=version_etag(self.version),
            cache_control="private, no-cache",
        )

    async def put_thing(self, request: web.Request) -> web.StreamResponse:
        require_if_match(request).require(version_etag(self.version))
        self.version += 1
        return json_response(request, {}, etag=version_etag(self.version), cache_control="no-store")

    async def patch_thing(self, request: web.Request) -> web.StreamResponse:
        patch = await read_json(request, content_types=("application/merge-patch+json",))
        merged = {"thingId": "t1", **(patch if isinstance(patch, dict) else {})}
        return json_response(request, validate_body(merged, NewThing), cache_control="no-store")

    async def echo(self, request: web.Request) -> web.StreamResponse:
        return json_response(request, {"value": await read_json(request)}, cache_control="no-store")

    async def me(self, request: web.Request) -> web.StreamResponse:
        body = {"sub": principal(request).subject}
        return json_response(request, body, cache_control="private, no-store")

    async def admin(self, request: web.Request) -> web.StreamResponse:
        require(request, "catalog:write")
        return json_response(request, {}, cache_control="no-store")

    async def hold(self, request: web.Request) -> web.StreamResponse:
        self.held.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        return json_response(request, {"held": True}, cache_control="no-store")

    async def get_content(self, request: web.Request) -> web.StreamResponse:
        ids = [path_identifier(request, name) for name in ("courseId", "contentId")]
        return json_response(request, ids, cache_control="no-store")

    async def stubborn(self, request: web.Request) -> web.StreamResponse:
        """Ends when it is released, and not when it is cancelled."""
        self.held.set()
        while not self.release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.release.wait()
        self.events.append("stubborn ends")
        return json_response(request, {}, cache_control="no-store")

    async def remaining(self, request: web.Request) -> web.StreamResponse:
        deadline = current_deadline()
        left = None if deadline is None else deadline.remaining()
        return json_response(request, {"seconds": left}, cache_control="no-store")

    async def fail(self, request: web.Request) -> web.StreamResponse:
        failures: dict[str, Callable[[], Exception]] = {
            "bug": lambda: RuntimeError("the password is hunter2"),
            "domain": lambda: ThingMissingError("t1"),
            "subclass": lambda: SpecialThingMissingError("t1"),
            "open": lambda: CircuitOpenError("things:read", 3.2),
            "throttled": lambda: Throttled(
                "dynamodb", "Query", reason="throttled", retry_after_seconds=7
            ),
            "unavailable": lambda: DependencyUnavailable("s3", "HeadObject", reason="timeout"),
            "timeout": lambda: TimeoutError(),
            "full": lambda: BulkheadFullError("things:read", 1.5),
            "late": lambda: DeadlineExceededError("things:read", started=False),
            "keys": lambda: KeysUnavailableError(12.5),
            "group": lambda: ExceptionGroup("tasks", [ThingMissingError("t1")]),
            "groups": lambda: ExceptionGroup("tasks", [ThingMissingError("t1"), OSError("x")]),
            "connection": lambda: ConnectionResetError("a dependency's socket"),
            "gone": lambda: web.HTTPGone(),
            "problem": lambda: Problem(
                409,
                "thing_conflict",
                "Another thing has this name.",
                title="Conflict of things",
                errors=[FieldError("/name", "is taken")],
                headers={"Retry-After": "1"},
            ),
        }
        raise failures[request.match_info["name"]]()

    @asynccontextmanager
    async def first(self, app: web.Application) -> AsyncIterator[None]:
        self.events.append("first starts")
        try:
            yield
        finally:
            self.events.append("first stops")

    @asynccontextmanager
    async def second(self, app: web.Application) -> AsyncIterator[None]:
        self.events.append("second starts")
        try:
            yield
        finally:
            self.events.append("second stops")

    def application(self, tracer: Tracer | None = None) -> web.Application:
        return create_app(
            service=ServiceInfo("sample", "1.2.3", "0a1b2c3", "sha256:beef"),
            routes=self.routes(),
            openapi=lambda: OPENAPI,
            verifier=ISSUER.verifier(),
            tracer=tracer or recording_tracer()[0],
            breakers=self.breakers,
            pipelines=self.pipelines,
            request_timeout_seconds=self.request_timeout_seconds,
            problems={
                ThingMissingError: lambda error: Problem(
                    404, "thing_not_found", "There is no such thing."
                )
            },
            lifespan=[self.first, self.second],
            readiness={"keys": lambda: self.ready, "configuration": lambda: True},
            cors_origins=["https://app.example", "http://localhost:3000"],
            metrics=self.metrics,
            access_log=self.access_log,
            clock=self.clock,
        )


def lines(events: Iterable[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """What the HTTP layer itself has logged: the issuer's keys are read during the first request,
    and `libs.auth` says so."""
    return [event for event in events if str(event.get("logger")).startswith("libs.http")]


class Answer:
    """A response that was read whole."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers: CIMultiDictProxy[str] = response.headers
        self.body = body
        self._response = response

    @property
    def content_type(self) -> str:
        return self._response.content_type

    async def json(self) -> dict[str, object]:
        found = await self._response.json(content_type=None)
        assert isinstance(found, dict)
        return found


class Client:
    """A client of a running sample, signed in as `learner-a` unless told otherwise."""

    def __init__(self, session: aiohttp.ClientSession, listener: Listener, sample: Sample) -> None:
        self.session = session
        self.listener = listener
        self.sample = sample
        self.token = ISSUER.token()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}"

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = "",
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        json: object = None,
    ) -> Answer:
        """`token` "" is the client's own, None sends none; `path` goes out as it stands."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token or self.token}"
        async with self.session.request(
            method,
            URL(self.url + path, encoded=True),
            headers=sent,
            data=data,
            json=json,
            skip_auto_headers=["Content-Type"] if json is None else None,
        ) as response:
            return Answer(response, await response.read())

    async def raw(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own and read until the server closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        try:
            writer.write(data)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def running(sample: Sample, tracer: Tracer | None = None) -> AsyncIterator[Client]:
    """The sample behind the production listener on a free port, and a client of it."""
    async with (
        serve(sample.application(tracer), host="127.0.0.1", port=0) as listener,
        aiohttp.ClientSession() as session,
    ):
        yield Client(session, listener, sample)
