"""Each module's store as the migration gate says: the one table, or the table of the service.

The gate is asked for every step that touches the data, not once a request: a request may go on after its
answer (an upload is verified), or wait for its client's body, and would hold a switch up for as long. A
step is one call of a repository; between two of them a module may change hands, and what was read before
still is what stands.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

from libs.aws import DependencyUnavailable
from libs.idempotency import IdempotencyStore
from libs.idempotency import Record as KeyRecord
from services.content_delivery.domain.content import Caption, Content, Rendition
from services.content_delivery.domain.repository import Change as ContentChange
from services.content_delivery.domain.repository import (
    ContentPage,
    ContentRepository,
    ListPosition,
)
from services.course_catalog.domain.course import Change as CourseChange
from services.course_catalog.domain.course import Course, Status, Summary, Tombstone
from services.course_catalog.domain.errors import CatalogUnavailableError
from services.course_catalog.domain.repository import CourseRepository, Unchanged
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.outlines import OutlineReader
from services.progress_tracking.domain.progress import (
    CourseProgress,
    CourseSummary,
    ProgressUpdate,
)
from services.progress_tracking.domain.repository import Recorded, SummaryPage

CATALOG: Final = "course_catalog"
CONTENT: Final = "content_delivery"
PROGRESS: Final = "progress_tracking"
"""The modules, as the migration's mapping names them."""

Store = TypeVar("Store")
_Batched = TypeVar("_Batched")


class Gate(Protocol):
    """Who owns a module now; `deploy.migration.gate.Gate` is one."""

    def enter(self, module: str) -> AbstractAsyncContextManager[str]:
        """The owner, true until the block ends."""


