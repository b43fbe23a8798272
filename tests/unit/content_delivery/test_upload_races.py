"""Completing, aborting, deleting and restoring at once, in every order Hypothesis thinks of.

Each task stops before each call of the repository and of the store; which one goes on is drawn.
Whatever the order, nothing is ready without its object, and nothing is left of what is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.content_delivery.domain.authoring import Authoring
from services.content_delivery.domain.background import BackgroundWork
from services.content_delivery.domain.content import Content, ContentStatus
from services.content_delivery.domain.errors import ContentDeliveryError
from services.content_delivery.domain.object_store import ObjectMetadata, UploadedPart
from services.content_delivery.domain.repository import Change
from services.content_delivery.domain.uploads import (
    NewContent,
    NewRendition,
    Uploads,
    UploadState,
    UploadStatus,
)
from services.content_delivery.storage.memory import MemoryContentRepository, MemoryObjectStore
from tests.unit.content_delivery.samples import CREATED
from tests.unit.content_delivery.test_upload_rules import POLICY

SIZE = 90


class Turns:
    """Where tasks stop until it is their turn."""

    def __init__(self) -> None:
        self.free = True
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self) -> None:
        if self.free:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def play(self, tasks: Sequence[asyncio.Task[object]], draw: Callable[[int], int]) -> None:
        """Let one task at a time go on, until all have ended."""
        while True:
            for _ in range(20):  # until everybody stands still
                await asyncio.sleep(0)
            if not self._waiting:
                assert all(task.done() for task in tasks)
                return
            self._waiting.pop(draw(len(self._waiting))).set_result(None)


class TurnwiseContents(MemoryContentRepository):
    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    async def get(self, content_id: str) -> Content | None:
        await self._turns.take()
        return await super().get(content_id)

    async def change(self, content_id: str, change: Callable[[Content], Content]) -> Change:
        await self._turns.take()
        return await super().change(content_id, change)


class TurnwiseObjects(MemoryObjectStore):
    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    async def head(self, object_key: str) -> ObjectMetadata | None:
        await self._turns.take()
        return await super().head(object_key)

    async def delete(self, object_key: str) -> None:
        await self._turns.take()
        await super().delete(object_key)

    async def list_parts(self, object_key: str, upload_id: str) -> Sequence[UploadedPart] | None:
        await self._turns.take()
        return await super().list_parts(object_key, upload_id)

    async def complete_multipart(
        self, object_key: str, upload_id: str, parts: Sequence[UploadedPart]
    ) -> bool:
        await self._turns.take()
        turns, self._turns = self._turns, Turns()  # one step, not two
        try:
            return await super().complete_multipart(object_key, upload_id, parts)
        finally:
            self._turns = turns

    async def abort_multipart(self, object_key: str, upload_id: str) -> None:
        await self._turns.take()
        await super().abort_multipart(object_key, upload_id)


class Race:
    """One content whose upload is complete (or not what was announced), and who races for it."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.contents = TurnwiseContents(self.turns)
        self.objects = TurnwiseObjects(self.turns)
        # Two processes: each has verifications of its own.
        self.processes = [self._process() for _ in range(2)]

    def _process(self) -> tuple[Uploads, Authoring, BackgroundWork[UploadStatus]]:
        work: BackgroundWork[UploadStatus] = BackgroundWork(
            maximum=4, wait_seconds=60.0, failed=lambda name, error: None
        )
        ids = iter(f"{id(work)}-{number}" for number in range(10_000))
        uploads = Uploads(
            contents=self.contents,
            objects=self.objects,
            policy=POLICY,
            clock=lambda: CREATED,
            new_id=lambda: next(ids),
            verifications=work,
        )
        authoring = Authoring(
            contents=self.contents,
            objects=self.objects,
            retention=timedelta(days=30),
            clock=lambda: CREATED,
            new_id=lambda: next(ids),
        )
        return uploads, authoring, work

    async def prepare(self, *, parts: bool, right: bool, rendition: bool) -> str:
        """The key of an upload of which everything has been sent."""
        uploads, _, _ = self.processes[0]
        size = 130 if parts else SIZE
        ticket = await uploads.announce(
            "c-1", NewContent("course-1", "Ebb", "video/mp4", SIZE, None, 0, None)
        )
        if rendition:
            assert ticket.upload is not None
            await self.objects.put(ticket.upload.object_key, b"x" * SIZE, content_type="video/mp4")
            await uploads.complete("c-1", "original")
            ticket = await uploads.announce_rendition(
                "c-1", "announced", NewRendition("480p", "video/mp4", size, None, None, None)
            )
        elif parts:
            self.contents.rows.clear()
            ticket = await uploads.announce(
                "c-1", NewContent("course-1", "Ebb", "video/mp4", size, None, 0, None)
            )
        upload = ticket.upload
        assert upload is not None
        if upload.multipart is None:
            body = b"x" * (size if right else size - 1)
            await self.objects.put(upload.object_key, body, content_type="video/mp4")
        for part in ticket.parts:
            assert upload.multipart is not None
            self.objects.send_part(
                upload.object_key,
                upload.multipart.upload_id,
                part.number,
                b"x" * part.size_bytes,
            )
        return upload.object_key

    def act(self, name: str, process: int, rendition: str) -> Awaitable[object]:
        uploads, authoring, _ = self.processes[process]
        match name:
            case "complete":
                return uploads.complete("c-1", rendition)
            case "abort":
                return uploads.abort("c-1", rendition)
            case "delete":
                return authoring.delete("c-1", condition=lambda content: None)
            case "restore":
                return authoring.restore("c-1")
            case _:
                return authoring.delete_rendition("c-1", "480p")


