"""Where the token comes from: a file, standard input, or the platform that runs on this machine.

A token never stands on the command line, where other users of the machine and the shell's history
would have it. It is read again when it is refused, because an import may take longer than a token
lives.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from libs.api_access import AccessError, checked_gateway, read_token, token_in

PLATFORM_STATE = Path(".lyceum")

# More is no token.
_MAX_CHARACTERS = 65_536

_USER = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Credentials:
    """A gateway's address and a way to read the token for it, now and again later."""

    gateway: str
    read_token: Callable[[], str]


def find_credentials(
    source: str, gateway: str | None, *, state: Path, stdin: TextIO = sys.stdin
) -> Credentials:
    """What `--token-from` and `--gateway` mean. Raises AccessError."""
    scheme, colon, user = source.partition(":")
    if scheme == "platform" and colon:
        if not _USER.fullmatch(user):
            raise AccessError(f"--token-from {source}: no name of a demo user")
        header = state / "headers" / user
        address = gateway or _platform_gateway(state)
        return Credentials(checked_gateway(address), lambda: read_token(header, f"user {user}"))
    if gateway is None:
        raise AccessError("--gateway is missing; only --token-from platform:USER implies one")
    if source == "-":
        token = token_in(stdin.read(_MAX_CHARACTERS + 1), "standard input")
        return Credentials(checked_gateway(gateway), lambda: token)
    path = Path(source)
    return Credentials(checked_gateway(gateway), lambda: read_token(path))


def _platform_gateway(state: Path) -> str:
    path = state / "platform.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["gateway"])
    except (OSError, ValueError, KeyError, TypeError):
        raise AccessError(
            f"no platform runs on this machine: {path} does not name a gateway"
            " (./pantsw run deploy/local/up.py starts one)"
        ) from None
