"""Who may see and do what here: pages of this machine, asked for by its own name, and no other site.

There are tokens behind these paths. Other sites' pages can reach a loopback address from a visitor's
browser; they are kept from reading by the name that they ask for (DNS rebinding) and from doing
anything by what the browser says of them (Fetch Metadata).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_OWN_NAMES: Final = frozenset({"127.0.0.1", "localhost"})


def guard_middleware(storage: Callable[[], str | None]) -> Middleware:
    """Refuses what is not this machine's, and puts the headers of safety on every answer.

    Args:
        storage: the origin that content is fetched from and sent to; None until that is known.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host.partition(":")[0] not in _OWN_NAMES:
            response: web.StreamResponse = problem(
                request,
                HTTPStatus.MISDIRECTED_REQUEST,
                "misdirected_request",
                "These pages answer to 127.0.0.1 and localhost alone.",
            )
        elif request.method not in ("GET", "HEAD") and _is_of_another_site(request):
            response = problem(
                request,
                HTTPStatus.FORBIDDEN,
                "cross_site",
                "Only the platform's own pages may do this.",
            )
        else:
            try:
                response = await handler(request)
            except web.HTTPException as refusal:
                response = _as_problem(request, refusal)
        response.headers.update(_headers(storage()))
        return response

    return guard


def problem(
    request: web.Request,
    status: HTTPStatus,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An RFC 9457 answer."""
    document = {
        "type": f"https://lyceum.example/problems/{code}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "instance": request.path,
        "code": code,
    }
    return web.Response(
        status=status,
        body=json.dumps(document).encode(),
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _as_problem(request: web.Request, refusal: web.HTTPException) -> web.Response:
    status = HTTPStatus(refusal.status)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = {"Allow": refusal.headers["Allow"]}
        return problem(
            request, status, "method_not_allowed", "The path has other methods.", allowed
        )
    return problem(request, status, "not_found", "There is nothing here.")


def _is_of_another_site(request: web.Request) -> bool:
    # Browsers say so themselves; what is no browser (curl) is no other site's page.
    site = request.headers.get("Sec-Fetch-Site", "none")
    origin = request.headers.get("Origin")
    own = f"http://{request.host}"
    return site not in ("none", "same-origin") or (origin is not None and origin != own)


def _headers(storage: str | None) -> dict[str, str]:
    content = f" {storage}" if storage else ""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self'{content}",
        "media-src": f"'self'{content}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        # Text becomes markup nowhere: the scripts make elements. One address becomes a script: the
        # worker's (site/kept.js).
        "require-trusted-types-for": "'script'",
        "trusted-types": "lyceum-worker",
    }
    return {
        "Content-Security-Policy": "; ".join(" ".join(rule) for rule in policy.items()),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
