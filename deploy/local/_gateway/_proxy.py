"""Passes a request to the service its path belongs to, and the answer back, streaming both ways.

Nothing is decoded, normalised, decompressed or added but ``X-Amzn-Trace-Id`` where it is missing.
What the gateway says itself is problem+json (RFC 9457): 400 for a request no service could be sent,
404 no such route, 413 too large, 502 the service broke off or answered what can not be passed on,
503 no service there, 504 too slow.
Once an answer has begun there is no way to say so any more: the client's connection is cut, so that
half an answer is never taken for a whole one.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from random import Random
from typing import Protocol

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from deploy.local._gateway._configuration import ServiceRoutes
from deploy.local._gateway._routes import Route, RouteTable
from deploy.local._gateway._stage import Stage
from deploy.local._pass_through import (
    NOTHING_OF_OUR_OWN,
    RequestBody,
    ServiceClock,
    UnpassableError,
    end_to_end,
    origin_form,
    refuse_unencodable,
)
from deploy.local._pass_through import open_session as open_passing_session

TRACE_HEADER = "X-Amzn-Trace-Id"
REQUEST_ID_HEADER = "X-Request-Id"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True)
class Limits:
    """API Gateway's quotas: an answer within 29 s, 10 MB a request and an answer.

    The 29 s count the service's time alone: while the gateway waits for the client, the clock
    stands, as it does where API Gateway buffers.
    """

    service_seconds: float = 29.0
    body_bytes: int = 10 * 1024 * 1024
    connect_seconds: float = 5.0


@dataclass(frozen=True)
class Access:
    """One line of the access log. Holds the route's template, never the path or the query.

    Args:
        target: `stable` or `canary`.
        is_broken_off: the answer had begun and was cut: the service, not the client, ended it.
    """

    request_id: str
    trace_id: str
    method: str
    route: str | None
    service: str | None
    target: str | None
    status: int
    duration_ms: float
    completed: bool
    is_broken_off: bool


class _TokenHex(Protocol):
    def __call__(self, nbytes: int) -> str: ...


class Gateway:
    """The request handler; ``handle`` is given to an ``aiohttp.web.Server``.

    Args:
        services: what is routed where; ``replace`` swaps it while requests are under way.
        session: what requests are sent by (``open_session``).
        random: decides the split, one draw a request.
        now: Unix time in seconds, for new trace ids.
        token_hex: gives that many random bytes as hex, for new ids.
        log: takes one ``Access`` a request.
        clock: seconds, for durations.
    """

    def __init__(
        self,
        services: Mapping[str, ServiceRoutes],
        session: aiohttp.ClientSession,
        *,
        random: Random,
        now: Callable[[], float],
        token_hex: _TokenHex,
        log: Callable[[Access], None],
        limits: Limits | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._session = session
        self._random = random
        self._now = now
        self._token_hex = token_hex
        self._log = log
        self._clock = clock
        self._limits = limits or Limits()
        self.replace(services)

    def replace(self, services: Mapping[str, ServiceRoutes]) -> None:
        """Routes by ``services`` from the next request on."""
        self._routes = RouteTable({name: s.templates for name, s in services.items()})
        self._stages = {name: service.stage for name, service in services.items()}

    def lead(self, service: str, stage: Stage) -> None:
        """Leads a service's requests by ``stage`` from the next one on."""
        self._stages[service] = stage

    def stage(self, service: str) -> Stage | None:
        """By what a service's requests are led; None where there is no such service."""
        return self._stages.get(service)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        started = self._clock()
        exchange = _Exchange(request, self._trace_header(request), self._request_id(request))
        try:
            response = await self._answer(exchange)
        except _Refusal as refusal:
            response = exchange.problem(refusal)
            exchange.completed = True
        finally:
            self._log(exchange.access((self._clock() - started) * 1000))
        return response

    def refuse(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to bytes that are not an HTTP request; of them ``request`` holds nothing."""
        exchange = _Exchange(request, self._trace_header(request), self._request_id(request))
        response = exchange.problem(_malformed("This is not a valid HTTP request"))
        exchange.completed = True
        self._log(exchange.access(0.0))
        response.force_close()
        return response

    async def _answer(self, exchange: _Exchange) -> web.StreamResponse:
        request = exchange.request
        target_path = origin_form(request.raw_path)
        if "#" in target_path:
            raise _malformed("The path holds a fragment")
        path = target_path.partition("?")[0]
        route = self._routes.match(path)
        if route is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "route_not_found", self._why_not(path))
        exchange.route = route
        if (request.content_length or 0) > self._limits.body_bytes:
            raise self._too_large()
        stage = self._stages[route.service]
        exchange.is_canary = stage.draw(self._random)
        headers = end_to_end(request.headers)
        if TRACE_HEADER not in headers:
            headers[TRACE_HEADER] = exchange.trace_header
        try:
            refuse_unencodable(target_path, headers)
        except UnpassableError as error:
            raise _malformed(str(error)) from None
        address = stage.target(canary=exchange.is_canary)
        url = URL(f"http://{address}{target_path}", encoded=True)
        return await self._pass(exchange, url, headers)

    async def _pass(
        self, exchange: _Exchange, url: URL, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        request = exchange.request
        body: RequestBody | None = None
        try:
            async with asyncio.timeout(self._limits.service_seconds) as timeout:
                clock = ServiceClock(timeout)
                if request.body_exists:
                    body = RequestBody(request, clock, self._limits.body_bytes)
                async with self._session.request(
                    request.method,
                    url,
                    headers=headers,
                    data=body and body.chunks(),
                    allow_redirects=False,
                    skip_auto_headers=NOTHING_OF_OUR_OWN,
                ) as answer:
                    return await self._relay(exchange, answer, clock)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if exchange.begun:
                return exchange.cut()
            if body is not None and body.too_large:
                raise self._too_large() from error
            if body is not None and body.malformed:
                raise _malformed("The request's body does not keep to its framing") from error
            raise self._failure(error) from error

    async def _relay(
        self, exchange: _Exchange, answer: aiohttp.ClientResponse, clock: ServiceClock
    ) -> web.StreamResponse:
        length = answer.content_length or 0
        if length > self._limits.body_bytes and exchange.request.method != hdrs.METH_HEAD:
            raise _Refusal(
                HTTPStatus.BAD_GATEWAY,
                "answer_too_large",
                f"The service's answer is over {self._limits.body_bytes} bytes",
            )
        response = web.StreamResponse(
            status=answer.status, reason=answer.reason, headers=end_to_end(answer.headers)
        )
        exchange.begin(response)
        with clock.paused():
            await response.prepare(exchange.request)
        passed = 0
        while chunk := await answer.content.readany():
            passed += len(chunk)
            if passed > self._limits.body_bytes:
                return exchange.cut()
            with clock.paused():
                await response.write(chunk)
        with clock.paused():
            await response.write_eof()
        exchange.completed = True
        return response

    def _why_not(self, path: str) -> str:
        if path in self._routes.shared:
            return "Every service has this path: ask the service at its own address"
        return "No service's contract has this path"

    def _too_large(self) -> _Refusal:
        return _Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "payload_too_large",
            f"The request's body is over {self._limits.body_bytes} bytes",
        )

    def _failure(self, error: Exception) -> _Refusal:
        # Refused connections first: they are OSErrors as well, and some are time-outs.
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return _Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "service_unavailable",
                "The service does not take connections",
                retry_after_seconds=1,
            )
        if isinstance(error, TimeoutError):
            return _Refusal(
                HTTPStatus.GATEWAY_TIMEOUT,
                "gateway_timeout",
                f"The service did not answer within {self._limits.service_seconds:g} s",
            )
        return _Refusal(
            HTTPStatus.BAD_GATEWAY,
            "bad_gateway",
            "The service broke off or answered what is not HTTP",
        )

    def _trace_header(self, request: web.BaseRequest) -> str:
        # Root=1-<Unix time, 8 hex digits>-<96 random bits>: the X-Ray developer guide, "Trace IDs".
        given = request.headers.get(TRACE_HEADER)
        return given or f"Root=1-{int(self._now()):08x}-{self._token_hex(12)}"

    def _request_id(self, request: web.BaseRequest) -> str:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        return given if _REQUEST_ID.fullmatch(given) else self._token_hex(16)


def open_session(limits: Limits | None = None) -> aiohttp.ClientSession:
    """The client side of the gateway."""
    return open_passing_session((limits or Limits()).connect_seconds)


class _Refusal(Exception):  # noqa: N818 - an answer, not a fault of ours
    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds


def _malformed(detail: str) -> _Refusal:
    return _Refusal(HTTPStatus.BAD_REQUEST, "malformed_request", detail)


class _Exchange:
    """One request and what has become of it."""

    def __init__(self, request: web.BaseRequest, trace_header: str, request_id: str) -> None:
        self.request = request
        self.trace_header = trace_header
        self.request_id = request_id
        self.route: Route | None = None
        self.is_canary: bool | None = None  # None: it went nowhere
        self.completed = False
        self.is_broken_off = False
        self._response: web.StreamResponse | None = None
        self._status = 499  # nginx's word for a client that left before there was an answer

    @property
    def begun(self) -> bool:
        return self._response is not None

    def begin(self, response: web.StreamResponse) -> None:
        self._response = response
        self._status = response.status

    def cut(self) -> web.StreamResponse:
        """Breaks the client's connection off."""
        assert self._response is not None
        self.is_broken_off = True
        if self.request.transport is not None:
            self.request.transport.abort()
        return self._response

    def problem(self, refusal: _Refusal) -> web.Response:
        self._status = refusal.status
        document = {
            "type": f"https://lyceum.example/problems/{refusal.code}",
            "title": refusal.status.phrase,
            "status": refusal.status.value,
            "detail": refusal.detail,
            "instance": origin_form(self.request.raw_path).partition("?")[0],
            "code": refusal.code,
            "requestId": self.request_id,
        }
        headers = {REQUEST_ID_HEADER: self.request_id, "Cache-Control": "no-store"}
        if TRACE_HEADER not in self.request.headers:
            headers[TRACE_HEADER] = self.trace_header
        if refusal.retry_after_seconds is not None:
            headers["Retry-After"] = str(refusal.retry_after_seconds)
        return web.Response(
            status=refusal.status,
            body=json.dumps(document).encode(),
            content_type="application/problem+json",
            headers=headers,
        )

    def access(self, duration_ms: float) -> Access:
        return Access(
            request_id=self.request_id,
            trace_id=self.trace_header,
            method=self.request.method,
            route=self.route.template if self.route else None,
            service=self.route.service if self.route else None,
            target=None if self.is_canary is None else "canary" if self.is_canary else "stable",
            status=int(self._status),
            duration_ms=round(duration_ms, 1),
            completed=self.completed,
            is_broken_off=self.is_broken_off,
        )
