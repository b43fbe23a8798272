"""The files of the pages: what they are, and when a browser has them already.

No build step: what lies in `site/` is what is served. A browser asks each time whether it still has
the right one (`no-cache` and a strong ETag), so that a page never runs with the scripts of another
version of it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SITE: Final = Path(__file__).parent / "site"

_NAME: Final = re.compile(r"[a-z0-9-]{1,64}\.(js|css|svg)")
_TYPES: Final = {
    "html": "text/html",
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    body: bytes
    content_type: str
    etag: str


def page(name: str) -> Asset:
    """The page `name`.html, which is there."""
    return _read(f"{name}.html")


def asset(name: str) -> Asset | None:
    """A script, style sheet or picture; None where there is none of this name."""
    if _NAME.fullmatch(name) is None or not (SITE / name).is_file():
        return None
    return _read(name)


def _read(name: str) -> Asset:
    # Read each time: who changes a file wants to see it, and they are small.
    body = (SITE / name).read_bytes()
    return Asset(
        body=body,
        content_type=_TYPES[name.rpartition(".")[2]],
        etag=hashlib.sha256(body).hexdigest()[:32],
    )
