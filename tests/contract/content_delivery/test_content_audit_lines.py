"""Every write of an author's leaves its audit line: who, what, from which version to which."""

from __future__ import annotations

import asyncio

from libs.logging.testing import captured_logs
from services.content_delivery.domain.object_store import ObjectMetadata
from services.content_delivery.storage.memory import MemoryObjectStore
from tests.contract.content_delivery.service import World, running
from tests.contract.content_delivery.test_content_delivery_contract import (
    ANY,
    AS_VTT,
    NEW_RENDITION,
    STALE,
    VTT,
    impatient,
    just_deleted,
    table_down,
)
from tests.unit.content_delivery.samples import SECRET_KEY

SMALL = {
    "courseId": "course-1",
    "title": "Ebb",
    "contentType": "video/mp4",
    "sizeBytes": 90,
}
EDIT = {"title": "Ebb", "position": 3}
Line = tuple[object, ...]


def lines(events: list[dict[str, object]]) -> list[Line]:
    """Action, id, versions, outcome and author of each audit line."""
    names = ("action", "resourceId", "versionBefore", "versionAfter", "outcome", "sub")
    found = [event for event in events if event["event"] == "audit"]
    assert all(event["resource"] == "content" and event["requestId"] for event in found)
    return [tuple(event[name] for name in names) for event in found]


async def test_a_contents_life_is_a_line_for_each_write() -> None:
    world = World()
    with captured_logs() as events:
        async with running(world) as service:

            async def write(method: str, path: str, **sent: object) -> dict[str, object]:
                async with service.request(method, path, as_author=True, **sent) as response:  # type: ignore[arg-type]
                    assert response.status < 300, await response.text()
                    return dict(await response.json()) if response.status != 204 else {}

            key = {"Idempotency-Key": "k"}
            made = await write("POST", "/content", json=SMALL, headers=key)
            await write("POST", "/content", json=SMALL, headers=key)  # replayed: no write
            content_id = made["id"]
            path = f"/content/{content_id}"
            (stored,) = (row for row in world.contents.rows.values() if row["title"] == "Ebb")
            world.objects.objects[str(stored["objectKey"])] = ObjectMetadata(90, "video/mp4", '"e"')
            await write("POST", f"{path}/upload/complete")
            await write("POST", f"{path}/upload/complete")  # it is ready: no write
            await write("PUT", f"{path}/metadata", json=EDIT, headers=ANY)
            await write("PUT", f"{path}/captions/en", data=VTT, headers=AS_VTT)
            await write("DELETE", f"{path}/captions/en")
            await write("DELETE", f"{path}/captions/en")  # there is none: no write
            await write("POST", f"{path}/renditions", json=NEW_RENDITION)
            await write("POST", f"{path}/upload/abort?rendition=480p")
            await write("DELETE", f"{path}/renditions/480p")
            await write("DELETE", path)
            await write("POST", f"{path}/restore")
    assert lines(events) == [
        ("create", content_id, None, 1, "succeeded", "author"),
        ("complete_upload", content_id, 1, 2, "succeeded", "author"),
        ("update", content_id, 2, 3, "succeeded", "author"),
        ("update", content_id, 3, 4, "succeeded", "author"),
        ("update", content_id, 4, 5, "succeeded", "author"),
        ("start_upload", content_id, 5, 6, "succeeded", "author"),
        ("abort_upload", content_id, 6, 7, "succeeded", "author"),
        ("update", content_id, 7, 8, "succeeded", "author"),
        ("delete", content_id, 8, 9, "succeeded", "author"),
        ("restore", content_id, 9, 10, "succeeded", "author"),
    ]


async def test_what_is_refused_or_not_known_is_a_line_too() -> None:
    world = World()
    with captured_logs() as events:
        async with running(world) as service:
            just_deleted(world)
            attempts = [
                ("PUT", "/content/c-1/metadata", {"json": EDIT, "headers": STALE}),
                ("PUT", "/content/nowhere/metadata", {"json": EDIT, "headers": ANY}),
                ("POST", "/content/pending/upload/complete", {}),
                ("POST", "/content/c-1/upload/abort", {}),
                ("POST", "/content/failed/renditions", {"json": NEW_RENDITION}),
            ]
            for method, path, sent in attempts:
                async with service.request(method, path, as_author=True, **sent) as response:  # type: ignore[arg-type]
                    assert 400 <= response.status < 500
            async with service.request("DELETE", "/content/c-1") as response:
                assert response.status == 403
            async with service.request("POST", "/content", json=SMALL) as response:
                assert response.status == 403
            table_down(world)
            async with service.request("DELETE", "/content/c-1", as_author=True) as response:
                assert response.status == 503
    assert lines(events) == [
        ("update", "c-1", None, None, "refused", "author"),
        ("update", "nowhere", None, None, "refused", "author"),
        ("complete_upload", "pending", None, None, "refused", "author"),
        ("abort_upload", "c-1", None, None, "refused", "author"),
        ("start_upload", "failed", None, None, "refused", "author"),
        ("delete", "c-1", None, None, "refused", "learner-a"),
        ("delete", "c-1", None, None, "unknown", "author"),
    ]


async def test_a_step_after_the_answer_names_who_asked_for_it() -> None:
    class Slow(MemoryObjectStore):
        def __init__(self) -> None:
            super().__init__()
            self.released = asyncio.Event()

        async def head(self, object_key: str) -> ObjectMetadata | None:
            await self.released.wait()
            return ObjectMetadata(6_000_000, "video/mp4", '"e"')

    world = World()
    objects = Slow()
    world.objects = objects
    with captured_logs() as events:
        async with running(world, configured=impatient) as service:
            async with service.request(
                "POST",
                "/content/pending/upload/complete",
                as_author=True,
                headers={"X-Request-Id": "the-first"},
            ) as response:
                assert response.status == 202
                assert response.headers["Retry-After"] == "2"
            assert lines(events) == []
            objects.released.set()
            async with asyncio.timeout(5):
                while not lines(events):
                    await asyncio.sleep(0.001)
    assert lines(events) == [("complete_upload", "pending", 1, 2, "succeeded", "author")]
    (line,) = (event for event in events if event["event"] == "audit")
    assert line["requestId"] == "the-first"
    assert SECRET_KEY not in str(events)
