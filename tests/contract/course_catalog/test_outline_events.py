"""The catalog's side of events.yaml: which writes tell others of an outline, and what they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from libs.aws import DynamoDB
from libs.tracing import TraceContext
from services.course_catalog.domain.course import (
    MAX_ITEMS,
    MAX_TITLE,
    MAX_WEIGHT,
    Course,
    CourseContent,
    ItemType,
    OutlineItem,
    Section,
)
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from services.course_catalog.storage.items import outline_item
from tests.contract.event_contracts import LARGEST_MESSAGE_BYTES, examples, violations
from tests.unit.course_catalog.courses import content, draft, instant, published

TRACE = TraceContext("1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8", True)

Table = tuple[DynamoDB, str]


def record(image: Mapping[str, Any], *, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The stream's record of a row's change, as DynamoDB and both emulators form it."""
    images = {"NewImage": image} if before is None else {"NewImage": image, "OldImage": before}
    return {
        "eventID": "7e690e4b56924d13ad27dd43d19f291b",
        "eventName": "INSERT" if before is None else "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "eventSourceARN": f"arn:aws:dynamodb:us-east-1:123456789012:table/{'t' * 255}/stream/2026",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_772_359_200,
            "Keys": {"courseId": image["courseId"]},
            "SequenceNumber": "9" * 40,
            "SizeBytes": 999_999,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **images,
        },
    }


async def row(table: Table, course: Course) -> Mapping[str, Any] | None:
    """The outline's row as it is kept."""
    dynamodb, name = table
    answer = await dynamodb.get_item(
        TableName=name, Key={"courseId": {"S": f"outline#{course.id}"}}, ConsistentRead=True
    )
    found: Mapping[str, Any] | None = answer.get("Item")
    return found


def with_items(number: int, *weights: float) -> CourseContent:
    items = tuple(
        OutlineItem(f"item-{place}", "Watch", ItemType.VIDEO, 60, place % 2 == 0, weight)
        for place, weight in enumerate(weights)
    )
    return content(number, outline=(Section("one", "One", items),))


async def test_what_publishing_writes_is_the_event_of_the_contract(table: Table) -> None:
    repository = DynamoDBCourseRepository(*table, trace=lambda: TRACE)
    course = draft(1)
    await repository.create(course)
    assert await row(table, course) is None  # a draft is its author's alone
    open_ = course.published(now=instant(1))
    await repository.replace(open_, previous=course)
    kept = await row(table, open_)
    assert kept is not None
    assert violations(record(kept)) == []
    assert kept["outlineVersion"] == {"N": "1"}
    assert kept["traceHeader"]["S"].startswith(f"Root={TRACE.trace_id};Parent={TRACE.parent_id}")
    assert [item["M"]["contentId"]["S"] for item in kept["items"]["L"]] == ["c1-1", "c1-2"]
    assert [item["M"]["required"]["BOOL"] for item in kept["items"]["L"]] == [True, False]
    assert [float(item["M"]["weight"]["N"]) for item in kept["items"]["L"]] == [1, 0.5]


async def test_a_changed_outline_is_told_and_nothing_else_is(table: Table) -> None:
    repository = DynamoDBCourseRepository(*table)
    course = draft(2)
    await repository.create(course)
    steps: list[tuple[Callable[[Course], Course], int | None]] = [
        (lambda one: one.edited(with_items(2, 1, 2), now=instant(1)), None),  # still a draft
        (lambda one: one.published(now=instant(2)), 2),
        (lambda one: one.edited(with_items(2, 1, 2, 3), now=instant(3)), 3),
        # The same outline under another title and slug; what is told stays as it was.
        (
            lambda one: one.edited(
                content(2, title="New", slug="new", outline=one.outline), now=instant(4)
            ),
            3,
        ),
        (lambda one: one.archived(now=instant(5)), 3),
        (lambda one: one.edited(with_items(2, 4), now=instant(6)), 4),  # learners finish archived
        (lambda one: one.published(now=instant(7)), 4),
    ]
    for change, told in steps:
        changed = change(course)
        before = await row(table, course)
        await repository.replace(changed, previous=course)
        after = await row(table, course)
        assert (None if after is None else int(after["outlineVersion"]["N"])) == told
        if (
            after is not None
            and before is not None
            and after["outlineVersion"] == before["outlineVersion"]
        ):
            assert after == before  # no write, so no record in the stream
        course = changed


async def test_a_course_that_is_created_open_is_told(table: Table) -> None:
    course = published(3)
    await DynamoDBCourseRepository(*table).create(course)
    kept = await row(table, course)
    assert kept is not None
    assert violations(record(kept)) == []
    assert "traceHeader" not in kept


async def test_a_write_that_is_refused_tells_nothing(table: Table) -> None:
    """The course and its event are one transaction: no event of what did not happen."""
    repository = DynamoDBCourseRepository(*table)
    course = published(4)
    await repository.create(course)
    winner = course.edited(with_items(4, 1), now=instant(1))
    await repository.replace(winner, previous=course)
    loser = course.edited(with_items(4, 1, 2, 3), now=instant(2))
    with pytest.raises(Exception, match="version"):
        await repository.replace(loser, previous=course)
    kept = await row(table, course)
    assert kept is not None
    assert len(kept["items"]["L"]) == 1


@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_largest_outline_fits_a_message(ascii_only: bool) -> None:
    """A topic takes 256 KiB, and a record holds both images. Titles and texts are not in the row,
    and ids are ASCII, so the bound is the number of items: the widest of each here."""
    weight = MAX_WEIGHT - 0.12345678901234567
    largest = published(
        5,
        title="😀" * MAX_TITLE,
        outline=(
            Section(
                "one",
                "One",
                tuple(
                    OutlineItem(
                        f"{place:04}" + "x" * 60, "😀" * MAX_TITLE, ItemType.QUIZ, 1, False, weight
                    )
                    for place in range(MAX_ITEMS)
                ),
            ),
        ),
    )
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    image = outline_item(largest, trace_header=header)
    message = record(image, before=image)
    assert violations(message) == []
    size = len(json.dumps(message, ensure_ascii=ascii_only).encode())
    print(f"the largest event: {size} bytes")  # noqa: T201 - the figure of ADR 35
    assert size < LARGEST_MESSAGE_BYTES


@pytest.mark.parametrize("name", examples())
def test_the_examples_are_what_the_contract_says(name: str) -> None:
    assert violations(examples()[name]) == []
