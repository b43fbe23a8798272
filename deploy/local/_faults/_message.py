"""HTTP/1.1 as far as a proxy has to read it: where a head ends, and how long the body is (RFC 9112).

What was read is passed on as it came; bodies go through in pieces, so that a film takes no more memory
than a line of text. Knows no fault and no service.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property

# A head that is longer is nobody's of ours.
MAX_HEAD_BYTES = 64 * 1024
# What is held of a body at a time; a body that is no longer is read before it is passed on.
PIECE_BYTES = 64 * 1024

_CHUNKED = -1
_UNTIL_CLOSE = -2


class BrokenError(Exception):
    """This connection is over: a message breaks off or is no HTTP, or a fault wants it so."""


@dataclass(frozen=True)
class Head:
    """The head of a request or of an answer, as it came."""

    raw: bytes

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.raw.split(b" ", 1)[0].decode("latin-1")

    @cached_property
    def status(self) -> int:
        """The status of an answer."""
        return _number(self.raw.split(b" ", 2)[1])

    @property
    def is_last(self) -> bool:
        """Whether its sender says that the connection ends with this message."""
        line = self.raw.partition(b"\r\n")[0]
        is_old = line.startswith(b"HTTP/1.0 ") or line.endswith(b" HTTP/1.0")
        return is_old or "close" in (self.header("connection") or "").lower()

    @property
    def waits_to_be_asked(self) -> bool:
        """Whether the client sends the body only when it is told to go on (RFC 9110, 10.1.1)."""
        return (self.header("expect") or "").lower() == "100-continue"

    def header(self, name: str) -> str | None:
        """The value of the first header of that name (in lower case), None where it is absent."""
        return self._headers.get(name)

    @cached_property
    def _headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in self.raw.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            found.setdefault(name.lower(), value.strip())
        return found


class Body:
    """The body of a message that is being read; a read that is cancelled has read nothing."""

    def __init__(self, reader: asyncio.StreamReader, length: int) -> None:
        self._reader = reader
        self._is_chunked = length == _CHUNKED
        self._is_until_close = length == _UNTIL_CLOSE
        self._is_in_trailers = False
        self._left = max(length, 0)

    @classmethod
    def of_request(cls, head: Head, reader: asyncio.StreamReader) -> Body:
        """The body that follows the head of a request."""
        return cls(reader, _length(head, 0))

    @classmethod
    def of_answer(cls, head: Head, method: str, reader: asyncio.StreamReader) -> Body:
        """The body that follows the head of an answer to that method."""
        is_empty = method == "HEAD" or head.status in (204, 304)
        return cls(reader, 0 if is_empty else _length(head, _UNTIL_CLOSE))

    @property
    def known_length(self) -> int | None:
        """How many bytes are yet to be read, None where only the reading tells."""
        return None if self._is_chunked or self._is_until_close else self._left

    @property
    def ends_with_connection(self) -> bool:
        """Whether nothing but the end of the connection tells where it ends."""
        return self._is_until_close

    async def read(self) -> bytes:
        """The next piece as it came, its framing included; nothing at the end."""
        if self._left:
            piece = await self._reader.read(min(self._left, PIECE_BYTES))
            if not piece:
                raise BrokenError
            self._left -= len(piece)
            return piece
        if self._is_until_close:
            return await self._reader.read(PIECE_BYTES)
        if not self._is_chunked:
            return b""
        line = await self._reader.readuntil(b"\r\n")
        if self._is_in_trailers:
            self._is_chunked = line != b"\r\n"
        elif size := _number(line.partition(b";")[0], base=16):
            self._left = size + 2
        else:
            self._is_in_trailers = True
        return line

    async def read_whole(self) -> bytes:
        """All of it; for one whose length is known and small."""
        length = self._left
        whole = await self._reader.readexactly(length)
        self._left = 0
        return whole

    async def discard(self) -> None:
        """Take what is left off the connection."""
        while await self.read():
            pass


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head, None at the end of the connection."""
    try:
        return Head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None


def _length(head: Head, otherwise: int) -> int:
    if (head.header("transfer-encoding") or "").lower() == "chunked":
        return _CHUNKED
    length = head.header("content-length")
    return otherwise if length is None else _number(length.encode("latin-1"))


def _number(text: bytes, *, base: int = 10) -> int:
    try:
        number = int(text, base)
    except ValueError:
        raise BrokenError from None
    if number < 0:
        raise BrokenError
    return number
