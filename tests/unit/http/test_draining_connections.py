"""Connections at the moment when the listener closes: queued, half asked, asked, and half read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.unit.http.sample_app import BIG_BYTES, Client


@dataclass
class _Raw:
    """A connection of a client, as bytes."""

    sock: socket.socket

    def send(self, data: bytes) -> None:
        self.sock.setblocking(True)
        self.sock.sendall(data)
        self.sock.setblocking(False)

    async def received(self) -> bytes:
        """Everything until the end of the connection, read slowly enough."""
        loop = asyncio.get_running_loop()
        found = bytearray()
        while data := await loop.sock_recv(self.sock, 1 << 16):
            found += data
        return bytes(found)


@contextlib.contextmanager
def connected(client: Client) -> Iterator[_Raw]:
    """Connected for the client, while the loop has had no turn to accept it."""
    with socket.create_connection(("127.0.0.1", client.listener.port)) as sock:
        sock.setblocking(False)
        yield _Raw(sock)


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_who_waits_in_the_queue_of_the_listener_is_answered_when_draining(
    client: Client,
) -> None:
    with connected(client) as with_request, connected(client) as without:
        with_request.send(HEALTH)
        draining = asyncio.ensure_future(client.listener.drain(drain_seconds=30))
        answer = await with_request.received()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in answer
        # Nobody is accepted any more, and who had connected may still ask.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", client.listener.port))
        without.send(HEALTH)
        assert (await without.received()).startswith(b"HTTP/1.1 200")
        assert await draining is True


async def test_a_request_that_is_half_here_is_answered_when_draining(client: Client) -> None:
    with connected(client) as kept:
        kept.send(HEALTH)
        loop = asyncio.get_running_loop()
        assert (await loop.sock_recv(kept.sock, 1 << 16)).startswith(b"HTTP/1.1 200")
        kept.send(HEALTH[:20])
        draining = asyncio.ensure_future(client.listener.drain(drain_seconds=30))
        async with asyncio.timeout(5):
            while _accepts(client.listener.port):
                await asyncio.sleep(0)
        kept.send(HEALTH[20:])
        assert (await kept.received()).startswith(b"HTTP/1.1 200")
        assert await draining is True


async def test_who_never_sends_the_rest_is_not_waited_for(client: Client) -> None:
    with connected(client) as silent, connected(client) as half:
        half.send(HEALTH[:20])
        async with asyncio.timeout(20):
            assert await client.listener.drain(drain_seconds=300) is True
            for link in (silent, half):
                assert await link.received() == b""


async def test_an_answer_is_in_flight_until_it_is_read(client: Client) -> None:
    with connected(client) as slow:
        request = "GET /big HTTP/1.1\r\nHost: x\r\n"
        slow.send(f"{request}Authorization: Bearer {client.token}\r\n\r\n".encode())
        loop = asyncio.get_running_loop()
        begun = await loop.sock_recv(slow.sock, 1000)
        assert begun.startswith(b"HTTP/1.1 200")
        draining = asyncio.ensure_future(client.listener.drain(drain_seconds=30))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(draining), 0.1)
        head, _, body = (begun + await slow.received()).partition(b"\r\n\r\n")
        assert len(body) == BIG_BYTES
        assert await draining is True


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True
