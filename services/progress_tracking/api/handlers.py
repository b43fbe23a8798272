"""The controllers of progress tracking: who may, what is asked, what is answered.

In every operation the order is: authorization, path, query, body, and only then a look-up, so that
no refusal tells whether anything exists.
"""

from __future__ import annotations

import hashlib
import re

from aiohttp import web

from libs.http import (
    MAX_REQUEST_TIMEOUT_SECONDS,
    CursorCodec,
    Problem,
    ProblemMapping,
    forbidden,
    is_identifier,
    json_response,
    parse_body,
    parse_query,
    path_identifier,
    principal,
    problem_document,
    problem_for,
    validate_body,
)
from libs.resilience import current_deadline, deadline_scope
from libs.timestamps import Clock
from services.progress_tracking.api.rendered import course_json, page_json
from services.progress_tracking.api.schemas import (
    BATCH,
    BatchBody,
    ListQuery,
    NoQuery,
    RestartQuery,
    batch_document,
    timely_bodies,
)
from services.progress_tracking.domain.tracking import (
    BatchEntry,
    ProgressTracking,
    RecordedView,
)

TRACKING = web.AppKey("tracking", ProgressTracking)
"""The use cases; the composition root puts them there before the first request."""

ANY_PROGRESS = "progress:any"
"""The permission to read and write every user's progress."""

ME = "me"

_READ = "private, no-cache"
_WRITTEN = "no-store"
# Of the time that a batch has when its body is read: the rest is for its answer.
_BATCH_SHARE = 0.8
# With 25 entries of nothing but mistakes the answer must stay small.
_MAX_ERRORS_OF_AN_ENTRY = 100
_USER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ProgressHandlers:
    """One method for each operation.

    `clock` judges whether a device's clock runs ahead. `problems` are the answers to the domain's
    errors, for entries of a batch.
    """

    def __init__(self, *, cursors: CursorCodec, clock: Clock, problems: ProblemMapping) -> None:
        self._cursors = cursors
        self._update_body, self._entry_body = timely_bodies(clock)
        self._problems = problems

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
        return _readable(request, page_json(user_id, page, next_cursor))

    async def get_course_progress(self, request: web.Request) -> web.StreamResponse:
        """`GET /progress/{userId}/{courseId}`."""
        user_id = authorized_user(request)
        course_id = path_identifier(request, "courseId")
        parse_query(request, NoQuery)
        view = await request.app[TRACKING].read(user_id, course_id)
        if view is None:
            raise _not_started()
        return _readable(request, course_json(user_id, view))

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
            course_json(user_id, recorded.progress),
            status=201 if recorded.created else 200,
            cache_control=_WRITTEN,
        )

    async def restart_course(self, request: web.Request) -> web.StreamResponse:
        """`DELETE /progress/{userId}/{courseId}`."""
        user_id = authorized_user(request)
        course_id = path_identifier(request, "courseId")
        query = parse_query(request, RestartQuery)
        view = await request.app[TRACKING].restart(user_id, course_id, ending=query.attempt)
        if view is None:
            raise _not_started()
        return json_response(request, course_json(user_id, view), cache_control=_WRITTEN)

    async def record_batch(self, request: web.Request) -> web.StreamResponse:
        """`POST /progress/{userId}/batch`."""
        user_id = authorized_user(request)
        parse_query(request, NoQuery)
        body = await parse_body(request, BatchBody)
        sent = [self._entry(entry) for entry in body.entries]
        entries = [entry for entry in sent if isinstance(entry, BatchEntry)]
        # What is under way then is refused for itself, while there is time to say what was done.
        with deadline_scope(_BATCH_SHARE * _seconds_left()) as deadline:
            recorded = iter(
                await request.app[TRACKING].record_batch(
                    user_id, entries, seconds=deadline.remaining()
                )
            )
        results = [
            self._result(next(recorded)) if isinstance(entry, BatchEntry) else entry
            for entry in sent
        ]
        failures = [result for result in results if isinstance(result, Problem)]
        if len(failures) == len(results) and all(failure.status >= 500 for failure in failures):
            # Nothing was decided: then it is a failed request, to clients and to alarms.
            raise failures[0]
        course_ids = [_course_id(entry) for entry in body.entries]
        users_path = request.rel_url.raw_path.rpartition("/")[0]
        document = batch_document(
            user_id,
            [
                result
                if isinstance(result, RecordedView)
                else _failed(request, result, f"{users_path}/{course_id or BATCH}")
                for result, course_id in zip(results, course_ids, strict=True)
            ],
            course_ids,
        )
        return json_response(request, document, cache_control=_WRITTEN)

    def _entry(self, entry: object) -> BatchEntry | Problem:
        try:
            return validate_body(entry, self._entry_body).entry()
        except Problem as problem:
            return Problem(
                problem.status,
                problem.code,
                "The entry is not an update of a course.",
                errors=problem.errors[:_MAX_ERRORS_OF_AN_ENTRY],
            )

    def _result(self, result: RecordedView | Exception) -> RecordedView | Problem:
        return result if isinstance(result, RecordedView) else problem_for(result, self._problems)


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


def _seconds_left() -> float:
    deadline = current_deadline()
    # Every request has one; a caller without would wait as long as any.
    return MAX_REQUEST_TIMEOUT_SECONDS if deadline is None else deadline.remaining()


def _not_started() -> Problem:
    return Problem(404, "progress_not_found", "The user has not started this course.")


def _course_id(entry: object) -> str | None:
    """What an entry, be it right or wrong, says which course it is of."""
    named = entry.get("courseId") if isinstance(entry, dict) else None
    return named if isinstance(named, str) and is_identifier(named) else None


def _failed(request: web.Request, problem: Problem, path: str) -> dict[str, object]:
    members: dict[str, object] = {
        "status": problem.status,
        "problem": problem_document(request, problem, path=path),
    }
    if "Retry-After" in problem.headers:
        members["retryAfterSeconds"] = int(problem.headers["Retry-After"])
    return members


def _readable(request: web.Request, body: bytes) -> web.Response:
    # The tag is the content's digest: it follows the outline too, which has no version in common
    # with what the user recorded.
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return json_response(request, body, etag=etag, cache_control=_READ)
