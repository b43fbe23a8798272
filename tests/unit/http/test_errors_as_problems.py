"""Every error is problem+json with an exact status, and none says more than it should."""

import json

import pytest

from libs.http import FieldError, Problem
from libs.http._problem import problem_response
from libs.logging.testing import captured_logs
from libs.tracing.testing import recording_tracer
from tests.unit.http.sample_app import Client, Sample, lines, running

MEMBERS = ["type", "title", "status", "detail", "instance", "code", "requestId", "traceId"]


@pytest.mark.parametrize(
    ("name", "status", "code", "retry_after"),
    [
        ("bug", 500, "internal_error", None),
        ("groups", 500, "internal_error", None),
        ("connection", 500, "internal_error", None),
        ("domain", 404, "thing_not_found", None),
        ("subclass", 404, "thing_not_found", None),
        ("group", 404, "thing_not_found", None),
        ("open", 503, "dependency_unavailable", "4"),
        ("throttled", 503, "dependency_unavailable", "7"),
        ("unavailable", 503, "dependency_unavailable", "1"),
        ("timeout", 503, "dependency_unavailable", "1"),
        ("full", 503, "dependency_unavailable", "2"),
        ("late", 503, "deadline_exceeded", "1"),
        ("keys", 503, "dependency_unavailable", "13"),
        ("gone", 410, "gone", None),
        ("problem", 409, "thing_conflict", "1"),
    ],
)
async def test_exceptions(
    client: Client, name: str, status: int, code: str, retry_after: str | None
) -> None:
    answer = await client.call(
        "GET", f"/raise/{name}", headers={"X-Request-Id": "r-1", "Origin": "https://app.example"}
    )
    problem = await answer.json()
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    assert list(problem)[:8] == MEMBERS
    assert problem["type"] == f"https://lyceum.example/problems/{code}"
    assert (problem["status"], problem["code"]) == (status, code)
    assert (problem["instance"], problem["requestId"]) == (f"/raise/{name}", "r-1")
    assert answer.headers.get("Retry-After") == retry_after
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Vary"] == "Authorization, Origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-Id"] == "r-1"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert str(problem["traceId"]).startswith("1-")
    assert answer.headers["X-Amzn-Trace-Id"].startswith(f"Root={problem['traceId']};")
    for word in (b"Traceback", b"hunter2", b"Error(", b".py", b"dynamodb", b"things:read"):
        assert word not in answer.body


async def test_a_problem_says_what_it_was_given(client: Client) -> None:
    problem = await (await client.call("GET", "/raise/problem")).json()
    assert problem["title"] == "Conflict of things"
    assert problem["detail"] == "Another thing has this name."
    assert problem["errors"] == [{"pointer": "/name", "message": "is taken"}]


async def test_a_bug_is_logged_once_with_its_traceback(client: Client) -> None:
    with captured_logs() as events:
        await client.call("GET", "/raise/bug", headers={"X-Request-Id": "r-2"})
    bug, access = lines(events)
    assert (bug["event"], bug["level"], bug["requestId"]) == ("unhandled_error", "error", "r-2")
    exception = bug["exception"]
    assert isinstance(exception, dict)
    assert exception["type"] == "RuntimeError"
    assert str(bug["traceId"]).startswith("1-")
    assert (access["event"], access["status"], access["level"]) == ("request", 500, "error")


async def test_a_dependencys_failure_is_logged_by_its_name(client: Client) -> None:
    with captured_logs() as events:
        await client.call("GET", "/raise/throttled")
    failure, access = lines(events)
    assert failure["event"] == "dependency_unavailable"
    assert (failure["error"], failure["dependency"], failure["operation"]) == (
        "Throttled",
        "dynamodb",
        "Query",
    )
    assert "exception" not in failure
    assert access["status"] == 503


async def test_a_refusal_is_one_warning(client: Client) -> None:
    with captured_logs() as events:
        await client.call("GET", "/raise/domain")
    (access,) = lines(events)
    assert (access["level"], access["status"]) == ("warning", 404)
    assert access["code"] == "thing_not_found"


@pytest.mark.parametrize(
    ("name", "error", "fault"),
    [("bug", False, True), ("open", False, True), ("domain", True, False)],
)
async def test_the_trace_tells_errors_from_faults(name: str, error: bool, fault: bool) -> None:
    tracer, emitter = recording_tracer()
    async with running(Sample(), tracer) as client:
        await client.call("GET", f"/raise/{name}")
    span = emitter.named("GET /raise/{name}")
    assert (span.error, span.fault) == (error, fault)


async def test_a_method_that_a_path_does_not_take(client: Client) -> None:
    answer = await client.call("DELETE", "/things")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET,HEAD,POST"
    assert (await answer.json())["code"] == "method_not_allowed"
    answer = await client.call("POST", "/healthz", token=None)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")
    assert (await client.call("PROPFIND", "/things")).status == 405


@pytest.mark.parametrize(
    ("path", "instance"),
    [
        ("/a%2Fb/%C3%BC", "/a%2Fb/%C3%BC"),
        ("/a?secret=1", "/a"),
        ("//evil.example/x", "//evil.example/x"),
    ],
)
async def test_the_instance_is_the_path(client: Client, path: str, instance: str) -> None:
    assert (await (await client.call("GET", path)).json())["instance"] == instance


def test_whatever_the_path_the_body_is_json_and_the_instance_a_uri() -> None:
    problem = Problem(404, "x", "d", errors=[FieldError('/"<ü', "m")])
    body = problem_response(problem, path='/"<ü\u2028 >', request_id="r").body
    assert isinstance(body, bytes)
    assert json.loads(body)["instance"] == "/%22%3C%C3%BC%E2%80%A8%20%3E"


@pytest.mark.parametrize("status", [200, 399, 600])
def test_only_errors_are_problems(status: int) -> None:
    with pytest.raises(ValueError, match="error status"):
        Problem(status, "x", "d")
