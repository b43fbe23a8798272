"""The routes of content delivery, and the problem that each of the domain's errors is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from libs.http import Problem
from services.content_delivery.api.handlers import get_content
from services.content_delivery.domain.errors import (
    ContentNotFoundError,
    ContentNotReadyError,
    RenditionNotFoundError,
    SigningUnavailableError,
)

SIGNING_RETRY_AFTER_SECONDS = 5


def routes() -> Sequence[web.RouteDef]:
    """Every operation with a principal."""
    return [web.get("/content/{contentId}", get_content)]


def problems() -> Mapping[type[Exception], Callable[[Exception], Problem]]:
    """The answers to the domain's errors.

    A row that breaks a rule (`CorruptContentError`) is not here: it is a fault of ours, which the
    layer above logs and answers with 500 and none of it.
    """
    return {
        ContentNotFoundError: lambda error: Problem(
            404, "content_not_found", "There is no such content."
        ),
        RenditionNotFoundError: lambda error: Problem(
            404,
            "rendition_not_found",
            "The content has no rendition of this name; without one, the original is given.",
        ),
        ContentNotReadyError: lambda error: Problem(
            409, "content_not_ready", "The content is not ready to be delivered."
        ),
        SigningUnavailableError: lambda error: Problem(
            503,
            "signing_unavailable",
            "A URL that lives long enough cannot be signed at the moment.",
            headers={"Retry-After": str(SIGNING_RETRY_AFTER_SECONDS)},
        ),
    }
