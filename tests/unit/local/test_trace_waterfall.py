"""A trace in a terminal: complete, as wide as the terminal, and in no control of it."""

from __future__ import annotations

import io
import re
import unicodedata
from datetime import UTC
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local._traces._terminal import Surface, cells
from deploy.local._traces._trace import Trace
from deploy.local._traces._waterfall import duration_text, waterfall
from tests.unit.local.trace_documents import (
    BEGAN,
    alone,
    call,
    segment,
    span_id,
    trace_id,
    trace_of,
)

WIDE = Surface(width=110, encoding="utf-8", has_colours=False)
COLOUR = re.compile(r"\x1b\[[0-9]+m")


def drawn(trace: Trace, surface: Surface = WIDE) -> list[str]:
    return waterfall(trace, surface, timezone=UTC)


def rows(trace: Trace, surface: Surface = WIDE) -> list[str]:
    """Without what is above them."""
    lines = drawn(trace, surface)
    return lines[lines.index("") + 2 :]


def test_a_request_and_what_it_waited_for() -> None:
    condition = {"exceptions": [{"type": "ConditionalCheckFailedException", "message": "no"}]}
    trace = trace_of(
        segment(
            user="8cc79044",
            annotations={**segment()["annotations"], "course": "tides", "cached": False},
            subsegments=[
                call(2),
                call(3, start_time=BEGAN + 0.006, end_time=BEGAN + 0.008, cause=condition),
            ],
        )
    )
    name = " " * 57
    assert drawn(trace, Surface(60 + 42, "utf-8", has_colours=False)) == [
        f"Trace {trace_id(1)}",
        "2026-03-01 10:00:00.000  10.0 ms  1 request  2 calls  3 spans",
        "user 8cc79044",
        "course tides",
        "cached false",
        "",
        f"{name[:42]}     start      took",
        "course_catalog GET /courses/{courseId} 200    0.0 ms   10.0 ms  " + "█" * 38,
        "├ DynamoDB GetItem CourseCatalog              2.0 ms    4.0 ms         " + "█" * 15 + "▊",
        "└ DynamoDB GetItem CourseCatalog              6.0 ms    2.0 ms  "
        + " " * 22
        + "█" * 8
        + "▍",
        "    ConditionalCheckFailedException: no",
    ]


def test_marks_statuses_and_retries() -> None:
    trace = trace_of(
        segment(
            http={"response": {"status": 503}},
            fault=True,
            subsegments=[
                call(2, error=True, throttle=True, aws={"operation": "Query", "retries": 2}),
                call(3, http={"response": {"status": 400}}, error=True),
                call(4, http={"response": {"status": 200}}),
            ],
        )
    )
    request, throttled, failed, fine = (line.split("   ")[0] for line in rows(trace))
    assert request.endswith(" 503 fault")
    assert throttled.endswith("DynamoDB Query throttle 2 retries")
    assert failed.endswith(" 400 error")
    assert fine.endswith("GetItem CourseCatalog")


def test_other_services_and_own_work_are_named() -> None:
    url = "http://127.0.0.1:1/pool/.well-known/jwks.json"
    trace = trace_of(
        segment(
            annotations={},
            subsegments=[
                {
                    **call(2),
                    "namespace": "remote",
                    "http": {"request": {"method": "GET", "url": url}},
                },
                {**call(3), "namespace": "local", "name": "merge"},
            ],
        )
    )
    request, remote, own = rows(trace, Surface(160, "utf-8", has_colours=False))
    assert request.startswith("course_catalog GET http://127.0.0.1:1/courses/{courseId} 200 ")
    assert remote.startswith(f"├ GET {url} ")
    assert own.startswith("└ merge ")


def test_requests_of_a_journey_stand_side_by_side_and_the_time_between_is_shortened() -> None:
    client = span_id(99)  # the caller's span, which nobody sends
    first = segment(1, parent_id=client)
    hour = 3600
    later: dict[str, Any] = {"start_time": BEGAN + hour, "end_time": BEGAN + hour + 0.01}
    trace = trace_of(segment(2, parent_id=client, **later), first)
    assert trace.duration == pytest.approx(0.02, abs=1e-6)
    assert trace.end - trace.start == pytest.approx(hour + 0.01)
    one, other = rows(trace)
    assert not one.startswith(("├", "└"))
    assert "3600.0 s" in other
    for line in (one, other):
        assert line.count("█") > 10
    assert "┊ nothing to do" in drawn(trace)[3]
    assert "2 requests" in drawn(trace)[1]


