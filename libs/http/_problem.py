"""Problems: the one shape in which an error leaves a service (RFC 9457).

Owns the body's members and its headers.
Knows nothing of routes, tokens or dependencies; `_errors` decides which problem an exception is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from aiohttp import web

PROBLEM_CONTENT_TYPE = "application/problem+json"
PROBLEM_TYPE_BASE = "https://lyceum.example/problems/"

# Characters that may stand in a URI path besides the unreserved ones (RFC 3986, 3.3).
_PATH_SAFE = "/%:@!$&'()*+,;=~"


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one part of the input.

    `pointer` is a JSON pointer (RFC 6901) into the body; for a query it is `/<parameter>`.
    """

    pointer: str
    message: str


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """An error with an exact answer: raised anywhere under a handler, sent as problem+json.

    `status` is an HTTP error status, `code` a stable word for programs (`course_not_found`),
    `detail` a sentence for people that holds no secret. `title` defaults to the status phrase.
    `headers` are added to the answer (`Retry-After`, `Allow`, `WWW-Authenticate`).
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        title: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"a problem has an error status, not {status}")
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.title = title if title is not None else status_phrase(status)
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def status_phrase(status: int) -> str:
    """The registered phrase of a status, or a neutral one for an unregistered number."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def problem_members(
    problem: Problem, *, path: str, request_id: str, trace_id: str | None = None
) -> dict[str, object]:
    """`problem` as the members of RFC 9457 and ours, about the resource at the raw `path`."""
    members: dict[str, object] = {
        "type": PROBLEM_TYPE_BASE + problem.code,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": quote(path, safe=_PATH_SAFE),
        "code": problem.code,
        "requestId": request_id,
    }
    if trace_id is not None:
        members["traceId"] = trace_id
    if problem.errors:
        members["errors"] = [
            {"pointer": error.pointer, "message": error.message} for error in problem.errors
        ]
    return members


def problem_response(
    problem: Problem, *, path: str, request_id: str, trace_id: str | None = None
) -> web.Response:
    """Render `problem` for the request with the raw `path`, `request_id` and, in a trace, `trace_id`.

    The answer is never stored by a cache: an error says something about this moment only.
    """
    members = problem_members(problem, path=path, request_id=request_id, trace_id=trace_id)
    response = web.Response(
        status=problem.status,
        body=json.dumps(members, ensure_ascii=True).encode(),
        content_type=PROBLEM_CONTENT_TYPE,
    )
    response.headers["Cache-Control"] = "no-store"
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


def add_vary(response: web.StreamResponse, *names: str) -> None:
    """Add field names to Vary, each once."""
    present = [name.strip() for name in response.headers.get("Vary", "").split(",") if name.strip()]
    known = {name.lower() for name in present}
    present += [name for name in names if name.lower() not in known]
    response.headers["Vary"] = ", ".join(present)
