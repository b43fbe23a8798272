"""What other components' tests need: spans in memory, and a daemon that keeps what it is sent."""

import asyncio
import json
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from libs.tracing._record import FinishedSpan
from libs.tracing._sampling import SamplingRules
from libs.tracing._tracer import Tracer, create_tracer

Document = dict[str, Any]

_LARGEST_DATAGRAM: Final = 65536
_RECEIVE_BUFFER: Final = 4 * 1024 * 1024  # as much of it as the kernel allows


class InMemoryEmitter:
    """Keeps every span, in the order of emission."""

    def __init__(self) -> None:
        self.spans: list[FinishedSpan] = []
        self.closed = False

    def emit(self, spans: Sequence[FinishedSpan]) -> None:
        self.spans += spans

    def close(self) -> None:
        self.closed = True

    def documents(self) -> list[Document]:
        """The spans as the X-Ray documents that would be sent for them."""
        from libs.tracing._xray import documents

        return documents(self.spans, service="service-under-test", version="0.0.0")

    def named(self, name: str) -> FinishedSpan:
        """The one span of this name; AssertionError when there are none or several."""
        found = [span for span in self.spans if span.name == name]
        if len(found) != 1:
            names = [span.name for span in self.spans]
            raise AssertionError(f"{len(found)} spans are named {name!r}; there are {names}")
        return found[0]


def recording_tracer() -> tuple[Tracer, InMemoryEmitter]:
    """A tracer that samples everything (but health checks), with the emitter that it feeds."""
    emitter = InMemoryEmitter()
    tracer = create_tracer(
        service="service-under-test",
        version="0.0.0",
        daemon_address=None,
        rules=SamplingRules(default_rate=1.0),
        random=random.Random(0),  # noqa: S311 - ids, not secrets
        emitter=emitter,
    )
    return tracer, emitter


class UdpCollector:
    """Stands in for the X-Ray daemon on a free port of 127.0.0.1; an async context manager."""

    def __init__(self) -> None:
        self._documents: list[Document] = []
        self._sizes: list[int] = []
        self._arrived = asyncio.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # A burst comes in while the loop is busy with what sends it.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind(("127.0.0.1", 0))

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    @property
    def address(self) -> str:
        """The `daemon_address` for `create_tracer`."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    @property
    def datagram_sizes(self) -> list[int]:
        """Bytes of each datagram so far, header included."""
        return list(self._sizes)

    def segments(self) -> list[Document]:
        """Every document so far, also subsegments that came by themselves."""
        return list(self._documents)

    def entities(self) -> list[Document]:
        """Every segment and subsegment so far, nested ones included, each with `parent_id`."""
        return [entity for document in self._documents for entity in walk(document)]

    async def wait_for(self, n: int, timeout: float = 5.0) -> list[Document]:
        """The documents, once there are `n`; TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            while len(self._documents) < n:
                self._arrived.clear()
                await self._arrived.wait()
        return self.segments()

    def _read(self) -> None:
        # All that is there: the standard loop's datagram endpoint reads one a turn.
        with suppress(BlockingIOError):
            while True:
                self._take(self._socket.recv(_LARGEST_DATAGRAM))

    def _take(self, datagram: bytes) -> None:
        header, _, body = datagram.partition(b"\n")
        if json.loads(header) != {"format": "json", "version": 1}:
            raise ValueError(f"not a segment header: {header!r}")
        self._documents.append(json.loads(body, parse_constant=_refuse))
        self._sizes.append(len(datagram))
        self._arrived.set()


def _refuse(constant: str) -> None:
    # Python's encoder writes NaN and Infinity, which no other reader takes.
    raise ValueError(f"not JSON: {constant}")


def walk(document: Mapping[str, Any]) -> Iterator[Document]:
    """The document and everything nested in it, parents first."""
    pending = [dict(document)]
    while pending:
        entity = pending.pop(0)
        pending += [{"parent_id": entity["id"], **child} for child in entity.get("subsegments", [])]
        yield entity
