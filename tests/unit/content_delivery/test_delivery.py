"""The use case: what is delivered, signed with what, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from services.content_delivery.domain.content import Content
from services.content_delivery.domain.content_disposition import Disposition
from services.content_delivery.domain.delivery import ContentDelivery
from services.content_delivery.domain.errors import (
    ContentDeliveryError,
    ContentNotFoundError,
    ContentNotReadyError,
    CorruptContentError,
    RenditionNotFoundError,
    SigningUnavailableError,
)
from services.content_delivery.storage.memory import MemoryContentRepository, MemoryObjectStore
from services.content_delivery.storage.rows import encode
from tests.unit.content_delivery.samples import SECRET_KEY, deleted, failed, pending, ready

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def delivery_of(
    *contents: Content, credentials_expire_at: datetime | None = None
) -> ContentDelivery:
    repository = MemoryContentRepository()
    for content in contents:
        repository.rows[content.id] = encode(content)
    return ContentDelivery(
        contents=repository,
        objects=MemoryObjectStore(credentials_expire_at=lambda: credentials_expire_at),
        clock=lambda: NOW,
    )


async def test_the_original_by_default() -> None:
    delivery = await delivery_of(ready()).deliver(
        "c-1", rendition=None, disposition=Disposition.INLINE
    )
    assert delivery.rendition.name == "original"
    assert [rendition.name for rendition in delivery.renditions] == ["original", "720p"]
    url = urlsplit(delivery.url)
    assert url.path == f"/{SECRET_KEY}"
    query = parse_qs(url.query)
    assert query["X-Amz-Expires"] == ["1500"]
    assert query["X-Amz-Date"] == ["20260301T120000Z"]
    assert query["response-content-type"] == ["video/mp4"]
    assert query["response-cache-control"] == ["private, max-age=1500, immutable"]
    assert query["response-content-disposition"] == ['inline; filename="Mangroves at low tide.mp4"']


async def test_a_rendition_as_an_attachment() -> None:
    delivery = await delivery_of(ready()).deliver(
        "c-1", rendition="720p", disposition=Disposition.ATTACHMENT
    )
    assert delivery.rendition.size_bytes == 2_000_000
    url = urlsplit(delivery.url)
    assert url.path == "/content/c-1/mangrove-720p.mp4"
    assert parse_qs(url.query)["response-content-disposition"] == [
        'attachment; filename="Mangroves at low tide.mp4"'
    ]


async def test_each_track_has_a_url_of_its_own() -> None:
    delivery = await delivery_of(ready()).deliver(
        "c-1", rendition=None, disposition=Disposition.ATTACHMENT
    )
    english, portuguese = delivery.captions
    assert urlsplit(english.url).path == "/content/c-1/mangrove.en.vtt"
    assert parse_qs(urlsplit(portuguese.url).query) == {
        "response-cache-control": ["private, max-age=1500, immutable"],
        "response-content-disposition": ['inline; filename="Mangroves at low tide.pt-BR.vtt"'],
        "response-content-type": ["text/vtt; charset=utf-8"],
        "X-Amz-Date": ["20260301T120000Z"],
        "X-Amz-Expires": ["1500"],
        "X-Amz-Signature": ["0" * 64],
    }


async def test_everybody_gets_the_same_urls_within_a_window() -> None:
    moments = [NOW + timedelta(seconds=seconds) for seconds in (0, 299, 300)]
    delivered = []
    for moment in moments:
        repository = MemoryContentRepository()
        repository.rows["c-1"] = encode(ready())
        delivery = ContentDelivery(
            contents=repository,
            objects=MemoryObjectStore(credentials_expire_at=lambda: NOW + timedelta(hours=1)),
            clock=lambda moment=moment: moment,  # type: ignore[misc]
        )
        delivered.append(
            await delivery.deliver("c-1", rendition=None, disposition=Disposition.INLINE)
        )
    first, last, next_window = delivered
    assert first.url == last.url != next_window.url
    assert [track.url for track in first.captions] == [track.url for track in last.captions]
    assert last.window.expires_at - moments[1] >= timedelta(minutes=20)


async def test_nothing_outlives_the_credentials() -> None:
    delivery = await delivery_of(ready(), credentials_expire_at=NOW + timedelta(minutes=3)).deliver(
        "c-1", rendition=None, disposition=Disposition.INLINE
    )
    assert delivery.window.expires_at == NOW + timedelta(minutes=3)
    for url in (delivery.url, *(caption.url for caption in delivery.captions)):
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["180"]


@pytest.mark.parametrize(
    ("content", "rendition", "error"),
    [
        (None, None, ContentNotFoundError),
        (deleted(), None, ContentNotFoundError),
        (deleted(), "nowhere", ContentNotFoundError),
        (pending(), None, ContentNotReadyError),
        (pending(), "nowhere", ContentNotReadyError),
        (failed(), None, ContentNotReadyError),
        (ready(), "1080p", RenditionNotFoundError),
        (ready(), "ORIGINAL", RenditionNotFoundError),
    ],
)
async def test_refusals(
    content: Content | None, rendition: str | None, error: type[ContentDeliveryError]
) -> None:
    delivery = delivery_of(*([content] if content else []))
    with pytest.raises(error):
        await delivery.deliver("c-1", rendition=rendition, disposition=Disposition.INLINE)


async def test_credentials_about_to_expire_are_not_used() -> None:
    delivery = delivery_of(ready(), credentials_expire_at=NOW + timedelta(seconds=59))
    with pytest.raises(SigningUnavailableError):
        await delivery.deliver("c-1", rendition=None, disposition=Disposition.INLINE)


async def test_a_row_pointing_outside_the_prefix_is_not_signed() -> None:
    repository = MemoryContentRepository()
    repository.rows["c-1"] = {**encode(ready()), "objectKey": "backups/users.csv"}
    delivery = ContentDelivery(contents=repository, objects=MemoryObjectStore(), clock=lambda: NOW)
    with pytest.raises(CorruptContentError) as refusal:
        await delivery.deliver("c-1", rendition=None, disposition=Disposition.INLINE)
    assert "backups" not in str(refusal.value)


async def test_no_text_form_of_a_delivery_shows_a_url() -> None:
    delivery = await delivery_of(ready()).deliver(
        "c-1", rendition=None, disposition=Disposition.INLINE
    )
    assert "X-Amz" not in repr(delivery)
    assert "mangrove" not in repr(delivery)
