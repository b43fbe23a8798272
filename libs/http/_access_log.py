"""The outermost layer of a request: its id, its log context, its one access log line.

Owns X-Request-Id and what is logged and counted of a request. The line names the route's template,
never the raw path: ids of people stay out of the log.
"""

import asyncio
import re
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from libs.http._access_log_policy import (
    CLIENT_CLOSED_REQUEST,
    QUIET_ROUTES,
    UNMATCHED_ROUTE,
    AccessLogPolicy,
)
from libs.http._dependency_calls import CURRENT, DependencyCalls
from libs.http._keys import ABANDONED, DRAIN, FINISH, REQUEST_ID, REQUEST_METRICS, SPAN
from libs.logging import get_logger, request_context

SERVER = "lyceum"
REQUEST_TIMEOUT = 408

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = get_logger(__name__)


def route_template(request: web.Request) -> str:
    """The matched route as it was declared (`/courses/{courseId}`), or `unmatched`."""
    resource = request.match_info.route.resource
    return UNMATCHED_ROUTE if resource is None else resource.canonical


def access_log_middleware(
    policy: AccessLogPolicy,
    *,
    new_request_id: Callable[[], str],
    clock: Callable[[], float],
) -> Middleware:
    """`new_request_id` makes an id for a request that brings none; `clock` counts seconds."""

    @web.middleware
    async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = clock()
        request_id = _request_id(request, new_request_id)
        request[REQUEST_ID] = request_id
        route = route_template(request)
        drain = request.app[DRAIN]
        task = asyncio.current_task()
        assert task is not None
        calls = DependencyCalls(clock, started)

        def finish(status: int) -> None:
            seconds = clock() - started
            metrics = request.app[REQUEST_METRICS]
            if metrics is not None:
                metrics.record(route, request.method, status, seconds)
            _write(policy, request, route, status, seconds, calls)

        # For an answer that is given without the handler.
        request[FINISH] = finish

        with request_context(requestId=request_id, method=request.method, route=route):
            around = CURRENT.get()
            CURRENT.set(calls)
            drain.enter(task, request)
            try:
                response = await handler(request)
            except (asyncio.CancelledError, ConnectionError):
                if ABANDONED in request:
                    # It was counted and logged with its answer.
                    _log.warning("abandoned_handler_ended", durationMs=_ms(clock() - started))
                else:
                    finish(CLIENT_CLOSED_REQUEST)
                raise
            except web.HTTPException as redirect:
                redirect.headers["X-Request-Id"] = request_id
                finish(redirect.status)
                raise
            finally:
                # It knows the request: together they would wait for the garbage collector.
                del request[FINISH]
                drain.leave(task)
                CURRENT.set(around)
            headers = response.headers
            headers["X-Request-Id"] = request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Server"] = SERVER
            headers.setdefault("Cache-Control", "no-store")
            if drain.draining or response.status == REQUEST_TIMEOUT:
                # After 408 the rest of that body may still come (RFC 9110, 15.5.9).
                response.force_close()
            finish(response.status)
            return response

    return access_log


def _write(
    policy: AccessLogPolicy,
    request: web.Request,
    route: str,
    status: int,
    seconds: float,
    calls: DependencyCalls,
) -> None:
    values = {"status": status, "durationMs": _ms(seconds)}
    if route in QUIET_ROUTES:
        # Asked every few seconds, and not ready is a state, not an error.
        (_log.debug if status < 400 else _log.info)("request", **values)
        return
    span = request.get(SPAN)
    slow = policy.is_slow(seconds)
    trace_id = (span and span.trace_id) or request[REQUEST_ID]
    if slow or policy.takes(status=status, trace_id=trace_id):
        if status >= 500:
            _log.error("request", **values)
        elif 400 <= status != CLIENT_CLOSED_REQUEST:
            _log.warning("request", **values)
        else:
            _log.info("request", **values)
    if slow:
        _log.warning(
            "slow_request",
            **values,
            sampled=span is not None and span.sampled,
            dependencyCalls=calls.count,
            dependencyMs=_ms(calls.seconds),
            # What no call accounts for: our own work, waiting for the client or for a permit.
            elsewhereMs=_ms(max(0.0, seconds - calls.covered_seconds())),
            slowestCalls=calls.described(),
        )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _request_id(request: web.Request, new_request_id: Callable[[], str]) -> str:
    sent = request.headers.getall("X-Request-Id", [])
    if len(sent) == 1 and _REQUEST_ID.fullmatch(sent[0]):
        return sent[0]
    return new_request_id()
