"""Percent, counts and status as they follow from what was recorded and the outline."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.progress_tracking.domain.outline import (
    Outline,
    OutlineItem,
    Standing,
    Status,
    standing,
)
from services.progress_tracking.domain.progress import CourseSummary, blank
from tests.unit.progress_tracking.updates import NOW, OUTLINE, minutes


def having_completed(*content_ids: str) -> CourseSummary:
    return replace(
        blank("crs-1", attempt=1, at=NOW).summary,
        started_at=minutes(0),
        completions={content_id: minutes(number) for number, content_id in enumerate(content_ids)},
    )


def outline(*items: tuple[str, bool, float]) -> Outline:
    return Outline("crs-1", 3, tuple(OutlineItem(*item) for item in items))


def test_without_an_outline_only_what_was_recorded_is_known() -> None:
    assert standing(having_completed("intro", "gone"), None) == Standing(
        status=Status.IN_PROGRESS,
        percent=None,
        completed_count=2,
        total_count=None,
        outline_version=None,
        new_items_since_completion=None,
    )


def test_only_required_contents_of_the_outline_count() -> None:
    assert standing(having_completed("intro", "extra", "gone"), OUTLINE) == Standing(
        status=Status.IN_PROGRESS,
        percent=33,
        completed_count=1,
        total_count=2,
        outline_version=3,
        new_items_since_completion=None,
    )


def test_a_complete_course() -> None:
    found = standing(having_completed("intro", "tides"), OUTLINE)
    assert (found.status, found.percent, found.new_items_since_completion) == (
        Status.COMPLETED,
        100,
        0,
    )


def test_what_authors_add_after_completion_is_told_and_takes_nothing_back() -> None:
    complete = replace(having_completed("intro", "tides"), completed_at=minutes(1))
    grown = outline(("intro", True, 1), ("tides", True, 1), ("new", True, 2), ("odd", False, 1))
    found = standing(complete, grown)
    assert (found.status, found.percent, found.new_items_since_completion) == (
        Status.COMPLETED,
        50,
        1,
    )


def test_a_restarted_course_is_not_started() -> None:
    found = standing(blank("crs-1", attempt=2, at=NOW).summary, OUTLINE)
    assert (found.status, found.percent) == (Status.NOT_STARTED, 0)


@pytest.mark.parametrize(
    ("items", "done", "percent"),
    [
        ([(f"c{n}", True, 0.1) for n in range(10)], 7, 70),
        ([(f"c{n}", True, 1.0) for n in range(3)], 2, 66),
        ([("c0", True, 999.0), ("c1", True, 1e-9)], 1, 99),
        ([("c0", True, 5.0), ("c1", True, 0.0)], 1, 99),
        ([("c0", True, 0.0), ("c1", True, 0.0)], 1, 50),
        ([("c0", False, 1.0), ("c1", False, 3.0)], 1, 25),
        ([("c0", True, 1.0), ("c0", True, 1.0)], 1, 100),
        ([], 1, 0),
    ],
    ids=[
        "tenths are exact",
        "rounded down",
        "almost is not all",
        "what is missing has no weight",
        "no weights at all",
        "nothing is required",
        "a content twice",
        "an empty outline",
    ],
)
def test_percent(items: list[tuple[str, bool, float]], done: int, percent: int) -> None:
    summary = having_completed(*(f"c{number}" for number in range(done)))
    assert standing(summary, outline(*items)).percent == percent


def test_an_empty_outline_is_never_complete() -> None:
    assert standing(having_completed("intro"), outline()).status is Status.IN_PROGRESS


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", "d", "e"]),
            st.booleans(),
            st.floats(0, 1000, allow_nan=False),
        ),
        min_size=1,
    ),
    st.sets(st.sampled_from(["a", "b", "c", "d", "e", "f"])),
)
def test_percent_is_a_hundred_exactly_when_complete(
    items: list[tuple[str, bool, float]], done: set[str]
) -> None:
    found = standing(having_completed(*sorted(done)), outline(*items))
    assert found.percent is not None
    assert 0 <= found.percent <= 100
    assert (found.percent == 100) == (found.status is Status.COMPLETED)
    assert found.total_count is not None
    assert found.completed_count <= found.total_count
