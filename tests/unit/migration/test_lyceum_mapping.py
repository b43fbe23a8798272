"""Lyceum's mapping against the services' own code: what they read of what was moved, and that what
they write leads back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.migration._items import Item, canonical
from deploy.migration.mapping import Cell, Origin, Rule, Stays
from deploy.migration.mappings.lyceum import CATALOG, CONTENT, PROGRESS, UNKNOWN_TIME, mapping
from deploy.migration.planning import check_mapping, survey_items
from libs.aws import marshal, unmarshal
from libs.timestamps import format_timestamp, parse_timestamp
from services.content_delivery.domain.content import (
    Caption,
    CaptionKind,
    Content,
    ContentStatus,
    Rendition,
)
from services.content_delivery.storage import rows as content_rows
from services.course_catalog.domain.course import (
    Course,
    CourseContent,
    ItemType,
    Level,
    OutlineItem,
    Section,
    Tombstone,
    new_course,
)
from services.course_catalog.storage import items as course_items
from services.progress_tracking.storage import rows as progress_rows

LYCEUM = mapping()
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def legacy(partition: str, sort: str = "META", **attributes: object) -> Item:
    return marshal({"pk": partition, "sk": sort, **attributes})


OLD_COURSE = legacy(
    "COURSE#tides", name="Tides", slug="tides", about="Why the sea rises.", summary="The sea.",
    lang="en", level="beginner", state="live",
    sections=[{"id": "s1", "title": "One", "items": [{
        "contentId": "c1", "title": "First", "type": "video", "durationSeconds": 60,
        "required": True, "weight": 2,
    }]}],
)  # fmt: skip
OLD_CONTENT = legacy(
    "CONTENT#c1", course="tides", order=3, title="First", state="ready", s3Key="content/c1",
    mime="video/mp4", bytes=1000, etag='"abc"', seconds=60, createdAt="2020-01-01T00:00:00Z",
)  # fmt: skip
OLD_PROGRESS = legacy(
    "USER#ada", "PROGRESS#tides", startedAt="2020-02-01T00:00:00.000Z",
    completed=frozenset({"c1", "c2"}),
    resume={"contentId": "c3", "positionSeconds": 12.5, "deviceId": "phone",
            "occurredAt": "2020-02-02T00:00:00.000Z"},
    places={"c3": {"fraction": 0.5}},
)  # fmt: skip


def only_row(item: Item) -> Item:
    (row,) = LYCEUM.rows(item).values()
    return row


def test_nothing_is_wrong_with_the_mapping() -> None:
    survey = check_mapping(LYCEUM)
    survey_items(
        LYCEUM,
        [
            OLD_COURSE, OLD_CONTENT, OLD_PROGRESS, legacy("SLUG#tides", courseId="tides"),
            legacy("USER#ada", "PROFILE"), legacy("PAYMENT#1", "2020#x"),
        ],
        survey,
    )  # fmt: skip
    assert survey.problems == []
    assert survey.by_rule == {
        "course": 1, "content": 1, "progress": 1, "slug": 1, "profile": 1, "payment": 1,
    }  # fmt: skip
    assert survey.rows_by_module == {
        "course_catalog": 2, "content_delivery": 1, "progress_tracking": 3,
    }  # fmt: skip


@pytest.mark.parametrize("target", [CATALOG, CONTENT, PROGRESS], ids=lambda target: target.module)
def test_the_tables_have_the_services_keys(target: Any) -> None:
    definition = json.loads(Path(f"services/{target.module}/table.json").read_text())
    keys = {key["KeyType"]: key["AttributeName"] for key in definition["KeySchema"]}
    assert definition["TableName"] == target.table.name
    assert (keys["HASH"], keys.get("RANGE")) == (target.table.partition, target.table.sort)


def test_an_old_course_without_timestamps_is_read_by_the_catalog() -> None:
    course = course_items.course_of(only_row(OLD_COURSE))
    assert course is not None
    assert (course.title, course.version, str(course.status)) == ("Tides", 1, "published")
    assert course.created_at == datetime(2000, 1, 1, tzinfo=UTC)
    assert canonical(only_row(OLD_COURSE)) == canonical(
        {
            name: value
            for name, value in course_items.course_item(course).items()
            if name not in ("descriptionWords", "changedIn")
        }
    )
    summary = course_items.change_of(only_row(OLD_COURSE))
    assert not isinstance(summary, Tombstone)


def test_moments_are_written_as_the_services_write_them() -> None:
    row = only_row({**OLD_COURSE, "updatedAt": {"S": "2020-05-01T02:00:00+02:00"}})
    assert row["updatedAt"] == {"S": "2020-05-01T00:00:00.000Z"}
    assert row["changedAtId"] == {"S": "2020-05-01T00:00:00.000Z#tides"}


def test_old_content_is_read_by_the_service() -> None:
    content = content_rows.decode(unmarshal(only_row(OLD_CONTENT)), content_id="c1")
    assert (content.status, content.version) == (ContentStatus.READY, 1)
    assert content.updated_at == content.created_at == datetime(2020, 1, 1, tzinfo=UTC)


def test_old_progress_is_read_by_the_service() -> None:
    rows = list(LYCEUM.rows(OLD_PROGRESS).values())
    ((course_id, course, recent),) = progress_rows.head_rows(rows[:2])
    summary = progress_rows.summary_of(course, recent)
    place = progress_rows.content_row(rows[2])
    assert (course_id, summary.attempt) == ("tides", 1)
    assert set(summary.completions) == {"c1", "c2"}
    assert summary.resume is not None
    assert summary.resume.position_seconds == 12.5
    assert (place.content_id, place.content.fraction) == ("c3", 0.5)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (legacy("COURSE#x", state="live"), "the rule 'course': 'name' is missing"),
        (legacy("CONTENT#x", course="y"), "the rule 'content': 'title' is missing"),
        ({**OLD_COURSE, "state": {"S": "secret"}}, "the rule 'course': 'secret' is missing"),
        ({**OLD_COURSE, "createdAt": {"S": "yesterday"}}, "not an RFC 3339 timestamp"),
        (legacy("COURSE#a#b"), "no rule is for it"),
        (legacy("USER#a", "PROGRESS"), "no rule is for it"),
        ({**OLD_PROGRESS, "places": {"M": {"a#b": {"M": {}}}}}, "'P#tides#a#b' does not read back"),
    ],
)  # fmt: skip
def test_an_item_that_cannot_be_moved_is_a_line(item: Item, why: str) -> None:
    survey = check_mapping(LYCEUM)
    survey_items(LYCEUM, [item], survey)
    (problem,) = survey.problems
    assert why in problem
    assert "\n" not in problem


# --- what the services write leads back --------------------------------------------------------

identifiers = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
moments = st.integers(0, 10**9).map(lambda ms: MOMENT + timedelta(milliseconds=ms))
texts = st.text(alphabet="abc äß#", min_size=1, max_size=8).map(lambda text: f"x{text}")


@st.composite
def courses(draw: st.DrawFn) -> Course:
    items = tuple(
        OutlineItem(content_id, draw(texts), draw(st.sampled_from(ItemType)),
                    draw(st.none() | st.integers(0, 100)), draw(st.booleans()),
                    draw(st.sampled_from([1, 0.5, 2])))
        for content_id in draw(st.lists(identifiers, min_size=1, max_size=3, unique=True))
    )  # fmt: skip
    content = CourseContent(
        slug="a-b", title=draw(texts), description=draw(texts), short_description=draw(texts),
        language="en", level=draw(st.sampled_from(Level)), tags=tuple({draw(texts)}),
        outline=(Section("s", draw(texts), items),),
    )  # fmt: skip
    course = new_course(draw(identifiers), content, now=draw(moments))
    if draw(st.booleans()):
        course = course.published(now=draw(moments))
        if draw(st.booleans()):
            course = course.archived(now=draw(moments))
    return course


@st.composite
def contents(draw: st.DrawFn) -> Content:
    pending = Content(
        id=draw(identifiers), course_id=draw(identifiers), position=draw(st.integers(0, 99)),
        title=draw(texts), status=ContentStatus.PENDING, object_key="content/k",
        content_type="video/mp4", size_bytes=draw(st.integers(1, 99)), created_at=draw(moments),
        updated_at=draw(moments), purge_at=draw(moments),
        duration_seconds=draw(st.none() | st.integers(0, 9)),
        captions=(Caption("en", CaptionKind.CAPTIONS, "content/t"),),
    )  # fmt: skip
    at = draw(moments)
    if draw(st.booleans()):
        return pending.became_failed(reason="too large", at=at)
    ready = pending.became_ready(
        size_bytes=3, etag='"e"', checksum_sha256=None, duration_seconds=None, at=at
    )
    rendition = Rendition("low", "content/low", "video/mp4", 7, '"r"', 1, 2)
    changed = ready.with_media(renditions=(rendition,), captions=(), at=at)
    return changed.became_deleted(at=at, purge_at=at) if draw(st.booleans()) else changed


@st.composite
def progress(draw: st.DrawFn) -> list[Item]:
    user, course = draw(identifiers), draw(identifiers)
    times = st.builds(format_timestamp, moments)
    attempts = st.integers(1, 3)
    members = draw(
        st.sets(st.builds(progress_rows.completion_member, identifiers, moments), max_size=5)
    )
    head: dict[str, object] = {"attempt": draw(attempts), "updatedAt": draw(times)}
    if members:
        head["completed"] = members
    if draw(st.booleans()):
        head["startedAt"] = draw(times)
    rows: list[Item] = [{**progress_rows.course_key(user, course), **marshal(head)}]
    if draw(st.booleans()):
        recent: dict[str, object] = {"attempt": draw(attempts), "updatedAt": draw(times)}
        if draw(st.booleans()):
            recent |= {"occurredAt": draw(times), "deviceId": draw(texts),
                       "contentId": draw(identifiers), "positionSeconds": 1.5}  # fmt: skip
        rows.append({**progress_rows.recent_key(user, course), **marshal(recent)})
    for content_id in draw(st.sets(identifiers, max_size=3)):
        place = {"attempt": draw(attempts), "updatedAt": draw(times), "fraction": 0.25}
        rows.append({**progress_rows.content_key(user, course, content_id), **marshal(place)})
    return rows


def assert_leads_back(table: str, rows: list[Item]) -> None:
    target = next(target for target in LYCEUM.targets if target.table.name == table)
    by_cell = {target.table.cell(row): row for row in rows}
    origins = {LYCEUM.origin(cell) for cell in by_cell}
    sources: set[tuple[Rule, Cell]] = set()
    for origin in origins:
        assert isinstance(origin, Origin)
        sources.add((origin.rule, origin.source))
    ((rule, source),) = sources
    composed = LYCEUM.composed(rule, source, rows)
    again = LYCEUM.rows(composed)
    assert {cell: canonical(row) for cell, row in again.items()} == {
        cell: canonical(row) for cell, row in by_cell.items()
    }


@given(courses())
def test_a_course_of_the_catalog_leads_back(course: Course) -> None:
    assert_leads_back("CourseCatalog", [course_items.course_item(course)])
    assert_leads_back("CourseCatalog", [course_items.slug_item(course)])


def test_a_deleted_course_leads_back() -> None:
    tombstone = Tombstone("tides", 4, MOMENT)
    assert_leads_back("CourseCatalog", [course_items.tombstone_item(tombstone)])


@given(contents())
def test_content_leads_back(content: Content) -> None:
    assert_leads_back("Content", [marshal({**content_rows.encode(content), "writtenBy": "t"})])


@given(progress())
def test_progress_leads_back(rows: list[Item]) -> None:
    assert_leads_back("Progress", rows)


@pytest.mark.parametrize(
    "cell",
    [
        Cell("CourseCatalog", "outline#tides", None),
        Cell("Progress", "~outline#tides", "OUTLINE"),
    ],
    ids=str,
)
def test_what_is_the_services_alone_stays(cell: Cell) -> None:
    assert isinstance(LYCEUM.origin(cell), Stays)


def test_an_unknown_moment_is_one_that_the_services_read() -> None:
    assert parse_timestamp(UNKNOWN_TIME) < MOMENT
