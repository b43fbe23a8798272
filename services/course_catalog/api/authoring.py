"""The writing operations: what authors do to a course, each with its precondition.

Owns permissions, preconditions and answers. What a change means is `domain.authoring`'s; which
failure is which problem `routes`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

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
from services.course_catalog.api.content import course_content, patched_content
from services.course_catalog.api.handlers import CATALOG, WRITE
from services.course_catalog.api.schemas import NoQuery, api_name, render_course
from services.course_catalog.domain.authoring import Precondition, PreconditionFailedError
from services.course_catalog.domain.course import Course
from services.course_catalog.domain.errors import (
    CourseExistsError,
    CourseTooLargeError,
    SlugTakenError,
)

# A client asks again each time, as after GET.
_CACHE_CONTROL = "private, no-cache"
_VERSION_ETAG = re.compile(r'"v([1-9][0-9]{0,17})"')


async def create_course(request: web.Request) -> web.StreamResponse:
    """`POST /courses`: a new draft, once for an Idempotency-Key."""
    require(request, WRITE)
    parse_query(request, NoQuery)
    catalog = request.app[CATALOG]
    body = await read_json(request)
    content = course_content(body)

    async def create(reservation: Reservation) -> Answer:
        course = await catalog.authoring.create(reservation.resource_id, content)
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
        refusals=(SlugTakenError, CourseTooLargeError, CourseExistsError),
    )


async def replace_course(request: web.Request) -> web.StreamResponse:
    """`PUT /courses/{courseId}`: everything that an author writes, anew."""
    course_id, tags = _change(request)
    content = course_content(await read_json(request))
    with _based_on(tags) as matches:
        course = await request.app[CATALOG].authoring.edit(course_id, matches, lambda _: content)
    return _response(request, course)


async def patch_course(request: web.Request) -> web.StreamResponse:
    """`PATCH /courses/{courseId}`: some of what an author writes, as a merge patch."""
    course_id, tags = _change(request)
    patch = await read_json(request, content_types=(MERGE_PATCH_CONTENT_TYPE,))
    with _based_on(tags) as matches:
        course = await request.app[CATALOG].authoring.edit(
            course_id, matches, lambda content: patched_content(content, patch)
        )
    return _response(request, course)


async def publish_course(request: web.Request) -> web.StreamResponse:
    """`POST /courses/{courseId}/publish`."""
    course_id, tags = _change(request)
    with _based_on(tags) as matches:
        course = await request.app[CATALOG].authoring.publish(course_id, matches)
    return _response(request, course)


async def archive_course(request: web.Request) -> web.StreamResponse:
    """`POST /courses/{courseId}/archive`."""
    course_id, tags = _change(request)
    with _based_on(tags) as matches:
        course = await request.app[CATALOG].authoring.archive(course_id, matches)
    return _response(request, course)


async def delete_course(request: web.Request) -> web.StreamResponse:
    """`DELETE /courses/{courseId}`: a draft, and nothing else."""
    course_id, tags = _change(request)
    with _based_on(tags) as matches:
        await request.app[CATALOG].authoring.delete(course_id, matches)
    return web.Response(status=204)


def _change(request: web.Request) -> tuple[str, EntityTags]:
    """What every change begins with: the permission first, before anything tells what there is."""
    require(request, WRITE)
    course_id = path_identifier(request, "courseId")
    parse_query(request, NoQuery)
    return course_id, require_if_match(request)


@contextmanager
def _based_on(tags: EntityTags) -> Iterator[Precondition]:
    """If-Match as the domain asks it; what does not match shows what was changed meanwhile."""
    try:
        yield lambda version: tags.matches(version_etag(version))
    except PreconditionFailedError as failed:
        raise _changed_meanwhile(failed.course, tags) from failed


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
