"""The application factory: the layers of every service, in their one order.

Outermost first: request id, log context and access log; tracing segment; CORS; problem mapping;
deadline; authentication; negotiation; routes. A service brings its routes, its contract and what to start.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from aiohttp import web

from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http._access_log import access_log_middleware
from libs.http._access_log_policy import AccessLogPolicy
from libs.http._authentication import Verifier, authentication_middleware
from libs.http._cors import cors_middleware
from libs.http._deadline import DEFAULT_REQUEST_TIMEOUT_SECONDS, deadline_middleware
from libs.http._errors import ProblemMapping, problem_middleware
from libs.http._json import DEFAULT_MAX_BODY_BYTES
from libs.http._keys import (
    BREAKERS,
    DRAIN,
    MAX_BODY_BYTES,
    PIPELINES,
    REQUEST_METRICS,
    SERVICE,
    Drain,
    ServiceInfo,
)
from libs.http._negotiation import negotiate
from libs.http._operations import PUBLIC_PATHS, operation_routes
from libs.http._request_metrics import RequestMetrics
from libs.http._tracing import tracing_middleware
from libs.metrics import Metrics
from libs.resilience import PipelineRegistry
from libs.tracing import Tracer

Lifespan = Callable[[web.Application], AbstractAsyncContextManager[None]]


_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def uuid4_hex() -> str:
    """The digits of a random UUID (RFC 9562, 5.4), without making an object of it: each request that
    brings no id is given one."""
    digits = os.urandom(16).hex()
    return f"{digits[:12]}4{digits[13:16]}{_VARIANT[digits[16]]}{digits[17:]}"


def create_app(
    *,
    service: ServiceInfo,
    routes: Sequence[web.RouteDef],
    openapi: Callable[[], Mapping[str, object]],
    verifier: Verifier,
    tracer: Tracer,
    breakers: CircuitBreakerRegistry,
    problems: ProblemMapping,
    pipelines: PipelineRegistry | None = None,
    request_timeout_seconds: float = DEFAULT_REQUEST_TIMEOUT_SECONDS,
    lifespan: Sequence[Lifespan] = (),
    readiness: Mapping[str, Callable[[], bool]] | None = None,
    cors_origins: Sequence[str] = (),
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES,
    metrics: Metrics | None = None,
    access_log: AccessLogPolicy | None = None,
    new_request_id: Callable[[], str] = uuid4_hex,
    clock: Callable[[], float] = time.perf_counter,
) -> web.Application:
    """An application with every rule that the three APIs share.

    `routes`: every GET also answers HEAD. `openapi`: gives the contract as a plain value, once, in
    a thread, when somebody asks for it. `problems`: the service's own exceptions. `breakers` and
    `pipelines` are shown by /readyz. `request_timeout_seconds`: the longest that a client waits for
    its answer. `lifespan`: entered in order before the first request, left in reverse after the
    last; when one fails to start, those before it are left again. `readiness`: named checks, cheap
    and without input or output. `max_body_bytes`: a larger body is 413. `metrics`: where requests
    are counted, if anywhere. `access_log`: which of them are logged.
    """
    app = web.Application(
        middlewares=[
            access_log_middleware(
                access_log or AccessLogPolicy(), new_request_id=new_request_id, clock=clock
            ),
            tracing_middleware(tracer),
            cors_middleware(cors_origins),
            problem_middleware(problems, public_paths=PUBLIC_PATHS),
            deadline_middleware(request_timeout_seconds),
            authentication_middleware(verifier, public_paths=PUBLIC_PATHS),
            negotiate,
        ],
        client_max_size=max_body_bytes,
    )
    app[SERVICE] = service
    app[DRAIN] = Drain()
    app[BREAKERS] = breakers
    app[PIPELINES] = pipelines or PipelineRegistry(breakers)
    app[MAX_BODY_BYTES] = max_body_bytes
    app[REQUEST_METRICS] = None if metrics is None else RequestMetrics(metrics)
    app.add_routes(operation_routes(openapi=openapi, readiness=dict(readiness or {})))
    app.add_routes([_with_head(route) for route in routes])
    app.cleanup_ctx.append(_entered(lifespan))
    return app


def _with_head(route: web.RouteDef) -> web.RouteDef:
    if route.method.upper() != "GET":
        return route
    return web.get(route.path, route.handler, **{**route.kwargs, "allow_head": True})


def _entered(lifespan: Sequence[Lifespan]) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(app: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for start in lifespan:
                await stack.enter_async_context(start(app))
            yield

    return context
