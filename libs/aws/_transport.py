"""The way of DynamoDB's calls past botocore's own endpoint: signed, sent and read here.

Owns what happens between botocore's `before-call` event, where a request has been made, and its
`after-call`, where an answer has been read; the client, its parameters and its exceptions stay.
Repeats nothing but what was signed for another time than AWS's, guards nothing and renews no
credentials: that is `_clients`'s.
"""

import asyncio
import os
import socket
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiobotocore.parsers import create_parser
from aiohttp.http_exceptions import BadStatusLine
from botocore.exceptions import (
    ChecksumError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import mask_proxy_url
from botocore.parsers import ResponseParserError
from multidict import CIMultiDict
from yarl import URL

from libs.aws._answers import AnswerReader
from libs.aws._clock import SigningClock
from libs.aws._credentials import Credentials
from libs.aws._errors import is_clock_skew
from libs.aws._exchange import Exchanges, RawHeaders
from libs.aws._short_way import Answer, ShortWay
from libs.aws._sigv4 import RequestSigner, SignedPlace

# Part of what botocore adds to an answer when it may try once.
_ONE_ATTEMPT = {"MaxAttemptsReached": True, "RetryAttempts": 0}


@asynccontextmanager
async def direct_transport(
    client: Any, *, credentials: Credentials, clock: SigningClock
) -> AsyncIterator[None]:
    """Let a DynamoDB client's calls go this way while the context is open.

    `clock` is corrected by DynamoDB's refusals. TLS, proxy, pool and time-outs are what the client
    was told, by its configuration and by the SDK's environment variables.
    """
    # What the SDK's own session would be made of; aiobotocore has no public way to it (a test holds
    # this to the pinned version).
    sdk = client._endpoint.http_session
    proxy: str | None = sdk._proxy_config.proxy_url_for(client.meta.endpoint_url)
    async with aiohttp.ClientSession(
        connector=_connector(client, sdk, proxy),
        timeout=sdk._timeout,
        skip_auto_headers={"Content-Type"},
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        assert session.connector is not None
        transport = DirectTransport(
            session,
            exchanges=None if proxy else Exchanges(session.connector, session.timeout),
            signer=RequestSigner(client.meta.region_name, "dynamodb"),
            credentials=credentials,
            proxy=proxy,
            proxy_headers=sdk._proxy_config.proxy_headers_for(client.meta.endpoint_url),
            clock=clock,
        )
        short_way = ShortWay(client, transport.call)

        async def before_call(
            model: Any, params: Mapping[str, Any], **kwargs: Any
        ) -> tuple[Answer, dict[str, Any]]:
            short_way.learn(model, params)
            return await transport.call(model, params["url"], params["headers"], params["body"])

        # Last: others add their headers before.
        client.meta.events.register_last("before-call", before_call)
        try:
            with short_way.taken():
                yield
        finally:
            client.meta.events.unregister("before-call", before_call)


def _connector(client: Any, sdk: Any, proxy: str | None) -> aiohttp.BaseConnector:
    config = client.meta.config
    if proxy is None and client.meta.endpoint_url.startswith("http://"):
        # The SDK's would read all authorities, 20 ms of CPU, for an endpoint that has no TLS.
        return aiohttp.TCPConnector(limit=config.max_pool_connections, **config.connector_args)
    connector: aiohttp.BaseConnector = sdk._create_connector(proxy)
    return connector


def verify_answers(client: Any) -> None:
    """Let the SDK's own transport check `x-amz-crc32` too: told to try once, botocore doesn't."""

    async def after_call(http_response: Any, **kwargs: Any) -> None:
        _check_crc32(http_response.headers, await http_response.content)

    client.meta.events.register("after-call", after_call)


class DirectTransport:
    """Signs, sends and reads."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        exchanges: Exchanges | None,
        signer: RequestSigner,
        credentials: Credentials,
        proxy: str | None,
        proxy_headers: Mapping[str, str],
        clock: SigningClock,
    ) -> None:
        self._session = session
        self._exchanges = exchanges
        self._signer = signer
        self._credentials = credentials
        self._proxy = proxy
        self._proxy_headers = proxy_headers
        self._clock = clock
        self._places: dict[str, tuple[URL, SignedPlace]] = {}
        self._readers: dict[str, AnswerReader] = {}

    async def call(
        self, model: Any, address: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[Answer, dict[str, Any]]:
        """The answer to a request of botocore's, raw and as botocore's parsers give it; also where
        it is an error. Raises what aiobotocore raises where there is none."""
        offset_seconds = self._clock.offset_seconds
        answer = await self._send_signed(address, headers, body)
        if answer.status_code < 300:
            return answer, await self._read(model, answer)
        parsed = await self._read_error(model, answer)
        error = parsed.get("Error", {})
        if is_clock_skew(str(error.get("Code")), str(error.get("Message"))):
            self._clock.correct(answer.headers.get("date", ""))
            if self._clock.offset_seconds != offset_seconds:
                # A signature that is refused has executed nothing. Another refusal is an answer.
                answer = await self._send_signed(address, headers, body)
                if answer.status_code < 300:
                    return answer, await self._read(model, answer)
                parsed = await self._read_error(model, answer)
        return answer, parsed

    async def _send_signed(self, address: str, headers: Mapping[str, str], body: bytes) -> Answer:
        url, place = self._places.get(address) or self._place(address)
        signed = dict(headers)
        self._signer.sign(
            signed, body, place=place, signer=self._credentials.signer(), at=self._clock.now()
        )
        # By these AWS tells attempts from each other. Unsigned, as botocore sends them.
        signed["amz-sdk-invocation-id"] = _invocation_id()
        signed["amz-sdk-request"] = "attempt=1"
        signed["Content-Length"] = str(len(body))
        signed["Accept-Encoding"] = "identity"
        answer = await self._send(address, url, signed, body)
        _check_crc32(answer.headers, answer.body)
        return answer

    def _place(self, address: str) -> tuple[URL, SignedPlace]:
        # One client has one endpoint.
        self._places = {address: (URL(address, encoded=True), SignedPlace.of(address))}
        return self._places[address]

    async def _send(
        self, address: str, url: URL, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        post = self._post_by_proxy if self._exchanges is None else self._exchanges.post
        try:
            status, raw_headers, content = await post(url, headers, body)
        except Exception as error:
            raise self._as_botocore(error, address) from error
        return Answer(
            address,
            status,
            {name.decode().lower(): value.decode() for name, value in raw_headers},
            content,
        )

    async def _post_by_proxy(
        self, url: URL, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, RawHeaders, bytes]:
        async with self._session.post(
            url,
            data=body,
            headers=CIMultiDict(headers),
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
        ) as response:
            return response.status, response.raw_headers, await response.read()

    def _as_botocore(self, error: Exception, address: str) -> Exception:
        """The exception that aiobotocore makes of one of aiohttp's, in its order."""
        match error:
            case aiohttp.ClientSSLError():
                return SSLError(endpoint_url=address, error=error)
            case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
                return ProxyConnectionError(
                    proxy_url=mask_proxy_url(self._proxy or ""), error=error
                )
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | BadStatusLine():
                return ConnectionClosedError(error=error, request=None, endpoint_url=address)
            case aiohttp.ServerTimeoutError():
                if str(error).lower().startswith("connect"):
                    return ConnectTimeoutError(endpoint_url=address, error=error)
                return ReadTimeoutError(endpoint_url=address, error=error)
            case aiohttp.ClientConnectionError() | socket.gaierror():
                return EndpointConnectionError(endpoint_url=address, error=error)
            case asyncio.TimeoutError():
                return ReadTimeoutError(endpoint_url=address, error=error)
        return HTTPClientError(error=error)

    async def _read(self, model: Any, answer: Answer) -> dict[str, Any]:
        reader = self._readers.get(model.name)
        if reader is None:
            reader = self._readers[model.name] = AnswerReader(model.output_shape)
        try:
            parsed = reader.read(answer.body)
        except ValueError:
            # Whatever this is, it is no answer of DynamoDB's: what botocore makes of it counts.
            return await self._read_as_botocore(model, answer)
        metadata: dict[str, Any] = {
            "HTTPStatusCode": answer.status_code,
            "HTTPHeaders": answer.headers,
            **_ONE_ATTEMPT,
        }
        request_id = answer.headers.get("x-amzn-requestid")
        if request_id is not None:
            metadata["RequestId"] = request_id
        parsed["ResponseMetadata"] = metadata
        return parsed

    async def _read_error(self, model: Any, answer: Answer) -> dict[str, Any]:
        parsed = await self._read_as_botocore(model, answer)
        error = parsed.get("Error", {})
        shape = model.service_model.shape_for_error_code(error.get("Code"))
        if shape is not None:
            # The members that the model gives to this error, such as the item of a condition.
            parsed.update(await create_parser("json").parse(_response(model, answer), shape))
        return parsed

    async def _read_as_botocore(self, model: Any, answer: Answer) -> dict[str, Any]:
        parsed: dict[str, Any]
        try:
            parsed = await create_parser("json").parse(_response(model, answer), model.output_shape)
        except (AttributeError, TypeError, ValueError) as error:
            # botocore lets these out as they are; they name no cause that a caller could act on.
            raise ResponseParserError(f"{model.name}: {type(error).__name__}") from error
        parsed["ResponseMetadata"].update(_ONE_ATTEMPT)
        return parsed


def _invocation_id() -> str:
    """A random UUID (RFC 9562, 5.4) as text, without making an object of it."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _response(model: Any, answer: Answer) -> dict[str, Any]:
    """An answer in the words of botocore's parsers."""
    return {
        "headers": answer.headers,
        "status_code": answer.status_code,
        "context": {"operation_name": model.name},
        "body": answer.body,
    }


def _check_crc32(headers: Mapping[str, str], body: bytes) -> None:
    """Raise ChecksumError where DynamoDB says that it sent something else."""
    expected = headers.get("x-amz-crc32")
    if expected is None:
        return
    actual = str(zlib.crc32(body))
    if expected != actual:
        raise ChecksumError(
            checksum_type="crc32", expected_checksum=expected, actual_checksum=actual
        )
