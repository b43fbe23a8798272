"""Passing HTTP on without touching it: what the gateway and the embedded AWS's load balancer share.

Nothing is decoded, normalised, decompressed or added; bodies stream both ways; a request is sent once.
Whom a request goes to and what is said when that fails is the business of those who use this. Also runs
in the environment of the embedded AWS, so it imports nothing but aiohttp and what that brings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Protocol

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy

# RFC 9110 section 7.6.1, and Expect, which is answered by whoever reads the body.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# What aiohttp would otherwise add to the request on its own.
NOTHING_OF_OUR_OWN = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
# Longer than a service takes, so that it is the service that refuses a header.
_MAXIMUM_HEADER_BYTES = 32 * 1024


class UnpassableError(Exception):
    """The request holds what can not be written again; the text says what."""


class Proxy(Protocol):
    """What a server of this module serves."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""

    def refuse(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to bytes that are not an HTTP request; of them ``request`` holds nothing."""


def open_session(connect_seconds: float) -> aiohttp.ClientSession:
    """The client side: passes bytes on as they come, remembers nothing, sends a request once."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    # It would send a PUT again whose connection broke off: the server may have done it, and the body,
    # which is read from the client as it is sent, is gone. aiohttp has no parameter for this.
    session._retry_connection = False
    return session


def create_server(proxy: Proxy) -> web.Server:
    """The server side: one request, one call of ``proxy.handle``."""
    return _Server(
        proxy,
        auto_decompress=False,
        access_log=None,
        lingering_time=2.0,  # how long a refused body is still read, so that the refusal arrives
        max_line_size=_MAXIMUM_HEADER_BYTES,
        max_field_size=_MAXIMUM_HEADER_BYTES,
    )


class _Server(web.Server):
    def __init__(self, proxy: Proxy, **options: Any) -> None:
        # A client that leaves takes its request along.
        super().__init__(proxy.handle, handler_cancellation=True, **options)
        self._proxy = proxy
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._proxy, loop=asyncio.get_running_loop(), **self._options)


class _Connection(web.RequestHandler):
    """aiohttp's, which would answer bytes that are not HTTP with a part of them, and log it."""

    __slots__ = ("_proxy",)

    def __init__(self, server: web.Server, proxy: Proxy, **options: Any) -> None:
        super().__init__(server, **options)
        self._proxy = proxy

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        return self._proxy.refuse(request)


class ServiceClock:
    """Stops a time-out while it is the client that is waited for."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._pauses = 0
        self._left = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._pause()
        try:
            yield
        finally:
            self._resume()

    def _pause(self) -> None:
        deadline = self._timeout.when()
        if self._pauses == 0 and deadline is not None and not self._timeout.expired():
            self._left = deadline - self._loop.time()
            self._timeout.reschedule(None)
        self._pauses += 1

    def _resume(self) -> None:
        self._pauses -= 1
        if self._pauses == 0 and self._timeout.when() is None:
            self._timeout.reschedule(self._loop.time() + self._left)


class RequestBody:
    """The client's body on its way to the service, counted."""

    def __init__(
        self, request: web.BaseRequest, clock: ServiceClock, maximum_bytes: int | None = None
    ) -> None:
        self._request = request
        self._clock = clock
        self._maximum_bytes = maximum_bytes
        self.too_large = False
        self.malformed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            await self._request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        passed = 0
        while True:
            try:
                with self._clock.paused():
                    chunk = await self._request.content.readany()
            except web.RequestPayloadError:
                self.malformed = True
                raise
            if not chunk:
                return
            passed += len(chunk)
            if self._maximum_bytes is not None and passed > self._maximum_bytes:
                self.too_large = True
                raise OverflowError("the body is larger than what is passed on")
            yield chunk


def origin_form(target: str) -> str:
    """The path and query of a request target that may be absolute (RFC 9112 section 3.2.2)."""
    if target.startswith("http://"):
        return "/" + target.removeprefix("http://").partition("/")[2]
    return target


def end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers without those that are meant for this hop alone."""
    named = {
        name.strip().lower()
        for value in headers.getall(hdrs.CONNECTION, ())
        for name in value.split(",")
    }
    # One spelling a name: aiohttp keeps repeated headers only where they are spelt the same.
    spelling: dict[str, str] = {}
    return CIMultiDict(
        (spelling.setdefault(name.lower(), name), value)
        for name, value in headers.items()
        if name.lower() not in _HOP_BY_HOP and name.lower() not in named
    )


def refuse_unencodable(target: str, headers: CIMultiDict[str]) -> None:
    """Raises UnpassableError: aiohttp reads bytes that are not UTF-8 as surrogates and can not write
    them again."""
    try:
        "".join((target, *headers.values())).encode()
    except UnicodeEncodeError:
        raise UnpassableError("The request holds bytes that are not UTF-8") from None
