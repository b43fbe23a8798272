"""What every `ContentRepository` keeps, whatever it keeps it in.

A class of tests that a test module inherits with a fixture `repository` of its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from services.content_delivery.domain.content import ContentStatus
from services.content_delivery.domain.errors import (
    ContentExistsError,
    ContentNotFoundError,
    IllegalTransitionError,
    VersionConflictError,
)
from services.content_delivery.domain.repository import ContentRepository, ListPosition
from tests.unit.content_delivery.samples import (
    CREATED,
    ENGLISH,
    PORTUGUESE,
    VIDEO_720P,
    pending,
    ready,
)

LATER = CREATED + timedelta(minutes=1, milliseconds=7)
PURGE = CREATED + timedelta(days=30)


async def make_ready(repository: ContentRepository, content_id: str) -> None:
    """Move pending content on, with the facts of a ten-minute video."""
    await repository.mark_ready(
        content_id,
        size_bytes=6_000_001,
        etag='"0123456789abcdef"',
        checksum_sha256="A" * 43 + "=",
        duration_seconds=600,
        at=LATER,
    )


class ContentRepositorySuite:
    """Each test starts with an empty repository."""

    async def test_what_was_created_is_read(self, repository: ContentRepository) -> None:
        content = pending(title="Ebbe & Flut — 海の潮 “1”")
        await repository.create_pending(content)
        assert await repository.get("c-1") == content

    async def test_nothing_is_read_where_nothing_is(self, repository: ContentRepository) -> None:
        assert await repository.get("c-1") is None

    async def test_an_id_is_created_once(self, repository: ContentRepository) -> None:
        await repository.create_pending(pending())
        with pytest.raises(ContentExistsError):
            await repository.create_pending(pending(title="Another"))
        seen = await repository.get("c-1")
        assert seen is not None
        assert seen.title == "Mangroves at low tide"

    async def test_a_deleted_id_is_not_created_again(self, repository: ContentRepository) -> None:
        await repository.create_pending(pending())
        await repository.mark_deleted("c-1", at=LATER, purge_at=PURGE)
        with pytest.raises(ContentExistsError):
            await repository.create_pending(pending())

    async def test_only_new_content_is_created(self, repository: ContentRepository) -> None:
        for content in (ready(), replace(pending(), version=2)):
            with pytest.raises(ValueError, match="pending"):
                await repository.create_pending(content)
        assert await repository.get("c-1") is None

    async def test_from_upload_to_deletion(self, repository: ContentRepository) -> None:
        await repository.create_pending(pending())
        await make_ready(repository, "c-1")
        seen = await repository.get("c-1")
        assert seen is not None
        assert (seen.status, seen.version, seen.purge_at) == (ContentStatus.READY, 2, None)
        assert (seen.size_bytes, seen.etag, seen.duration_seconds) == (
            6_000_001,
            '"0123456789abcdef"',
            600,
        )
        assert (seen.created_at, seen.updated_at) == (CREATED, LATER)

        given = await repository.mark_deleted("c-1", at=LATER, purge_at=PURGE)
        seen = await repository.get("c-1")
        assert seen == given
        assert (seen.status, seen.version) == (ContentStatus.DELETED, 3)
        assert (seen.deleted_at, seen.purge_at) == (LATER, PURGE)
        assert seen.etag == '"0123456789abcdef"'

    async def test_a_refused_upload(self, repository: ContentRepository) -> None:
        await repository.create_pending(pending())
        given = await repository.mark_failed("c-1", reason="the checksum differs", at=LATER)
        assert await repository.get("c-1") == given
        assert (given.status, given.failure_reason) == (
            ContentStatus.FAILED,
            "the checksum differs",
        )

    async def test_what_may_be_absent(self, repository: ContentRepository) -> None:
        await repository.create_pending(pending(purge_at=None))
        given = await repository.mark_ready(
            "c-1",
            size_bytes=0,
            etag='"e"',
            checksum_sha256=None,
            duration_seconds=None,
            at=LATER,
        )
        assert await repository.get("c-1") == given
        assert (given.checksum_sha256, given.duration_seconds) == (None, None)

    async def test_an_illegal_step_changes_nothing(self, repository: ContentRepository) -> None:
        await repository.create_pending(pending())
        await make_ready(repository, "c-1")
        before = await repository.get("c-1")
        with pytest.raises(IllegalTransitionError) as refusal:
            await make_ready(repository, "c-1")
        assert (refusal.value.current, refusal.value.wanted) == ("ready", "ready")
        with pytest.raises(IllegalTransitionError):
            await repository.mark_failed("c-1", reason="late", at=LATER)
        assert await repository.get("c-1") == before
        await repository.mark_deleted("c-1", at=LATER, purge_at=PURGE)
        with pytest.raises(IllegalTransitionError):
            await repository.mark_deleted("c-1", at=LATER, purge_at=PURGE)
        with pytest.raises(IllegalTransitionError):
            await make_ready(repository, "c-1")

    async def test_nothing_is_moved_where_nothing_is(self, repository: ContentRepository) -> None:
        with pytest.raises(ContentNotFoundError):
            await make_ready(repository, "c-1")
        with pytest.raises(ContentNotFoundError):
            await repository.mark_failed("c-1", reason="why", at=LATER)
        with pytest.raises(ContentNotFoundError):
            await repository.mark_deleted("c-1", at=LATER, purge_at=PURGE)
        with pytest.raises(ContentNotFoundError):
            await repository.replace_media(
                "c-1", renditions=(), captions=(), expected_version=1, at=LATER
            )
        assert await repository.get("c-1") is None

    async def test_renditions_and_captions_keep_their_order(
        self, repository: ContentRepository
    ) -> None:
        await repository.create_pending(pending())
        small = replace(VIDEO_720P, name="240p", width=None, height=None)
        given = await repository.replace_media(
            "c-1",
            renditions=(VIDEO_720P, small),
            captions=(PORTUGUESE, ENGLISH),
            expected_version=1,
            at=LATER,
        )
        assert await repository.get("c-1") == given
        assert given.version == 2
        assert given.renditions == (VIDEO_720P, small)
        assert given.captions == (PORTUGUESE, ENGLISH)
        await make_ready(repository, "c-1")
        seen = await repository.get("c-1")
        assert seen is not None
        assert seen.renditions == (VIDEO_720P, small)

    async def test_media_are_taken_away(self, repository: ContentRepository) -> None:
        await repository.create_pending(pending())
        await repository.replace_media(
            "c-1", renditions=(VIDEO_720P,), captions=(ENGLISH,), expected_version=1, at=LATER
        )
        given = await repository.replace_media(
            "c-1", renditions=(), captions=(), expected_version=2, at=LATER
        )
        assert await repository.get("c-1") == given
        assert (given.renditions, given.captions) == ((), ())

    async def test_a_stale_edit_changes_nothing(self, repository: ContentRepository) -> None:
        await repository.create_pending(pending())
        await make_ready(repository, "c-1")
        before = await repository.get("c-1")
        for version in (1, 3):
            with pytest.raises(VersionConflictError):
                await repository.replace_media(
                    "c-1",
                    renditions=(),
                    captions=(ENGLISH,),
                    expected_version=version,
                    at=LATER,
                )
        assert await repository.get("c-1") == before

    async def test_of_many_edits_at_once_one_wins(self, repository: ContentRepository) -> None:
        await repository.create_pending(pending())
        outcomes = await asyncio.gather(
            *(
                repository.replace_media(
                    "c-1",
                    renditions=(replace(VIDEO_720P, name=f"r{number}"),),
                    captions=(),
                    expected_version=1,
                    at=LATER,
                )
                for number in range(8)
            ),
            return_exceptions=True,
        )
        won = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
        lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert len(won) == 1
        assert all(isinstance(error, VersionConflictError) for error in lost)
        assert await repository.get("c-1") == won[0]

    async def test_of_many_steps_at_once_each_happens_once(
        self, repository: ContentRepository
    ) -> None:
        """Ready and deleted race: ready may win or be refused, deleted always happens, once."""
        await repository.create_pending(pending())
        outcomes = await asyncio.gather(
            make_ready(repository, "c-1"),
            *(repository.mark_deleted("c-1", at=LATER, purge_at=PURGE) for _ in range(3)),
            return_exceptions=True,
        )
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert all(isinstance(error, IllegalTransitionError) for error in errors)
        deletions = [outcome for outcome in outcomes[1:] if not isinstance(outcome, BaseException)]
        assert len(deletions) == 1
        seen = await repository.get("c-1")
        assert seen is not None
        assert seen.status is ContentStatus.DELETED
        assert seen.version == (2 if isinstance(outcomes[0], BaseException) else 3)

    async def test_a_course_is_listed_by_position(self, repository: ContentRepository) -> None:
        for number in (3, 1, 12, 2):
            await repository.create_pending(pending(f"c-{number}", position=number))
        await repository.create_pending(pending("other", course_id="course-2", position=1))
        await make_ready(repository, "c-12")
        page = await repository.list_by_course("course-1", limit=50)
        assert [item.id for item in page.items] == ["c-1", "c-2", "c-3", "c-12"]
        assert page.next is None
        last = page.items[-1]
        assert (last.course_id, last.position, last.status) == (
            "course-1",
            12,
            ContentStatus.READY,
        )
        assert (last.title, last.content_type, last.size_bytes, last.duration_seconds) == (
            "Mangroves at low tide",
            "video/mp4",
            6_000_001,
            600,
        )
        assert (last.version, last.updated_at) == (2, LATER)
        assert page.items[0].duration_seconds is None

    async def test_an_unknown_course_is_empty(self, repository: ContentRepository) -> None:
        page = await repository.list_by_course("course-1", limit=1)
        assert (page.items, page.next) == ((), None)

    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    async def test_pages_repeat_none_and_skip_none(
        self, repository: ContentRepository, limit: int
    ) -> None:
        """Half of the positions are taken twice, and deleted content lies in between."""
        expected = []
        for number in range(12):
            content_id = f"c-{number:02}"
            await repository.create_pending(pending(content_id, position=number // 2))
            if number % 4 == 1 or number in (6, 7, 8):
                await repository.mark_deleted(content_id, at=LATER, purge_at=PURGE)
            else:
                expected.append(content_id)
        found: list[str] = []
        positions: list[int] = []
        after: ListPosition | None = None
        while True:
            page = await repository.list_by_course("course-1", limit=limit, after=after)
            assert len(page.items) <= limit
            found += [item.id for item in page.items]
            positions += [item.position for item in page.items]
            if page.next is None:
                break
            assert len(page.items) == limit
            after = page.next
        assert sorted(found) == expected
        assert positions == sorted(positions)
