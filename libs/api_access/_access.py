"""A bearer token out of a file, and the addresses that it may be sent to.

A token never stands on the command line, where other users of the machine and the shell's history
would have it; nor in a message.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from urllib.parse import urlsplit

MAX_CHARACTERS = 16_384

# A bearer token, RFC 6750, 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class AccessError(Exception):
    """There is no token, or no gateway that it may be sent to; one line says why."""


def read_token(path: Path, label: str | None = None) -> str:
    """The token that a file holds, read now: it may have been renewed. Raises AccessError.

    Args:
        path: a file with the token alone, or with an Authorization header as the local platform
            keeps it for curl.
        label: whose it is, for the message; the path where it is None.
    """
    whose = label or str(path)
    try:
        with path.open(encoding="utf-8") as file:
            content = file.read(MAX_CHARACTERS + 1)
    except FileNotFoundError:
        raise AccessError(f"no token of {whose}: there is no {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(
            f"no token of {whose}: {path} can not be read ({type(error).__name__})"
        ) from None
    return token_in(content, str(path))


def token_in(content: str, label: str) -> str:
    """The token in a text, see `read_token`. Raises AccessError, which does not show it."""
    text = content.strip()
    text = re.sub(r"^authorization:\s*", "", text, flags=re.IGNORECASE)
    text = re.sub(r"^bearer\s+", "", text, flags=re.IGNORECASE)
    if len(text) > MAX_CHARACTERS or not _TOKEN.fullmatch(text):
        raise AccessError(f"{label} does not hold a token")
    return text


def checked_gateway(gateway: str) -> str:
    """The address of the APIs without a slash at its end. Raises AccessError for what is none, and
    where a token would go through a network in the clear."""
    try:
        parts = urlsplit(gateway)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise AccessError(f"--gateway {gateway!r} is not like https://api.example.org")
    if parts.username or parts.password:
        raise AccessError("--gateway holds a password; a token alone is sent")
    if parts.scheme == "http" and not _is_here(host):
        raise AccessError(
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
