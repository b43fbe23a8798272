"""A fake DynamoDB of canned bytes, in a process of its own, far faster than anything measured.

Owns the choice of an answer by operation and by a few bytes of the request's body. Serves the token
issuer's keys, too, and swallows what is sent to the X-Ray daemon. It looks at nothing else: no
signature, no expression.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

import uvloop


@dataclass(frozen=True)
class Canned:
    """What an operation answers when `needle` is in its body."""

    operation: str
    needle: bytes
    body: bytes


@contextmanager
def fake_dynamodb(
    answers: Sequence[Canned], *, jwks: bytes, cores: set[int]
) -> Iterator[tuple[int, int]]:
    """Serve on 127.0.0.1 while the context is open; its TCP port, and the UDP port beside it."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(sending, answers, jwks, cores), daemon=True)
    process.start()
    # So that one that fails to start is the end of the pipe, and not silence.
    sending.close()
    try:
        yield receiving.recv()
    finally:
        process.kill()
        process.join()


def _serve(ready: Connection, answers: Sequence[Canned], jwks: bytes, cores: set[int]) -> None:
    # An interrupt at the terminal is for the program that started this, which ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.sched_setaffinity(0, cores)
    table: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for canned in answers:
        table.setdefault(canned.operation.encode(), []).append((canned.needle, _http(canned.body)))

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Answers(table, _http(jwks)), "127.0.0.1", 0)
        daemon, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        ready.send(
            (server.sockets[0].getsockname()[1], daemon.get_extra_info("sockname")[1]),
        )
        await server.serve_forever()

    uvloop.run(serve())


def _http(body: bytes) -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Wed, 04 Mar 2026 05:06:07 GMT\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n"
        "Connection: keep-alive\r\n"
        "x-amzn-RequestId: Q5M2H5J6R7S8T9U0V1W2X3Y4Z5VV4KQNSO5AEMVJF66Q9ASUAAJG\r\n"
        f"x-amz-crc32: {zlib.crc32(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Answers(asyncio.Protocol):
    """One request at a time on a connection, as all clients of DynamoDB send them."""

    def __init__(self, table: dict[bytes, list[tuple[bytes, bytes]]], jwks: bytes) -> None:
        self._table = table
        self._jwks = jwks
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no subclass of it.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.lower()
        _, _, length = lines.partition(b"\r\ncontent-length:")
        if length and len(body) < int(length.split(b"\r\n", 1)[0]):
            return
        self._received = b""
        self._transport.write(self._answer(head, lines, body))

    def _answer(self, head: bytes, lines: bytes, body: bytes) -> bytes:
        if lines.startswith(b"get "):
            return self._jwks
        begin = lines.find(b"dynamodb_20120810.") + 18
        operation = head[begin : head.find(b"\r\n", begin)]
        for needle, answer in self._table[operation]:
            if needle in body:
                return answer
        raise KeyError(operation)
