"""What content delivery asks of its store of metadata.

Implementations lie in ``storage``; all of them pass the suite in
``tests/contract/content_delivery``. Every change is conditional: it happens on exactly the row
that the rule was checked against, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.content_delivery.domain.content import (
    Caption,
    Content,
    ContentSummary,
    Rendition,
)


@dataclass(frozen=True, slots=True)
class ListPosition:
    """The last content of a page: the next page starts after it."""

    position: int
    content_id: str


@dataclass(frozen=True, slots=True)
class ContentPage:
    """One page of a listing. ``next`` is None after the last page.

    A page that happens to end where the listing ends may still name a ``next``; the page after it
    is then empty.
    """

    items: tuple[ContentSummary, ...]
    next: ListPosition | None


@dataclass(frozen=True, slots=True)
class Change:
    """One conditional step: the content it was taken from, and what it has become."""

    before: Content
    after: Content


Recorder = Callable[[Content | None, Content], None]
"""Hears of each step that was taken, once it is stored: before (None: there was none) and after."""


def unrecorded(before: Content | None, after: Content) -> None:
    """A `Recorder` that does not listen."""


class ContentReader(Protocol):
    """The one question that delivery asks."""

    async def get(self, content_id: str) -> Content | None:
        """The content in whatever status it is, or None when there is no such row.

        A write that was acknowledged before the call is seen. Raises CorruptContentError for a row
        that breaks a rule.
        """


class ContentRepository(ContentReader, Protocol):
    """Content by id and by course."""

    async def create_pending(self, content: Content) -> None:
        """Store new content of status pending and version 1.

        Raises ValueError for any other, ContentExistsError when the id is taken.
        """

    async def change(self, content_id: str, change: Callable[[Content], Content]) -> Change:
        """Put what ``change`` makes of the content in its place, exactly of what it was made of.

        ``change`` is called again for each race that was lost; where it gives back the content it
        was given, nothing is written. Raises what ``change`` raises, ContentNotFoundError,
        CorruptContentError, and VersionConflictError after too many lost races.
        """

    async def mark_ready(
        self,
        content_id: str,
        *,
        size_bytes: int,
        etag: str,
        checksum_sha256: str | None,
        duration_seconds: int | None,
        at: datetime,
    ) -> Content:
        """pending → ready, with the facts of the stored object. Gives the content as it is then.

        Raises ContentNotFoundError, IllegalTransitionError or CorruptContentError.
        """

    async def mark_failed(self, content_id: str, *, reason: str, at: datetime) -> Content:
        """pending → failed. Gives and raises as `mark_ready`."""

    async def mark_deleted(self, content_id: str, *, at: datetime, purge_at: datetime) -> Content:
        """Anything but deleted → deleted; the row is kept until ``purge_at``.

        Gives and raises as `mark_ready`.
        """

    async def replace_media(
        self,
        content_id: str,
        *,
        renditions: tuple[Rendition, ...],
        captions: tuple[Caption, ...],
        expected_version: int,
        at: datetime,
    ) -> Content:
        """Other renditions and captions for content of exactly ``expected_version``.

        Raises VersionConflictError when it has another version, and as `mark_ready`.
        """

    async def list_by_course(
        self, course_id: str, *, limit: int, after: ListPosition | None = None
    ) -> ContentPage:
        """At most ``limit`` contents of a course by position, deleted ones left out.

        Content of equal position comes in an order that is not defined but does not change between
        pages. A change may take a moment to be seen.
        """
