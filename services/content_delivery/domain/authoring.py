"""What authors do to content besides uploading it: list, look at, edit, caption, delete, restore.

Metadata change on the version that was read; objects go only after no metadata name them any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.content_delivery.domain.captions import CAPTION_CONTENT_TYPE, check_webvtt
from services.content_delivery.domain.content import (
    Caption,
    CaptionKind,
    Content,
    ContentStatus,
    Rendition,
    RenditionUpload,
)
from services.content_delivery.domain.errors import ContentNotFoundError
from services.content_delivery.domain.object_store import ObjectStore
from services.content_delivery.domain.repository import (
    Change,
    ContentPage,
    ContentRepository,
    ListPosition,
    Recorder,
    unrecorded,
)
from services.content_delivery.domain.uploads import upload_leftovers

Condition = Callable[[Content], None]
"""Raises unless a change of the content may go on: the caller's If-Match."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The facts of an author's; ``course_id`` None leaves the content in its course."""

    title: str
    position: int
    course_id: str | None
    duration_seconds: int | None


class Authoring:
    """The use cases behind the authors' operations."""

    def __init__(
        self,
        *,
        contents: ContentRepository,
        objects: ObjectStore,
        retention: timedelta,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        """``retention``: how long deleted content can be restored."""
        self._contents = contents
        self._objects = objects
        self._retention = retention
        self._clock = clock
        self._new_id = new_id

    async def list_course(
        self, course_id: str, *, limit: int, after: ListPosition | None
    ) -> ContentPage:
        """A page of the course's content by position, without what was deleted."""
        return await self._contents.list_by_course(course_id, limit=limit, after=after)

    async def get(self, content_id: str) -> Content:
        """The content in whatever status it is. Raises ContentNotFoundError."""
        content = await self._contents.get(content_id)
        if content is None:
            raise ContentNotFoundError(content_id)
        return content

    async def edit(
        self,
        content_id: str,
        edit: Edit,
        *,
        condition: Condition,
        record: Recorder = unrecorded,
    ) -> Content:
        """The content with other facts. Raises ContentNotFoundError, also once it is deleted, and
        what ``condition`` raises."""

        def change(content: Content) -> Content:
            condition(_present(content))
            return content.edited(
                title=edit.title,
                course_id=edit.course_id or content.course_id,
                position=edit.position,
                duration_seconds=edit.duration_seconds,
                at=self._clock(),
            )

        return (await self._change(content_id, change, record)).after

    async def put_caption(
        self,
        content_id: str,
        *,
        language: str,
        kind: CaptionKind,
        body: bytes,
        record: Recorder = unrecorded,
    ) -> tuple[Content, bool]:
        """The content with that text track, and whether it is the first of its language and kind.

        Raises InvalidCaptionError, ContentNotFoundError, IllegalTransitionError for content that
        has failed, and TooManyMediaError.
        """
        check_webvtt(body)
        # A key of its own for each version: what a signed URL fetches never changes.
        caption = Caption(language, kind, f"content/{content_id}/captions/{self._new_id()}.vtt")
        _present(await self.get(content_id)).with_caption(caption, at=self._clock())
        await self._objects.put(caption.object_key, body, content_type=CAPTION_CONTENT_TYPE)
        change = await self._change(
            content_id,
            lambda content: _present(content).with_caption(caption, at=self._clock()),
            record,
        )
        replaced = [entry for entry in change.before.captions if entry.is_same_track(caption)]
        for entry in replaced:
            await self._objects.delete(entry.object_key)
        return change.after, not replaced

    async def delete_caption(
        self,
        content_id: str,
        *,
        language: str,
        kind: CaptionKind,
        record: Recorder = unrecorded,
    ) -> None:
        """Remove that text track; there need not be one. Raises ContentNotFoundError and
        IllegalTransitionError."""
        change = await self._change(
            content_id,
            lambda content: _present(content).without_caption(language, kind, at=self._clock()),
            record,
        )
        for entry in change.before.captions:
            if entry not in change.after.captions:
                await self._objects.delete(entry.object_key)

    async def delete_rendition(
        self, content_id: str, name: str, *, record: Recorder = unrecorded
    ) -> None:
        """Remove that rendition, arrived or not. Raises ContentNotFoundError,
        RenditionNotFoundError and IllegalTransitionError."""
        change = await self._change(
            content_id,
            lambda content: _present(content).without_rendition(name, at=self._clock()),
            record,
        )
        for upload in change.before.rendition_uploads:
            if upload.name == name and upload.multipart is not None:
                await self._objects.abort_multipart(upload.object_key, upload.multipart.upload_id)
        removed: list[Rendition | RenditionUpload] = [
            *change.before.renditions,
            *change.before.rendition_uploads,
        ]
        for entry in removed:
            if entry.name == name:
                await self._objects.delete(entry.object_key)

    async def delete(
        self, content_id: str, *, condition: Condition, record: Recorder = unrecorded
    ) -> None:
        """Delete the content: what was ready can be restored until it is purged, what was still on
        its way is removed. Raises ContentNotFoundError, and what ``condition`` raises."""

        def change(content: Content) -> Content:
            condition(_present(content))
            at = self._clock()
            return content.became_deleted(at=at, purge_at=at + self._retention)

        changed = await self._change(content_id, change, record)
        for object_key, multipart in upload_leftovers(changed.before):
            if multipart is not None:
                await self._objects.abort_multipart(object_key, multipart.upload_id)
            await self._objects.delete(object_key)

    async def restore(self, content_id: str, *, record: Recorder = unrecorded) -> Content:
        """The content as it was before its deletion; content that is not deleted as it is.

        Raises ContentNotFoundError, and NotRestorableError for what was never ready.
        """

        def change(content: Content) -> Content:
            if content.status is not ContentStatus.DELETED:
                return content
            at = self._clock()
            if content.purge_at is not None and content.purge_at <= at:
                # Its row has not vanished yet; its time has.
                raise ContentNotFoundError(content_id)
            return content.became_restored(at=at)

        return (await self._change(content_id, change, record)).after

    async def _change(
        self, content_id: str, change: Callable[[Content], Content], record: Recorder
    ) -> Change:
        changed = await self._contents.change(content_id, change)
        if changed.after is not changed.before:
            record(changed.before, changed.after)
        return changed


def _present(content: Content) -> Content:
    if content.status is ContentStatus.DELETED:
        raise ContentNotFoundError(content.id)
    return content