ACTIONS = ["complete", "complete", "abort", "delete", "restore"]


async def outcome(work: Awaitable[object]) -> object:
    try:
        return await work
    except ContentDeliveryError as error:
        return error


async def played(
    race: Race, names: Sequence[tuple[str, int]], rendition: str, draw: Callable[[int], int]
) -> list[object]:
    race.turns.free = False
    tasks = [
        asyncio.create_task(outcome(race.act(name, process, rendition))) for name, process in names
    ]
    await race.turns.play(tasks, draw)
    race.turns.free = True
    return [task.result() for task in tasks]


actions = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 1)), min_size=2, max_size=5)


@settings(max_examples=300, deadline=None)
@given(names=actions, parts=st.booleans(), right=st.booleans(), data=st.data())
def test_nothing_is_ready_without_its_object(
    names: list[tuple[str, int]], parts: bool, right: bool, data: st.DataObject
) -> None:
    async def run() -> None:
        race = Race()
        key = await race.prepare(parts=parts, right=right or parts, rendition=False)
        results = await played(
            race, names, "original", lambda waiting: data.draw(st.integers(0, waiting - 1))
        )
        content = await race.contents.get("c-1")
        assert content is not None
        exists = await race.objects.head(key) is not None
        completed = [result for result in results if isinstance(result, UploadStatus)]
        # Whoever was told of a completion was told the truth.
        if any(result.state is UploadState.READY for result in completed):
            assert content.etag is not None
        kept = content.status is ContentStatus.READY or content.etag is not None
        if kept:
            assert exists
            assert content.status in (ContentStatus.READY, ContentStatus.DELETED)
        if content.status is ContentStatus.FAILED or (
            content.status is ContentStatus.DELETED and content.etag is None
        ):
            assert not exists
            assert race.objects.open_uploads == 0
        # The next to complete gets the same answer as those before.
        if completed and content.status is ContentStatus.READY:
            again = await race.processes[1][0].complete("c-1", "original")
            assert again.state is UploadState.READY

    asyncio.run(run())


@settings(max_examples=200, deadline=None)
@given(
    names=st.lists(
        st.tuples(
            st.sampled_from(["complete", "complete", "abort", "delete", "forget"]),
            st.integers(0, 1),
        ),
        min_size=2,
        max_size=5,
    ),
    parts=st.booleans(),
    data=st.data(),
)
def test_no_rendition_is_listed_without_its_object(
    names: list[tuple[str, int]], parts: bool, data: st.DataObject
) -> None:
    async def run() -> None:
        race = Race()
        key = await race.prepare(parts=parts, right=True, rendition=True)
        await played(race, names, "480p", lambda waiting: data.draw(st.integers(0, waiting - 1)))
        content = await race.contents.get("c-1")
        assert content is not None
        exists = await race.objects.head(key) is not None
        waits = [entry for entry in content.rendition_uploads if entry.failure_reason is None]
        assert exists or not content.renditions
        if not content.renditions and not waits:
            assert not exists
            assert race.objects.open_uploads == 0
        # The original is none of their business.
        assert await race.objects.head(content.object_key) is not None

    asyncio.run(run())


@pytest.mark.parametrize("first", ["complete", "abort"])
async def test_the_one_that_is_first_decides(first: str) -> None:
    race = Race()
    await race.prepare(parts=True, right=True, rendition=False)
    second = "abort" if first == "complete" else "complete"
    # Always the eldest: the first runs to its end before the second has begun.
    results = [await outcome(race.act(name, 0, "original")) for name in (first, second)]
    content = await race.contents.get("c-1")
    assert content is not None
    assert content.status is (ContentStatus.READY if first == "complete" else ContentStatus.FAILED)
    assert isinstance(results[1], ContentDeliveryError)
