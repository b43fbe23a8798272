"""Who is asking: the bearer token of a request becomes its principal (RFC 6750).

Owns the reading of the Authorization header and the refusals 401 and 403. How a token is verified
is `libs.auth`'s business.
"""

from collections.abc import Collection
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from libs.auth import InvalidTokenError, Principal
from libs.http._keys import PRINCIPAL, SPAN
from libs.http._problem import Problem
from libs.logging import bind
from libs.tracing import pseudonym


class Verifier(Protocol):
    """What this layer needs of `libs.auth.TokenVerifier`."""

    async def verify(self, token: str) -> Principal:
        """The principal of a valid access token. Raises InvalidTokenError, KeysUnavailableError."""
        ...


def authentication_middleware(verifier: Verifier, *, public_paths: Collection[str]) -> Middleware:
    """Every path but the public ones needs a token, those that do not exist included: without one
    nothing is learnt about what there is."""

    @web.middleware
    async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in public_paths:
            return await handler(request)
        found = await verifier.verify(_bearer_token(request))
        request[PRINCIPAL] = found
        bind(sub=found.subject)
        span = request.get(SPAN)
        if span is not None and span.is_recording:
            span.set_attribute("enduser.pseudo.id", pseudonym(found.subject))
        return await handler(request)

    return authenticate


def principal(request: web.Request) -> Principal:
    """The request's verified principal; on a public path there is none and KeyError is raised."""
    return request[PRINCIPAL]


def require(request: web.Request, permission: str) -> Principal:
    """The principal, if it holds `permission`; else raises Problem 403.

    Called before any look-up, so that a refusal never tells whether a thing exists.
    """
    found = principal(request)
    if not found.can(permission):
        raise forbidden()
    return found


def forbidden() -> Problem:
    """The problem 403 (RFC 6750, 3.1), without naming what would have been enough."""
    return Problem(
        403,
        "forbidden",
        "The access token does not permit this.",
        headers={"WWW-Authenticate": 'Bearer error="insufficient_scope"'},
    )


def _bearer_token(request: web.Request) -> str:
    sent = request.headers.getall("Authorization", [])
    if not sent:
        raise _no_token()
    if len(sent) > 1:
        raise InvalidTokenError("malformed")
    scheme, _, token = sent[0].partition(" ")
    if scheme.lower() != "bearer":
        raise _no_token()
    return token.strip(" ")


def _no_token() -> Problem:
    # RFC 6750, 3.1: a request without a token learns the scheme and no error code.
    return Problem(
        401,
        "authentication_required",
        "Send an access token: Authorization: Bearer <token>.",
        headers={"WWW-Authenticate": "Bearer"},
    )
