"""Which path is which operation, and which failure is which problem."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from libs.http import FieldError, Problem, ProblemMapping, unavailable
from services.course_catalog.api.authoring import (
    archive_course,
    create_course,
    delete_course,
    patch_course,
    publish_course,
    replace_course,
)
from services.course_catalog.api.handlers import get_course, list_courses
from services.course_catalog.domain.errors import (
    CatalogUnavailableError,
    CourseExistsError,
    CourseNotFoundError,
    CourseTooLargeError,
    InvalidCourseError,
    InvalidTransitionError,
    SlugTakenError,
    UnpublishableError,
    Violation,
)

# As libs.http bounds the errors of a body.
_MAX_REPORTED_ERRORS = 1000


def routes() -> list[web.RouteDef]:
    """The operations of openapi.yaml that are this service's own; each GET also answers HEAD."""
    return [
        web.get("/courses", list_courses),
        web.post("/courses", create_course),
        web.get("/courses/{courseId}", get_course),
        web.put("/courses/{courseId}", replace_course),
        web.patch("/courses/{courseId}", patch_course),
        web.delete("/courses/{courseId}", delete_course),
        web.post("/courses/{courseId}/publish", publish_course),
        web.post("/courses/{courseId}/archive", archive_course),
    ]


def problems() -> ProblemMapping:
    """The domain's errors as problems."""
    return {
        CatalogUnavailableError: _unavailable,
        CourseExistsError: lambda _: Problem(
            409, "course_deleted", "The course that this request created has been deleted since."
        ),
        CourseNotFoundError: lambda _: Problem(404, "course_not_found", "There is no such course."),
        CourseTooLargeError: _too_large,
        InvalidCourseError: _invalid,
        InvalidTransitionError: _transition,
        SlugTakenError: lambda _: Problem(
            409,
            "slug_taken",
            "Another course has this slug.",
            errors=[FieldError("/slug", "belongs to another course")],
        ),
        UnpublishableError: _unpublishable,
    }


def _unavailable(error: Exception) -> Problem:
    assert isinstance(error, CatalogUnavailableError)
    return unavailable(
        "The catalog cannot be reached at the moment.",
        retry_after_seconds=error.retry_after_seconds,
    )


def _invalid(error: Exception) -> Problem:
    assert isinstance(error, InvalidCourseError)
    return Problem(
        422,
        "invalid_body",
        "The body is well-formed JSON but not what this operation takes.",
        errors=_field_errors(error.violations),
    )


def _too_large(error: Exception) -> Problem:
    assert isinstance(error, CourseTooLargeError)
    return Problem(
        422,
        "course_too_large",
        f"The course would have {error.size} bytes as it is kept; it may have {error.limit}.",
        errors=[FieldError(error.pointer, "takes most of it")],
    )


def _unpublishable(error: Exception) -> Problem:
    assert isinstance(error, UnpublishableError)
    return Problem(
        409,
        "course_not_publishable",
        "The course can not be published as it is.",
        errors=_field_errors(error.violations),
    )


def _transition(error: Exception) -> Problem:
    assert isinstance(error, InvalidTransitionError)
    if error.action == "deleted":
        return Problem(
            409,
            "course_not_draft",
            "Only a draft can be deleted; a published course can be archived.",
        )
    return Problem(
        409,
        "course_not_published",
        "Only a published course can be archived; a draft can be deleted.",
    )


def _field_errors(violations: Iterable[Violation]) -> list[FieldError]:
    found = [FieldError(violation.pointer, violation.message) for violation in violations]
    return found[:_MAX_REPORTED_ERRORS]
