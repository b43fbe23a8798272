"""Which problem an exception is: the one place where failures get their status.

Owns the mapping of aiohttp's errors, of the libraries' errors and of a service's own, and what is
logged about each. Never lets a traceback or an exception's text reach a client.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestPayloadError

from libs.auth import InvalidTokenError, KeysUnavailableError
from libs.aws import DependencyError
from libs.circuit_breaker import CircuitOpenError
from libs.http._keys import ABANDONED, REQUEST_ID, SPAN
from libs.http._problem import (
    Problem,
    add_vary,
    problem_members,
    problem_response,
    status_phrase,
)
from libs.logging import bind, get_logger
from libs.resilience import BulkheadFullError, DeadlineExceededError

ProblemMapping = Mapping[type[Exception], Callable[[Exception], Problem]]

DEFAULT_RETRY_AFTER_SECONDS = 1

_log = get_logger(__name__)

_HTTP_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "body_too_large",
    415: "unsupported_media_type",
    417: "expectation_failed",
}
_HTTP_DETAILS = {
    404: "There is no such path here.",
    405: "This path does not take this method; Allow names those it takes.",
    417: "The only expectation this server meets is 100-continue.",
}


def retry_after(seconds: float | None) -> dict[str, str]:
    """A Retry-After header (RFC 9110, 10.2.3): whole seconds, at least one."""
    if seconds is None or not math.isfinite(seconds):
        return {"Retry-After": str(DEFAULT_RETRY_AFTER_SECONDS)}
    return {"Retry-After": str(max(DEFAULT_RETRY_AFTER_SECONDS, math.ceil(seconds)))}


def unavailable(detail: str, *, retry_after_seconds: float | None = None) -> Problem:
    """The problem 503: a dependency cannot serve this now, trying again later may help."""
    return Problem(503, "dependency_unavailable", detail, headers=retry_after(retry_after_seconds))


def deadline_exceeded() -> Problem:
    """The problem 503 of a request whose time has passed."""
    return Problem(
        503,
        "deadline_exceeded",
        "This request could not be answered within its time.",
        headers=retry_after(None),
    )


def http_exception_problem(error: web.HTTPException) -> Problem:
    """One of aiohttp's own errors as a problem, with the headers that belong to its status."""
    code = _HTTP_CODES.get(error.status)
    if code is None:
        code = status_phrase(error.status).lower().replace(" ", "_").replace("-", "_")
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    detail = _HTTP_DETAILS.get(error.status, f"{status_phrase(error.status)}.")
    return Problem(error.status, code, detail, headers=headers)


def invalid_token_problem(error: InvalidTokenError) -> Problem:
    """RFC 6750, section 3; `libs.auth` words its descriptions so that they may be shown."""
    return Problem(
        401,
        "invalid_token",
        f"{error.description}.",
        headers={
            "WWW-Authenticate": (
                f'Bearer error="invalid_token", error_description="{error.description}"'
            )
        },
    )


def problem_of(error: Exception, problems: ProblemMapping) -> Problem | None:
    """The problem that `error` is, or None when nobody expected it.

    A service's own mapping comes first, by the most specific class.
    """
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, Problem):
        return error
    for kind in type(error).__mro__:
        make = problems.get(kind)
        if make is not None:
            return make(error)
    match error:
        case web.HTTPException():
            return http_exception_problem(error) if error.status >= 400 else None
        case InvalidTokenError():
            return invalid_token_problem(error)
        case CircuitOpenError():
            return unavailable(
                "A dependency is failing and is left alone for a moment.",
                retry_after_seconds=error.retry_after_seconds,
            )
        case BulkheadFullError():
            return unavailable(
                "Too many calls to a dependency are under way.",
                retry_after_seconds=error.retry_after_seconds,
            )
        case DeadlineExceededError():
            return deadline_exceeded()
        case DependencyError():
            return unavailable(
                "A dependency could not serve this request.",
                retry_after_seconds=error.retry_after_seconds,
            )
        case KeysUnavailableError():
            return unavailable(
                "The keys that verify access tokens cannot be had at the moment.",
                retry_after_seconds=error.retry_after_seconds,
            )
        case TimeoutError():
            return unavailable("A dependency did not answer in time.")
        case RequestPayloadError():
            return Problem(400, "malformed_request", "The body is not framed as HTTP requires.")
    return None


def problem_middleware(problems: ProblemMapping, *, public_paths: Collection[str]) -> Middleware:
    """Turn every exception below into its problem; cancellation passes through untouched.

    Away from the public paths an answer depends on who asks, and says so to caches.
    """

    @web.middleware
    async def map_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError as error:
            # The client hung up while its body was read, or has its answer: there is nobody to
            # answer.
            if request.transport is None or ABANDONED in request:
                raise
            return answer(request, error)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return answer(request, error)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return answer(request, error)

    def answer(request: web.Request, error: Exception) -> web.Response:
        response = _answer(request, error, problems)
        if request.path not in public_paths:
            add_vary(response, "Authorization")
        return response

    return map_problems


def problem_for(error: Exception, problems: ProblemMapping) -> Problem:
    """The problem to answer `error` with, noted in the log as far as it is not the client's.

    For an answer of several parts, some of which failed; `problem_document` renders it.
    """
    problem = problem_of(error, problems)
    if problem is None:
        _log.exception("unhandled_error", exc_info=error)
        return Problem(
            500, "internal_error", "Something is wrong on our side; the requestId finds it."
        )
    if problem.status >= 500 and not isinstance(error, Problem):
        _log.warning(
            "dependency_unavailable",
            code=problem.code,
            error=type(error).__name__,
            dependency=getattr(error, "dependency", getattr(error, "name", None)),
            operation=getattr(error, "operation", None),
        )
    return problem


def problem_document(request: web.Request, problem: Problem, *, path: str) -> dict[str, object]:
    """`problem` as a part of the answer to `request`, about the resource at `path`."""
    span = request.get(SPAN)
    return problem_members(
        problem,
        path=path,
        request_id=request.get(REQUEST_ID, ""),
        trace_id=None if span is None else span.trace_id,
    )


def _answer(request: web.Request, error: Exception, problems: ProblemMapping) -> web.Response:
    problem = problem_for(error, problems)
    # Seen in the access log line: a status alone does not tell one 404 from another.
    bind(code=problem.code)
    span = request.get(SPAN)
    if span is not None:
        span.record_error(error, fault=problem.status >= 500)
    return problem_response(
        problem,
        path=request.rel_url.raw_path,
        request_id=request.get(REQUEST_ID, ""),
        trace_id=None if span is None else span.trace_id,
    )
