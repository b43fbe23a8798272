"""URLs and the credentials that sign them, as ECS gives them to a task: temporary, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.content_delivery.domain.content_disposition import Disposition
from services.content_delivery.domain.delivery import ContentDelivery, Delivery
from services.content_delivery.domain.errors import SigningUnavailableError
from services.content_delivery.storage.memory import MemoryContentRepository
from services.content_delivery.storage.rows import encode
from services.content_delivery.storage.s3 import S3ObjectStore
from tests.backends import Backend
from tests.contract.content_delivery.clients import clients_of
from tests.unit.content_delivery.samples import ready

# Amazon's own endpoint is only computed with: nothing here connects to it.
AWS = Backend(
    endpoint_url="https://s3.eu-central-1.amazonaws.com",
    region="eu-central-1",
    access_key="",
    secret_key="",
)


@asynccontextmanager
async def container_credentials(
    monkeypatch: pytest.MonkeyPatch, expires_at: datetime
) -> AsyncIterator[None]:
    """The endpoint that ECS offers to a task's containers, and the variables that name it."""

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "task-token"
        return web.json_response(
            {
                "AccessKeyId": "TEMPORARYKEY",
                "SecretAccessKey": "temporary-secret",
                "Token": "session/token+with=signs",
                "Expiration": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )

    app = web.Application()
    app.add_routes([web.get("/credentials", answer)])
    async with TestServer(app, host="127.0.0.1") as server:
        monkeypatch.setenv(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI", str(server.make_url("/credentials"))
        )
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "task-token")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        yield


async def deliver(
    monkeypatch: pytest.MonkeyPatch, *, expires_at: datetime, now: datetime
) -> Delivery:
    """Ten minutes of video, signed with credentials that end at ``expires_at``."""
    repository = MemoryContentRepository()
    repository.rows["c-1"] = encode(ready())
    async with (
        container_credentials(monkeypatch, expires_at),
        clients_of(AWS, monkeypatch, now=lambda: now) as clients,
    ):
        delivery = ContentDelivery(
            contents=repository,
            objects=S3ObjectStore(clients.s3, bucket="lyceum-content"),
            clock=lambda: now,
        )
        return await delivery.deliver("c-1", rendition=None, disposition=Disposition.INLINE)


def moments(delivered: Delivery) -> list[tuple[datetime, datetime]]:
    """Issue and expiry of each URL, as the store will read them."""
    found = []
    for url in (delivered.url, *(caption.url for caption in delivered.captions)):
        query = parse_qs(urlsplit(url).query)
        issued = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        found.append((issued, issued + timedelta(seconds=int(query["X-Amz-Expires"][0]))))
    return found


async def test_urls_end_with_the_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    end = now.replace(microsecond=0) + timedelta(minutes=11)
    delivered = await deliver(monkeypatch, expires_at=end, now=now)
    assert delivered.window.expires_at == end
    assert delivered.window.refresh_after < end
    assert moments(delivered) == [(delivered.window.issued_at, end)] * 3
    assert delivered.window.issued_at <= now


async def test_longer_credentials_leave_the_rule_of_durations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = datetime.now(UTC)
    delivered = await deliver(monkeypatch, expires_at=now + timedelta(hours=6), now=now)
    # Ten minutes of video twice, and the window of five minutes that it may have been asked for in.
    assert delivered.window.seconds == 1500
    assert delivered.window.expires_at - now >= timedelta(minutes=20)


async def test_renewed_credentials_sign_other_urls_and_the_same_ones_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The URL is stable for as long as one set of credentials signs."""
    now = datetime.now(UTC)
    beginning = datetime.fromtimestamp(now.timestamp() // 300 * 300, UTC)
    later = beginning + timedelta(minutes=2)
    long, short = now + timedelta(hours=6), now + timedelta(minutes=12)
    urls = [
        (await deliver(monkeypatch, expires_at=end, now=at)).url
        for at, end in ((beginning, long), (later, long), (later, short))
    ]
    assert urls[0] == urls[1]
    # Credentials that end sooner make it shorter: another signature.
    assert urls[2] != urls[1]


async def test_the_session_token_is_signed_in_and_the_bucket_is_a_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = datetime.now(UTC)
    delivered = await deliver(monkeypatch, expires_at=now + timedelta(hours=6), now=now)
    url = urlsplit(delivered.url)
    query = parse_qs(url.query)
    assert url.netloc == "lyceum-content.s3.eu-central-1.amazonaws.com"
    assert url.path == "/content/c-1/mangrove-master.mp4"
    assert query["X-Amz-Security-Token"] == ["session/token+with=signs"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-SignedHeaders"] == ["host"]


async def test_credentials_about_to_end_sign_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    with pytest.raises(SigningUnavailableError):
        await deliver(monkeypatch, expires_at=now + timedelta(seconds=50), now=now)
