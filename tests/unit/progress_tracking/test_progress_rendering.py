"""Answers that are written in one go are, to the byte, what their documents are when encoded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.http import encode_json
from services.progress_tracking.api.rendered import course_json, page_json
from services.progress_tracking.api.schemas import course_document, page_document
from services.progress_tracking.domain.outline import Standing, Status
from services.progress_tracking.domain.progress import (
    ContentProgress,
    CourseSummary,
    Position,
    ResumePoint,
)
from services.progress_tracking.domain.tracking import CoursePage, CourseView, DetailedView

# More than an id can hold: what is stored is not looked at once more.
TEXTS = st.sampled_from(["crs-1", "A_b-9"]) | st.text(max_size=8) | st.just("\ud800")
NUMBERS = st.one_of(
    st.integers(0, 604_800).map(float),
    st.floats(0, 604_800).map(lambda value: round(value, 3)),
    st.floats(0, 1).map(lambda value: round(value, 6)),
    st.floats(),
)
COUNTS = st.integers(0, 4000)
MOMENTS = st.one_of(
    st.integers(0, 10**12).map(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(0, 0, n)),
    st.just(datetime(1, 1, 1, tzinfo=UTC)),
    st.just(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
)
CONTENTS = st.builds(
    ContentProgress,
    fraction=st.none() | NUMBERS,
    position=st.none() | st.builds(Position, MOMENTS, TEXTS, NUMBERS),
)
VIEWS = st.builds(
    CourseView,
    summary=st.builds(
        CourseSummary,
        course_id=TEXTS,
        attempt=st.integers(1, 2**31),
        started_at=st.none() | MOMENTS,
        completed_at=st.none() | MOMENTS,
        completions=st.dictionaries(TEXTS, MOMENTS, max_size=3),
        resume=st.none() | st.builds(ResumePoint, MOMENTS, TEXTS, TEXTS, NUMBERS),
        updated_at=MOMENTS,
    ),
    standing=st.builds(
        Standing,
        status=st.sampled_from(Status),
        percent=st.none() | st.integers(0, 100),
        completed_count=COUNTS,
        total_count=st.none() | COUNTS,
        outline_version=st.none() | COUNTS,
        new_items_since_completion=st.none() | COUNTS,
    ),
)
DETAILED = st.builds(DetailedView, VIEWS, st.dictionaries(TEXTS, CONTENTS, max_size=3))
PAGES = st.builds(CoursePage, st.lists(VIEWS, max_size=3).map(tuple), st.none() | st.just("crs-1"))


def outcome(render: Callable[[], bytes]) -> object:
    """The bytes, or how they were refused."""
    try:
        return render()
    except ValueError as error:
        return type(error), str(error).partition(":")[0].partition("codec")[0]


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(TEXTS, PAGES, st.none() | TEXTS)
def test_a_page(user_id: str, page: CoursePage, cursor: str | None) -> None:
    plain = outcome(lambda: encode_json(page_document(user_id, page, cursor)))
    assert outcome(lambda: page_json(user_id, page, cursor)) == plain


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(TEXTS, DETAILED)
def test_a_course(user_id: str, view: DetailedView) -> None:
    plain = outcome(lambda: encode_json(course_document(user_id, view)))
    assert outcome(lambda: course_json(user_id, view)) == plain
