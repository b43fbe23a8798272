"""Pre-signed URLs against an S3 that checks signatures: what they open, and what they do not."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, unquote, urlsplit

import aiohttp
import pytest
from yarl import URL

from libs.aws import Clients
from services.content_delivery.domain.content import Content
from services.content_delivery.domain.content_disposition import Disposition
from services.content_delivery.domain.delivery import ContentDelivery, Delivery
from services.content_delivery.domain.object_store import DownloadSignature
from services.content_delivery.storage.memory import MemoryContentRepository
from services.content_delivery.storage.rows import encode
from services.content_delivery.storage.s3 import S3ObjectStore
from tests.backends import Backend
from tests.contract.content_delivery.clients import clients_of, new_bucket
from tests.unit.content_delivery.samples import ENGLISH, VIDEO_720P, ready

# Every byte value, and no two blocks of 256 alike, so that a wrong range shows.
MOVIE = b"".join(bytes([block]) + bytes(range(1, 256)) for block in range(256))
TRACK = "WEBVTT\n\n00:00.000 --> 00:02.000\nMaré baixa\n".encode()


@pytest.fixture()
async def clients(
    ministack_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Clients]:
    async with clients_of(ministack_backend, monkeypatch) as opened:
        yield opened


@pytest.fixture()
async def bucket(ministack_backend: Backend) -> str:
    return await new_bucket(ministack_backend)


@pytest.fixture()
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture()
def store(clients: Clients, bucket: str) -> S3ObjectStore:
    return S3ObjectStore(clients.s3, bucket=bucket)


async def put(clients: Clients, bucket: str, key: str, body: bytes) -> str:
    """Store an object; its entity tag."""
    answer = await clients.s3.put_object(
        Bucket=bucket, Key=key, Body=body, ContentType="application/octet-stream"
    )
    return str(answer["ETag"])


async def deliver(
    clients: Clients,
    bucket: str,
    content: Content,
    *,
    disposition: Disposition = Disposition.INLINE,
    rendition: str | None = None,
) -> Delivery:
    """Put the original there and ask for it, as the service does."""
    etag = await put(clients, bucket, content.object_key, MOVIE)
    repository = MemoryContentRepository()
    repository.rows[content.id] = encode(replace(content, etag=etag, size_bytes=len(MOVIE)))
    delivery = ContentDelivery(
        contents=repository,
        objects=S3ObjectStore(clients.s3, bucket=bucket),
        clock=lambda: datetime.now(UTC),
    )
    return await delivery.deliver(content.id, rendition=rendition, disposition=disposition)


def exactly(url: str) -> URL:
    """The URL as it was signed: a client must not re-encode it."""
    return URL(url, encoded=True)


async def test_the_bytes_and_what_is_said_of_them(
    clients: Clients, bucket: str, http: aiohttp.ClientSession
) -> None:
    delivered = await deliver(clients, bucket, ready())
    async with http.get(exactly(delivered.url)) as response:
        assert response.status == 200
        assert await response.read() == MOVIE
        assert response.headers["Content-Type"] == "video/mp4"
        assert response.headers["ETag"] == delivered.rendition.etag
        # What a browser fetched it keeps, for as long as the URL lives and by the URL.
        age = f"private, max-age={delivered.window.seconds}, immutable"
        assert response.headers["Cache-Control"] == age
        assert int(response.headers["Content-Length"]) == delivered.rendition.size_bytes


@pytest.mark.parametrize(
    ("requested", "first", "last"),
    [
        ("bytes=0-1023", 0, 1023),
        ("bytes=1000-1000", 1000, 1000),
        ("bytes=65000-", 65000, len(MOVIE) - 1),
        ("bytes=-7", len(MOVIE) - 7, len(MOVIE) - 1),
        ("bytes=65530-99999999", 65530, len(MOVIE) - 1),
    ],
)
async def test_ranges(
    clients: Clients,
    bucket: str,
    http: aiohttp.ClientSession,
    requested: str,
    first: int,
    last: int,
) -> None:
    delivered = await deliver(clients, bucket, ready())
    async with http.get(exactly(delivered.url), headers={"Range": requested}) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes {first}-{last}/{len(MOVIE)}"
        assert await response.read() == MOVIE[first : last + 1]


async def test_a_range_beyond_the_end(
    clients: Clients, bucket: str, http: aiohttp.ClientSession
) -> None:
    delivered = await deliver(clients, bucket, ready())
    async with http.get(exactly(delivered.url), headers={"Range": "bytes=65536-"}) as response:
        assert response.status == 416


async def test_a_rendition_is_another_object(
    clients: Clients, bucket: str, http: aiohttp.ClientSession
) -> None:
    await put(clients, bucket, VIDEO_720P.object_key, b"smaller")
    delivered = await deliver(clients, bucket, ready(), rendition="720p")
    async with http.get(exactly(delivered.url)) as response:
        assert await response.read() == b"smaller"


async def test_a_track_is_fetched_by_its_own_url(
    clients: Clients, bucket: str, http: aiohttp.ClientSession
) -> None:
    await put(clients, bucket, ENGLISH.object_key, TRACK)
    delivered = await deliver(clients, bucket, ready(), disposition=Disposition.ATTACHMENT)
    async with http.get(exactly(delivered.captions[0].url)) as response:
        assert await response.read() == TRACK
        assert response.headers["Content-Type"] == "text/vtt; charset=utf-8"
        assert response.headers["Content-Disposition"].startswith("inline;")


@pytest.mark.parametrize(
    "title",
    [
        "Mangroves at low tide",
        'say "hi"; filename=evil.exe',
        "a\N{NO-BREAK SPACE}b",
        "海の潮 — Ebbe & Flut 100%",
        "semi;colon, comma = equals",
        "Ação: maré",
    ],
)
@pytest.mark.parametrize("disposition", Disposition)
async def test_the_file_name_arrives(
    clients: Clients,
    bucket: str,
    http: aiohttp.ClientSession,
    title: str,
    disposition: Disposition,
) -> None:
    delivered = await deliver(clients, bucket, ready(title=title), disposition=disposition)
    signed = parse_qs(urlsplit(delivered.url).query)["response-content-disposition"]
    async with http.get(exactly(delivered.url)) as response:
        assert response.status == 200
        header = response.headers["Content-Disposition"]
        assert [header] == signed
        assert header.startswith(f"{disposition.value}; filename=")
        # What a browser makes of it (RFC 6266): the extended form goes before the plain one.
        found = response.content_disposition
        assert found is not None
        assert found.filename is not None
        assert found.filename.endswith(".mp4")
        assert not set(found.filename) & set('/\\"\r\n')


@pytest.mark.parametrize(
    "name",
    [
        "plain.mp4",
        "with spaces  and more.mp4",
        "Maré à l'été — 海の潮.mp4",
        "100% + & ? # = ; , @ $.mp4",
        "quote\"s and 'apostrophes'.mp4",
        "tilde~parentheses()star!.mp4",
        "%2F%20already escaped.mp4",
        "\N{COMBINING ACUTE ACCENT}e\N{COMBINING ACUTE ACCENT}.mp4",
    ],
)
async def test_any_key_is_found(
    clients: Clients, bucket: str, http: aiohttp.ClientSession, store: S3ObjectStore, name: str
) -> None:
    key = f"content/c-1/{name}"
    delivered = await deliver(clients, bucket, ready(object_key=key))
    assert unquote(urlsplit(delivered.url).path).endswith(f"/{key}")
    async with http.get(exactly(delivered.url), headers={"Range": "bytes=0-3"}) as response:
        assert response.status == 206
        assert await response.read() == MOVIE[:4]
    facts = await store.head(key)
    assert facts is not None
    assert facts.size_bytes == len(MOVIE)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "POST"])
async def test_a_url_for_get_does_nothing_else(
    clients: Clients, bucket: str, http: aiohttp.ClientSession, store: S3ObjectStore, method: str
) -> None:
    delivered = await deliver(clients, bucket, ready())
    data = b"overwritten" if method in ("PUT", "POST") else None
    async with http.request(method, exactly(delivered.url), data=data) as response:
        assert response.status == 403
    facts = await store.head(ready().object_key)
    assert facts is not None
    assert facts.etag == delivered.rendition.etag


async def test_a_tampered_url_is_refused(
    clients: Clients, bucket: str, http: aiohttp.ClientSession
) -> None:
    delivered = await deliver(clients, bucket, ready())
    await put(clients, bucket, "content/c-2/secret.mp4", b"somebody else's")
    url = delivered.url
    signature = parse_qs(urlsplit(url).query)["X-Amz-Signature"][0]
    flipped = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    quoted = quote("inline; filename=", safe="")
    tampered = {
        "another object": url.replace("content/c-1/mangrove-master.mp4", "content/c-2/secret.mp4"),
        "a longer life": re.sub(r"X-Amz-Expires=\d+", "X-Amz-Expires=604800", url),
        "another date": re.sub(r"X-Amz-Date=\d{8}", "X-Amz-Date=20990101", url),
        "another name": url.replace(quoted, quote("attachment; filename=", safe="")),
        "another type": url.replace("video%2Fmp4", "text%2Fhtml"),
        "one more header": url + "&response-cache-control=public",
        "another signature": url.replace(signature, flipped),
        "nothing at all": url.partition("?")[0],
    }
    for what, changed in tampered.items():
        assert changed != url, what
        async with http.get(exactly(changed)) as response:
            assert response.status == 403, what
            assert b"somebody else's" not in await response.read()
    # A query that is not complete is malformed rather than denied, as at AWS.
    async with http.get(exactly(re.sub(r"&X-Amz-Signature=\w+", "", url))) as response:
        assert response.status == 400


async def test_an_expired_url_is_refused(
    ministack_backend: Backend,
    bucket: str,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Signed an hour ago for 59 minutes, and for 61: only the clock differs."""
    signed_at = datetime.now(UTC) - timedelta(hours=1)
    async with clients_of(ministack_backend, monkeypatch, now=lambda: signed_at) as clients:
        await put(clients, bucket, "content/c-1/a.mp4", MOVIE)
        signer = await S3ObjectStore(clients.s3, bucket=bucket).signer()
        download = DownloadSignature("content/c-1/a.mp4", "video/mp4", "inline", "private")
        statuses = {}
        for minutes in (59, 61):
            url = signer.presign_get(download, issued_at=signed_at, expires_seconds=minutes * 60)
            async with http.get(exactly(url)) as response:
                statuses[minutes] = response.status
    assert statuses == {59: 403, 61: 200}
