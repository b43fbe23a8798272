"""Courses as items: shards, sizes, and items that are not courses."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from libs.aws import marshal
from services.course_catalog.domain.course import (
    TRACKED,
    ItemType,
    OutlineItem,
    Section,
    Tombstone,
)
from services.course_catalog.domain.errors import CourseTooLargeError
from services.course_catalog.storage.items import (
    MAX_ITEM_BYTES,
    SHARDS,
    change_of,
    course_item,
    course_of,
    item_size,
    tombstone_item,
)
from tests.unit.course_catalog.courses import content, draft, instant, published


def section(name: str, title: int) -> Section:
    """A section of one item, whose title is so long."""
    return Section(name, "S", (OutlineItem(name, "x" * title, ItemType.QUIZ),))


TABLE = Path(__file__).parents[3] / "services/course_catalog/table.json"


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": "bc"}, 3),
        ({"é": "日本"}, 2 + 6),
        ({"n": 12345}, 1 + 4),
        ({"n": -1.5}, 1 + 4),
        ({"b": True, "z": None}, 4),
        ({"l": ["ab", "c"]}, 1 + 3 + (1 + 2) + (1 + 1)),
        ({"m": {"k": "v"}}, 1 + 3 + 1 + 2),
        ({"l": []}, 4),
    ],
)
def test_an_items_size_is_counted_as_dynamodb_counts(item: dict[str, Any], size: int) -> None:
    assert item_size(marshal(item)) == size


def test_courses_spread_over_the_shards_and_stay_in_theirs() -> None:
    shards = Counter(course_item(draft(n))["changeShard"]["S"] for n in range(4000))
    assert len(shards) == SHARDS
    assert max(shards.values()) < 1.3 * 4000 / SHARDS
    # A changed shard would leave entries behind in every table there is.
    assert course_item(draft(1))["statusShard"]["S"] == "draft#3"


def test_both_indexes_project_exactly_what_a_summary_needs() -> None:
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    course = published(1)
    item = course_item(course)
    for index in table["GlobalSecondaryIndexes"]:
        keys = {key["AttributeName"] for key in [*table["KeySchema"], *index["KeySchema"]]}
        projected = keys | set(index["Projection"]["NonKeyAttributes"])
        assert projected <= item.keys()
        assert not projected & {"description", "outline"}
        seen = {name: value for name, value in item.items() if name in projected}
        assert change_of(seen) == course.summary()
        for name in index["Projection"]["NonKeyAttributes"]:
            if name not in ("publishedAt", "descriptionWords"):
                with pytest.raises(ValueError, match="not a course's summary"):
                    change_of({other: value for other, value in seen.items() if other != name})


def test_an_entry_from_before_descriptions_were_searched_is_found_by_what_it_shows() -> None:
    item = course_item(published(1))
    assert item["descriptionWords"] == {"S": "in two lines"}
    del item["descriptionWords"]
    assert change_of(item) == replace(published(1).summary(), description_words=())


def test_a_tombstone_is_among_the_changes_only_and_expires_after_eight_days() -> None:
    tombstone = Tombstone("crs-1", 3, instant(5))
    item = tombstone_item(tombstone)
    assert change_of(item) == tombstone
    assert course_of(item) is None
    assert "statusShard" not in item
    assert item["expiresAt"] == {"N": str(int(instant(5).timestamp()) + 8 * 86_400)}


@pytest.mark.parametrize(
    "changes",
    [
        {"status": {"S": "lost"}},
        {"level": {"S": "expert"}},
        {"createdAt": {"S": "yesterday"}},
        {"outline": {"S": "none"}},
        {"outline": {"L": [{"M": {}}]}},
        {"version": {}},
    ],
)
def test_an_item_that_is_not_a_course_is_an_error_not_a_course(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - several messages, one type
        course_of(course_item(draft(1)) | changes)


def test_changes_are_kept_by_the_items_own_names() -> None:
    course = draft(1).edited(content(1, short_description="New", tags=()), now=instant(1))
    item = course_item(course)
    assert item["changedIn"] == {"M": {"shortDescription": {"N": "2"}, "tags": {"N": "2"}}}
    assert course_of(item) == course


def test_an_item_from_before_changes_were_tracked_may_have_changed_in_every_field() -> None:
    item = course_item(published(1))
    del item["changedIn"]
    course = course_of(item)
    assert course is not None
    assert course.changed_since(1) == dict.fromkeys(TRACKED, 2)
    assert course.changed_since(2) == {}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"description": "x" * 410_000}, "/description"),
        ({"tags": ("a", "x" * 410_000)}, "/tags/1"),
        ({"tags": ("x" * 200_000, "y" * 200_000, "z" * 200_000)}, "/tags"),
        ({"outline": (section("a", 1), section("b", 410_000))}, "/outline/1/items/0/title"),
        ({"outline": (section("a", 250_000), section("b", 200_000))}, "/outline/0/items/0/title"),
    ],
)
def test_what_is_too_large_names_its_largest_part(changes: dict[str, Any], pointer: str) -> None:
    # Beyond the domain's own bounds: those alone let few courses become too large.
    with pytest.raises(CourseTooLargeError) as refused:
        course_item(replace(draft(1), **changes))
    assert refused.value.pointer == pointer
    assert refused.value.size > refused.value.limit == MAX_ITEM_BYTES
