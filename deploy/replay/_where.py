"""Where the replay reads and where it sends: the gateway, the token, the queue, and AWS.

A token never stands on the command line, where other users of the machine and the shell's history
would have it. It is read again when it is refused: a replay may take longer than a token lives.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_MAX_CHARACTERS = 16_384
# A bearer token, RFC 6750, 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_USER = re.compile(r"platform:([A-Za-z0-9_-]{1,64})")


class WhereError(Exception):
    """Something is missing or must not be used; one line says what."""


@dataclass(frozen=True)
class Where:
    """`aws`: arguments of the SDK's session and clients; empty leaves it to the SDK's own chain."""

    gateway: str
    read_token: Callable[[], str]
    queue_url: str | None
    aws: Mapping[str, str] = field(default_factory=dict, repr=False)


def find(source: str, gateway: str | None, queue_url: str | None, *, state: Path) -> Where:
    """What the options mean. `platform:USER` stands for all of it, from the state folder of the
    platform that runs on this machine. Raises WhereError."""
    user = _USER.fullmatch(source)
    if user is None:
        if gateway is None:
            raise WhereError("--gateway is missing; only --token-from platform:USER implies one")
        path = Path(source)
        return Where(_checked(gateway), lambda: _token(path), queue_url)
    running, session = _json(state / "platform.json"), _json(state / "session.json")
    header = state / "headers" / user[1]
    try:
        resources = session["resources"]
        key = _json(Path(json.loads(session["readyLine"])["administrator"]))
        return Where(
            _checked(gateway or running["gateway"]),
            lambda: _token(header),
            queue_url or resources["outline_queue_url"],
            {
                "endpoint_url": resources["endpoint_url"],
                "region_name": resources["region"],
                "aws_access_key_id": key["accessKeyId"],
                "aws_secret_access_key": key["secretAccessKey"],
            },
        )
    except (KeyError, TypeError, ValueError):
        raise WhereError(f"{state} is of another version of the platform: start it again") from None


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise WhereError(
            f"no platform runs on this machine: {path} can not be read"
            " (./pantsw run deploy/local/up.py starts one)"
        ) from None
    return found


def _token(path: Path) -> str:
    """The token alone, or an Authorization header as the platform keeps it for curl."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_CHARACTERS + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WhereError(f"no token: {path} can not be read ({type(error).__name__})") from None
    text = re.sub(r"^authorization:\s*", "", text, flags=re.IGNORECASE)
    text = re.sub(r"^bearer\s+", "", text, flags=re.IGNORECASE)
    if len(text) > _MAX_CHARACTERS or not _TOKEN.fullmatch(text):
        raise WhereError(f"{path} does not hold a token")  # and is not shown
    return text


def _checked(gateway: str) -> str:
    """The address without a slash at its end; a token is not sent in the clear through a network."""
    try:
        parts = urlsplit(gateway)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise WhereError(f"--gateway {gateway!r} is not like https://api.example.org")
    if parts.username or parts.password:
        raise WhereError("--gateway holds a password; a token alone is sent")
    if parts.scheme == "http" and not _is_here(host):
        raise WhereError(f"--gateway {gateway}: a token is sent by https only, but to this machine")
    return gateway.rstrip("/")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
