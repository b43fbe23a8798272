"""Cross-origin requests from the origins that were named, and from no other (Fetch standard).

Owns the CORS headers. Tokens travel in a header that scripts set themselves, so credentials are
never allowed and no cookie is ever read.
"""

from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from libs.http._problem import add_vary

EXPOSED_HEADERS = ("ETag", "Link", "Location", "Retry-After", "X-Request-Id")
ALLOWED_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "X-Amzn-Trace-Id",
    "X-Request-Id",
    "X-Request-Timeout-Ms",
    "traceparent",
)
PREFLIGHT_MAX_AGE_SECONDS = 600


def cors_middleware(
    origins: Collection[str],
) -> Middleware:
    """`origins` are exact serialised origins (`https://app.example`). Raises ValueError for `*`:
    an allow-list that allows everything is a mistake."""
    allowed = frozenset(origins)
    if "*" in allowed:
        raise ValueError("CORS origins are named one by one; * is not one")

    @web.middleware
    async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not allowed:
            return await handler(request)
        origin = request.headers.get("Origin")
        if _is_preflight(request):
            response: web.StreamResponse = _preflight(request, origin, allowed)
        else:
            response = await handler(request)
            if origin in allowed:
                response.headers["Access-Control-Allow-Origin"] = str(origin)
                response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)
        # Also where the origin was not allowed: a cache must not give that answer to another.
        add_vary(response, "Origin")
        return response

    return cors


def _is_preflight(request: web.Request) -> bool:
    return (
        request.method == "OPTIONS"
        and "Origin" in request.headers
        and "Access-Control-Request-Method" in request.headers
        # A path that does not exist has no methods to tell about: it is answered as 404.
        and isinstance(request.match_info.http_exception, web.HTTPMethodNotAllowed)
    )


def _preflight(request: web.Request, origin: str | None, allowed: frozenset[str]) -> web.Response:
    response = web.Response(status=204)
    add_vary(response, "Access-Control-Request-Method", "Access-Control-Request-Headers")
    refusal = request.match_info.http_exception
    if origin in allowed and isinstance(refusal, web.HTTPMethodNotAllowed):
        response.headers["Access-Control-Allow-Origin"] = str(origin)
        response.headers["Access-Control-Allow-Methods"] = ", ".join(
            sorted(refusal.allowed_methods)
        )
        response.headers["Access-Control-Allow-Headers"] = ", ".join(ALLOWED_HEADERS)
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_MAX_AGE_SECONDS)
    return response
