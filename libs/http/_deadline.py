"""Every request's time: how long its client may be kept waiting, whatever its handler does.

Owns the request's deadline, the header by which a client shortens it, and the answer when it has
passed. In time means:

- A handler that ends when it is cancelled: at the deadline, through all the layers.
- One that does not (it swallows the cancellation, or waits for something shielded): a moment later
  the answer is written without it, the connection is closed, and whatever it still does goes to
  nobody. It counts as in flight until it ends, because it is.

A body that comes too slowly is the client's doing: 408, not 503. Which dependency was slow, and
what that means for its circuit, is `libs.resilience`'s business, which sees the same deadline.
"""

import asyncio
import re
from contextvars import copy_context

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from libs.circuit_breaker import SharedTimeout
from libs.http._errors import deadline_exceeded
from libs.http._keys import ABANDONED, BODY_CUT, FINISH, SPAN
from libs.http._outside import outside_response
from libs.http._problem import Problem
from libs.logging import bind
from libs.resilience import deadline_scope

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
DEFAULT_REQUEST_TIMEOUT_SECONDS = 5.0
MIN_REQUEST_TIMEOUT_SECONDS = 0.5
# API Gateway answers by itself after 29 s.
MAX_REQUEST_TIMEOUT_SECONDS = 28.0
# What a handler may take to end once it is cancelled.
GRACE_SECONDS = 0.1

_MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}")

_SEND_SECONDS = 1.0


class HandlerAbandonedError(ConnectionError):
    """The client has its answer: the layers above, and aiohttp, have nothing to send."""

    def __init__(self) -> None:
        super().__init__("the request was answered at its deadline, without its handler")


def deadline_middleware(seconds: float) -> Middleware:
    """seconds: what a request may take; a client's header shortens it and never lengthens it.

    Raises ValueError outside the bounds above.
    """
    if not MIN_REQUEST_TIMEOUT_SECONDS <= seconds <= MAX_REQUEST_TIMEOUT_SECONDS:
        raise ValueError(
            f"a request may take {MIN_REQUEST_TIMEOUT_SECONDS:g} to "
            f"{MAX_REQUEST_TIMEOUT_SECONDS:g} seconds, not {seconds}"
        )
    # Nearly all requests have the same time: one timer for all of them costs less than two each.
    shared = SharedTimeout(seconds)

    @web.middleware
    async def limit(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = _asked_for(request)
        allowed, timeout = (seconds, shared) if asked >= seconds else (asked, SharedTimeout(asked))
        watch = _Watch(request)
        scope = timeout.scope(on_expiry=watch.begin)
        try:
            with scope, deadline_scope(allowed):
                response = await handler(request)
        except Exception as error:
            if ABANDONED in request:
                raise HandlerAbandonedError from error
            if isinstance(error, TimeoutError) and scope.expired:
                raise _passed(request) from None
            raise
        finally:
            watch.end()
            if timeout is not shared:
                timeout.disarm()
        if ABANDONED in request:
            raise HandlerAbandonedError
        # Late by less than the grace, but an answer: what it says was done has been done.
        return response

    return limit


class _Watch:
    """Answers a request whose handler has been cancelled and does not end."""

    __slots__ = ("_context", "_request", "_timer")

    def __init__(self, request: web.Request) -> None:
        self._request = request
        # What is logged of it then belongs to the request.
        self._context = copy_context()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(GRACE_SECONDS, self._abandon, context=self._context)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _abandon(self) -> None:
        self._request[ABANDONED] = True
        _answer_without_handler(self._request)


def _answer_without_handler(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    if request.writer.output_size > 0:
        # An answer that has begun can't become another one.
        transport.abort()
        return
    problem = _passed(request)
    response = outside_response(problem, request)
    response.force_close()
    span = request.get(SPAN)
    if span is not None:
        span.set_attribute("http.response.status_code", problem.status)
    bind(code=problem.code)
    request[FINISH](problem.status)
    task = asyncio.ensure_future(_send(request, response))
    # The loop itself holds a task only weakly.
    _sending.add(task)
    task.add_done_callback(_sending.discard)


_sending: set[asyncio.Task[None]] = set()


async def _send(request: web.Request, response: web.Response) -> None:
    transport = request.transport
    try:
        async with asyncio.timeout(_SEND_SECONDS):
            await response.prepare(request)
            await response.write_eof()
    except (ConnectionError, TimeoutError):
        pass
    finally:
        if transport is not None:
            # aiohttp hears of the lost connection and cancels the handler once more.
            transport.close()


def _passed(request: web.Request) -> Problem:
    if BODY_CUT in request:
        return Problem(408, "request_timeout", "The body did not arrive within the request's time.")
    return deadline_exceeded()


def _asked_for(request: web.Request) -> float:
    """Seconds that the client waits; infinity when it does not say. Raises Problem 400."""
    sent = request.headers.getall(TIMEOUT_HEADER, ())
    if not sent:
        return float("inf")
    if len(sent) > 1 or _MILLISECONDS.fullmatch(sent[0]) is None:
        raise Problem(
            400,
            "invalid_header",
            f"{TIMEOUT_HEADER} must be one whole number of milliseconds, from 1 to 999999999.",
        )
    return int(sent[0]) / 1000
