"""Whether the client can read what it would get (RFC 9110, 12.5.1).

Owns the reading of Accept. Every operation has one representation, so there is nothing to choose:
a client that excludes it is told before anything is done.
"""

from collections.abc import Mapping
from functools import lru_cache

from aiohttp import web
from aiohttp.typedefs import Handler

from libs.http._problem import Problem


def accepts(accept: str, media_type: str) -> bool:
    """Whether an Accept header lets `media_type` through; the most specific range decides.

    What cannot be read as a range is passed over; a header of nothing else excludes nothing.
    """
    kind = media_type.partition("/")[0]
    ranks = {"*/*": 0, f"{kind}/*": 1, media_type: 2}
    best: tuple[int, float] | None = None
    understood = False
    for element in accept.split(","):
        pieces = [piece.strip().lower() for piece in element.split(";")]
        if pieces[0].count("/") != 1:
            continue
        quality = _quality(pieces[1:])
        if quality is None:
            continue
        understood = True
        rank = ranks.get(pieces[0])
        if rank is not None and (best is None or (rank, quality) > best):
            best = (rank, quality)
    if best is None:
        return not understood
    return best[1] > 0


@web.middleware
async def negotiate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse with 406 a request whose Accept excludes the operation's representation."""
    accept = ",".join(request.headers.getall("Accept", []))
    if accept and request.match_info.http_exception is None:
        media_type = _REPRESENTATIONS.get(request.path, "application/json")
        found = _accepts_usual if len(accept) <= _LONGEST_USUAL else accepts
        if not found(accept, media_type):
            raise Problem(406, "not_acceptable", f"The answer would be {media_type}.")
    return await handler(request)


_REPRESENTATIONS: Mapping[str, str] = {"/docs": "text/html"}

# Clients of one kind send one header, each time.
_accepts_usual = lru_cache(maxsize=256)(accepts)
_LONGEST_USUAL = 256


def _quality(parameters: list[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
            return quality if 0 <= quality <= 1 else None
    return 1.0
