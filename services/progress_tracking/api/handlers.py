"""The controllers of progress tracking: who may, what is asked, what is answered.

In every operation the order is: authorization, path, query, body, and only then a look-up, so that
no refusal tells whether anything exists.
"""

from __future__ import annotations

import hashlib
import re

from aiohttp import web

from libs.http import (
    CursorCodec,
    Problem,
    encode_json,
    forbidden,
    json_response,
    parse_body,
    parse_query,
    path_identifier,
    principal,
)
from libs.timestamps import Clock
from services.progress_tracking.api.schemas import (
    ListQuery,
    NoQuery,
    course_document,
    page_document,
    timely_update_body,
)
from services.progress_tracking.domain.tracking import ProgressTracking

TRACKING = web.AppKey("tracking", ProgressTracking)
"""The use cases; the composition root puts them there before the first request."""

ANY_PROGRESS = "progress:any"
"""The permission to read and write every user's progress."""

ME = "me"

_READ = "private, no-cache"
_WRITTEN = "no-store"
_USER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ProgressHandlers:
    """One method for each operation. `clock` judges whether a device's clock runs ahead."""

    def __init__(self, *, cursors: CursorCodec, clock: Clock) -> None:
        self._cursors = cursors
        self._update_body = timely_update_body(clock)

    async def list_progress(self, request: web.Request) -> web.StreamResponse:
        """`GET /progress/{userId}`."""
        user_id = authorized_user(request)
        query = parse_query(request, ListQuery)
        binding = query.binding(user_id)
        after = None
        if query.cursor is not None:
            after = str(self._cursors.decode(query.cursor, binding=binding)["after"])
        page = await request.app[TRACKING].list(
            user_id, chosen=query.chosen(), after=after, limit=query.limit
        )
        next_cursor = None
        if page.next_after is not None:
            next_cursor = self._cursors.encode({"after": page.next_after}, binding=binding)
        return _readable(request, page_document(user_id, page, next_cursor))

    async def get_course_progress(self, request: web.Request) -> web.StreamResponse:
        """`GET /progress/{userId}/{courseId}`."""
        user_id = authorized_user(request)
        course_id = path_identifier(request, "courseId")
        parse_query(request, NoQuery)
        view = await request.app[TRACKING].read(user_id, course_id)
        if view is None:
            raise Problem(404, "progress_not_found", "The user has not started this course.")
        return _readable(request, course_document(user_id, view))

    async def record_progress(self, request: web.Request) -> web.StreamResponse:
        """`PUT /progress/{userId}/{courseId}`."""
        user_id = authorized_user(request)
        course_id = path_identifier(request, "courseId")
        parse_query(request, NoQuery)
        body = await parse_body(request, self._update_body)
        recorded = await request.app[TRACKING].record(user_id, course_id, body.update())
        # No ETag: what is stored is not what was sent (RFC 9110, 9.3.4).
        return json_response(
            request,
            course_document(user_id, recorded.progress),
            status=201 if recorded.created else 200,
            cache_control=_WRITTEN,
        )


def authorized_user(request: web.Request) -> str:
    """The user whose progress the path names, if the principal may see and change it.

    Raises Problem 403 before the id is so much as looked at, then 400 for a malformed one.
    """
    found = principal(request)
    named = request.match_info["userId"]
    if named == ME:
        # A subject of another shape cannot be a key: the reserved partitions stay out of reach.
        if _USER_ID.fullmatch(found.subject) is None:
            raise forbidden()
        return found.subject
    if named != found.subject and not found.can(ANY_PROGRESS):
        raise forbidden()
    return path_identifier(request, "userId")


def _readable(request: web.Request, document: dict[str, object]) -> web.Response:
    # The tag is the content's digest: it follows the outline too, which has no version in common
    # with what the user recorded.
    body = encode_json(document)
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return json_response(request, body, etag=etag, cache_control=_READ)
