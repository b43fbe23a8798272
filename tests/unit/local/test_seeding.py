"""Loading the samples: what is missing is added, what is there stays as it is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local._samples import Sample, read_samples, samples_digest
from deploy.local._seed import Loaded, Seeder, wait_for_outlines
from services.content_delivery.domain.content import ContentStatus
from services.content_delivery.storage.memory import MemoryContentRepository
from services.course_catalog.domain.course import Status
from services.course_catalog.storage.memory import InMemoryCourseRepository
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.storage.memory import MemoryProgressRepository

LATER = datetime(2027, 1, 1, tzinfo=UTC)


class Bucket:
    """An `ObjectWriter` in memory; breaks off at the object of `breaks_at`."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.breaks_at: str | None = None

    async def put(self, key: str, body: bytes, content_type: str) -> str:
        if key == self.breaks_at:
            raise ConnectionResetError
        self.objects[key] = (body, content_type)
        return f'"{len(body)}"'

    async def exists(self, key: str) -> bool:
        return key in self.objects


class Place:
    """Where samples are loaded."""

    def __init__(self) -> None:
        self.courses = InMemoryCourseRepository()
        self.contents = MemoryContentRepository()
        self.bucket = Bucket()
        self.seeder = Seeder(self.courses, self.contents, self.bucket)


@pytest.fixture()
def place() -> Place:
    return Place()


@pytest.fixture(scope="module")
def samples() -> tuple[Sample, ...]:
    return read_samples()


def video_of(samples: tuple[Sample, ...]) -> tuple[Sample, str]:
    for sample in samples:
        for entry in sample.content:
            if entry.content_type == "video/mp4":
                return sample, entry.id
    raise AssertionError("no sample has a video")


async def test_the_samples_of_the_project_are_loaded_whole(
    place: Place, samples: tuple[Sample, ...]
) -> None:
    loaded = await place.seeder.load(samples)
    count = sum(len(sample.content) for sample in samples)
    assert loaded == Loaded(len(samples), len(samples), count, count)
    sample, video = video_of(samples)
    course = await place.courses.get(sample.course.id)
    assert course is not None
    assert course.status is Status.PUBLISHED
    assert course.published_at == sample.course.published_at
    assert [item.content_id for item in course.items()] == [entry.id for entry in sample.content]
    content = await place.contents.get(video)
    assert content is not None
    assert content.status is ContentStatus.READY
    body, content_type = place.bucket.objects[content.object_key]
    assert (content.size_bytes, content.etag) == (len(body), f'"{len(body)}"')
    assert content.size_bytes > 1_000_000
    assert (content.content_type, content_type) == ("video/mp4", "video/mp4")
    assert content.duration_seconds
    assert content.checksum_sha256
    assert content.captions
    for caption in content.captions:
        assert place.bucket.objects[caption.object_key][0].startswith(b"WEBVTT")
    assert place.seeder.published[sample.course.id] == course.outline_version


@pytest.mark.parametrize(("known_after", "missing"), [(0, 0), (3, 0), (60, 1)])
async def test_outlines_are_waited_for_until_progress_knows_them(
    known_after: float, missing: int
) -> None:
    progress = MemoryProgressRepository()
    await progress.learn_outline(Outline("tides", 1, ()))  # an older one is not enough
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now >= known_after:
            await progress.learn_outline(Outline("tides", 2, ()))

    found = await wait_for_outlines(
        progress, {"tides": 2}, seconds=20, sleep=sleep, monotonic=lambda: now
    )
    assert found == missing
    assert known_after <= now + 0.2 if not missing else now >= 20


async def test_loading_again_changes_nothing(place: Place, samples: tuple[Sample, ...]) -> None:
    await place.seeder.load(samples)
    sample, video = video_of(samples)
    before = await place.courses.get(sample.course.id), await place.contents.get(video)
    loaded = await place.seeder.load(samples)
    assert (loaded.courses_added, loaded.content_added) == (0, 0)
    after = await place.courses.get(sample.course.id), await place.contents.get(video)
    assert after == before


async def test_an_authors_edits_and_deletions_stay(
    place: Place, samples: tuple[Sample, ...]
) -> None:
    await place.seeder.load(samples)
    sample, video = video_of(samples)
    course = await place.courses.get(sample.course.id)
    assert course is not None
    archived = course.archived(now=LATER)
    await place.courses.replace(archived, previous=course)
    await place.contents.mark_deleted(video, at=LATER, purge_at=LATER)
    loaded = await place.seeder.load(samples)
    assert (loaded.courses_added, loaded.content_added) == (0, 0)
    assert await place.courses.get(sample.course.id) == archived
    content = await place.contents.get(video)
    assert content is not None
    assert content.status is ContentStatus.DELETED


async def test_a_loading_that_was_broken_off_is_finished(
    place: Place, samples: tuple[Sample, ...]
) -> None:
    sample, video = video_of(samples)
    place.bucket.breaks_at = f"content/{video}/original"
    with pytest.raises(ExceptionGroup):
        await place.seeder.load([sample])
    pending = await place.contents.get(video)
    assert pending is not None
    assert pending.status is ContentStatus.PENDING
    place.bucket.breaks_at = None
    await place.seeder.load([sample])
    ready = await place.contents.get(video)
    assert ready is not None
    assert ready.status is ContentStatus.READY
    assert await place.courses.get(sample.course.id) is not None


async def test_bytes_that_were_lost_are_put_back(place: Place, samples: tuple[Sample, ...]) -> None:
    sample, video = video_of(samples)
    await place.seeder.load([sample])
    kept = dict(place.bucket.objects)
    place.bucket.objects.clear()
    await place.seeder.load([sample])
    assert place.bucket.objects == kept


def test_the_digest_changes_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "courses").mkdir()
    path = tmp_path / "courses" / "one.yaml"
    path.write_text("a")
    before = samples_digest(tmp_path)
    assert samples_digest(tmp_path) == before
    path.write_text("b")
    assert samples_digest(tmp_path) != before
