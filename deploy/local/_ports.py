"""Ports of 127.0.0.1 for processes that are told their port rather than a socket."""

from __future__ import annotations

import errno
import socket


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


def port_of(bound: socket.socket) -> int:
    """The port a socket is bound to."""
    port: int = bound.getsockname()[1]
    return port


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