def test_clocks_that_differ_are_drawn_as_they_are() -> None:
    """A child that begins before its parent, and ends after it."""
    child = segment(
        2, parent_id=span_id(1), start_time=BEGAN - 0.005, end_time=BEGAN + 0.02, annotations={}
    )
    trace = trace_of(segment(1), child)
    assert trace.start == BEGAN - 0.005
    assert trace.duration == pytest.approx(0.025, abs=1e-6)
    parent, below = rows(trace)
    assert "5.0 ms   10.0 ms" in parent
    assert below.startswith("└ course_catalog")
    assert "0.0 ms   25.0 ms" in below


def test_a_part_without_its_whole_is_shown_and_said_to_be() -> None:
    early = alone(call(5, subsegments=[call(6)]), parent=4)
    (first, second) = rows(trace_of(early))
    assert first.startswith("DynamoDB GetItem CourseCatalog without its parent ")
    assert second.startswith("└ DynamoDB GetItem CourseCatalog ")
    whole = trace_of(early, segment(4))
    assert [line[:2] for line in rows(whole)] == ["co", "└ ", "  "]


def test_what_is_in_progress_reaches_as_far_as_what_is_known() -> None:
    unfinished = segment(1, in_progress=True)
    del unfinished["end_time"]
    part = alone(call(2, end_time=BEGAN + 0.04), parent=1)
    request, _ = rows(trace_of(unfinished, part))
    assert " in progress" in request
    assert request.count("ms") == 1
    assert request.count("█") > 20
    # Once the segment is there, that is what counts; in any order.
    for documents in ([unfinished, segment(1)], [segment(1), unfinished]):
        (request,) = rows(trace_of(*documents))
        assert "in progress" not in request


def test_spans_that_are_under_each_other_are_all_there() -> None:
    loop = [segment(n, parent_id=span_id(n % 3 + 1), annotations={}) for n in (1, 2, 3)]
    itself = segment(4, parent_id=span_id(4))
    assert {row.span.span_id for row in trace_of(*loop, itself).rows} == {
        span_id(number) for number in (1, 2, 3, 4)
    }
    assert len(rows(trace_of(*loop, itself))) == 4


def test_a_deep_tree_keeps_its_names() -> None:
    part = call(500, name="deepest", namespace="local")
    for number in range(499, 300, -1):
        part = call(number, subsegments=[part])
    trace = trace_of(segment(1, subsegments=[part]))
    assert trace.rows[-1].depth == 200
    assert "deepest" in rows(trace)[-1]


