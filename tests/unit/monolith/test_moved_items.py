"""What the monolith keeps is, once it has moved, what the services keep; and the other way round.

The monolith's own reading of an item, and the service's reading of the rows that the mapping makes of
it, must be the same course, content and progress: then nobody can tell a switch from what is answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.migration._items import canonical
from deploy.migration.mapping import Cell, Origin
from deploy.migration.mappings.lyceum import UNKNOWN_TIME, mapping
from deploy.migration.planning import check_mapping, survey_items
from libs.aws import marshal, unmarshal
from services.content_delivery.domain.content import Content
from services.content_delivery.storage import rows as content_rows
from services.course_catalog.domain.course import Course, Tombstone
from services.course_catalog.storage import items as course_items
from services.progress_tracking.domain.progress import (
    CourseProgress,
    ProgressUpdate,
    blank,
)
from services.progress_tracking.domain.recording import recorded
from services.progress_tracking.storage import rows as progress_rows
from tests.monolith import moments
from tests.monolith.app import KEY_PREFIXES
from tests.monolith.catalog import (
    change_of,
    course_item,
    course_of,
    slug_item,
    tombstone_item,
)
from tests.monolith.content import content_item, content_of
from tests.monolith.population import StoredObject, population
from tests.monolith.progress import progress_item, progress_of
from tests.monolith.table import Item
from tests.unit.migration.test_lyceum_mapping import contents, courses
from tests.unit.progress_tracking.updates import NOW, OUTLINE, progress_updates

LYCEUM = mapping()
OBJECTS = [
    StoredObject("content/a/original", "video/mp4", 1000, '"a"'),
    StoredObject("content/b/original", "text/markdown; charset=utf-8", 30, '"b"'),
]


@cache
def populated() -> Sequence[Item]:
    return [*population(3_000, OBJECTS, learners=["ada", "bo"])]


def moved(item: Item) -> dict[Cell, Item]:
    return dict(LYCEUM.rows(item))


def only_row(item: Item) -> Item:
    (row,) = moved(item).values()
    return row


def brought_back(rows: Mapping[Cell, Item]) -> Item:
    """The item that these rows become on the way back."""
    (origin,) = {
        (origin.rule.name, origin.source): origin
        for origin in map(LYCEUM.origin, rows)
        if isinstance(origin, Origin)
    }.values()
    item = LYCEUM.composed(origin.rule, origin.source, [*rows.values()])
    assert item is not None
    return item


def progress_of_rows(rows: Mapping[Cell, Item]) -> CourseProgress:
    """As the service reads its rows."""
    heads = [row for cell, row in sorted(rows.items()) if str(cell.sort).startswith("H#")]
    ((_, course, recent),) = progress_rows.head_rows(heads)
    summary = progress_rows.summary_of(course, recent)
    found = [
        progress_rows.content_row(row)
        for cell, row in rows.items()
        if str(cell.sort).startswith("P#")
    ]
    return CourseProgress(
        summary, {row.content_id: row.content for row in found if row.attempt == summary.attempt}
    )


@given(courses())
def test_a_course_moves_as_the_catalog_would_write_it(course: Course) -> None:
    item = course_item(course)
    assert course_of(item) == course
    assert change_of(item) == course.summary()
    assert canonical(only_row(item)) == canonical(course_items.course_item(course))
    assert canonical(only_row(slug_item(course))) == canonical(course_items.slug_item(course))
    assert canonical(brought_back(moved(item))) == canonical(item)


def test_a_deleted_course_moves_as_the_catalog_would_write_it() -> None:
    tombstone = Tombstone("tides", 4, NOW)
    item = tombstone_item(tombstone)
    assert course_of(item) is None
    assert change_of(item) == tombstone
    assert canonical(only_row(item)) == canonical(course_items.tombstone_item(tombstone))


@given(contents())
def test_content_moves_as_the_service_would_write_it(content: Content) -> None:
    item = content_item(content)
    kept = content_of(item, content.id)
    row = marshal(content_rows.encode(content))
    assert kept == content_rows.decode(unmarshal(row), content_id=content.id)
    assert canonical(only_row(item)) == canonical(row)
    assert canonical(brought_back(moved(item))) == canonical(item)


@given(st.lists(progress_updates, min_size=1, max_size=5), st.booleans())
def test_progress_moves_and_comes_back(updates: list[ProgressUpdate], begins_anew: bool) -> None:
    progress: CourseProgress | None = None
    for number, update in enumerate(updates):
        at = NOW + timedelta(seconds=number)
        progress = recorded(progress, update, course_id="crs-1", outline=OUTLINE, at=at)
    assert progress is not None
    if begins_anew:
        progress = blank("crs-1", attempt=2, at=NOW)
    item = progress_item("ada", progress, rev=3)
    assert progress_of(item) == progress
    rows = moved(item)
    assert progress_of_rows(rows) == progress
    # With `attempt` and `updatedAt` in each place now, and it still is the same progress.
    assert progress_of(brought_back(rows)) == progress


def test_what_came_back_from_an_earlier_attempt_counts_as_absent() -> None:
    rows = [
        {
            **progress_rows.course_key("ada", "crs-1"),
            **marshal({"attempt": 2, "updatedAt": "2026-01-02T00:00:00.000Z"}),
        },
        {
            **progress_rows.recent_key("ada", "crs-1"),
            **marshal({
                "attempt": 1, "updatedAt": "2026-01-03T00:00:00.000Z", "contentId": "intro",
                "positionSeconds": 5, "deviceId": "phone", "occurredAt": "2026-01-01T00:00:00.000Z",
            }),
        },
        {
            **progress_rows.content_key("ada", "crs-1", "intro"),
            **marshal({"attempt": 1, "updatedAt": "2026-01-01T00:00:00.000Z", "fraction": 1}),
        },
    ]  # fmt: skip
    table = next(t.table for t in LYCEUM.targets if t.module == "progress_tracking")
    by_cell = {table.cell(row): row for row in rows}
    assert progress_of(brought_back(by_cell)) == progress_of_rows(by_cell)
    assert progress_of(brought_back(by_cell)) == blank(
        "crs-1", attempt=2, at=datetime(2026, 1, 2, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("module", "table", "ttl"),
    [("course_catalog", "CourseCatalog", "expiresAt"), ("content_delivery", "Content", "purgeAt")],
)
def test_the_answer_to_repeat_moves_with_its_module(module: str, table: str, ttl: str) -> None:
    key = f"{KEY_PREFIXES[module]}{'0f' * 32}"
    item = marshal({
        "pk": key, "sk": key, "fingerprint": "f", "resourceId": "crs-1", "claimToken": "t",
        "leaseUntil": 5, "expiresAt": 1_800_000_000,
        "answer": {"status": 201, "headers": {"ETag": '"v1"'}, "body": b"\x00\x01"},
    })  # fmt: skip
    ((cell, row),) = moved(item).items()
    assert cell == Cell(table, f"idempotency#{'0f' * 32}", None)
    assert row[ttl] == {"N": "1800000000"}
    assert canonical(brought_back({cell: row})) == canonical(item)


def test_the_unknown_moment_is_the_same_on_both_sides() -> None:
    assert moments.UNKNOWN == UNKNOWN_TIME


def test_a_population_can_be_moved_whole() -> None:
    survey = check_mapping(LYCEUM)
    survey_items(LYCEUM, populated(), survey)
    assert survey.problems == []
    assert {"course", "slug", "content", "progress", "nobody's"} <= survey.by_rule.keys()


def test_a_population_has_so_many_items_each_with_a_key_of_its_own() -> None:
    for count in (100, 101, 3_000):
        items = [*population(count, OBJECTS)]
        assert len({(item["pk"]["S"], item["sk"]["S"]) for item in items}) == count
    assert [*population(500, OBJECTS)] == [*population(500, OBJECTS)]
    with pytest.raises(ValueError, match="at least 100"):
        next(population(99, OBJECTS))


def test_a_population_reads_the_same_before_and_after_its_move() -> None:
    seen: Counter[str] = Counter()
    for item in populated():
        kind = item["pk"]["S"].partition("#")[0]
        old = "updatedAt" not in item
        match kind, item["sk"]["S"].partition("#")[0]:
            case "COURSE", _:
                before: Any = course_of(item)
                after: Any = course_items.course_of(only_row(item))
                assert change_of(item) == course_items.change_of(only_row(item))
            case "CONTENT", _:
                name = item["pk"]["S"].removeprefix("CONTENT#")
                before = content_of(item, name)
                after = content_rows.decode(unmarshal(only_row(item)), content_id=name)
            case "USER", "PROGRESS":
                before, after = progress_of(item), progress_of_rows(moved(item))
            case _:
                seen[kind] += 1
                continue
        assert before == after
        seen[f"{kind} {'old' if old else 'new'}"] += 1
    assert seen.keys() == {
        "COURSE old", "COURSE new", "CONTENT old", "CONTENT new", "USER old", "USER new",
        "USER", "SLUG", "PAYMENT",
    }  # fmt: skip
    # The learners that were named are among them.
    assert {"USER#ada", "USER#bo"} <= {item["pk"]["S"] for item in populated()}
