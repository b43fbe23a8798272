"""The repository on DynamoDB passes its suite on both emulators: MiniStack is what the local
platform runs on, moto refuses expressions that MiniStack lets by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from libs.aws import Clients, marshal, unmarshal
from services.content_delivery.domain.content import Content, ContentStatus
from services.content_delivery.domain.errors import CorruptContentError
from services.content_delivery.domain.repository import ContentRepository
from services.content_delivery.storage.dynamodb import WRITTEN_BY, DynamoContentRepository
from services.content_delivery.storage.rows import encode
from tests.backends import Backend
from tests.contract.content_delivery.clients import clients_of, new_table
from tests.contract.content_delivery.repository_suite import (
    LATER,
    PURGE,
    ContentRepositorySuite,
    make_ready,
)
from tests.unit.content_delivery.samples import pending, ready


@pytest.fixture(params=["ministack", "moto"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found = request.getfixturevalue(f"{request.param}_backend")
    assert isinstance(found, Backend)
    return found


@pytest.fixture()
async def clients(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clients]:
    async with clients_of(backend, monkeypatch) as opened:
        yield opened


@pytest.fixture()
async def table(backend: Backend) -> str:
    return await new_table(backend)


async def stored(clients: Clients, table: str) -> Mapping[str, object]:
    """The row of c-1 as it lies in the table."""
    answer = await clients.dynamodb.get_item(TableName=table, Key=marshal({"contentId": "c-1"}))
    row = dict(unmarshal(answer["Item"]))
    row.pop(WRITTEN_BY, None)  # names the write, says nothing of the content
    return row


class TestDynamoContentRepository(ContentRepositorySuite):
    @pytest.fixture()
    def repository(self, clients: Clients, table: str) -> ContentRepository:
        return DynamoContentRepository(clients.dynamodb, table=table)

    async def test_the_row_is_what_its_documentation_says(
        self, repository: ContentRepository, clients: Clients, table: str
    ) -> None:
        await repository.create_pending(pending())
        assert await stored(clients, table) == {
            "contentId": "c-1",
            "courseId": "course-1",
            "position": 1,
            "title": "Mangroves at low tide",
            "status": "pending",
            "objectKey": "content/c-1/mangrove-master.mp4",
            "contentType": "video/mp4",
            "sizeBytes": 6_000_000,
            "renditions": [],
            "captions": [],
            "version": 1,
            "createdAt": "2026-01-05T09:00:00.000Z",
            "updatedAt": "2026-01-05T09:00:00.000Z",
            "purgeAt": 1_768_208_400,
        }

    async def test_a_change_leaves_nothing_of_a_migration(
        self, repository: ContentRepository, clients: Clients, table: str
    ) -> None:
        row = {**encode(ready()), "migration": {"epoch": 1, "sequence": "0" * 40}}
        await clients.dynamodb.put_item(TableName=table, Item=marshal(row))
        seen = await repository.get("c-1")
        assert seen is not None
        assert seen.status is ContentStatus.READY
        await repository.mark_deleted("c-1", at=LATER, purge_at=PURGE)
        assert "migration" not in await stored(clients, table)

    async def test_a_damaged_row_is_reported_and_not_overwritten(
        self, repository: ContentRepository, clients: Clients, table: str
    ) -> None:
        row = {**encode(pending()), "objectKey": "backups/users.csv"}
        await clients.dynamodb.put_item(TableName=table, Item=marshal(row))
        with pytest.raises(CorruptContentError, match="objectKey"):
            await repository.get("c-1")
        with pytest.raises(CorruptContentError, match="objectKey"):
            await make_ready(repository, "c-1")
        assert await stored(clients, table) == row

    async def test_a_change_that_was_overtaken_is_decided_anew(
        self, clients: Clients, table: str
    ) -> None:
        """Between reading and writing somebody else adds captions: the deletion keeps them."""
        repository = DynamoContentRepository(clients.dynamodb, table=table)
        await repository.create_pending(pending())
        overtaken = Overtaken(clients, table)
        changed = await overtaken.mark_deleted("c-1", at=LATER, purge_at=PURGE)
        assert overtaken.reads == 2
        assert changed.version == 3
        assert changed.captions == ready().captions
        assert await repository.get("c-1") == changed


class Overtaken(DynamoContentRepository):
    """A repository whose first read is followed by another process's edit."""

    def __init__(self, clients: Clients, table: str) -> None:
        super().__init__(clients.dynamodb, table=table)
        self._other = DynamoContentRepository(clients.dynamodb, table=table)
        self.reads = 0

    async def get(self, content_id: str) -> Content | None:
        content = await super().get(content_id)
        self.reads += 1
        if self.reads == 1:
            await self._other.replace_media(
                content_id, renditions=(), captions=ready().captions, expected_version=1, at=LATER
            )
        return content
