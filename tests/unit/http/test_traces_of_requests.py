"""What the trace of a request says about it: by whom, of which course, and whose mistake it was."""

import json

import pytest

from libs.tracing import pseudonym
from libs.tracing.testing import recording_tracer
from tests.unit.http.sample_app import Sample, running

TRACE = "1-5759e988-bd862e3fe1be46a994272793"


async def test_a_course_that_the_path_names_can_be_searched_for_and_a_content_cannot() -> None:
    tracer, emitter = recording_tracer()
    async with running(Sample(), tracer) as client:
        answer = await client.call("GET", "/courses/tides/contents/tides-1-1")
        assert answer.status == 200
        await client.call("GET", "/things/tides")
    of_a_course, of_none = emitter.documents()
    assert of_a_course["annotations"] == {
        "service": "service-under-test",
        "operation": "GET /courses/{courseId}/contents/{contentId}",
        "route": "/courses/{courseId}/contents/{contentId}",
        "course": "tides",
        "user": pseudonym("learner-a"),
    }
    assert of_a_course["user"] == pseudonym("learner-a")
    assert "course" not in of_none["annotations"]
    for document in (of_a_course, of_none):
        assert "learner-a" not in json.dumps(document)
        assert "tides-1-1" not in json.dumps(document)


@pytest.mark.parametrize(
    "course", ["any%20words", "x" * 65, "%E6%B5%B7", "a%2Fb", "tides%0A", "..%2f", "a.b"]
)
async def test_what_is_no_id_of_a_course_is_in_no_trace(course: str) -> None:
    tracer, emitter = recording_tracer()
    async with running(Sample(), tracer) as client:
        answer = await client.call("GET", f"/courses/{course}/contents/c-1")
        assert answer.status in (400, 404)
    (document,) = emitter.documents()
    assert "course" not in document["annotations"]


async def test_a_request_without_a_token_has_no_user() -> None:
    tracer, emitter = recording_tracer()
    async with running(Sample(), tracer) as client:
        await client.call("GET", "/me", token="not-a-token")
    (document,) = emitter.documents()
    assert "user" not in document
    assert "user" not in document["annotations"]
    assert document["error"] is True


def test_a_pseudonym_is_the_same_everywhere() -> None:
    """Sixteen hex digits of SHA-256, so that any tool can work it out."""
    assert pseudonym("abc") == "ba7816bf8f01cfea"
    assert pseudonym("\ud800") == pseudonym("\ud800"), "whatever a token may hold"


@pytest.mark.parametrize(
    ("name", "status", "mark", "types"),
    [
        ("bug", 500, "fault", ["RuntimeError"]),
        ("groups", 500, "fault", ["ExceptionGroup", "ThingMissingError", "OSError"]),
        ("open", 503, "fault", ["CircuitOpenError"]),
        ("unavailable", 503, "fault", ["DependencyUnavailable"]),
        ("throttled", 503, "fault", ["Throttled"]),
        ("timeout", 503, "fault", ["TimeoutError"]),
        ("domain", 404, "error", ["ThingMissingError"]),
        ("group", 404, "error", ["ExceptionGroup", "ThingMissingError"]),
        ("gone", 410, "error", ["HTTPGone"]),
        ("problem", 409, "error", ["Problem"]),
    ],
)
async def test_a_fault_is_ours_and_an_error_the_callers(
    name: str, status: int, mark: str, types: list[str]
) -> None:
    tracer, emitter = recording_tracer()
    async with running(Sample(), tracer) as client:
        answer = await client.call("GET", f"/raise/{name}")
        assert answer.status == status
    (document,) = emitter.documents()
    assert {flag for flag in ("error", "fault") if document.get(flag)} == {mark}
    assert [exception["type"] for exception in document["cause"]["exceptions"]] == types


async def test_an_unsampled_problem_names_the_trace_too() -> None:
    tracer, emitter = recording_tracer()
    headers = {"X-Amzn-Trace-Id": f"Root={TRACE};Sampled=0"}
    async with running(Sample(), tracer) as client:
        answer = await client.call("GET", "/nothing", headers=headers)
        problem = await answer.json()
    assert problem["traceId"] == TRACE
    assert emitter.spans == []