def test_no_text_drives_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202etxt.exe\u2028\ud800"
    trace = trace_of(
        segment(
            name=evil,
            user=evil,
            annotations={"operation": evil, evil: evil},
            cause={"exceptions": [{"type": evil, "message": evil, "stack": []}]},
            subsegments=[call(2, name=evil, aws={"operation": evil, "table_name": evil})],
        )
    )
    for surface in (WIDE, Surface(110, "ascii", has_colours=True)):
        for line in drawn(trace, surface):
            left = COLOUR.sub("", line) if surface.has_colours else line
            assert not [c for c in left if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl")]
            line.encode(surface.encoding)


def test_an_encoding_without_blocks_gets_plain_characters() -> None:
    trace = trace_of(segment(subsegments=[call(2), call(3, name="Größe")]))
    for encoding in ("ascii", "latin-1"):
        text = "\n".join(drawn(trace, Surface(100, encoding, has_colours=False)))
        text.encode(encoding)
        assert "####" in text
        assert "+ DynamoDB" in text
    assert "Größe" in text
    assert drawn(trace, Surface(100, "no such encoding", has_colours=False))


def test_a_narrow_terminal_gets_the_numbers() -> None:
    trace = trace_of(segment(subsegments=[call(2)]))
    lines = rows(trace, Surface(50, "utf-8", has_colours=False))
    assert all("ms" in line and "█" not in line and cells(line) <= 50 for line in lines)


def test_wide_and_combining_characters_are_counted_as_they_are_shown() -> None:
    trace = trace_of(segment(name="数据" * 30, annotations={}), segment(2, name="e\u0301" * 80))
    for line in drawn(trace):
        assert cells(line) <= 110
    assert cells("数a") == 3
    assert cells("x\u0323") == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 ms"),
        (0.01234, "12.3 ms"),
        (9.9999, "9999.9 ms"),
        (9.99995, "10.0 s"),
        (9_999.94, "9999.9 s"),
        (12 * 3600, "12 h"),
        (2.0**33, "2386093 h"),
    ],
)
def test_durations_fit_their_column(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
    assert len(text) <= 9


class Screen(io.StringIO):
    encoding = "utf-8"

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize(
    ("is_terminal", "variables", "width", "has_colours"),
    [
        (True, {}, 80, True),  # it does not say its size
        (True, {"COLUMNS": "132"}, 132, True),
        (True, {"COLUMNS": "132", "NO_COLOR": "1"}, 132, False),
        (True, {"NO_COLOR": ""}, 80, True),
        (True, {"TERM": "dumb"}, 80, False),
        (True, {"COLUMNS": "wide"}, 80, True),
        (True, {"COLUMNS": "99999999999999"}, 80, True),
        (True, {"COLUMNS": "99999"}, 500, True),
        (True, {"COLUMNS": "1"}, 20, True),
        (False, {}, None, False),
        (False, {"COLUMNS": "90"}, 90, False),
    ],
)
def test_the_surface_is_what_the_stream_can_show(
    is_terminal: bool, variables: dict[str, str], width: int | None, has_colours: bool
) -> None:
    surface = Surface.of(Screen(is_terminal=is_terminal), variables)
    assert (surface.width, surface.has_colours) == (width, has_colours)


IDS = st.integers(1, 12)
TIMES = st.floats(0, 2.0**33, exclude_max=True) | st.floats(BEGAN, BEGAN + 1)
TEXTS = st.text(min_size=1, max_size=60)


@st.composite
def parts(draw: st.DrawFn, depth: int = 0) -> dict[str, Any]:
    start = draw(TIMES)
    document: dict[str, Any] = {
        "id": span_id(draw(IDS)),
        "name": draw(TEXTS),
        "start_time": start,
        "namespace": draw(st.sampled_from(["aws", "remote", "local"])),
    }
    if draw(st.booleans()):
        document["end_time"] = max(start, draw(TIMES))
    else:
        document["in_progress"] = True
    for mark in ("error", "fault", "throttle"):
        document[mark] = draw(st.booleans())
    if draw(st.booleans()):
        document["aws"] = {"operation": draw(TEXTS), "table_name": draw(TEXTS)}
        document["cause"] = {"exceptions": [{"type": draw(TEXTS), "message": draw(TEXTS)}]}
        document["annotations"] = {draw(TEXTS): draw(TEXTS)}
    if depth < 3:
        document["subsegments"] = draw(st.lists(parts(depth=depth + 1), max_size=2))
    return document


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    document = {**draw(parts()), "trace_id": trace_id(1)}
    kind = draw(st.sampled_from(["segment", "under", "subsegment"]))
    if kind != "segment":
        document["parent_id"] = span_id(draw(IDS))
    if kind == "subsegment":
        document["type"] = "subsegment"
    return document


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(documents(), min_size=1, max_size=6),
    st.none() | st.integers(20, 200),
    st.sampled_from(["utf-8", "ascii", "latin-1"]),
    st.booleans(),
)
def test_any_forest_is_drawn_each_span_once_and_no_line_too_wide(
    forest: list[dict[str, Any]], width: int | None, encoding: str, has_colours: bool
) -> None:
    trace = trace_of(*forest)
    ids = [row.span.span_id for row in trace.rows]
    assert len(ids) == len(set(ids))
    assert set(ids) == {part["id"] for document in forest for part in walk(document)}
    surface = Surface(width, encoding, has_colours)
    lines = drawn(trace, surface)
    for line in lines:
        shown = COLOUR.sub("", line) if has_colours else line
        assert cells(shown) <= (width or 110)
        assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
        line.encode(encoding)
    exceptions = sum(len(row.span.exceptions) for row in trace.rows)
    assert len(rows(trace, surface)) == len(ids) + exceptions


def walk(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [document, *(below for part in document.get("subsegments", ()) for below in walk(part))]
