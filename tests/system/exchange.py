"""One HTTP request and its answer, byte for byte: nothing is cleaned up on the way out.

Clients normalise paths, refuse control characters and follow redirects. These tests must be able to
send what a careless or hostile client sends, and to see exactly what comes back.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 30


@dataclass(frozen=True)
class Answer:
    """What came back; header names are without regard to case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def media_type(self) -> str:
        return self.headers.get_content_type()


def ask(
    url: str,
    *,
    method: str = "GET",
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    json_body: object = None,
) -> Answer:
    """Sends one request to ``url``, whose path and query go out as they are written.

    Args:
        token: sent as a bearer token.
        json_body: serialised to the body, with its content type.
    """
    sent = {"Host": urlsplit(url).netloc, "Connection": "close"}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    if json_body is not None:
        body = json.dumps(json_body).encode()
        sent["Content-Type"] = "application/json"
    if body is not None:
        sent["Content-Length"] = str(len(body))
    sent |= headers or {}
    target = url.split("/", 3)[3] if url.count("/") >= 3 else ""
    lines = [f"{method} /{target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in sent.items()]
    return send(url, "\r\n".join([*lines, "", ""]).encode() + (body or b""), method=method)


def send(url: str, request: bytes, *, method: str = "GET") -> Answer:
    """Sends these bytes to the host and port of ``url`` and reads one answer."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=_SECONDS) as link:
        # A server may refuse by the headers alone, before it has read the body.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            link.sendall(request)
        response = http.client.HTTPResponse(link, method=method)
        response.begin()
        return Answer(response.status, response.headers, response.read())
