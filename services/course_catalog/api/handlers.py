"""The two reading operations: input to question, answer to response. `authoring` has the others.

Owns permissions, cursors and headers. Knows the domain, not where courses are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from aiohttp import web

from libs.http import (
    CursorCodec,
    Problem,
    json_response,
    parse_query,
    path_identifier,
    principal,
    require,
    unavailable,
    version_etag,
)
from libs.idempotency import Idempotency
from libs.logging import bind
from services.course_catalog.api.pages import RenderedPage, RenderedPages
from services.course_catalog.api.schemas import ListQuery, NoQuery, render_page
from services.course_catalog.domain.authoring import Authoring
from services.course_catalog.domain.course import Status
from services.course_catalog.domain.course_documents import CourseDocuments
from services.course_catalog.domain.directory import Directory, Sort, SortKey
from services.course_catalog.domain.directory_refresh import DirectoryRefresher

WRITE = "catalog:write"

# RFC 7234, 5.5.1: the warn-code for an answer that is served stale because its origin fails.
STALE_WARNING = '110 - "Response is Stale"'


@dataclass(frozen=True)
class Catalog:
    """What the handlers answer from. `wait_seconds`: how long a request waits for the first load;
    `new_id` gives the id of a new course."""

    directory: Directory
    refresher: DirectoryRefresher
    pages: RenderedPages
    documents: CourseDocuments
    cursors: CursorCodec
    wait_seconds: float
    authoring: Authoring
    idempotency: Idempotency
    new_id: Callable[[], str]


CATALOG = web.AppKey("catalog", Catalog)


async def list_courses(request: web.Request) -> web.StreamResponse:
    """`GET /courses`: a page of the directory."""
    catalog = request.app[CATALOG]
    # The query alone says what is shown, and was found good when the page was made.
    asked = request.rel_url.raw_query_string
    page = catalog.pages.get(asked)
    if page is None:
        page = await _rendered(request, catalog)
        catalog.pages.keep(asked, page)
    elif page.for_writers:
        require(request, WRITE)
    headers = _freshness(catalog.refresher)
    if page.link is not None:
        headers["Link"] = page.link
    return json_response(
        request,
        page.body,
        etag=page.etag,
        cache_control="private, max-age=30",
        headers=headers,
    )


async def _rendered(request: web.Request, catalog: Catalog) -> RenderedPage:
    query = parse_query(request, ListQuery)
    for_writers = query.status is not Status.PUBLISHED
    if for_writers:
        require(request, WRITE)
    binding = query.binding()
    after = None
    if query.cursor is not None:
        after = _sort_key(catalog.cursors.decode(query.cursor, binding=binding), query.sort)
    if not await catalog.refresher.wait_until_loaded(catalog.wait_seconds):
        raise unavailable("The catalog has not been loaded yet.")
    page = catalog.directory.page(query.query(), limit=query.limit, after=after)
    next_cursor = link = None
    if page.resume_after is not None:
        value, course_id = page.resume_after
        next_cursor = catalog.cursors.encode({"v": value, "id": course_id}, binding=binding)
        link = f'<{_next_url(request, next_cursor)}>; rel="next"'
    body = render_page(list(page.items), next_cursor)
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    return RenderedPage(body, etag, link, for_writers)


async def get_course(request: web.Request) -> web.StreamResponse:
    """`GET /courses/{courseId}`: a course, from the table or, while that fails, from memory."""
    may_write = principal(request).can(WRITE)
    course_id = path_identifier(request, "courseId")
    parse_query(request, NoQuery)
    document = await request.app[CATALOG].documents.get(course_id)
    if document is None or (document.status is Status.DRAFT and not may_write):
        raise Problem(404, "course_not_found", "There is no such course.")
    headers: dict[str, str] = {}
    if document.age is not None:
        bind(stale=True, ageSeconds=round(document.age))
        headers = {"Age": str(int(document.age)), "Warning": STALE_WARNING}
    return json_response(
        request,
        document.body,
        etag=version_etag(document.version),
        # A client asks again each time, which a 304 makes cheap: an author's next change needs
        # the current ETag, and a learner the current outline.
        cache_control="private, no-cache",
        headers=headers,
    )


def _freshness(refresher: DirectoryRefresher) -> dict[str, str]:
    age = refresher.age or 0.0
    headers = {"Age": str(int(age))}
    if refresher.is_stale:
        bind(stale=True, ageSeconds=round(age))
        headers["Warning"] = STALE_WARNING
    return headers


def _sort_key(position: Mapping[str, object], sort: Sort) -> SortKey:
    """The place that a cursor of ours names. What is signed and bound to `sort` has its shape."""
    value, course_id = position["v"], position["id"]
    assert isinstance(value, str if sort.field == "title" else int)
    assert isinstance(course_id, str)
    return value, course_id


def _next_url(request: web.Request, cursor: str) -> str:
    kept = [(name, value) for name, value in request.query.items() if name != "cursor"]
    return f"{request.path}?{urlencode([*kept, ('cursor', cursor)])}"
