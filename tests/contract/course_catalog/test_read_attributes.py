"""What the catalog asks of an item that it knows already, on MiniStack and moto."""

from __future__ import annotations

from typing import Any

import pytest

from libs.aws import DynamoDB
from services.course_catalog.domain.repository import UNCHANGED
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from tests.unit.course_catalog.courses import published


async def test_of_a_course_that_is_known_its_version_alone_is_read(
    table: tuple[DynamoDB, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamodb, name = table
    repository = DynamoDBCourseRepository(dynamodb, name)
    course = published(1)
    await repository.create(course)
    read: list[set[str]] = []
    get_item = dynamodb.get_item

    async def noted(**params: Any) -> dict[str, Any]:
        response = await get_item(**params)
        read.append(set(response["Item"]))
        return response

    monkeypatch.setattr(dynamodb, "get_item", noted)

    assert await repository.get_newer(course.id, course.version) is UNCHANGED
    assert read == [{"version", "status"}]
    assert await repository.get_newer(course.id, course.version - 1) == course
    assert read[1] == {"version", "status"}
    assert read[2] >= {"title", "outline"}
    assert await repository.get_newer(course.id, 0) == course
    assert read[3:] == [read[2]]
