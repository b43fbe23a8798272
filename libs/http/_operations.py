"""The paths that every service has for those who run it: health, readiness, version, contract.

Owns these five answers. Liveness says only whether a restart would help; readiness covers
configuration and keys and never a dependency that a breaker guards: one short failure of a
database must not take every task out of service.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache

from aiohttp import web
from aiohttp.typedefs import Handler

from libs.circuit_breaker import BreakerSnapshot
from libs.http._conditional import encode_json, json_response
from libs.http._docs import DOCS_POLICY, render_docs
from libs.http._errors import retry_after
from libs.http._keys import BREAKERS, DRAIN, PIPELINES, SERVICE
from libs.http._problem import FieldError, Problem
from libs.resilience import BulkheadSnapshot

PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/version", "/openapi.json", "/docs"})
"""The paths that need no token, and whose answers are the same for everybody."""


def operation_routes(
    *, openapi: Mapping[str, object], readiness: Mapping[str, Callable[[], bool]]
) -> list[web.RouteDef]:
    """The routes of /healthz, /readyz, /version, /openapi.json and /docs."""
    return [
        web.get("/healthz", _healthz),
        web.get("/readyz", _readyz(readiness)),
        web.get("/version", _version),
        web.get("/openapi.json", _contract(openapi)),
        web.get("/docs", _docs(openapi)),
    ]


async def _healthz(request: web.Request) -> web.Response:
    return json_response(request, {"status": "ok"}, cache_control="no-store", vary=())


def _readyz(readiness: Mapping[str, Callable[[], bool]]) -> Handler:
    async def readyz(request: web.Request) -> web.StreamResponse:
        draining = request.app[DRAIN].draining
        failing = sorted(name for name, is_ready in readiness.items() if not is_ready())
        if draining or failing:
            raise Problem(
                503,
                "draining" if draining else "not_ready",
                "The process is shutting down." if draining else "The process is not ready yet.",
                errors=[FieldError(f"/checks/{name}", "is not ready") for name in failing],
                headers=retry_after(None),
            )
        body = {
            "status": "ready",
            "checks": {name: "ready" for name in sorted(readiness)},
            "breakers": {
                snapshot.name: _breaker(snapshot) for snapshot in request.app[BREAKERS].snapshots()
            },
            "bulkheads": {
                snapshot.name: _bulkhead(snapshot)
                for snapshot in request.app[PIPELINES].bulkheads()
            },
        }
        return json_response(request, body, cache_control="no-store", vary=())

    return readyz


def _breaker(snapshot: BreakerSnapshot) -> dict[str, object]:
    window = snapshot.window
    shown: dict[str, object] = {
        "state": snapshot.state.value,
        "consecutiveFailures": snapshot.consecutive_failures,
        "rejectedCalls": snapshot.rejected_calls,
        "slowCalls": snapshot.slow_calls,
        "retryAfterSeconds": round(snapshot.retry_after_seconds, 3),
    }
    if window is not None:
        shown["window"] = {
            "calls": window.calls,
            "failureRate": round(window.failure_rate, 1),
            "slowCallRate": round(window.slow_call_rate, 1),
        }
    return shown


def _bulkhead(snapshot: BulkheadSnapshot) -> dict[str, object]:
    return {
        "running": snapshot.running,
        "maxConcurrentCalls": snapshot.max_concurrent_calls,
        "queued": snapshot.queued,
        "maxQueuedCalls": snapshot.max_queued_calls,
        "rejectedCalls": snapshot.rejected_calls,
    }


async def _version(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    body = {
        "service": service.name,
        "version": service.version,
        "revision": service.revision,
        "imageHash": service.image_hash,
    }
    return json_response(request, body, cache_control="no-cache", vary=())


def _contract(openapi: Mapping[str, object]) -> Handler:
    body = encode_json(openapi)
    etag = _content_etag(body)

    async def contract(request: web.Request) -> web.StreamResponse:
        return json_response(request, body, etag=etag, cache_control="no-cache", vary=())

    return contract


def _docs(openapi: Mapping[str, object]) -> Handler:
    # Few ask for it, and a start need not wait for it.
    @cache
    def page() -> bytes:
        return render_docs(openapi).encode()

    async def docs(request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=page(),
            content_type="text/html",
            charset="utf-8",
            headers={
                "Cache-Control": "no-cache",
                "Content-Security-Policy": DOCS_POLICY,
                "Referrer-Policy": "no-referrer",
            },
        )

    return docs


def _content_etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
