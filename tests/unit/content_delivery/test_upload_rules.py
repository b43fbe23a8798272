"""Uploads on the twins in memory: announcing, sending, verifying, and every way it goes wrong."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.aws import DependencyUnavailable
from services.content_delivery.domain.background import BackgroundWork
from services.content_delivery.domain.content import Content, ContentStatus, part_count
from services.content_delivery.domain.errors import (
    ContentNotFoundError,
    NotUploadingError,
    RenditionNotFoundError,
    SigningUnavailableError,
    TooManyMediaError,
    UnknownPartsError,
    UploadFailedError,
    UploadIncompleteError,
    UploadTooLargeError,
)
from services.content_delivery.domain.object_store import ObjectMetadata, UploadedPart
from services.content_delivery.domain.uploads import (
    NewContent,
    NewRendition,
    UploadPolicy,
    Uploads,
    UploadState,
    UploadStatus,
    UploadTicket,
)
from services.content_delivery.storage.memory import MemoryContentRepository, MemoryObjectStore
from tests.unit.content_delivery.samples import CREATED

POLICY = UploadPolicy(
    single_bytes=100,
    part_bytes=40,
    maximum_bytes=10_000,
    url_seconds=3600,
    pending_seconds=7 * 86_400,
)
LARGE = bytes(range(130))
SMALL = b"a small object"


def sha256(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


class World:
    """The use cases on twins in memory, with the clock standing still."""

    def __init__(
        self,
        *,
        objects: MemoryObjectStore | None = None,
        wait_seconds: float = 5.0,
        policy: UploadPolicy = POLICY,
    ) -> None:
        self.contents = MemoryContentRepository()
        self.objects = objects or MemoryObjectStore()
        self.failures: list[tuple[str, Exception]] = []
        self.verifications: BackgroundWork[UploadStatus] = BackgroundWork(
            maximum=2,
            wait_seconds=wait_seconds,
            failed=lambda name, error: self.failures.append((name, error)),
        )
        self._ids = 0
        self.uploads = Uploads(
            contents=self.contents,
            objects=self.objects,
            policy=policy,
            clock=lambda: CREATED,
            new_id=self._new_id,
            verifications=self.verifications,
        )

    def _new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids}"

    async def announce(self, body: bytes, *, checksum: bool = True) -> UploadTicket:
        return await self.uploads.announce(
            "c-1",
            NewContent(
                course_id="course-1",
                title="Ebbe & Flut",
                content_type="video/mp4",
                size_bytes=len(body),
                checksum_sha256=sha256(body) if checksum else None,
                position=3,
                duration_seconds=600,
            ),
        )

    async def send(self, ticket: UploadTicket, body: bytes) -> None:
        """What a client does with a ticket."""
        upload = ticket.upload
        assert upload is not None
        if upload.multipart is None:
            await self.objects.put(upload.object_key, body, content_type=upload.content_type)
        for part in ticket.parts:
            assert upload.multipart is not None
            start = (part.number - 1) * upload.multipart.part_size
            assert self.objects.send_part(
                upload.object_key,
                upload.multipart.upload_id,
                part.number,
                body[start : start + part.size_bytes],
            )

    async def content(self) -> Content:
        found = await self.contents.get("c-1")
        assert found is not None
        return found


@given(
    size=st.integers(1, 5 * 1024**4),
    part_bytes=st.integers(5 * 1024**2, 5 * 1024**3),
)
def test_there_are_never_more_parts_than_s3_takes(size: int, part_bytes: int) -> None:
    policy = UploadPolicy(1, part_bytes, 5 * 1024**4, 3600, 86_400)
    part_size = policy.part_size(size)
    assert part_bytes <= part_size <= 5 * 1024**3
    assert part_count(size, part_size) <= 10_000


async def test_what_was_announced_is_pending_and_what_arrived_becomes_ready() -> None:
    world = World()
    ticket = await world.announce(SMALL)
    content = await world.content()
    assert (content.status, content.version) == (ContentStatus.PENDING, 1)
    assert content.purge_at == CREATED + timedelta(days=7)
    assert ticket.form is not None
    assert ticket.expires_at == CREATED + timedelta(hours=1)
    await world.send(ticket, SMALL)
    status = await world.uploads.complete("c-1", "original")
    assert status.state is UploadState.READY
    content = await world.content()
    assert (content.status, content.purge_at) == (ContentStatus.READY, None)
    assert (content.size_bytes, content.checksum_sha256) == (len(SMALL), sha256(SMALL))
    assert (content.position, content.duration_seconds) == (3, 600)


async def test_a_large_object_comes_in_parts_in_any_order() -> None:
    world = World()
    ticket = await world.announce(LARGE)
    assert [(part.number, part.size_bytes) for part in ticket.parts] == [
        (1, 40),
        (2, 40),
        (3, 40),
        (4, 10),
    ]
    last_two = await world.uploads.ticket("c-1", "original", [4, 2])
    await world.send(last_two, LARGE)
    status = await world.uploads.status("c-1", "original")
    assert (status.state, status.missing) == (UploadState.UPLOADING, ((1, 1), (3, 3)))
    with pytest.raises(UploadIncompleteError) as incomplete:
        await world.uploads.complete("c-1", "original")
    assert incomplete.value.missing == ((1, 1), (3, 3))
    rest = await world.uploads.ticket("c-1", "original", None)
    assert [part.number for part in rest.parts] == [1, 3]
    await world.send(rest, LARGE)
    assert (await world.uploads.complete("c-1", "original")).state is UploadState.READY
    assert world.objects.bodies[(await world.content()).object_key] == LARGE
    assert world.objects.open_uploads == 0


async def test_a_part_of_another_length_is_missing() -> None:
    world = World()
    ticket = await world.announce(LARGE)
    await world.send(ticket, LARGE)
    upload = ticket.upload
    assert upload is not None
    assert upload.multipart is not None
    world.objects.send_part(upload.object_key, upload.multipart.upload_id, 2, b"cut")
    assert (await world.uploads.status("c-1", "original")).missing == ((2, 2),)


async def test_a_hundred_urls_an_answer() -> None:
    world = World(policy=UploadPolicy(100, 40, 10_000, 3600, 86_400))
    ticket = await world.announce(bytes(10_000))
    assert [part.number for part in ticket.parts] == list(range(1, 101))
    await world.send(ticket, bytes(10_000))
    more = await world.uploads.ticket("c-1", "original", None)
    assert [part.number for part in more.parts] == list(range(101, 201))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (ObjectMetadata(13, "video/mp4", '"e"'), "The object has 13 bytes; 14 bytes were"),
        (ObjectMetadata(14, "text/html", '"e"'), "type is not video/mp4"),
        (ObjectMetadata(14, "video/mp4", '"e"', sha256(b"other")), "SHA-256"),
    ],
)
async def test_an_object_that_is_not_what_was_announced(facts: ObjectMetadata, reason: str) -> None:
    world = World()
    await world.announce(SMALL)
    key = (await world.content()).object_key
    world.objects.objects[key] = facts
    for _ in range(2):
        with pytest.raises(UploadFailedError) as failed:
            await world.uploads.complete("c-1", "original")
        assert reason in failed.value.reason
    assert key not in world.objects.objects
    content = await world.content()
    assert (content.status, content.failure_reason) == (
        ContentStatus.FAILED,
        failed.value.reason,
    )
    with pytest.raises(NotUploadingError):
        await world.uploads.ticket("c-1", "original", None)


async def test_the_store_s_own_checksum_saves_reading_the_object() -> None:
    world = World()
    await world.announce(SMALL)
    # Facts alone: reading it would fail.
    world.objects.objects[(await world.content()).object_key] = ObjectMetadata(
        len(SMALL), "video/mp4", '"e"', sha256(SMALL)
    )
    assert (await world.uploads.complete("c-1", "original")).state is UploadState.READY


async def test_parts_that_make_another_object_are_found_out() -> None:
    world = World()
    ticket = await world.announce(LARGE)
    await world.send(ticket, LARGE[::-1])
    with pytest.raises(UploadFailedError, match="failed"):
        await world.uploads.complete("c-1", "original")
    assert world.objects.objects == {}


async def test_a_completion_whose_answer_was_lost_is_done_all_the_same() -> None:
    class Losing(MemoryObjectStore):
        lost = False

        async def complete_multipart(
            self, object_key: str, upload_id: str, parts: Sequence[UploadedPart]
        ) -> bool:
            done = await super().complete_multipart(object_key, upload_id, parts)
            if not self.lost:
                self.lost = True
                raise DependencyUnavailable("s3", "CompleteMultipartUpload", reason="timeout")
            return done

    world = World(objects=Losing())
    await world.send(await world.announce(LARGE), LARGE)
    with pytest.raises(DependencyUnavailable):
        await world.uploads.complete("c-1", "original")
    status = await world.uploads.status("c-1", "original")
    assert status.state is UploadState.UPLOADED
    with pytest.raises(NotUploadingError):
        await world.uploads.ticket("c-1", "original", None)
    assert (await world.uploads.complete("c-1", "original")).state is UploadState.READY


async def test_parts_that_the_store_has_given_up() -> None:
    world = World()
    ticket = await world.announce(LARGE)
    upload = ticket.upload
    assert upload is not None
    assert upload.multipart is not None
    await world.objects.abort_multipart(upload.object_key, upload.multipart.upload_id)
    assert (await world.uploads.status("c-1", "original")).missing == ((1, 4),)
    with pytest.raises(UploadFailedError) as failed:
        await world.uploads.complete("c-1", "original")
    assert failed.value.reason.startswith("The parts are gone")
    assert (await world.content()).status is ContentStatus.FAILED


async def test_an_object_that_changes_while_it_is_read_is_not_believed() -> None:
    class Changing(MemoryObjectStore):
        async def read(self, object_key: str, *, start: int, length: int, etag: str) -> bytes:
            await self.put(object_key, SMALL[::-1], content_type="video/mp4")
            return await super().read(object_key, start=start, length=length, etag=etag)

    world = World(objects=Changing())
    await world.send(await world.announce(SMALL), SMALL)
    with pytest.raises(UploadIncompleteError):
        await world.uploads.complete("c-1", "original")
    # It is complete, only not what was looked at: asked again, it is found out.
    assert (await world.content()).status is ContentStatus.PENDING


async def test_verifying_may_take_longer_than_a_request() -> None:
    class Slow(MemoryObjectStore):
        def __init__(self) -> None:
            super().__init__()
            self.released = asyncio.Event()
            self.heads = 0

        async def head(self, object_key: str) -> ObjectMetadata | None:
            self.heads += 1
            await self.released.wait()
            return await super().head(object_key)

    objects = Slow()
    world = World(objects=objects, wait_seconds=0.0)
    await world.send(await world.announce(SMALL), SMALL)
    first, second = await asyncio.gather(
        world.uploads.complete("c-1", "original"), world.uploads.complete("c-1", "original")
    )
    assert (first.state, second.state) == (UploadState.UPLOADED, UploadState.UPLOADED)
    objects.released.set()
    async with asyncio.timeout(5):
        while (await world.content()).status is not ContentStatus.READY:
            await asyncio.sleep(0)
    # One verification for both.
    assert objects.heads == 1
    assert (await world.uploads.complete("c-1", "original")).state is UploadState.READY


async def test_what_fails_when_nobody_waits_is_told() -> None:
    class Failing(MemoryObjectStore):
        released = asyncio.Event()

        async def head(self, object_key: str) -> ObjectMetadata | None:
            await self.released.wait()
            raise DependencyUnavailable("s3", "HeadObject", reason="timeout")

    objects = Failing()
    objects.released = asyncio.Event()
    world = World(objects=objects, wait_seconds=0.0)
    await world.announce(SMALL)
    assert (await world.uploads.complete("c-1", "original")).state is UploadState.UPLOADED
    objects.released.set()
    async with asyncio.timeout(5):
        while not world.failures:
            await asyncio.sleep(0)
    ((_, error),) = world.failures
    assert isinstance(error, DependencyUnavailable)
    assert (await world.content()).status is ContentStatus.PENDING


async def test_work_that_is_cut_short_ends_with_the_process() -> None:
    begun, work = (
        asyncio.Event(),
        BackgroundWork[int](maximum=1, wait_seconds=0.0, failed=lambda name, error: None),
    )

    async def forever() -> int:
        begun.set()
        await asyncio.Event().wait()
        return 0

    assert await work.outcome("one", forever) is None
    await begun.wait()
    # There is room for one.
    assert await work.outcome("two", forever) is None
    await work.close()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_an_aborted_upload_leaves_nothing() -> None:
    world = World()
    ticket = await world.announce(LARGE)
    await world.send(ticket, LARGE)
    for _ in range(2):
        await world.uploads.abort("c-1", "original")
    assert (world.objects.open_uploads, world.objects.objects) == (0, {})
    with pytest.raises(UploadFailedError) as failed:
        await world.uploads.complete("c-1", "original")
    assert failed.value.reason == "The upload was aborted."


async def test_what_is_ready_is_not_aborted() -> None:
    world = World()
    await world.send(await world.announce(SMALL), SMALL)
    await world.uploads.complete("c-1", "original")
    with pytest.raises(NotUploadingError):
        await world.uploads.abort("c-1", "original")
    assert world.objects.objects


async def test_too_large_is_told_before_anything_is_begun() -> None:
    world = World()
    with pytest.raises(UploadTooLargeError):
        await world.announce(bytes(10_001))
    assert (world.objects.open_uploads, world.contents.rows) == (0, {})


async def test_without_credentials_to_sign_with_nothing_is_announced() -> None:
    world = World(
        objects=MemoryObjectStore(credentials_expire_at=lambda: CREATED + timedelta(seconds=59))
    )
    with pytest.raises(SigningUnavailableError):
        await world.announce(LARGE)
    assert (world.objects.open_uploads, world.contents.rows) == (0, {})


async def test_what_is_signed_ends_with_the_credentials() -> None:
    end = CREATED + timedelta(minutes=10, milliseconds=500)
    world = World(objects=MemoryObjectStore(credentials_expire_at=lambda: end))
    for body in (SMALL, LARGE):
        world.contents.rows.clear()
        ticket = await world.announce(body)
        assert ticket.expires_at == CREATED + timedelta(minutes=10)
        assert all("X-Amz-Expires=600" in part.url for part in ticket.parts)


RENDITION = NewRendition("480p", "video/mp4", len(LARGE), sha256(LARGE), 854, 480)


async def with_rendition(world: World) -> UploadTicket:
    await world.send(await world.announce(SMALL), SMALL)
    await world.uploads.complete("c-1", "original")
    return await world.uploads.announce_rendition("c-1", "announcement-1", RENDITION)


async def test_a_rendition_arrives_as_the_original_does() -> None:
    world = World()
    ticket = await with_rendition(world)
    assert (await world.content()).renditions == ()
    await world.send(ticket, LARGE)
    status = await world.uploads.complete("c-1", "480p")
    assert status.state is UploadState.READY
    again = await world.uploads.complete("c-1", "480p")
    assert again.state is UploadState.READY
    (rendition,) = (await world.content()).renditions
    assert (rendition.name, rendition.size_bytes, rendition.width) == ("480p", 130, 854)
    assert rendition.checksum_sha256 == sha256(LARGE)
    # The original is what it was.
    assert world.objects.bodies[(await world.content()).object_key] == SMALL


async def test_a_refused_rendition_is_announced_anew() -> None:
    world = World()
    await world.send(await with_rendition(world), LARGE[::-1])
    for _ in range(2):
        with pytest.raises(UploadFailedError):
            await world.uploads.complete("c-1", "480p")
    assert (await world.content()).status is ContentStatus.READY
    ticket = await world.uploads.announce_rendition("c-1", "announcement-2", RENDITION)
    await world.send(ticket, LARGE)
    assert (await world.uploads.complete("c-1", "480p")).state is UploadState.READY


async def test_the_same_announcement_of_a_rendition_is_one() -> None:
    world = World()
    first = await with_rendition(world)
    again = await world.uploads.announce_rendition("c-1", "announcement-1", RENDITION)
    assert again.upload == first.upload
    assert world.objects.open_uploads == 1
    await world.send(first, LARGE)
    await world.uploads.complete("c-1", "480p")
    over = await world.uploads.announce_rendition("c-1", "announcement-1", RENDITION)
    assert over.upload is None


async def test_there_are_only_so_many_renditions() -> None:
    world = World()
    await world.announce(SMALL)
    for number in range(16):
        await world.uploads.announce_rendition(
            "c-1", f"a-{number}", NewRendition(f"r{number}", "video/mp4", 10, None, None, None)
        )
    with pytest.raises(TooManyMediaError):
        await world.uploads.announce_rendition("c-1", "a-16", RENDITION)
    assert world.objects.open_uploads == 0


@pytest.mark.parametrize(
    "operation",
    [
        lambda uploads, rendition: uploads.status("c-1", rendition),
        lambda uploads, rendition: uploads.ticket("c-1", rendition, None),
        lambda uploads, rendition: uploads.complete("c-1", rendition),
        lambda uploads, rendition: uploads.abort("c-1", rendition),
    ],
)
async def test_what_there_is_not(operation: Callable[..., object]) -> None:
    world = World()
    with pytest.raises(ContentNotFoundError):
        await operation(world.uploads, "original")  # type: ignore[misc]
    await world.announce(SMALL)
    with pytest.raises(RenditionNotFoundError):
        await operation(world.uploads, "480p")  # type: ignore[misc]
    await world.contents.mark_deleted("c-1", at=CREATED, purge_at=CREATED + timedelta(days=1))
    with pytest.raises(ContentNotFoundError):
        await operation(world.uploads, "original")  # type: ignore[misc]


@pytest.mark.parametrize(("body", "numbers"), [(SMALL, [1]), (LARGE, [0]), (LARGE, [5])])
async def test_parts_that_there_are_not(body: bytes, numbers: list[int]) -> None:
    world = World()
    await world.announce(body)
    with pytest.raises(UnknownPartsError):
        await world.uploads.ticket("c-1", "original", numbers)


async def test_no_text_form_shows_what_is_signed_or_where_it_goes() -> None:
    world = World()
    for body in (SMALL, LARGE):
        world.contents.rows.clear()
        ticket = await world.announce(body)
        shown = repr((ticket, await world.uploads.status("c-1", "original"), ticket.content))
        for secret in ("X-Amz", "upload-", "content/", "policy"):
            assert secret not in shown
