"""Going through the pages of the catalog as a client does, to where the last one begins."""

from __future__ import annotations

import json

from tests.bench.comparison import stored
from tests.bench.comparison.load import fetch
from tests.bench.comparison.stored import Asked


async def last_page(port: int, token: str) -> Asked:
    """The request of the last page of 50, found by going through all pages."""
    asked = Asked("GET", f"/courses?limit={stored.PAGE}")
    path = "/courses?limit=100"
    for _ in range(stored.MANY_COURSES // 100 + 1):
        answer = await fetch(port, Asked("GET", path).wire(token))
        page = json.loads(answer.partition(b"\r\n\r\n")[2])
        if page["nextCursor"] is None:
            break
        path = f"/courses?limit={stored.PAGE}&cursor={page['nextCursor']}"
        asked = Asked("GET", path)
        path = path.replace(f"limit={stored.PAGE}", "limit=100")
    return asked
