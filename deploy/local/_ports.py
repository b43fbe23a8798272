"""Ports of 127.0.0.1 for processes that are told their port rather than a socket."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# As much of it as the kernel allows: a burst waits there while its reader is busy or started again.
_RECEIVE_BUFFER: Final = 4 * 1024 * 1024
_TRIES: Final = 50


class PortTakenError(Exception):
    """Another process listens on the port that was asked for."""

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} of 127.0.0.1 is taken; --port N takes another, 0 a free one")
        self.port = port


def listen(port: int) -> socket.socket:
    """Listens on ``port`` (0: a free one) for a process that inherits the socket.

    From here on connections wait until somebody accepts them, also while that process is restarted.

    Raises:
        PortTakenError: somebody else listens there.
    """
    listener = _bound(port)
    try:
        listener.listen(128)
    except OSError:
        listener.close()
        raise PortTakenError(port) from None
    return listener


def reserve() -> socket.socket:
    """A free port that nobody is given as long as the socket is open, and a server can still take.

    A socket that is bound and does not listen keeps the kernel from handing the port out; a server
    that sets SO_REUSEADDR, as asyncio's and uvloop's do, may bind it all the same (socket(7)).
    """
    return _bound(0)


@contextmanager
def receive() -> Iterator[socket.socket]:
    """A UDP socket on a free port, for a process that inherits it.

    The TCP port of the same number is kept from others: X-Ray's daemon answers questions there, and
    who asks them must be refused rather than be answered by whoever happens to listen.
    """
    for _ in range(_TRIES):
        with reserve() as twin, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            try:
                made.bind(("127.0.0.1", port_of(twin)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            made.setblocking(False)
            yield made
            return
    raise OSError(errno.EADDRINUSE, "no port is free for both TCP and UDP")


def port_of(bound: socket.socket) -> int:
    """The port a socket is bound to."""
    port: int = bound.getsockname()[1]
    return port


def local_url(bound: socket.socket) -> str:
    """Where whoever listens there answers HTTP."""
    return f"http://127.0.0.1:{port_of(bound)}"


def _bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(port) from None
        raise
    return made
