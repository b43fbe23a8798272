"""Rows that are read in one go say what they say when read attribute by attribute.

Rows are as they are written, or broken in a way that Hypothesis chooses; then the error is the same
as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.aws import unmarshal
from services.progress_tracking.domain.errors import CorruptProgressError
from services.progress_tracking.storage import rows

TIMESTAMPS = st.sampled_from(
    ["2026-03-04T05:06:07.000Z", "2026-03-04T05:06:07.999Z", "0001-01-01T00:00:00.000Z"]
)
# What is no timestamp, or one that this service does not write.
ODD_TIMESTAMPS = [
    *("2026-02-30T05:06:07.000Z", "2026-03-04T05:06:07Z", "2026-03-04t05:06:07.123456z"),
    *("2026-03-04T05:06:07.000+02:00", "2026-W10-3T05:06:07.000Z", "", "now"),
    *("2026-03-04T24:00:00.000Z", "2026-03-04T05:06:60.000Z", "٢٠٢٦-03-04T05:06:07.000Z"),
]
MEMBERS = st.builds(
    "{}#{}".format, st.sampled_from("abc"), st.integers(0, 3).map(lambda n: n * 1000)
)
ODD_MEMBERS = ["", "a", "a#", "#5", "a#5#6", "a#-5", "a# 7", "a#1_0", "a#b", "a#" + "9" * 30, "a#٣"]
ODD_NUMBERS = [
    "0",
    "-3",
    "007",
    "1.0",
    "1.50",
    "1E+2",
    "1e400",
    "NaN",
    "",
    " 1",
    "1_0",
    "٣",
    "9" * 50,
]
ODD_KEYS = ["", "H", "H#", "H#x", "H#x#y", "H#x#c#c", "H#x#r#", "P#x#y", "#c", "H##c"]


def text(value: str) -> dict[str, Any]:
    return {"S": value}


@st.composite
def usual_rows(draw: st.DrawFn) -> dict[str, Any]:
    """A row as it is written."""
    row: dict[str, Any] = {
        "userId": text("user-1"),
        "attempt": {"N": draw(st.sampled_from(["1", "2", "37"]))},
        "updatedAt": text(draw(TIMESTAMPS)),
    }
    kind = draw(st.sampled_from("crp"))
    course = draw(st.sampled_from(["crs-1", "crs-2"]))
    row["sk"] = text(f"P#{course}#intro" if kind == "p" else f"H#{course}#{kind}")
    if kind == "p":
        if draw(st.booleans()):
            row["fraction"] = {"N": draw(st.sampled_from(["0", "1", "0.25", "0.000001"]))}
        if draw(st.booleans()):
            row |= {
                "occurredAt": text(draw(TIMESTAMPS)),
                "deviceId": text("phone"),
                "positionSeconds": {"N": draw(st.sampled_from(["0", "217.5"]))},
            }
        return row
    if kind == "r":
        if draw(st.booleans()):
            position = draw(st.sampled_from(["0", "217.5", "604800", "0.001", "5.0"]))
            row |= {
                "occurredAt": text(draw(TIMESTAMPS)),
                "deviceId": text("phone"),
                "contentId": text("intro"),
                "positionSeconds": {"N": position},
            }
        return row
    for name in ("startedAt", "completedAt"):
        if draw(st.booleans()):
            row[name] = text(draw(TIMESTAMPS))
    if members := draw(st.sets(MEMBERS, max_size=6)):
        row["completed"] = {"SS": sorted(members)}
    return row


WIRE_VALUES = st.one_of(
    st.sampled_from(ODD_TIMESTAMPS).map(text),
    st.sampled_from(ODD_KEYS).map(text),
    st.sampled_from(ODD_NUMBERS).map(lambda number: {"N": number}),
    st.lists(st.sampled_from(ODD_MEMBERS) | MEMBERS, min_size=1, max_size=4, unique=True).map(
        lambda members: {"SS": members}
    ),
    st.sampled_from(
        [
            *({"NULL": True}, {"BOOL": False}, {"L": []}, {"M": {}}, {"B": b"x"}, {"NS": ["1"]}),
            # No DynamoDB sends these.
            *({}, {"S": 5}, {"N": 5}, {"S": "a", "N": "1"}, {"SS": [5]}, {"SS": [[]]}, {"X": "a"}),
        ]
    ),
)


@st.composite
def broken_rows(draw: st.DrawFn) -> dict[str, Any]:
    """A row with one or two attributes that are gone, or other ones than are written."""
    row = draw(usual_rows())
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from([*row, "unknown", "completed", "occurredAt"]))
        if draw(st.booleans()):
            row[name] = draw(WIRE_VALUES)
        else:
            row.pop(name, None)
    return row


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except Exception as error:
        return type(error), str(error)


def plainly(items: list[dict[str, Any]]) -> object:
    """`head_rows`, attribute by attribute."""
    found: dict[str, tuple[rows.CourseRow | None, rows.RecentRow | None]] = {}
    for item in items:
        row = rows._head(rows._Row(unmarshal(item)))
        if isinstance(row, rows.CourseRow):
            found[row.course_id] = (row, None)
        else:
            found[row.course_id] = (found.get(row.course_id, (None, None))[0], row)
    return [(course_id, *pair) for course_id, pair in found.items()]


def is_content(item: dict[str, Any]) -> bool:
    return bool(item["sk"]["S"].startswith("P#"))


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(st.lists(usual_rows(), max_size=4))
def test_rows_as_they_are_written_are_read_at_once(items: list[dict[str, Any]]) -> None:
    contents = [item for item in items if is_content(item)]
    heads = [item for item in items if not is_content(item)]
    assert all(rows._usual_head(item) is not None for item in heads)
    assert rows.head_rows(heads) == plainly(heads)
    assert all(rows._usual_content(item) is not None for item in contents)
    for item in contents:
        assert rows.content_row(item) == rows._content_row(rows._Row(unmarshal(item)))


def kind_of(item: dict[str, Any], plain: object) -> str:
    match plain:
        case (type() as error, str(message)):
            return message if error is CorruptProgressError else error.__name__
    return "read" if rows._usual_head(item) is None else "read at once"


def test_what_is_otherwise_is_read_or_refused_as_attribute_by_attribute() -> None:
    seen: set[str] = set()

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(broken_rows())
    def holds(item: dict[str, Any]) -> None:
        plain = outcome(lambda: plainly([item]))
        assert outcome(lambda: rows.head_rows([item])) == plain
        seen.add(kind_of(item, plain))
        for read, read_plainly in (
            (rows.course_row, rows._course_row),
            (rows.recent_row, rows._recent_row),
            (rows.content_row, rows._content_row),
        ):
            plain = outcome(lambda read=read_plainly: read(rows._Row(unmarshal(item))))  # type: ignore[misc]
            assert outcome(lambda read=read: read(item)) == plain  # type: ignore[misc]

    holds()
    # Or it might have compared nothing but rows that are right.
    assert {
        "read",
        "read at once",
        "ValueError",
        "a sort key is made of parts joined by #",
        "sk is of type str",
        "attempt is of type int",
        "updatedAt is a timestamp",
        "updatedAt is of type str",
        "completed is a set of strings",
        "a completion ends in milliseconds since 1970",
        "positionSeconds is of type float",
        "deviceId is of type str",
    } <= seen


@pytest.mark.parametrize("members", [["a#2000", "a#1000"], ["a#1000", "a#2000", "b#1"]])
def test_of_several_completions_of_a_content_the_earliest_counts(members: list[str]) -> None:
    row = {
        "userId": text("user-1"),
        "sk": text("H#crs-1#c"),
        "attempt": {"N": "1"},
        "updatedAt": text("2026-03-04T05:06:07.000Z"),
        "completed": {"SS": members},
    }
    found = rows.course_row(row)
    assert {name: int(moment.timestamp()) for name, moment in found.completions.items()}["a"] == 1
    assert found.superseded() == {"a#2000"}
