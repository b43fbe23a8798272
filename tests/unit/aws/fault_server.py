"""A server that answers in AWS's protocols what a test tells it to: canned bytes, errors, silence,
or a connection that is torn. The SDK under test is the real one, the sockets are real."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

REQUEST_ID = "FAULTSERVERREQUESTID"

Behaviour = Callable[["FaultServer", web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class SeenRequest:
    """What the SDK sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        return self.headers.get("X-Amz-Target", "").partition(".")[2]


class FaultServer:
    """Each request takes the next behaviour; when there is none left, `otherwise`."""

    def __init__(self) -> None:
        self.requests: list[SeenRequest] = []
        self.connections: set[object] = set()
        self.behaviours: list[Behaviour] = []
        self.otherwise: Behaviour = answer({})
        self.hanging = asyncio.Event()
        self.port = 0
        self.runner = web.ServerRunner(web.Server(self.handle), shutdown_timeout=0.1)
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def then(self, *behaviours: Behaviour) -> None:
        self.behaviours += behaviours

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if "Expect" in request.headers:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0
        body = await request.read()
        self.requests.append(
            SeenRequest(request.method, request.path_qs, dict(request.headers), body)
        )
        self.connections.add(request.protocol)
        behaviour = self.behaviours.pop(0) if self.behaviours else self.otherwise
        return await behaviour(self, request)  # type: ignore[arg-type]

    async def hang(self) -> None:
        self.hanging.set()
        await self._released.wait()

    async def close(self) -> None:
        """Listen no more, and close what is connected."""
        await self.runner.cleanup()

    def release(self) -> None:
        self._released.set()


def answer(
    body: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Behaviour:
    """A JSON answer as DynamoDB gives it."""

    async def behave(server: FaultServer, request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status,
            body=json.dumps(body).encode(),
            headers={
                "Content-Type": "application/x-amz-json-1.0",
                "x-amzn-RequestId": REQUEST_ID,
                **(headers or {}),
            },
        )

    return behave


def error(
    code: str, *, status: int = 400, headers: Mapping[str, str] | None = None, **members: object
) -> Behaviour:
    """A DynamoDB error as the service spells it on the wire."""
    kind = f"com.amazonaws.dynamodb.v20120810#{code}"
    return answer({"__type": kind, "message": "canned", **members}, status=status, headers=headers)


def s3_answer(
    body: bytes = b"", *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Behaviour:
    """An answer as S3 gives it."""

    async def behave(server: FaultServer, request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=body, headers={"x-amz-request-id": REQUEST_ID, **(headers or {})}
        )

    return behave


def s3_error(code: str, *, status: int) -> Behaviour:
    """An S3 error document."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>canned</Message></Error>"
    return s3_answer(body.encode(), status=status, headers={"Content-Type": "application/xml"})


def raw(body: bytes, *, status: int = 200) -> Behaviour:
    """Bytes that claim to be a JSON answer."""

    async def behave(server: FaultServer, request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=body, headers={"Content-Type": "application/x-amz-json-1.0"}
        )

    return behave


async def hang(server: FaultServer, request: web.Request) -> web.StreamResponse:
    """Read the request and stay silent until the server goes."""
    await server.hang()
    return web.Response(status=503)


async def reset(server: FaultServer, request: web.Request) -> web.StreamResponse:
    """Tear the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_short(server: FaultServer, request: web.Request) -> web.StreamResponse:
    """Promise more bytes than are sent, then tear the connection."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-amz-json-1.0"})
    response.content_length = 1000
    await response.prepare(request)
    await response.write(b'{"Item":')
    assert request.transport is not None
    request.transport.close()
    return response


@asynccontextmanager
async def fault_server() -> AsyncIterator[FaultServer]:
    """A running fault server on a free port of 127.0.0.1."""
    server = FaultServer()
    runner = server.runner
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.port = site.port
        yield server
    finally:
        server.release()
        with contextlib.suppress(ConnectionError):
            await runner.cleanup()
