"""Which path is which operation, and which failure is which problem."""

from __future__ import annotations

from aiohttp import web

from libs.http import Problem, ProblemMapping, unavailable
from services.course_catalog.api.handlers import get_course, list_courses
from services.course_catalog.domain.errors import CatalogUnavailableError


def routes() -> list[web.RouteDef]:
    """The operations of openapi.yaml that are this service's own; each GET also answers HEAD."""
    return [
        web.get("/courses", list_courses),
        web.get("/courses/{courseId}", get_course),
    ]


def problems() -> ProblemMapping:
    """The domain's errors as problems."""
    return {CatalogUnavailableError: _unavailable}


def _unavailable(error: Exception) -> Problem:
    assert isinstance(error, CatalogUnavailableError)
    return unavailable(
        "The catalog cannot be read at the moment.", retry_after_seconds=error.retry_after_seconds
    )
