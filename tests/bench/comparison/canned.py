"""A fake DynamoDB of canned bytes, in a process of its own, far faster than anything measured.

Owns the choice of an answer by operation and by a few bytes of the request's body. Serves the token
issuer's keys and an empty queue, too, and swallows what is sent to the X-Ray daemon. It looks at
nothing else: no signature, no expression. What it has answered it counts, for who wants to weigh that.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import signal
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

import uvloop


@dataclass(frozen=True)
class Canned:
    """What an operation answers when `needle` is in its body. `read`: the answer of all that is read
    for it, where only some of that is asked for."""

    operation: str
    needle: bytes
    body: bytes
    read: bytes | None = None


_CONSISTENT = re.compile(rb'"ConsistentRead": ?true')

GIVEN_PATH = "/given"
"""Answers how often each answer was given: `[[operation, needle, consistent, times], ...]`."""


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

    given: Counter[tuple[bytes, bytes, bool]] = Counter()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Answers(table, _http(jwks), given), "127.0.0.1", 0
        )
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


_NO_MESSAGES = _http(b"{}")


class _Answers(asyncio.Protocol):
    """One request at a time on a connection, as all clients of DynamoDB send them."""

    def __init__(
        self,
        table: dict[bytes, list[tuple[bytes, bytes]]],
        jwks: bytes,
        given: Counter[tuple[bytes, bytes, bool]],
    ) -> None:
        self._table = table
        self._jwks = jwks
        self._given = given
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
            return self._counts() if lines.startswith(b"get /given ") else self._jwks
        if b"\nx-amz-target: amazonsqs.receivemessage" in lines:
            return _NO_MESSAGES
        begin = lines.find(b"dynamodb_20120810.") + 18
        operation = head[begin : head.find(b"\r\n", begin)]
        for needle, answer in self._table[operation]:
            if needle in body:
                self._given[operation, needle, _CONSISTENT.search(body) is not None] += 1
                return answer
        raise KeyError(operation)

    def _counts(self) -> bytes:
        counts = [
            [operation.decode(), needle.decode(), consistent, times]
            for (operation, needle, consistent), times in self._given.items()
        ]
        return _http(json.dumps(counts).encode())
