"""Metadata kept for a few seconds: what is kept, how long, and how much."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from services.content_delivery.domain.content import Content, ContentStatus
from services.content_delivery.domain.metadata_cache import CachedContents, CacheStatistics
from services.content_delivery.storage.memory import MemoryContentRepository
from services.content_delivery.storage.rows import encode
from tests.unit.content_delivery.samples import CREATED, pending, ready


class CountingContents:
    """A repository that counts the reads that reach it."""

    def __init__(self) -> None:
        self.repository = MemoryContentRepository()
        self.reads = 0

    async def get(self, content_id: str) -> Content | None:
        self.reads += 1
        return await self.repository.get(content_id)

    def put(self, content: Content) -> None:
        self.repository.rows[content.id] = encode(content)


class Stopwatch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture()
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture()
def contents() -> CountingContents:
    return CountingContents()


@pytest.fixture()
def cache(contents: CountingContents, stopwatch: Stopwatch) -> CachedContents:
    return CachedContents(contents, maximum_age_seconds=5, maximum_entries=2, monotonic=stopwatch)


async def test_ready_content_is_read_once_within_the_bound(
    cache: CachedContents, contents: CountingContents, stopwatch: Stopwatch
) -> None:
    contents.put(ready())
    first = await cache.get("c-1")
    stopwatch.seconds += 4.999
    assert await cache.get("c-1") is first
    assert contents.reads == 1
    stopwatch.seconds += 0.001
    await cache.get("c-1")
    assert contents.reads == 2


async def test_a_deletion_is_seen_within_the_bound(
    cache: CachedContents, contents: CountingContents, stopwatch: Stopwatch
) -> None:
    contents.put(ready())
    await cache.get("c-1")
    await contents.repository.mark_deleted("c-1", at=CREATED, purge_at=CREATED + timedelta(days=30))
    stopwatch.seconds += 5
    seen = await cache.get("c-1")
    assert seen is not None
    assert seen.status is ContentStatus.DELETED


async def test_what_is_not_ready_is_never_kept(
    cache: CachedContents, contents: CountingContents
) -> None:
    assert await cache.get("c-1") is None
    contents.put(pending())
    seen = await cache.get("c-1")
    assert seen is not None
    assert seen.status is ContentStatus.PENDING
    contents.put(ready())
    seen = await cache.get("c-1")
    assert seen is not None
    assert seen.status is ContentStatus.READY
    assert contents.reads == 3


async def test_the_least_recently_used_makes_room(
    cache: CachedContents, contents: CountingContents
) -> None:
    for content_id in ("a", "b", "c"):
        contents.put(ready(content_id))
    await cache.get("a")
    await cache.get("b")
    await cache.get("a")
    await cache.get("c")
    assert contents.reads == 3
    await cache.get("a")
    assert contents.reads == 3
    await cache.get("b")
    assert contents.reads == 4


async def test_an_age_of_zero_keeps_nothing(
    contents: CountingContents, stopwatch: Stopwatch
) -> None:
    cache = CachedContents(contents, maximum_age_seconds=0, maximum_entries=2, monotonic=stopwatch)
    contents.put(ready())
    await cache.get("c-1")
    await cache.get("c-1")
    assert contents.reads == 2


async def test_the_age_counts_from_before_the_read(stopwatch: Stopwatch) -> None:
    """A read that takes long must not lengthen how long a deletion goes unseen."""
    asked = asyncio.Event()
    answer = asyncio.Event()

    class SlowContents(CountingContents):
        async def get(self, content_id: str) -> Content | None:
            content = await super().get(content_id)
            asked.set()
            await answer.wait()
            return content

    contents = SlowContents()
    contents.put(ready())
    cache = CachedContents(contents, maximum_age_seconds=5, maximum_entries=2, monotonic=stopwatch)
    reading = asyncio.ensure_future(cache.get("c-1"))
    await asked.wait()
    stopwatch.seconds += 5
    answer.set()
    await reading
    await cache.get("c-1")
    assert contents.reads == 2


async def test_a_late_answer_does_not_replace_a_newer_one(stopwatch: Stopwatch) -> None:
    answers: list[asyncio.Future[Content]] = []

    class HeldContents:
        async def get(self, content_id: str) -> Content | None:
            answer: asyncio.Future[Content] = asyncio.get_running_loop().create_future()
            answers.append(answer)
            return await answer

    cache = CachedContents(
        HeldContents(), maximum_age_seconds=5, maximum_entries=2, monotonic=stopwatch
    )
    early = asyncio.ensure_future(cache.get("c-1"))
    await asyncio.sleep(0)
    stopwatch.seconds += 1
    late = asyncio.ensure_future(cache.get("c-1"))
    await asyncio.sleep(0)
    answers[1].set_result(ready(version=9))
    await late
    answers[0].set_result(ready(version=8))
    await early
    seen = await cache.get("c-1")
    assert seen is not None
    assert seen.version == 9


async def test_what_was_answered_from_the_cache_is_counted(
    cache: CachedContents, contents: CountingContents, stopwatch: Stopwatch
) -> None:
    assert cache.statistics() == CacheStatistics(hits=0, misses=0, entries=0)
    contents.put(ready())
    for _ in range(3):
        await cache.get("c-1")
    await cache.get("nowhere")
    assert cache.statistics() == CacheStatistics(hits=2, misses=2, entries=1)
    stopwatch.seconds += 2
    await cache.get("c-1")
    assert cache.statistics() == CacheStatistics(hits=3, misses=2, entries=1, hit_age_seconds=2)
    stopwatch.seconds += 3
    await cache.get("c-1")
    assert cache.statistics() == CacheStatistics(hits=3, misses=3, entries=1, hit_age_seconds=2)
