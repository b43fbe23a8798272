"""The outermost layer of a request: its id, its log context, its one access log line.

Owns X-Request-Id and what is logged of a request. The line names the route's template, never the
raw path: ids of people stay out of the log.
"""

import asyncio
import re
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from libs.http._keys import ABANDONED, DRAIN, REQUEST_ID
from libs.logging import get_logger, request_context

SERVER = "lyceum"
# nginx's number for a client that closed the connection first; it is never sent.
CLIENT_CLOSED_REQUEST = 499
REQUEST_TIMEOUT = 408
QUIET_ROUTES = frozenset({"/healthz", "/readyz"})
UNMATCHED_ROUTE = "unmatched"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_log = get_logger(__name__)


def route_template(request: web.Request) -> str:
    """The matched route as it was declared (`/courses/{courseId}`), or `unmatched`."""
    resource = request.match_info.route.resource
    return UNMATCHED_ROUTE if resource is None else resource.canonical


def access_log_middleware(
    *, new_request_id: Callable[[], str], clock: Callable[[], float]
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
        with request_context(requestId=request_id, method=request.method, route=route):
            drain.enter(task, request)
            try:
                response = await handler(request)
            except (asyncio.CancelledError, ConnectionError):
                if ABANDONED in request:
                    # Its access line was written with its answer.
                    _log.warning("abandoned_handler_ended", durationMs=_ms(clock() - started))
                else:
                    _write(route, CLIENT_CLOSED_REQUEST, clock() - started)
                raise
            except web.HTTPException as redirect:
                redirect.headers["X-Request-Id"] = request_id
                _write(route, redirect.status, clock() - started)
                raise
            finally:
                drain.leave(task)
            headers = response.headers
            headers["X-Request-Id"] = request_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Server"] = SERVER
            headers.setdefault("Cache-Control", "no-store")
            if drain.draining or response.status == REQUEST_TIMEOUT:
                # After 408 the rest of that body may still come (RFC 9110, 15.5.9).
                response.force_close()
            _write(route, response.status, clock() - started)
            return response

    return access_log


def write_access_line(request: web.Request, status: int, seconds: float) -> None:
    """The line of a request that is answered outside the layers."""
    _write(route_template(request), status, seconds)


def _write(route: str, status: int, seconds: float) -> None:
    values = {"status": status, "durationMs": _ms(seconds)}
    if route in QUIET_ROUTES:
        # Asked every few seconds, and not ready is a state, not an error.
        (_log.debug if status < 400 else _log.info)("request", **values)
    elif status >= 500:
        _log.error("request", **values)
    elif 400 <= status != CLIENT_CLOSED_REQUEST:
        _log.warning("request", **values)
    else:
        _log.info("request", **values)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _request_id(request: web.Request, new_request_id: Callable[[], str]) -> str:
    sent = request.headers.getall("X-Request-Id", [])
    if len(sent) == 1 and _REQUEST_ID.fullmatch(sent[0]):
        return sent[0]
    return new_request_id()
