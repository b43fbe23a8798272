"""A course's rules: what is valid, what each change does, which change is possible when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from services.course_catalog.domain.course import (
    Course,
    ItemType,
    OutlineItem,
    Section,
    Status,
    new_course,
)
from services.course_catalog.domain.errors import (
    InvalidCourseError,
    InvalidTransitionError,
    UnpublishableError,
)
from tests.unit.course_catalog.courses import content, draft, instant, published


def test_a_new_course_is_a_draft_in_its_first_version() -> None:
    zone = timezone(timedelta(hours=2))
    course = new_course("crs-1", content(1), now=datetime(2026, 1, 1, 2, 0, 0, 1999, zone))
    assert (course.status, course.version, course.outline_version) == (Status.DRAFT, 1, 1)
    assert course.created_at == course.updated_at == instant(0.001)
    assert course.published_at is None


def test_every_change_is_a_version_and_only_a_changed_outline_an_outline_version() -> None:
    first = draft(1)
    second = first.edited(content(1, title="New"), now=instant(1))
    third = second.edited(replace(content(1, title="New"), outline=()), now=instant(2))
    assert [(c.version, c.outline_version) for c in (second, third)] == [(2, 1), (3, 2)]
    assert third.created_at == first.created_at


def test_updated_at_grows_whatever_the_clock_does() -> None:
    course = draft(1, at=100)
    for _ in range(3):
        course = course.edited(content(1), now=instant(50))
    assert course.updated_at == instant(100.003)


def test_the_first_publication_counts() -> None:
    course = draft(1).published(now=instant(10))
    again = course.archived(now=instant(20)).published(now=instant(30))
    assert (again.status, again.published_at) == (Status.PUBLISHED, instant(10))


def test_a_course_without_items_is_not_published() -> None:
    with pytest.raises(UnpublishableError, match="/outline"):
        draft(1, outline=()).published(now=instant(1))


def test_a_published_course_keeps_an_item() -> None:
    with pytest.raises(InvalidCourseError, match="/outline"):
        published(1).edited(content(1, outline=()), now=instant(1))
    draft(1).edited(content(1, outline=()), now=instant(1))


def test_each_field_knows_the_version_that_changed_it_last() -> None:
    first = draft(1)
    assert first.changed_since(0) == {}
    second = first.edited(content(1, title="New", tags=()), now=instant(1))
    third = second.published(now=instant(2))
    fourth = third.edited(content(1, title="Newer", tags=()), now=instant(3))
    assert fourth.changed_since(1) == {"title": 4, "tags": 2, "status": 3}
    assert fourth.changed_since(2) == {"title": 4, "status": 3}
    assert fourth.changed_since(4) == {}
    assert fourth.archived(now=instant(4)).changed_since(4) == {"status": 5}


ARCHIVED = published(1).archived(now=instant(9))


@pytest.mark.parametrize(
    ("course", "action"),
    [
        (published(1), Course.published),
        (draft(1), Course.archived),
        (ARCHIVED, Course.archived),
        (published(1), Course.deleted),
        (ARCHIVED, Course.deleted),
    ],
)
def test_what_a_status_does_not_allow(course: Course, action: Callable[..., object]) -> None:
    with pytest.raises(InvalidTransitionError, match=course.status):
        action(course, now=instant(10))


def test_a_tombstone_is_the_next_version() -> None:
    tombstone = draft(1).deleted(now=instant(10))
    assert (tombstone.id, tombstone.version, tombstone.deleted_at) == ("crs-1", 2, instant(10))


def test_every_violation_is_reported_at_once() -> None:
    bad = content(
        1,
        slug="No Slug",
        title=" ",
        short_description="",
        description="x" * 50_001,
        language="english",
        tags=("a", "a", ""),
        instructors=("",) * 21,
        outline=(
            Section("s", "S", ()),
            Section(
                "s",
                "",
                (
                    OutlineItem("a b", "T", ItemType.QUIZ),
                    OutlineItem("c", "T", ItemType.QUIZ, -1, True, 0),
                    OutlineItem("c", "T", ItemType.QUIZ, 86_401, True, float("nan")),
                ),
            ),
        ),
    )
    with pytest.raises(InvalidCourseError) as refused:
        new_course("crs/1", bad, now=instant(0))
    pointers = {violation.pointer for violation in refused.value.violations}
    assert pointers >= {
        "/id", "/slug", "/title", "/shortDescription", "/description", "/language", "/tags/1",
        "/tags/2", "/instructors", "/instructors/1", "/outline/0/items", "/outline/1/id",
        "/outline/1/title", "/outline/1/items/0/contentId", "/outline/1/items/2/contentId",
        "/outline/1/items/1/durationSeconds", "/outline/1/items/1/weight",
        "/outline/1/items/2/durationSeconds", "/outline/1/items/2/weight",
    }  # fmt: skip
    with pytest.raises(InvalidCourseError):
        draft(1).edited(bad, now=instant(1))


def test_an_outline_has_bounds() -> None:
    item = OutlineItem("c", "T", ItemType.QUIZ)
    many = tuple(replace(item, content_id=f"c{n}") for n in range(501))
    with pytest.raises(InvalidCourseError, match="at most 500 items"):
        draft(1, outline=(Section("s", "S", many),))
    sections = tuple(
        Section(f"s{n}", "S", (replace(item, content_id=f"c{n}"),)) for n in range(201)
    )
    with pytest.raises(InvalidCourseError, match="at most 200 sections"):
        draft(1, outline=sections)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        new_course("crs-1", content(1), now=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_course_is_found_by_the_words_of_its_description_that_nothing_else_has() -> None:
    course = draft(
        1,
        title="Ökologie",
        short_description="Von Wäldern",
        tags=("Wald",),
        description="Wälder, Wald und ÖKOLOGIE: was Wälder sind. c++ 日本",
    )
    expected = ("walder", "und", "was", "sind", "c++", "日", "本", "日本")
    assert course.description_words() == expected
    assert course.summary().description_words == expected


def test_the_words_of_a_description_are_bounded() -> None:
    text = " ".join(f"w{number} again" for number in range(2_000))
    found = draft(1, description=text).description_words()
    assert (len(found), found[:3], found[-1]) == (500, ("w0", "again", "w1"), "w498")
    long = " ".join(
        f"{number:x}".rjust(length, "x") for number in range(600) for length in (40, 41)
    )
    found = draft(1, description=long).description_words()
    assert {len(word) for word in found} == {40}
    assert sum(map(len, found)) == 8_000
