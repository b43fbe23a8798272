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

PAGES: Final = {"/": "learn", "/traces": "traces", "/board": "board"}
"""The pages by path."""

WORKER: Final = "worker.js"
"""The script that keeps the pages in a browser; see there."""

# Whatever else is asked of the pages' server.
_OWN: Final = "/-/"

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


def is_own(route: str) -> bool:
    """Whether a route of the gateway leads to the pages."""
    return route in PAGES or route.startswith(_OWN)


def page(name: str) -> Asset:
    """The page `name`.html, which is there."""
    return _read(f"{name}.html")


def asset(name: str) -> Asset | None:
    """A script, style sheet or picture; None where there is none of this name."""
    if _NAME.fullmatch(name) is None or not (SITE / name).is_file():
        return None
    return _read(name)


def asset_names() -> list[str]:
    """What the pages are made of besides themselves."""
    names = (path.name for path in SITE.iterdir())
    return sorted(name for name in names if _NAME.fullmatch(name) and name != WORKER)


def _read(name: str) -> Asset:
    # Read each time: who changes a file wants to see it, and they are small.
    body = (SITE / name).read_bytes()
    return Asset(
        body=body,
        content_type=_TYPES[name.rpartition(".")[2]],
        etag=hashlib.sha256(body).hexdigest()[:32],
    )
