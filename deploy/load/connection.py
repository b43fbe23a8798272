"""An HTTP/1.1 client that repeats nothing and keeps its connection as long as the server does.

Owns one connection at a time to one server. The usual clients send an idempotent request again when
a kept connection breaks under it, as RFC 9110, 9.2.2 lets them: here that is a failed request, and it
is to be seen. Reads answers with Content-Length or in chunks.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from multidict import CIMultiDict

from deploy.load.answer import Answer

_MAX_HEAD_BYTES = 64 * 1024
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}\s*[;\r]")


class BrokenAnswerError(Exception):
    """The connection ended before the answer did, or what came is no answer."""


class Connection:
    """For one request at a time."""

    def __init__(self, base_url: str, *, patience_seconds: float) -> None:
        """`patience_seconds`: a request that takes longer has failed."""
        parts = urlsplit(base_url)
        assert parts.scheme == "http"
        assert parts.hostname is not None
        self.opened = 0
        self._address = parts.hostname, parts.port or 80
        self._patience = patience_seconds
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Answer:
        """Send one request, once. Status 0 where no whole answer came; its body says why then."""
        began = time.monotonic()
        content = b"" if body is None else json.dumps(body).encode()
        sent = {"Host": "{}:{}".format(*self._address)}
        if body is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        sent |= headers or {}
        head = "\r\n".join(
            [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        )
        try:
            async with asyncio.timeout(self._patience):
                status, found, answer = await self._exchange(f"{head}\r\n\r\n".encode() + content)
        except (OSError, TimeoutError, EOFError, BrokenAnswerError) as error:
            self.close()
            status, found, answer = 0, CIMultiDict(), repr(error).encode()
        return Answer(method, path, status, found, answer, time.monotonic() - began)

    def close(self) -> None:
        """Close what is open; the next request opens another."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    async def _exchange(self, request: bytes) -> tuple[int, CIMultiDict[str], bytes]:
        if self._open is not None and self._open[0].at_eof():
            # The server closed it while nothing was asked: nothing is lost by another one.
            self.close()
        if self._open is None:
            self._open = await asyncio.open_connection(*self._address, limit=_MAX_HEAD_BYTES)
            self.opened += 1
        reader, writer = self._open
        writer.write(request)
        await writer.drain()
        status, headers = _read_head(await reader.readuntil(b"\r\n\r\n"))
        if status in (204, 304) or request.startswith(b"HEAD "):
            body = b""
        elif headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = await _chunks(reader)
        elif (length := headers.get("Content-Length", "")).isdecimal():
            body = await reader.readexactly(int(length))
        else:
            raise BrokenAnswerError(f"{status} without a length")
        if headers.get("Connection", "").lower() == "close":
            self.close()
        return status, headers, body


def _read_head(head: bytes) -> tuple[int, CIMultiDict[str]]:
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    words = first.split(" ", 2)
    if words[0] != "HTTP/1.1" or len(words) < 2 or not words[1].isdecimal():
        raise BrokenAnswerError(first)
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, _, value = line.partition(":")
        headers[name] = value.strip()
    return int(words[1]), headers


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        if not _SIZE.match(line):
            raise BrokenAnswerError(f"a chunk begins with {line[:20]!r}")
        size = int(line.split(b";")[0], 16)
        data = await reader.readexactly(size + 2)
        body += data[:-2]
        if size == 0:
            return bytes(body)
