"""Where the replay reads and where it sends: the gateway, the token, the queue, and AWS.

A token never stands on the command line, where other users of the machine and the shell's history
would have it. It is read again when it is refused: a replay may take longer than a token lives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libs.api_access import AccessError, checked_gateway, read_token

_USER = re.compile(r"platform:([A-Za-z0-9_-]{1,64})")


@dataclass(frozen=True)
class Where:
    """`aws`: arguments of the SDK's session and clients; empty leaves it to the SDK's own chain."""

    gateway: str
    read_token: Callable[[], str]
    queue_url: str | None
    aws: Mapping[str, str] = field(default_factory=dict, repr=False)


def find(source: str, gateway: str | None, queue_url: str | None, *, state: Path) -> Where:
    """What the options mean. `platform:USER` stands for all of it, from the state folder of the
    platform that runs on this machine. Raises AccessError."""
    user = _USER.fullmatch(source)
    if user is None:
        if gateway is None:
            raise AccessError("--gateway is missing; only --token-from platform:USER implies one")
        path = Path(source)
        return Where(checked_gateway(gateway), lambda: read_token(path), queue_url)
    running, session = _json(state / "platform.json"), _json(state / "session.json")
    header = state / "headers" / user[1]
    try:
        resources = session["resources"]
        key = _json(Path(json.loads(session["readyLine"])["administrator"]))
        return Where(
            checked_gateway(gateway or running["gateway"]),
            lambda: read_token(header),
            queue_url or resources["outline_queue_url"],
            {
                "endpoint_url": resources["endpoint_url"],
                "region_name": resources["region"],
                "aws_access_key_id": key["accessKeyId"],
                "aws_secret_access_key": key["secretAccessKey"],
            },
        )
    except (KeyError, TypeError, ValueError):
        raise AccessError(
            f"{state} is of another version of the platform: start it again"
        ) from None


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise AccessError(
            f"no platform runs on this machine: {path} can not be read"
            " (./pantsw run deploy/local/up.py starts one)"
        ) from None
    return found
