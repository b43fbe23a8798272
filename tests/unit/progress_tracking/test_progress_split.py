"""Why completions carry their moments (docs/adr/0030), and what the table's reader refuses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import permutations
from typing import Any

import pytest

from libs.aws import DynamoDB, Throttled, marshal
from services.progress_tracking.domain.errors import CorruptProgressError
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import ProgressUpdate
from services.progress_tracking.domain.recording import recorded
from services.progress_tracking.storage import rows
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from tests.unit.progress_tracking.updates import NOW, OUTLINE, completing, minutes


def completed_at_from_ids_alone(updates: Sequence[ProgressUpdate]) -> datetime | None:
    """A course row that keeps only the ids of what is completed can stamp completeness with the
    moment of the update that brought it about, and with nothing else."""
    done: set[str] = set()
    completed_at: datetime | None = None
    for update in updates:
        done |= {item.content_id for item in update.items if item.completed}
        if completed_at is None and OUTLINE.counted.keys() <= done:
            completed_at = update.occurred_at
    return completed_at


def completed_at_as_recorded(updates: Sequence[ProgressUpdate]) -> datetime | None:
    progress = None
    for update in updates:
        progress = recorded(progress, update, course_id="crs-1", outline=OUTLINE, at=NOW)
    assert progress is not None
    return progress.summary.completed_at


def test_a_set_of_ids_alone_cannot_tell_when_a_course_was_completed() -> None:
    updates = [completing(4, "intro"), completing(7, "tides")]
    orders = list(permutations(updates))
    assert {completed_at_from_ids_alone(order) for order in orders} == {minutes(4), minutes(7)}
    assert {completed_at_as_recorded(order) for order in orders} == {minutes(7)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attempt": None}, "attempt is of type int"),
        ({"attempt": "1"}, "attempt is of type int"),
        ({"updatedAt": "yesterday"}, "updatedAt is a timestamp"),
        ({"completed": ["intro#1"]}, "completed is a set of strings"),
        ({"completed": {"intro"}}, "a completion ends in milliseconds since 1970"),
        ({"completed": {"intro#" + "9" * 30}}, "a completion ends in milliseconds since 1970"),
        ({"sk": "H"}, "a sort key is made of parts joined by #"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused(change: dict[str, object], message: str) -> None:
    row: dict[str, object] = {
        "userId": "user-1",
        "sk": "H#crs-1#c",
        "attempt": 1,
        "updatedAt": "2026-02-01T09:00:00.000Z",
    }
    assert rows.course_row(marshal(row)).attempt == 1
    with pytest.raises(CorruptProgressError, match=message):
        rows.course_row(marshal({**row, **change}))


def test_a_recent_row_without_a_course_row_is_refused() -> None:
    recent = rows.recent_row(
        marshal({"sk": "H#crs-1#r", "attempt": 1, "updatedAt": "2026-02-01T09:00:00.000Z"})
    )
    with pytest.raises(CorruptProgressError, match="has a course row"):
        rows.summary_of(None, recent)


def test_an_outline_with_foreign_items_is_refused() -> None:
    row = marshal({"userId": "~outline#a", "sk": "OUTLINE", "outlineVersion": 1, "items": ["x"]})
    with pytest.raises(CorruptProgressError, match="items is a list of maps"):
        rows.outline_row(row)


class GrudgingDynamoDB(DynamoDB):
    """Serves `batch` keys of a BatchGetItem and leaves the others unprocessed."""

    def __init__(self, *, batch: int) -> None:
        self._batch = batch
        self.requests = 0

    async def batch_get_item(self, **params: Any) -> dict[str, Any]:
        self.requests += 1
        keys = params["RequestItems"]["Progress"]["Keys"]
        assert len(keys) <= 100
        served, left = keys[: self._batch], keys[self._batch :]
        items = [{**key, **marshal({"outlineVersion": 1, "items": []})} for key in served]
        unprocessed = {"Progress": {"Keys": left}} if left else {}
        return {"Responses": {"Progress": items}, "UnprocessedKeys": unprocessed}


async def test_outlines_that_the_table_left_out_are_asked_for_again() -> None:
    dynamodb = GrudgingDynamoDB(batch=60)
    repository = DynamoDBProgressRepository(dynamodb, table="Progress")
    names = [f"crs-{number}" for number in range(150)]
    found = await repository.read_outlines(names)
    assert found == {name: Outline(name, 1, ()) for name in names}
    assert dynamodb.requests == 3


async def test_a_table_that_serves_nothing_is_throttled_and_not_unknown() -> None:
    repository = DynamoDBProgressRepository(GrudgingDynamoDB(batch=0), table="Progress")
    with pytest.raises(Throttled):
        await repository.read_outlines(["crs-1"])
