"""The bucket and its twin in memory: the same facts, and URLs that ask for the same."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from libs.aws import S3
from services.content_delivery.domain.errors import ObjectChangedError
from services.content_delivery.domain.object_store import (
    DownloadSignature,
    ObjectMetadata,
    ObjectStore,
    PartSignature,
    UploadSignature,
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


UPLOADED = "content/c-1/uploaded"


async def send_part(
    store: ObjectStore, backend_s3: S3 | None, upload_id: str, number: int, body: bytes
) -> None:
    """A part as a client sends it, without the way over a signed URL."""
    if isinstance(store, MemoryObjectStore):
        assert store.send_part(UPLOADED, upload_id, number, body)
        return
    assert isinstance(store, S3ObjectStore)
    assert backend_s3 is not None
    await backend_s3.upload_part(
        Bucket=store.bucket, Key=UPLOADED, UploadId=upload_id, PartNumber=number, Body=body
    )


def s3_of(store: ObjectStore) -> S3 | None:
    return store._s3 if isinstance(store, S3ObjectStore) else None


async def test_what_is_put_is_read_in_pieces_and_deleted(store: ObjectStore) -> None:
    await store.put(UPLOADED, b"0123456789", content_type="text/vtt; charset=utf-8")
    facts = await store.head(UPLOADED)
    assert facts is not None
    assert (facts.size_bytes, facts.content_type) == (10, "text/vtt; charset=utf-8")
    pieces = [
        await store.read(UPLOADED, start=start, length=4, etag=facts.etag) for start in (0, 4, 8)
    ]
    assert pieces == [b"0123", b"4567", b"89"]
    with pytest.raises(ObjectChangedError):
        await store.read(UPLOADED, start=0, length=4, etag='"another"')
    await store.delete(UPLOADED)
    assert await store.head(UPLOADED) is None
    with pytest.raises(ObjectChangedError):
        await store.read(UPLOADED, start=0, length=4, etag=facts.etag)
    # What is gone may be deleted again.
    await store.delete(UPLOADED)


async def test_an_upload_in_parts(store: ObjectStore) -> None:
    upload_id = await store.create_multipart(UPLOADED, content_type="video/mp4")
    assert await store.list_parts(UPLOADED, upload_id) == []
    # In any order; one of them again.
    large = b"a" * (5 * 1024 * 1024)
    await send_part(store, s3_of(store), upload_id, 2, b"end")
    await send_part(store, s3_of(store), upload_id, 1, b"b" * len(large))
    await send_part(store, s3_of(store), upload_id, 1, large)
    parts = await store.list_parts(UPLOADED, upload_id)
    assert parts is not None
    assert [(part.number, part.size_bytes) for part in parts] == [(1, len(large)), (2, 3)]
    assert await store.head(UPLOADED) is None
    assert await store.complete_multipart(UPLOADED, upload_id, parts)
    facts = await store.head(UPLOADED)
    assert facts is not None
    assert (facts.size_bytes, facts.content_type) == (len(large) + 3, "video/mp4")
    # A multipart object's checksum, where there is one, is not that of its bytes.
    assert facts.checksum_sha256 is None
    assert facts.etag.endswith('-2"')
    assert await store.read(UPLOADED, start=len(large) - 1, length=99, etag=facts.etag) == b"aend"
    assert await store.list_parts(UPLOADED, upload_id) is None


async def test_a_part_that_was_sent_again_is_not_what_it_was(store: ObjectStore) -> None:
    upload_id = await store.create_multipart(UPLOADED, content_type="video/mp4")
    await send_part(store, s3_of(store), upload_id, 1, b"before")
    parts = await store.list_parts(UPLOADED, upload_id)
    assert parts is not None
    await send_part(store, s3_of(store), upload_id, 1, b"behind")
    assert not await store.complete_multipart(UPLOADED, upload_id, parts)
    assert await store.head(UPLOADED) is None
    assert await store.list_parts(UPLOADED, upload_id) is not None


async def test_an_upload_that_was_given_up(store: ObjectStore) -> None:
    upload_id = await store.create_multipart(UPLOADED, content_type="video/mp4")
    await send_part(store, s3_of(store), upload_id, 1, b"part")
    parts = await store.list_parts(UPLOADED, upload_id)
    assert parts
    await store.abort_multipart(UPLOADED, upload_id)
    assert await store.list_parts(UPLOADED, upload_id) is None
    assert await store.head(UPLOADED) is None
    # What is over may be given up again.
    await store.abort_multipart(UPLOADED, upload_id)


# moto answers 500 where S3 answers NoSuchUpload.
@pytest.mark.parametrize("store", ["memory", "ministack"], indirect=True)
async def test_an_upload_that_was_given_up_is_not_completed(store: ObjectStore) -> None:
    upload_id = await store.create_multipart(UPLOADED, content_type="video/mp4")
    await send_part(store, s3_of(store), upload_id, 1, b"part")
    parts = await store.list_parts(UPLOADED, upload_id)
    assert parts
    await store.abort_multipart(UPLOADED, upload_id)
    assert not await store.complete_multipart(UPLOADED, upload_id, parts)
    assert await store.head(UPLOADED) is None


async def test_more_parts_than_a_page_names(store: ObjectStore) -> None:
    upload_id = await store.create_multipart(UPLOADED, content_type="video/mp4")
    for number in range(1, 1003):
        await send_part(store, s3_of(store), upload_id, number, b"p")
    parts = await store.list_parts(UPLOADED, upload_id)
    assert parts is not None
    assert [part.number for part in parts] == list(range(1, 1003))


async def test_what_a_part_s_url_asks_for(store: ObjectStore) -> None:
    signer = await store.signer()
    url = urlsplit(
        signer.presign_part(
            PartSignature(KEY, "an upload/+=", 7, 1234), issued_at=NOW, expires_seconds=60
        )
    )
    query = parse_qs(url.query, strict_parsing=True)
    assert unquote(url.path).endswith(f"/{KEY}")
    assert (query["uploadId"], query["partNumber"]) == (["an upload/+="], ["7"])
    assert query["X-Amz-SignedHeaders"] == ["content-length;host"]
    assert query["X-Amz-Date"] == ["20260301T120000Z"]


@pytest.mark.parametrize("checksum", [None, "A" * 43 + "="])
async def test_what_a_form_asks_for(store: ObjectStore, checksum: str | None) -> None:
    signer = await store.signer()
    form = signer.presign_form(
        UploadSignature(KEY, "video/mp4", 1234, checksum), issued_at=NOW, expires_seconds=60
    )
    policy = json.loads(base64.b64decode(form.fields["policy"]))
    assert policy["expiration"] == "2026-03-01T12:01:00Z"
    conditions = policy["conditions"]
    assert ["content-length-range", 1234, 1234] in conditions
    assert {"Content-Type": "video/mp4"} in conditions
    assert {"key": KEY} in conditions
    assert form.fields["key"] == KEY
    assert ({"x-amz-checksum-sha256": checksum} in conditions) == (checksum is not None)
    assert form.fields.get("x-amz-checksum-sha256") == checksum
    assert KEY not in repr(form)