class Owned(Generic[Store]):
    """The stores of one module, by owner."""

    def __init__(self, gate: Gate, module: str, stores: Mapping[str, Store]) -> None:
        self._gate = gate
        self._module = module
        self._stores = stores

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The store of the owner, for one step. Raises DependencyUnavailable where the step takes
        longer than the gate lets it."""
        try:
            async with self._gate.enter(self._module) as owner:
                yield self._stores[owner]
        except TimeoutError as error:
            raise DependencyUnavailable("dynamodb", self._module, reason="timeout") from error


class GatedCourses:
    """A `CourseRepository`."""

    def __init__(self, owned: Owned[CourseRepository]) -> None:
        self._owned = owned

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[CourseRepository]:
        try:
            async with self._owned.store() as store:
                yield store
        except DependencyUnavailable as error:
            raise CatalogUnavailableError(str(error)) from error

    async def get(self, course_id: str) -> Course | None:
        async with self._store() as store:
            return await store.get(course_id)

    async def get_newer(self, course_id: str, version: int) -> Course | Unchanged | None:
        async with self._store() as store:
            return await store.get_newer(course_id, version)

    async def create(self, course: Course) -> None:
        async with self._store() as store:
            await store.create(course)

    async def replace(self, course: Course, *, previous: Course) -> None:
        async with self._store() as store:
            await store.replace(course, previous=previous)

    async def delete(self, tombstone: Tombstone, *, previous: Course) -> None:
        async with self._store() as store:
            await store.delete(tombstone, previous=previous)

    async def listing(self, status: Status) -> AsyncIterator[Sequence[Summary]]:
        async for batch in self._read(lambda store: store.listing(status)):
            yield batch

    async def changes(self, since: datetime) -> AsyncIterator[Sequence[CourseChange]]:
        async for batch in self._read(lambda store: store.changes(since)):
            yield batch

    async def _read(
        self, batches: Callable[[CourseRepository], AsyncIterator[Sequence[_Batched]]]
    ) -> AsyncIterator[Sequence[_Batched]]:
        """Batches of one store: a whole listing takes longer than a switch may be held up. Where
        the module changed hands meanwhile it is to be begun anew."""
        async with self._store() as begun:
            pass
        async for batch in batches(begun):
            yield batch
        async with self._store() as store:
            if store is not begun:
                raise CatalogUnavailableError("the courses changed hands while they were listed")


class GatedContents:
    """A `ContentRepository`."""

    def __init__(self, owned: Owned[ContentRepository]) -> None:
        self._owned = owned

    async def get(self, content_id: str) -> Content | None:
        """See `ContentReader.get`."""
        async with self._owned.store() as store:
            return await store.get(content_id)

    async def create_pending(self, content: Content) -> None:
        """See `ContentRepository.create_pending`."""
        async with self._owned.store() as store:
            await store.create_pending(content)

    async def change(self, content_id: str, change: Callable[[Content], Content]) -> ContentChange:
        """See `ContentRepository.change`."""
        async with self._owned.store() as store:
            return await store.change(content_id, change)

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
        """See `ContentRepository.mark_ready`."""
        async with self._owned.store() as store:
            return await store.mark_ready(
                content_id,
                size_bytes=size_bytes,
                etag=etag,
                checksum_sha256=checksum_sha256,
                duration_seconds=duration_seconds,
                at=at,
            )

    async def mark_failed(self, content_id: str, *, reason: str, at: datetime) -> Content:
        """See `ContentRepository.mark_failed`."""
        async with self._owned.store() as store:
            return await store.mark_failed(content_id, reason=reason, at=at)

    async def mark_deleted(self, content_id: str, *, at: datetime, purge_at: datetime) -> Content:
        """See `ContentRepository.mark_deleted`."""
        async with self._owned.store() as store:
            return await store.mark_deleted(content_id, at=at, purge_at=purge_at)

    async def replace_media(
        self,
        content_id: str,
        *,
        renditions: tuple[Rendition, ...],
        captions: tuple[Caption, ...],
        expected_version: int,
        at: datetime,
    ) -> Content:
        """See `ContentRepository.replace_media`."""
        async with self._owned.store() as store:
            return await store.replace_media(
                content_id,
                renditions=renditions,
                captions=captions,
                expected_version=expected_version,
                at=at,
            )

    async def list_by_course(
        self, course_id: str, *, limit: int, after: ListPosition | None = None
    ) -> ContentPage:
        """See `ContentRepository.list_by_course`."""
        async with self._owned.store() as store:
            return await store.list_by_course(course_id, limit=limit, after=after)


class UsersProgress(Protocol):
    """A `ProgressRepository` without the outlines."""

    async def read(self, user_id: str, course_id: str) -> CourseProgress | None:
        """As `ProgressRepository.read`."""

    async def record(
        self,
        user_id: str,
        course_id: str,
        update: ProgressUpdate,
        *,
        outline: Outline | None,
        at: datetime,
    ) -> Recorded:
        """As `ProgressRepository.record`."""

    async def keep_completion(
        self, user_id: str, summary: CourseSummary, *, at: datetime
    ) -> CourseSummary:
        """As `ProgressRepository.keep_completion`."""

    async def start_attempt(
        self, user_id: str, course_id: str, *, following: int, at: datetime
    ) -> CourseProgress | None:
        """As `ProgressRepository.start_attempt`."""

    async def list_summaries(self, user_id: str, *, after: str | None, limit: int) -> SummaryPage:
        """As `ProgressRepository.list_summaries`."""


class GatedProgress:
    """A `ProgressRepository`. Outlines are asked of the catalog module, whoever owns the progress:
    it always knows the last one, so there is nothing to learn."""

    def __init__(self, owned: Owned[UsersProgress], outlines: OutlineReader) -> None:
        self._owned = owned
        self._outlines = outlines

    async def read(self, user_id: str, course_id: str) -> CourseProgress | None:
        """As `ProgressRepository.read`."""
        async with self._owned.store() as store:
            return await store.read(user_id, course_id)

    async def record(
        self,
        user_id: str,
        course_id: str,
        update: ProgressUpdate,
        *,
        outline: Outline | None,
        at: datetime,
    ) -> Recorded:
        """As `ProgressRepository.record`."""
        async with self._owned.store() as store:
            return await store.record(user_id, course_id, update, outline=outline, at=at)

    async def keep_completion(
        self, user_id: str, summary: CourseSummary, *, at: datetime
    ) -> CourseSummary:
        """As `ProgressRepository.keep_completion`."""
        async with self._owned.store() as store:
            return await store.keep_completion(user_id, summary, at=at)

    async def start_attempt(
        self, user_id: str, course_id: str, *, following: int, at: datetime
    ) -> CourseProgress | None:
        """As `ProgressRepository.start_attempt`."""
        async with self._owned.store() as store:
            return await store.start_attempt(user_id, course_id, following=following, at=at)

    async def list_summaries(self, user_id: str, *, after: str | None, limit: int) -> SummaryPage:
        """As `ProgressRepository.list_summaries`."""
        async with self._owned.store() as store:
            return await store.list_summaries(user_id, after=after, limit=limit)

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        """As `ProgressRepository.read_outlines`."""
        return await self._outlines.read_outlines(course_ids)

    async def learn_outline(self, outline: Outline) -> bool:
        """As `ProgressRepository.learn_outline`."""
        return False


class GatedKeys:
    """An `IdempotencyStore`: a module's keys go where its data goes, or what was created before a
    switch would be created again by a repetition after it."""

    def __init__(self, owned: Owned[IdempotencyStore]) -> None:
        self._owned = owned

    async def insert(self, key: str, record: KeyRecord, *, now: datetime) -> KeyRecord | None:
        async with self._owned.store() as store:
            return await store.insert(key, record, now=now)

    async def replace(self, key: str, record: KeyRecord, *, token: str) -> bool:
        async with self._owned.store() as store:
            return await store.replace(key, record, token=token)
