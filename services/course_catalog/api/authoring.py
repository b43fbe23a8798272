"""The writing operations: what authors do to a course, each with its precondition.

Owns permissions, preconditions, answers, and the audit line of each attempt. What a change means is
`domain.authoring`'s; which failure is which problem `routes`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from aiohttp import web

from libs.http import (
    MERGE_PATCH_CONTENT_TYPE,
    EntityTags,
    FieldError,
    Problem,
    json_response,
    parse_query,
    path_identifier,
    precondition_failed,
    read_json,
    require,
    require_if_match,
    version_etag,
)
from libs.idempotency import Answer, Reservation, answer_once
from libs.logging import AuditAction, AuditOutcome, audit
from services.course_catalog.api.content import course_content, patched_content
from services.course_catalog.api.handlers import CATALOG, WRITE
from services.course_catalog.api.schemas import NoQuery, api_name, render_course
from services.course_catalog.domain.authoring import PreconditionFailedError
from services.course_catalog.domain.course import Course
from services.course_catalog.domain.errors import (
    CourseExistsError,
    CourseNotFoundError,
    CourseTooLargeError,
    InvalidCourseError,
    InvalidTransitionError,
    SlugTakenError,
    UnpublishableError,
)

# A client asks again each time, as after GET.
_CACHE_CONTROL = "private, no-cache"
_VERSION_ETAG = re.compile(r'"v([1-9][0-9]{0,17})"')
_REFUSALS = (
    CourseExistsError,
    CourseNotFoundError,
    CourseTooLargeError,
    InvalidCourseError,
    InvalidTransitionError,
    SlugTakenError,
    UnpublishableError,
)


async def create_course(request: web.Request) -> web.StreamResponse:
    """`POST /courses`: a new draft, once for an Idempotency-Key."""
    require(request, WRITE)
    parse_query(request, NoQuery)
    catalog = request.app[CATALOG]
    body = await read_json(request)
    content = course_content(body)

    async def create(reservation: Reservation) -> Answer:
        with _audited(AuditAction.CREATE, reservation.resource_id) as attempt:
            course = await catalog.authoring.create(reservation.resource_id, content)
            attempt.version_after = course.version
        return Answer(
            201,
            {
                "Location": f"/courses/{course.id}",
                "ETag": version_etag(course.version),
                "Cache-Control": _CACHE_CONTROL,
                "Vary": "Authorization",
            },
            render_course(course),
        )

    return await answer_once(
        request,
        catalog.idempotency,
        operation="createCourse",
        body=body,
        new_id=catalog.new_id,
        create=create,
        refusals=_REFUSALS,
    )


async def replace_course(request: web.Request) -> web.StreamResponse:
    """`PUT /courses/{courseId}`: everything that an author writes, anew."""
    course_id, tags = _change(request, AuditAction.UPDATE)
    content = course_content(await read_json(request))
    with _audited(AuditAction.UPDATE, course_id, tags) as attempt:
        course = await request.app[CATALOG].authoring.edit(
            course_id, attempt.matches, lambda _: content
        )
        attempt.version_after = course.version
    return _response(request, course)


async def patch_course(request: web.Request) -> web.StreamResponse:
    """`PATCH /courses/{courseId}`: some of what an author writes, as a merge patch."""
    course_id, tags = _change(request, AuditAction.UPDATE)
    patch = await read_json(request, content_types=(MERGE_PATCH_CONTENT_TYPE,))
    with _audited(AuditAction.UPDATE, course_id, tags) as attempt:
        course = await request.app[CATALOG].authoring.edit(
            course_id, attempt.matches, lambda content: patched_content(content, patch)
        )
        attempt.version_after = course.version
    return _response(request, course)


async def publish_course(request: web.Request) -> web.StreamResponse:
    """`POST /courses/{courseId}/publish`."""
    course_id, tags = _change(request, AuditAction.PUBLISH)
    with _audited(AuditAction.PUBLISH, course_id, tags) as attempt:
        course = await request.app[CATALOG].authoring.publish(course_id, attempt.matches)
        attempt.version_after = course.version
    return _response(request, course)


async def archive_course(request: web.Request) -> web.StreamResponse:
    """`POST /courses/{courseId}/archive`."""
    course_id, tags = _change(request, AuditAction.ARCHIVE)
    with _audited(AuditAction.ARCHIVE, course_id, tags) as attempt:
        course = await request.app[CATALOG].authoring.archive(course_id, attempt.matches)
        attempt.version_after = course.version
    return _response(request, course)


async def delete_course(request: web.Request) -> web.StreamResponse:
    """`DELETE /courses/{courseId}`: a draft, and nothing else."""
    course_id, tags = _change(request, AuditAction.DELETE)
    with _audited(AuditAction.DELETE, course_id, tags) as attempt:
        await request.app[CATALOG].authoring.delete(course_id, attempt.matches)
    return web.Response(status=204)


def _change(request: web.Request, action: AuditAction) -> tuple[str, EntityTags]:
    """What every change begins with: the permission first, before anything tells what there is."""
    try:
        require(request, WRITE)
    except Problem:
        with suppress(Problem):  # what is no id names nothing that could have been changed
            course_id = path_identifier(request, "courseId")
            _write_audit(action, course_id, None, None, AuditOutcome.REFUSED)
        raise
    course_id = path_identifier(request, "courseId")
    parse_query(request, NoQuery)
    return course_id, require_if_match(request)


@dataclass
class _Attempt:
    """A write that is being tried: the version it met, and the one that it left, if any."""

    tags: EntityTags
    met: bool = False
    version_before: int | None = None
    version_after: int | None = None

    def matches(self, version: int) -> bool:
        """If-Match as the domain asks it."""
        self.version_before = version
        self.met = self.tags.matches(version_etag(version))
        return self.met


@contextmanager
def _audited(
    action: AuditAction, course_id: str, tags: EntityTags | None = None
) -> Iterator[_Attempt]:
    """Write the audit line of what is tried in the block, unless it changed nothing and was right.

    What is overtaken becomes the problem that shows what was changed meanwhile.
    """
    attempt = _Attempt(tags or EntityTags(any=True), met=tags is None)

    def write(outcome: AuditOutcome, version_after: int | None) -> None:
        _write_audit(action, course_id, attempt.version_before, version_after, outcome)

    try:
        yield attempt
    except PreconditionFailedError as failed:
        attempt.version_before = failed.course.version
        write(AuditOutcome.REFUSED, failed.course.version)
        raise _changed_meanwhile(failed.course, attempt.tags) from failed
    except _REFUSALS:
        write(AuditOutcome.REFUSED, attempt.version_before)
        raise
    except BaseException:
        # Also the client's hanging up, which may cut a write off: what has met its version may
        # have been changed.
        if attempt.met:
            write(AuditOutcome.UNKNOWN, None)
        else:
            write(AuditOutcome.REFUSED, attempt.version_before)
        raise
    if action is AuditAction.DELETE or attempt.version_after != attempt.version_before:
        write(AuditOutcome.SUCCEEDED, attempt.version_after)


def _write_audit(
    action: AuditAction,
    course_id: str,
    version_before: int | None,
    version_after: int | None,
    outcome: AuditOutcome,
) -> None:
    audit(
        action,
        resource="course",
        resource_id=course_id,
        version_before=version_before,
        version_after=version_after,
        outcome=outcome,
    )


def _changed_meanwhile(course: Course, tags: EntityTags) -> Problem:
    known = [int(found[1]) for tag in tags.tags if (found := _VERSION_ETAG.fullmatch(tag))]
    based_on = max((version for version in known if version < course.version), default=None)
    changes = {} if based_on is None else course.changed_since(based_on)
    refusal = precondition_failed()
    return Problem(
        refusal.status,
        refusal.code,
        f"The course is in version {course.version} by now; read it again.",
        errors=[
            FieldError(f"/{api_name(name)}", f"was changed in version {version}")
            for name, version in sorted(changes.items(), key=lambda entry: entry[1])
        ],
        headers={"ETag": version_etag(course.version)},
    )


def _response(request: web.Request, course: Course) -> web.Response:
    return json_response(
        request,
        render_course(course),
        etag=version_etag(course.version),
        cache_control=_CACHE_CONTROL,
    )
