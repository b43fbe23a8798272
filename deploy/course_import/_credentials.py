"""Where the token comes from: a file, standard input, or the platform that runs on this machine.

A token never stands on the command line, where other users of the machine and the shell's history
would have it. It is read again when it is refused, because an import may take longer than a token
lives.
"""

from __future__ import annotations

import ipaddress
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

PLATFORM_STATE = Path(".lyceum")

_MAX_CHARACTERS = 16_384
# A bearer token, RFC 6750, 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_USER = re.compile(r"[A-Za-z0-9_-]{1,64}")


class CredentialsError(Exception):
    """There is no token, or no gateway that it may be sent to; one line says why."""


@dataclass(frozen=True)
class Credentials:
    """A gateway's address and a way to read the token for it, now and again later."""

    gateway: str
    read_token: Callable[[], str]


def find_credentials(
    source: str, gateway: str | None, *, state: Path, stdin: TextIO = sys.stdin
) -> Credentials:
    """What `--token-from` and `--gateway` mean. Raises CredentialsError."""
    scheme, colon, user = source.partition(":")
    if scheme == "platform" and colon:
        if not _USER.fullmatch(user):
            raise CredentialsError(f"--token-from {source}: no name of a demo user")
        header = state / "headers" / user
        address = gateway or _platform_gateway(state)
        return Credentials(_checked(address), lambda: _from_file(header, f"user {user}"))
    if gateway is None:
        raise CredentialsError("--gateway is missing; only --token-from platform:USER implies one")
    if source == "-":
        token = _token_in(stdin.read(_MAX_CHARACTERS + 1), "standard input")
        return Credentials(_checked(gateway), lambda: token)
    path = Path(source)
    return Credentials(_checked(gateway), lambda: _from_file(path, str(path)))


def _from_file(path: Path, label: str) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            content = file.read(_MAX_CHARACTERS + 1)
    except FileNotFoundError:
        raise CredentialsError(f"no token of {label}: there is no {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"no token of {label}: {path} can not be read ({error})") from None
    return _token_in(content, str(path))


def _token_in(content: str, label: str) -> str:
    """The token alone, or an Authorization header as the platform keeps it for curl."""
    text = content.strip()
    text = re.sub(r"^authorization:\s*", "", text, flags=re.IGNORECASE)
    text = re.sub(r"^bearer\s+", "", text, flags=re.IGNORECASE)
    if len(text) > _MAX_CHARACTERS or not _TOKEN.fullmatch(text):
        raise CredentialsError(f"{label} does not hold a token")  # and is not shown
    return text


def _platform_gateway(state: Path) -> str:
    path = state / "platform.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["gateway"])
    except (OSError, ValueError, KeyError, TypeError):
        raise CredentialsError(
            f"no platform runs on this machine: {path} does not name a gateway"
            " (./pantsw run deploy/local/up.py starts one)"
        ) from None


def _checked(gateway: str) -> str:
    """The address without a slash at its end; a token is not sent in the clear through a network."""
    try:
        parts = urlsplit(gateway)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise CredentialsError(f"--gateway {gateway!r} is not like https://api.example.org")
    if parts.username or parts.password:
        raise CredentialsError("--gateway holds a password; a token alone is sent")
    if parts.scheme == "http" and not _is_here(host):
        raise CredentialsError(
            f"--gateway {gateway}: a token is sent by https only, but to this machine"
        )
    return gateway.rstrip("/")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
