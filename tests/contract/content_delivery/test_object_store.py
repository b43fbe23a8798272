"""The bucket and its twin in memory: the same facts, and URLs that ask for the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from services.content_delivery.domain.object_store import (
    DownloadSignature,
    ObjectMetadata,
    ObjectStore,
)
from services.content_delivery.storage.memory import MemoryObjectStore
from services.content_delivery.storage.s3 import S3ObjectStore
from tests.backends import Backend
from tests.contract.content_delivery.clients import clients_of, new_bucket

KEY = "content/c-1/Maré & Fluß – 海.mp4"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["memory", "ministack", "moto"])
async def store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ObjectStore]:
    """A store that holds one object of three bytes under KEY."""
    if request.param == "memory":
        yield MemoryObjectStore(
            {KEY: ObjectMetadata(3, "video/mp4", '"acbd18db4cc2f85cedef654fccc4a4d8"')}
        )
        return
    backend = request.getfixturevalue(f"{request.param}_backend")
    assert isinstance(backend, Backend)
    bucket = await new_bucket(backend)
    async with clients_of(backend, monkeypatch, now=lambda: NOW) as clients:
        await clients.s3.put_object(Bucket=bucket, Key=KEY, Body=b"foo", ContentType="video/mp4")
        yield S3ObjectStore(clients.s3, bucket=bucket)


async def test_the_facts_of_an_object(store: ObjectStore) -> None:
    assert await store.head(KEY) == ObjectMetadata(
        3, "video/mp4", '"acbd18db4cc2f85cedef654fccc4a4d8"'
    )


async def test_an_object_that_is_not_there(store: ObjectStore) -> None:
    assert await store.head("content/c-1/nothing") is None


async def test_what_a_url_asks_for(store: ObjectStore) -> None:
    signer = await store.signer()
    url = urlsplit(
        signer.presign_get(
            DownloadSignature(
                KEY, "video/mp4", "attachment; filename=\"a b\"; x*=UTF-8''%20+&", "private"
            ),
            issued_at=NOW,
            expires_seconds=901,
        )
    )
    query = parse_qs(url.query, strict_parsing=True)
    assert unquote(url.path).endswith(f"/{KEY}")
    assert query["response-content-type"] == ["video/mp4"]
    assert query["response-content-disposition"] == [
        "attachment; filename=\"a b\"; x*=UTF-8''%20+&"
    ]
    assert query["response-cache-control"] == ["private"]
    assert query["X-Amz-Date"] == ["20260301T120000Z"]
    assert query["X-Amz-Expires"] == ["901"]
    assert len(query["X-Amz-Signature"][0]) == 64


async def test_lasting_credentials_have_no_end(store: ObjectStore) -> None:
    assert (await store.signer()).credentials_expire_at is None
