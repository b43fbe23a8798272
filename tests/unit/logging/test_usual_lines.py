"""A line that is written in one go is the one that the pipeline would write, byte for byte."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.logging import configure, get_logger, request_context
from libs.logging._pipeline import PIPELINE
from libs.logging._usual_line import usual_line

NAMES = st.sampled_from(
    [
        *("route", "status", "durationMs", "sub", "é", 'quo"te', "a" * 64, "b" * 65, "..."),
        # Own fields of the pipeline's, what holds a secret, and what looks like one.
        *("event", "level", "logger_", "exception", "password", "token", "eyJhbGciOiJub25lIn0"),
    ]
) | st.text(max_size=6)
TEXTS = st.one_of(
    st.sampled_from(
        [
            *("GET", "/courses/{courseId}", "0af7651916cd43dd8448eb211c80319c", "learner-0"),
            *(
                "password=hunter2",
                "Bearer abc.def.ghi",
                "eyJhbGciOiJub25lIn0.e30.",
                "AKIA" + "A" * 16,
            ),
            *(
                "line\nend",
                "\u2028",
                "\x7f",
                "\ud800",
                "é",
                '"',
                "\\",
                "x" * 64,
                "x" * 65,
                "x" * 9000,
            ),
        ]
    ),
    st.text(max_size=20),
)
VALUES = st.one_of(
    TEXTS,
    st.integers(),
    st.sampled_from([2**63, 2**64 - 1, 2**64, -(2**64), 0, True, False, None]),
    st.floats(),
    st.sampled_from([1.234, 0.0, -0.0, 1e-7, 1e22]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), TEXTS, max_size=2),
    st.builds(lambda: ValueError("no")),
)
MEMBERS = st.dictionaries(NAMES, VALUES, max_size=6)
EVENTS = st.just("request") | TEXTS


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    before = PIPELINE.settings
    yield
    PIPELINE.settings = before


def log(event: str, around: Mapping[str, object], values: Mapping[str, object]) -> None:
    with request_context(**around):
        get_logger("libs.http._access_log").info(event, **values)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(EVENTS, MEMBERS, MEMBERS)
def test_both_ways_write_the_same(
    event: str, around: dict[str, object], values: dict[str, object]
) -> None:
    stream = io.StringIO()
    configure(
        service='the "service"',
        version="1.2.3",
        stream=stream,
        pretty=False,
        clock=lambda: datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC),
    )
    log(event, around, values)
    sink = PIPELINE.settings.sink
    # One that is given events, as every other is.
    PIPELINE.settings = replace(PIPELINE.settings, sink=lambda event: sink(event))
    log(event, around, values)
    at_once, by_event, end = stream.getvalue().split("\n")
    assert at_once == by_event
    assert end == ""


def test_names_that_are_no_text_are_left_to_the_pipeline() -> None:
    assert usual_line([(5, "five")]) is None


def test_the_line_of_a_request_is_written_at_once() -> None:
    members = {
        "event": "request",
        "logger": "libs.http._access_log",
        "requestId": "0af7651916cd43dd8448eb211c80319c",
        "method": "GET",
        "route": "/progress/{userId}/{courseId}",
        "traceId": "1-5759e988-bd862e3fe1be46a994272793",
        "sub": "0b8e7c5e-7f0a-4a55-9d3a-1c2f3e4d5a6b",
        "status": 200,
        "durationMs": 1.234,
    }
    assert usual_line(members.items()) == (
        ',"event":"request","logger":"libs.http._access_log"'
        ',"requestId":"0af7651916cd43dd8448eb211c80319c","method":"GET"'
        ',"route":"/progress/{userId}/{courseId}"'
        ',"traceId":"1-5759e988-bd862e3fe1be46a994272793"'
        ',"sub":"0b8e7c5e-7f0a-4a55-9d3a-1c2f3e4d5a6b","status":200,"durationMs":1.234'
    )
