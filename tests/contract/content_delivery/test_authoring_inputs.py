"""Bad input to the authors' operations: each mistake at its place, and nothing is done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.contract.content_delivery.service import NOW, Service, World, running
from tests.unit.content_delivery.samples import pending

NEW = {
    "courseId": "course-1",
    "title": "Ebb",
    "contentType": "video/mp4",
    "sizeBytes": 250,
}


async def answer(
    service: Service,
    method: str,
    target: str,
    *,
    json: object = None,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, object]]:
    async with service.request(
        method, target, as_author=True, json=json, data=data, headers=headers
    ) as response:
        return response.status, await response.json()


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"courseId": "a b"}, ["/courseId"]),
        ({"title": ""}, ["/title"]),
        ({"title": "x" * 201}, ["/title"]),
        ({"title": "a\r\nSet-Cookie: b"}, ["/title"]),
        ({"title": "line\u2028separator"}, ["/title"]),
        ({"contentType": "video"}, ["/contentType"]),
        ({"contentType": "video/mp4\n"}, ["/contentType"]),
        ({"contentType": "text/html; charset=utf-8; x=y"}, ["/contentType"]),
        ({"sizeBytes": 0}, ["/sizeBytes"]),
        ({"sizeBytes": -1}, ["/sizeBytes"]),
        ({"sizeBytes": 250.5}, ["/sizeBytes"]),
        ({"sizeBytes": "250"}, ["/sizeBytes"]),
        ({"sizeBytes": True}, ["/sizeBytes"]),
        ({"sizeBytes": 5 * 1024**4 + 1}, ["/sizeBytes"]),
        ({"checksumSha256": "0" * 64}, ["/checksumSha256"]),
        ({"checksumSha256": "A" * 42 + "B="}, ["/checksumSha256"]),
        ({"position": 1_000_000, "durationSeconds": -1}, ["/durationSeconds", "/position"]),
        ({"objectKey": "content/other"}, ["/objectKey"]),
        ({"id": "mine"}, ["/id"]),
    ],
)
async def test_what_is_wrong_with_an_announcement(
    change: dict[str, object], pointers: list[str]
) -> None:
    world = World()
    async with running(world) as service:
        rows = dict(world.contents.rows)
        status, body = await answer(service, "POST", "/content", json={**NEW, **change})
    assert (status, body["code"]) == (422, "invalid_body")
    errors = body["errors"]
    assert isinstance(errors, list)
    assert sorted(error["pointer"] for error in errors) == pointers
    assert world.contents.rows == rows
    assert world.objects.open_uploads == 0


@pytest.mark.parametrize(
    ("size", "method"), [(1, "post"), (100, "post"), (101, "multipart"), (10_000, "multipart")]
)
async def test_the_size_decides_how_it_is_sent(size: int, method: str) -> None:
    async with running() as service:
        status, body = await answer(service, "POST", "/content", json={**NEW, "sizeBytes": size})
    upload = body["upload"]
    assert isinstance(upload, dict)
    assert (status, upload["method"]) == (201, method)
    parts = [part["sizeBytes"] for part in upload["partUrls"]]
    assert sum(parts) == (0 if method == "post" else min(size, 4_000))
    assert len(parts) <= 100


async def test_what_is_signed_ends_with_the_credentials() -> None:
    world = World(credentials_expire_at=NOW + timedelta(minutes=4))
    async with running(world) as service:
        _, parts = await answer(service, "POST", "/content", json=NEW)
        _, form = await answer(service, "POST", "/content", json={**NEW, "sizeBytes": 10})
        world.credentials_expire_at = NOW + timedelta(seconds=59)
        status, body = await answer(service, "POST", "/content", json=NEW)
    for document in (parts, form):
        upload = document["upload"]
        assert isinstance(upload, dict)
        assert upload["expiresAt"] == "2026-03-01T12:04:00.000Z"
    upload = parts["upload"]
    assert isinstance(upload, dict)
    for part in upload["partUrls"]:
        assert parse_qs(urlsplit(part["url"]).query)["X-Amz-Expires"] == ["240"]
    assert (status, body["code"]) == (503, "signing_unavailable")
    assert world.objects.open_uploads == 1


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"partNumbers": []}, ["/partNumbers"]),
        ({"partNumbers": [0]}, ["/partNumbers/0"]),
        ({"partNumbers": [1, 10_001]}, ["/partNumbers/1"]),
        ({"partNumbers": ["1"]}, ["/partNumbers/0"]),
        ({"partNumbers": list(range(1, 102))}, ["/partNumbers"]),
        ({"parts": [1]}, ["/parts"]),
    ],
)
async def test_parts_that_cannot_be(body: object, pointers: list[str]) -> None:
    async with running() as service:
        status, found = await answer(service, "POST", "/content/pending/upload/parts", json=body)
    errors = found["errors"]
    assert isinstance(errors, list)
    assert (status, [error["pointer"] for error in errors]) == (422, pointers)


@pytest.mark.parametrize(
    "target",
    [
        "/content",
        "/content?courseId=",
        "/content?courseId=a&courseId=b",
        "/content?courseId=a&limit=0",
        "/content?courseId=a&limit=101",
        "/content?courseId=a&limit=1.5",
        "/content?courseId=a&sort=title",
        "/content/pending/upload?rendition=a%20b",
        "/content/pending/upload?part=1",
        "/content/c-1/metadata?x=1",
    ],
)
async def test_queries_that_cannot_be(target: str) -> None:
    world = World()
    async with running(world) as service:
        status, body = await answer(service, "GET", target)
    assert (status, body["code"]) == (400, "invalid_query")
    assert world.contents.reads == 0


@pytest.mark.parametrize(
    "language", ["e", "english_uk", "en-", "en--GB", "1", "en%2FGB", "en%00", "..", "x" * 9]
)
async def test_languages_that_cannot_be(language: str) -> None:
    world = World()
    async with (
        running(world) as service,
        service.request(
            "PUT",
            f"/content/c-1/captions/{language}",
            as_author=True,
            data=b"WEBVTT\n",
            headers={"Content-Type": "text/vtt"},
        ) as response,
    ):
        assert response.status in (400, 404)
    assert world.contents.reads == 0


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("text/vtt", 201),
        ("text/vtt; charset=UTF-8", 201),
        ("text/vtt; charset=utf-16", 415),
        ("text/plain", 415),
        ("application/json", 415),
    ],
)
async def test_the_types_of_a_track(kind: str, status: int) -> None:
    async with running() as service:
        found, _ = await answer(
            service,
            "PUT",
            "/content/c-1/captions/sw",
            data=b"WEBVTT\n",
            headers={"Content-Type": kind},
        )
    assert found == status


async def test_a_page_leads_to_the_next_and_its_cursor_to_no_other_course() -> None:
    world = World()
    world.put(*(pending(f"c-{number}", position=number) for number in range(1, 6)))
    async with running(world) as service:
        seen: list[object] = []
        target = "/content?courseId=course-1&limit=2"
        while True:
            async with service.request("GET", target, as_author=True) as response:
                body = await response.json()
                link = response.headers.get("Link")
            seen += [item["id"] for item in body["items"]]
            if body["nextCursor"] is None:
                assert link is None
                break
            assert link is not None
            cursor = body["nextCursor"]
            target = link.removeprefix("<").partition(">")[0]
        status, problem = await answer(
            service, "GET", f"/content?courseId=course-2&limit=2&cursor={cursor}"
        )
    assert seen == ["c-1", "c-2", "c-3", "c-4", "c-5"]
    assert (status, problem["code"]) == (400, "invalid_cursor")


async def test_who_may_not_write_learns_nothing() -> None:
    """The same answer for what is there, what is not, and what cannot be."""
    world = World()
    targets = [
        ("GET", "/content?courseId=course-1"),
        ("GET", "/content"),
        ("POST", "/content"),
        *(
            (method, f"/content/{name}{path}")
            for name in ("c-1", "nowhere", "a%2Fb")
            for method, path in (
                ("DELETE", ""),
                ("GET", "/metadata"),
                ("PUT", "/metadata"),
                ("GET", "/upload"),
                ("POST", "/upload/parts"),
                ("POST", "/upload/complete"),
                ("POST", "/upload/abort"),
                ("POST", "/renditions"),
                ("DELETE", "/renditions/720p"),
                ("PUT", "/captions/en"),
                ("DELETE", "/captions/en"),
                ("POST", "/restore"),
            )
        ),
    ]
    async with running(world) as service:
        answers = set()
        for method, target in targets:
            async with service.request(method, target) as response:
                body = await response.json()
                answers.add((response.status, body["code"], body["detail"]))
    assert answers == {(403, "forbidden", "The access token does not permit this.")}
    assert world.contents.reads == 0


async def test_two_who_edit_one_version_and_one_is_told() -> None:
    world = World()
    async with running(world) as service:
        async with service.request("GET", "/content/c-1/metadata", as_author=True) as response:
            tag = response.headers["ETag"]
        statuses = []
        for title in ("First", "Second"):
            status, _ = await answer(
                service,
                "PUT",
                "/content/c-1/metadata",
                json={"title": title, "position": 1},
                headers={"If-Match": tag},
            )
            statuses.append(status)
        _, metadata = await answer(service, "GET", "/content/c-1/metadata")
    assert statuses == [200, 412]
    assert metadata["title"] == "First"


async def test_as_many_renditions_as_there_may_be() -> None:
    world = World()
    world.put(pending("full"))
    async with running(world) as service:
        for number in range(16):
            status, _ = await answer(
                service,
                "POST",
                "/content/full/renditions",
                json={"name": f"r{number}", "contentType": "video/mp4", "sizeBytes": 1},
            )
            assert status == 201
        status, problem = await answer(
            service,
            "POST",
            "/content/full/renditions",
            json={"name": "more", "contentType": "video/mp4", "sizeBytes": 1},
        )
    assert (status, problem["code"]) == (409, "too_many_media")
