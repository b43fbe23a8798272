"""What content delivery answers, over a real socket: the document, its times, and its silence."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from libs.logging.testing import captured_logs
from services.content_delivery.config import Config
from tests.contract.content_delivery.service import NOW, ORIGIN, World, running
from tests.unit.content_delivery.samples import (
    CREATED,
    ENGLISH,
    PORTUGUESE,
    SECRET_KEY,
    VIDEO_720P,
    ready,
)

KEYS = (SECRET_KEY, VIDEO_720P.object_key, ENGLISH.object_key, PORTUGUESE.object_key)


async def test_the_document() -> None:
    async with running() as service, service.request("GET", "/content/c-1") as response:
        body = await response.json()
    assert response.status == 200
    assert response.headers["Cache-Control"] == "private, no-store"
    assert "Authorization" in response.headers["Vary"]
    assert "ETag" not in response.headers
    url = body.pop("url")
    caption_urls = [caption.pop("url") for caption in body["captions"]]
    assert body == {
        "id": "c-1",
        "courseId": "course-1",
        "title": "Mangroves at low tide",
        "contentType": "video/mp4",
        "sizeBytes": 6_000_001,
        "etag": '"0123456789abcdef"',
        "durationSeconds": 600,
        "method": "GET",
        "expiresAt": "2026-03-01T12:25:00.000Z",
        "refreshAfter": "2026-03-01T12:20:00.000Z",
        "renditions": [
            {
                "name": "original",
                "contentType": "video/mp4",
                "sizeBytes": 6_000_001,
                "etag": '"0123456789abcdef"',
                "width": None,
                "height": None,
            },
            {
                "name": "720p",
                "contentType": "video/mp4",
                "sizeBytes": 2_000_000,
                "etag": '"7207207207207207"',
                "width": 1280,
                "height": 720,
            },
        ],
        "captions": [
            {"language": "en", "kind": "captions", "expiresAt": "2026-03-01T12:25:00.000Z"},
            {"language": "pt-BR", "kind": "subtitles", "expiresAt": "2026-03-01T12:25:00.000Z"},
        ],
    }
    # Keys are in the URLs and in no other field.
    assert urlsplit(url).path == f"/{SECRET_KEY}"
    assert [urlsplit(caption).path for caption in caption_urls] == [
        f"/{ENGLISH.object_key}",
        f"/{PORTUGUESE.object_key}",
    ]
    assert not any(key in json.dumps(body) for key in KEYS)


async def test_a_rendition_changes_what_is_said_of_the_bytes() -> None:
    async with (
        running() as service,
        service.request("GET", "/content/c-1?rendition=720p&disposition=attachment") as response,
    ):
        body = await response.json()
    assert (body["sizeBytes"], body["etag"]) == (2_000_000, '"7207207207207207"')
    assert urlsplit(body["url"]).path == f"/{VIDEO_720P.object_key}"
    query = parse_qs(urlsplit(body["url"]).query)
    assert query["response-content-disposition"] == [
        'attachment; filename="Mangroves at low tide.mp4"'
    ]


async def test_no_title_breaks_the_header_that_is_signed() -> None:
    world = World()
    world.put(ready(title='say "hi", 海の潮; filename=evil.exe'))
    async with (
        running(world) as service,
        service.request("GET", "/content/c-1?disposition=attachment") as response,
    ):
        body = await response.json()
    query = parse_qs(urlsplit(body["url"]).query)
    assert query["response-content-disposition"] == [
        'attachment; filename="say -hi-, ___; filename=evil.exe.mp4"; '
        "filename*=UTF-8''say%20-hi-%2C%20%E6%B5%B7%E3%81%AE%E6%BD%AE%3B%20filename%3Devil.exe.mp4"
    ]


async def test_head_has_the_headers_of_get() -> None:
    async with running() as service:
        async with service.request("GET", "/content/c-1") as response:
            expected = {
                name: value
                for name, value in response.headers.items()
                if name.lower() not in ("date", "x-request-id", "x-amzn-trace-id")
            }
        async with service.request("HEAD", "/content/c-1") as response:
            assert await response.read() == b""
            found = {name: response.headers.get(name) for name in expected}
    assert found == expected


async def test_urls_end_with_the_credentials() -> None:
    world = World(credentials_expire_at=NOW + timedelta(minutes=5))
    async with running(world) as service, service.request("GET", "/content/c-1") as response:
        body = await response.json()
    assert body["expiresAt"] == "2026-03-01T12:05:00.000Z"
    assert body["refreshAfter"] == "2026-03-01T12:04:00.000Z"
    assert {caption["expiresAt"] for caption in body["captions"]} == {body["expiresAt"]}
    for url in (body["url"], *(caption["url"] for caption in body["captions"])):
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["300"]


async def test_credentials_that_come_back_serve_again() -> None:
    world = World(credentials_expire_at=NOW + timedelta(seconds=59))
    async with running(world) as service:
        async with service.request("GET", "/content/c-1") as response:
            body = await response.json()
            assert (response.status, body["code"]) == (503, "signing_unavailable")
            assert response.headers["Retry-After"] == "5"
        world.credentials_expire_at = NOW + timedelta(hours=1)
        async with service.request("GET", "/content/c-1") as response:
            assert response.status == 200


async def test_every_principal_may_read() -> None:
    async with running() as service:
        for groups in ((), ("authors",), ("staff",), ("somebody-else",)):
            token = service.world.issuer.token(sub="reader", groups=groups)
            async with service.request(
                "GET", "/content/c-1", headers={"Authorization": f"Bearer {token}"}
            ) as response:
                assert response.status == 200


async def test_a_deletion_is_seen_within_the_bound() -> None:
    world = World()
    async with running(world) as service:
        async with service.request("GET", "/content/c-1") as response:
            assert response.status == 200
        await world.contents.mark_deleted("c-1", at=CREATED, purge_at=CREATED + timedelta(days=30))
        world.seconds = 4.9
        async with service.request("GET", "/content/c-1") as response:
            assert response.status == 200
        world.seconds = 5.0
        async with service.request("GET", "/content/c-1") as response:
            assert (response.status, (await response.json())["code"]) == (
                404,
                "content_not_found",
            )


async def test_within_a_window_everybody_gets_the_same_urls() -> None:
    world = World()
    bodies = []
    async with running(world) as service:
        # NOW is a quarter of a second into a window of five minutes.
        for seconds in (0.0, 2.0, 299.5, 300.0):
            world.seconds = seconds
            async with service.request("GET", "/content/c-1") as response:
                bodies.append(await response.json())
    urls = [(body["url"], body["captions"][0]["url"], body["expiresAt"]) for body in bodies]
    assert urls[0] == urls[1] == urls[2] != urls[3]
    # Two reads of the row: what is kept for five seconds gives the same as what is read anew.
    assert world.contents.reads == 2


async def test_without_a_cache_each_request_reads() -> None:
    def uncached(config: Config) -> Config:
        return replace(config, cache_seconds=0.0)

    world = World()
    async with running(world, configured=uncached) as service:
        for _ in range(2):
            async with service.request("GET", "/content/c-1") as response:
                assert response.status == 200
    assert world.contents.reads == 2


@pytest.mark.parametrize("ending", ["ready", "broken", "gone"])
async def test_no_log_shows_a_key_or_a_query(ending: str) -> None:
    """Whatever happens, at the finest level, in what is written and in what is returned."""
    target = {"ready": "c-1", "broken": "broken", "gone": "nowhere"}[ending]
    with captured_logs("DEBUG") as events:
        async with (
            running() as service,
            service.request("GET", f"/content/{target}?rendition=original") as response,
        ):
            text = await response.text()
    written = json.dumps(events)
    assert any(event["event"] == "request" for event in events)
    for secret in ("mangrove", "backups", "X-Amz-", "response-content", "rendition="):
        assert secret not in written, secret
    if ending != "ready":
        assert "mangrove" not in text
        assert "backups" not in text


async def test_a_damaged_row_is_logged_with_its_rule() -> None:
    world = World()
    world.put(ready("damaged"))
    world.damage("damaged", etag=["not", "a", "tag"])
    with captured_logs() as events:
        async with (
            running(world) as service,
            service.request(
                "GET", "/content/damaged", headers={"X-Request-Id": "look-me-up"}
            ) as response,
        ):
            body = await response.json()
            trace_id = response.headers["X-Amzn-Trace-Id"][5:40]
    assert response.status == 500
    assert body == {
        "type": "https://lyceum.example/problems/internal_error",
        "title": "Internal Server Error",
        "status": 500,
        "detail": "Something is wrong on our side; the requestId finds it.",
        "instance": "/content/damaged",
        "code": "internal_error",
        "requestId": "look-me-up",
        "traceId": trace_id,
    }
    (error,) = (event for event in events if event["event"] == "unhandled_error")
    assert error["requestId"] == "look-me-up"
    assert error["level"] == "error"
    assert "etag is not a text" in json.dumps(error)
    assert "CorruptContentError" in json.dumps(error)


async def test_players_on_allowed_pages_may_ask() -> None:
    async with running() as service:
        async with service.request("GET", "/content/c-1", headers={"Origin": ORIGIN}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        async with service.request(
            "GET", "/content/c-1", headers={"Origin": "https://elsewhere.example"}
        ) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_the_version_is_that_of_the_configuration() -> None:
    async with (
        running() as service,
        service.request("GET", "/version", anonymous=True) as response,
    ):
        assert await response.json() == {
            "service": "content_delivery",
            "version": "1.2.3",
            "revision": "abc1234",
            "imageHash": "0f0f0f",
        }
