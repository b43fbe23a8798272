"""One request and its answer on a connection of aiohttp's, without what its session does for others.

Owns the writing of a request and the reading of its answer, both whole, and the time-out between
them. Connections, TLS, their time-outs and their reuse are the connector's, the bytes are read by
aiohttp's parser. It knows no proxy, no redirect, no cookie and no second attempt: DynamoDB has none
of the first three, and the last is decided elsewhere.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage, StreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader
from multidict import CIMultiDict
from yarl import URL

from libs.circuit_breaker import SharedTimeout

RawHeaders = tuple[tuple[bytes, bytes], ...]


class _Place(NamedTuple):
    """A URL in the words of a request. `request` is never sent: it tells the connector whereto."""

    url: URL
    request: aiohttp.ClientRequest
    start_line: str
    host: str


class Exchanges:
    """Sends requests on the connections of `connector`.

    timeout: of a connection, and of silence once a request has been sent, as a session's.
    """

    def __init__(self, connector: aiohttp.BaseConnector, timeout: aiohttp.ClientTimeout) -> None:
        self._connector = connector
        self._timeout = timeout
        self._silence = None if timeout.sock_read is None else SharedTimeout(timeout.sock_read)
        self._place: _Place | None = None

    async def post(
        self, url: URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, RawHeaders, bytes]:
        """Status, headers and body of the answer. Raises what aiohttp's session would."""
        place = self._place
        if place is None or place.url is not url:
            place = self._place = _place(url)
        try:
            return await self._exchange(place, headers, body)
        except aiohttp.ClientError:
            raise
        except OSError as error:
            if error.errno is None and isinstance(error, TimeoutError):
                raise
            raise aiohttp.ClientOSError(*error.args) from error

    async def _exchange(
        self, place: _Place, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, RawHeaders, bytes]:
        connection = await self._connect(place)
        try:
            protocol = connection.protocol
            assert protocol is not None
            protocol.set_response_params(
                read_until_eof=True, auto_decompress=False, read_timeout=None
            )
            writer = StreamWriter(protocol, protocol._loop)
            sent = CIMultiDict({"Host": place.host, **headers, "Accept": "*/*"})
            await writer.write_headers(place.start_line, sent)
            await writer.write_eof(body)
            message, payload = await self._answer(place, protocol)
            if not payload.is_eof():
                # Seldom: the rest comes in further packets, each in its time.
                protocol.read_timeout = self._timeout.sock_read
                protocol.start_timeout()
            content = await payload.read()
        except BaseException:
            connection.close()
            raise
        connection.release()
        return message.code, message.raw_headers, content

    async def _connect(self, place: _Place) -> aiohttp.connector.Connection:
        try:
            return await self._connector.connect(place.request, traces=[], timeout=self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(
                f"Connection timeout to host {place.url}"
            ) from error

    async def _answer(
        self, place: _Place, protocol: ResponseHandler
    ) -> tuple[RawResponseMessage, StreamReader]:
        if self._silence is None:
            return await _final(place, protocol)
        # One timer for all; aiohttp would make one for each packet.
        scope = self._silence.scope()
        try:
            with scope:
                return await _final(place, protocol)
        except TimeoutError as error:
            if not scope.expired:
                raise
            raise aiohttp.SocketTimeoutError("Timeout on reading data from socket") from error


def _place(url: URL) -> _Place:
    host = url.host_port_subcomponent
    assert host is not None
    request = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop())
    return _Place(url, request, f"POST {url.raw_path_qs} HTTP/1.1", host)


async def _final(
    place: _Place, protocol: ResponseHandler
) -> tuple[RawResponseMessage, StreamReader]:
    """The head of the answer and what reads its body, past what is only underway to it (1xx)."""
    while True:
        try:
            message, payload = await protocol.read()
        except HttpProcessingError as error:
            raise aiohttp.ClientResponseError(
                place.request.request_info,
                (),
                status=error.code,
                message=error.message,
                headers=error.headers,
            ) from error
        if not 100 <= message.code <= 199 or message.code == 101:
            return message, payload
