"""One listener: chooses a target, passes the request to it and the answer back.

Says of its own what an Application Load Balancer says: 503 with no target, 502 where a target refuses
the connection, breaks off or answers what is not HTTP, 504 where it is too slow, 400 for what can not be
passed on. Requests are balanced by least outstanding requests; each is sent once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from deploy.local._pass_through import (
    NOTHING_OF_OUR_OWN,
    RequestBody,
    ServiceClock,
    UnpassableError,
    end_to_end,
    origin_form,
    refuse_unencodable,
)

from ._control import Counts, Listener, Target

_TRACE = "X-Amzn-Trace-Id"
_FORWARDED_FOR = "X-Forwarded-For"
_PAGE = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>\r\n"


class Balancer:
    """The requests of one listener.

    Args:
        listener: whom they go to; ``listener`` may be set anew while requests are under way.
        session: what they are sent by.
        outstanding: how many requests each target has under way, over all listeners.
        new_trace: makes the text of a new trace id, ``1-…-…``.
    """

    def __init__(
        self,
        listener: Listener,
        session: aiohttp.ClientSession,
        outstanding: Counter[Target],
        new_trace: Callable[[], str],
    ) -> None:
        self.listener = listener
        self.counts = Counts()
        self._session = session
        self._outstanding = outstanding
        self._new_trace = new_trace
        self._turn = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        self.counts.requests += 1
        target = self._choose()
        if target is None:
            return self._own(HTTPStatus.SERVICE_UNAVAILABLE)
        path = origin_form(request.raw_path)
        headers = self._headers(request)
        try:
            if not path.startswith("/") or "#" in path:
                raise UnpassableError("The target is no path, or holds a fragment")
            refuse_unencodable(path, headers)
        except UnpassableError:
            return self._own(HTTPStatus.BAD_REQUEST)
        url = URL(f"http://{target.address}:{target.port}{path}", encoded=True)
        self._outstanding[target] += 1
        try:
            return await self._pass(request, url, headers)
        finally:
            self._outstanding[target] -= 1
            if not self._outstanding[target]:
                del self._outstanding[target]

    def refuse(self, _request: web.BaseRequest) -> web.StreamResponse:
        """The answer to bytes that are not an HTTP request."""
        response = self._own(HTTPStatus.BAD_REQUEST)
        response.force_close()
        return response

    async def _pass(
        self, request: web.BaseRequest, url: URL, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        body: RequestBody | None = None
        try:
            async with asyncio.timeout(self.listener.idle_seconds) as timeout:
                clock = ServiceClock(timeout)
                if request.body_exists:
                    body = RequestBody(request, clock)
                async with self._session.request(
                    request.method,
                    url,
                    headers=headers,
                    data=body and body.chunks(),
                    allow_redirects=False,
                    skip_auto_headers=NOTHING_OF_OUR_OWN,
                ) as answer:
                    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        self.counts.target_errors += 1
                    response = web.StreamResponse(
                        status=answer.status,
                        reason=answer.reason,
                        headers=end_to_end(answer.headers),
                    )
                    with clock.paused():
                        await response.prepare(request)
                    while chunk := await answer.content.readany():
                        with clock.paused():
                            await response.write(chunk)
                        # The idle time-out is one of silence, not of the whole answer.
                        timeout.reschedule(
                            asyncio.get_running_loop().time() + self.listener.idle_seconds
                        )
                    with clock.paused():
                        await response.write_eof()
                    return response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            if response is not None:
                # Half an answer must not be taken for a whole one.
                if request.transport is not None:
                    request.transport.abort()
                return response
            if body is not None and body.malformed:
                return self._own(HTTPStatus.BAD_REQUEST)
            return self._own(self._status(error))

    def _choose(self) -> Target | None:
        targets = self.listener.targets
        if not targets:
            return None
        self._turn += 1
        start = self._turn % len(targets)
        in_turn = (*targets[start:], *targets[:start])
        return min(in_turn, key=lambda target: self._outstanding[target])

    def _headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        headers = end_to_end(request.headers)
        peer = request.transport and request.transport.get_extra_info("peername")
        client = peer[0] if peer else ""
        before = ", ".join(headers.popall(_FORWARDED_FOR, ()))
        headers[_FORWARDED_FOR] = f"{before}, {client}" if before else client
        headers["X-Forwarded-Proto"] = "http"
        headers["X-Forwarded-Port"] = str(self.listener.port)
        # "If the header is present … Self= is added" ("Request tracing for your Application Load
        # Balancer"); Root stays, so a trace goes on.
        fields = [part for part in headers.get(_TRACE, "").split(";") if part.strip()]
        kept = [part for part in fields if not part.strip().startswith("Self=")]
        own = "Self" if kept else "Root"
        headers[_TRACE] = ";".join([f"{own}={self._new_trace()}", *kept])
        return headers

    def _status(self, error: Exception) -> HTTPStatus:
        if isinstance(error, aiohttp.ClientConnectorError):
            self.counts.connection_errors += 1
        return (
            HTTPStatus.GATEWAY_TIMEOUT
            if isinstance(error, TimeoutError)
            else HTTPStatus.BAD_GATEWAY
        )

    def _own(self, status: HTTPStatus) -> web.Response:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self.counts.balancer_errors += 1
        title = f"{status.value} {status.phrase}"
        return web.Response(
            status=status,
            body=_PAGE.format(title).encode(),
            content_type="text/html",
            headers={hdrs.SERVER: "awselb/2.0"},
        )


def new_trace(now: Callable[[], float], token_hex: Callable[[int], str]) -> str:
    """A new trace id (the X-Ray developer guide, "Trace IDs")."""
    return f"1-{int(now()):08x}-{token_hex(12)}"
