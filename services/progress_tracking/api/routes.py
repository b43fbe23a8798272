"""The routes of progress tracking, and the problem that each of the domain's errors is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from libs.http import Problem
from services.progress_tracking.api.handlers import ProgressHandlers
from services.progress_tracking.api.schemas import BATCH
from services.progress_tracking.domain.errors import AttemptNotStartedError, TooManyContentsError
from services.progress_tracking.domain.progress import MAX_CONTENTS_PER_COURSE

# As in API Gateway the literal path wins, for every method: no course has that id.
_COURSE = f"/progress/{{userId}}/{{courseId:(?!{BATCH}$)[^{{}}/]+}}"


def routes(handlers: ProgressHandlers) -> Sequence[web.RouteDef]:
    """Every operation with a principal."""
    return [
        web.get("/progress/{userId}", handlers.list_progress),
        web.post(f"/progress/{{userId}}/{BATCH}", handlers.record_batch),
        web.get(_COURSE, handlers.get_course_progress),
        web.put(_COURSE, handlers.record_progress),
        web.delete(_COURSE, handlers.restart_course),
    ]


def problems() -> Mapping[type[Exception], Callable[[Exception], Problem]]:
    """The answers to the domain's errors.

    A row that breaks a rule (`CorruptProgressError`) is not here: it is a fault of ours, which the
    layer above logs and answers with 500 and none of it.
    """
    return {
        AttemptNotStartedError: _attempt_not_started,
        TooManyContentsError: lambda error: Problem(
            409,
            "too_many_contents",
            f"A course holds progress of at most {MAX_CONTENTS_PER_COURSE} contents.",
        ),
    }


def _attempt_not_started(error: Exception) -> Problem:
    assert isinstance(error, AttemptNotStartedError)  # - narrows for the type checker
    return Problem(
        409,
        "attempt_not_started",
        f"That attempt has not begun; the current one is {error.current}.",
    )
