"""One request to the service in the same container, on a plain socket.

Owns where that is and what counts as healthy. Knows nothing of what the service does.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

# What `libs.service` listens on where nothing is said.
_DEFAULT_HOST = "127.0.0.1"
_DEFAULT_PORT = "8080"
# Who listens on every address of a family is reached on the loopback address of that family.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1", "": _DEFAULT_HOST}  # noqa: S104 - asked, not bound
# A status line is "HTTP/1.1 200 OK" with a line end.
_STATUS_LINE_BYTES = 256


class Unhealthy(Exception):  # noqa: N818 - a verdict
    """The service does not answer as it should; the text says how, in one line."""


def address_of(prefix: str, variables: Mapping[str, str]) -> tuple[str, int]:
    """Where the service listens whose variables have `prefix`, as seen from its own container.

    Raises ValueError for a port that is none.
    """
    host = variables.get(f"{prefix}HOST", "")
    port = variables.get(f"{prefix}PORT") or _DEFAULT_PORT
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{prefix}PORT is not a port that can be asked: {port}")
    return _LOOPBACK.get(host, host), int(port)


def probe(host: str, port: int, path: str, *, timeout_seconds: float) -> None:
    """Return if `path` answers 200; raise Unhealthy if it does not, or not in time."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection((host, port), timeout_seconds) as connection:
            connection.settimeout(timeout_seconds)
            connection.sendall(request.encode("ascii"))
            line = _status_line(connection)
    except TimeoutError:
        raise Unhealthy(f"{path}: no answer within {timeout_seconds:g} s") from None
    except OSError as error:
        raise Unhealthy(f"{path}: {error.strerror or error}") from None
    version, status, *_ = [*line.split(b" ", 2), b""]
    if not version.startswith(b"HTTP/1.") or len(status) != 3 or not status.isdigit():
        raise Unhealthy(f"{path}: that is not HTTP")
    if status != b"200":
        raise Unhealthy(f"{path}: {status.decode()}")


def _status_line(connection: socket.socket) -> bytes:
    received = b""
    while b"\r\n" not in received and len(received) < _STATUS_LINE_BYTES:
        piece = connection.recv(_STATUS_LINE_BYTES)
        if not piece:
            break
        received += piece
    return received.partition(b"\r\n")[0]
