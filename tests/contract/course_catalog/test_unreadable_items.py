"""What somebody else put into the table does not take the catalog down."""

from __future__ import annotations

from libs.aws import DynamoDB, marshal
from libs.logging.testing import captured_logs
from services.course_catalog.domain.course import Status
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from services.course_catalog.storage.items import course_item
from tests.unit.course_catalog.courses import instant, published


async def test_one_unreadable_item_is_logged_and_left_out(table: tuple[DynamoDB, str]) -> None:
    dynamodb, name = table
    repository = DynamoDBCourseRepository(dynamodb, name)
    await repository.create(published(1))
    broken = course_item(published(2)) | marshal({"level": "expert", "title": "Broken"})
    await dynamodb.put_item(TableName=name, Item=broken)
    with captured_logs() as events:
        listed = [s.id async for batch in repository.listing(Status.PUBLISHED) for s in batch]
        changed = [c.id async for batch in repository.changes(instant(0)) for c in batch]
    assert (listed, changed) == (["crs-1"], ["crs-1"])
    logged = [event["courseId"] for event in events if event["event"] == "course_unreadable"]
    assert logged == ["crs-2", "crs-2"]
