"""Loads the sample courses into the platform: ``python -m deploy.local._seed`` with ``--help``.

What is loaded is read by ``_samples.py``, whose docstring is the format. It goes through the
services' own domains and repositories, so that nothing gets in that the services could not have
written themselves, as the administrator of the local AWS, whom the SDK's variables name.

Loading may be repeated, also after it was broken off: what is there stays as it is, an author's
edits and deletions included; only what is missing is added.

Progress learns the courses' outlines as it does on AWS, from the catalog's events. It is waited for
until it has, so that the first learner sees percentages; a consumer must be running.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from deploy.local._samples import SAMPLES_DIRECTORY, ContentEntry, Course, Sample, read_samples
from libs.aws import S3, AwsSettings, NotFound, open_clients
from libs.circuit_breaker import BreakerPolicy
from libs.resilience import PipelineRegistry
from libs.tracing import SamplingRules, create_tracer
from services.content_delivery.domain import content as delivery
from services.content_delivery.domain.repository import ContentRepository
from services.content_delivery.storage.dynamodb import DynamoContentRepository
from services.course_catalog.domain import course as catalog
from services.course_catalog.domain.errors import CourseExistsError
from services.course_catalog.domain.repository import CourseRepository
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from services.progress_tracking.domain import outline as progress
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository

_AT_ONCE = 8
_LOOK_SECONDS = 0.1


class OutlineReader(Protocol):
    """The part of the progress repository that tells what it has learnt."""

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, progress.Outline]:
        """The outlines that are known of these courses."""


class ObjectWriter(Protocol):
    """The bucket, as far as loading needs it."""

    async def put(self, key: str, body: bytes, content_type: str) -> str:
        """Stores an object; gives its entity tag, with quotes."""

    async def exists(self, key: str) -> bool:
        """Whether there is an object of this key."""


@dataclass(frozen=True)
class Loaded:
    """How much the samples hold, and how much of it was missing and has been added."""

    courses: int = 0
    courses_added: int = 0
    content: int = 0
    content_added: int = 0


class Seeder:
    """Adds what is missing of the samples."""

    def __init__(
        self,
        courses: CourseRepository,
        contents: ContentRepository,
        objects: ObjectWriter,
    ) -> None:
        self._courses = courses
        self._contents = contents
        self._objects = objects
        self._published: dict[str, int] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def load(self, samples: Iterable[Sample]) -> Loaded:
        """Loads content first, so that no course points at what is not there yet."""
        samples = tuple(samples)
        content_added = await self._all(
            [
                self._content(sample, position, entry)
                for sample in samples
                for position, entry in enumerate(sample.content)
            ]
        )
        courses_added = await self._all([self._course(sample.course) for sample in samples])
        return Loaded(
            courses=len(samples),
            courses_added=courses_added,
            content=sum(len(sample.content) for sample in samples),
            content_added=content_added,
        )

    @property
    def published(self) -> Mapping[str, int]:
        """The published courses that were loaded or there, with the version of their outline."""
        return self._published

    async def _all(self, work: list[Callable[[], Awaitable[bool]]]) -> int:
        async def in_turn(one: Callable[[], Awaitable[bool]]) -> bool:
            async with self._turns:
                return await one()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(in_turn(one)) for one in work]
        return sum(task.result() for task in tasks)

    def _course(self, course: Course) -> Callable[[], Awaitable[bool]]:
        async def load() -> bool:
            kept = await self._courses.get(course.id)
            added = kept is None
            if kept is None:
                kept = catalog.new_course(course.id, _content_of(course), now=course.created_at)
                try:
                    await self._courses.create(kept)
                except CourseExistsError:  # an author deleted it
                    return False
            # A draft in its first version may be a loading that was broken off here.
            if course.published_at and kept.status is catalog.Status.DRAFT and kept.version == 1:
                published = kept.published(now=course.published_at)
                await self._courses.replace(published, previous=kept)
                kept = published
            if kept.status is catalog.Status.PUBLISHED:
                self._published[kept.id] = kept.outline_version
            return added

        return load

    def _content(
        self, sample: Sample, position: int, entry: ContentEntry
    ) -> Callable[[], Awaitable[bool]]:
        async def load() -> bool:
            row = await self._contents.get(entry.id)
            added = row is None
            if row is None:
                row = _pending(sample, position, entry)
                await self._contents.create_pending(row)
            if row.status is delivery.ContentStatus.PENDING:
                await self._finish(sample, entry, row)
            elif row.status is delivery.ContentStatus.READY and not await self._objects.exists(
                row.object_key
            ):
                await self._upload(sample, entry, row)
            return added

        return load

    async def _finish(self, sample: Sample, entry: ContentEntry, row: delivery.Content) -> None:
        body = sample.body(entry)
        etag = await self._upload(sample, entry, row)
        await self._contents.mark_ready(
            row.id,
            size_bytes=len(body),
            etag=etag,
            checksum_sha256=_checksum(body),
            duration_seconds=row.duration_seconds,
            at=sample.course.updated_at,
        )

    async def _upload(self, sample: Sample, entry: ContentEntry, row: delivery.Content) -> str:
        for caption, track in zip(row.captions, entry.captions, strict=False):
            await self._objects.put(
                caption.object_key, sample.caption_body(track), "text/vtt; charset=utf-8"
            )
        return await self._objects.put(row.object_key, sample.body(entry), entry.content_type)


class BucketWriter:
    """`ObjectWriter` on S3."""

    def __init__(self, s3: S3, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    async def put(self, key: str, body: bytes, content_type: str) -> str:
        """See `ObjectWriter.put`."""
        answer = await self._s3.put_object(
            Bucket=self._bucket, Key=key, Body=body, ContentType=content_type
        )
        return str(answer["ETag"])

    async def exists(self, key: str) -> bool:
        """See `ObjectWriter.exists`."""
        try:
            await self._s3.head_object(Bucket=self._bucket, Key=key)
        except NotFound:
            return False
        return True


def _content_of(course: Course) -> catalog.CourseContent:
    return catalog.CourseContent(
        slug=course.slug,
        title=course.title,
        description=course.description,
        short_description=course.short_description,
        language=course.language,
        level=catalog.Level(course.level),
        tags=tuple(course.tags),
        instructors=tuple(course.instructors),
        outline=tuple(
            catalog.Section(
                id=section.id,
                title=section.title,
                items=tuple(
                    catalog.OutlineItem(
                        content_id=item.content_id,
                        title=item.title,
                        type=catalog.ItemType(item.type),
                        duration_seconds=item.duration_seconds,
                        required=item.required,
                        weight=item.weight,
                    )
                    for item in section.items
                ),
            )
            for section in course.outline
        ),
    )


def _pending(sample: Sample, position: int, entry: ContentEntry) -> delivery.Content:
    item = sample.course.outline_items[position]
    seconds = entry.duration_seconds
    return delivery.Content(
        id=entry.id,
        course_id=sample.course.id,
        position=position,
        title=entry.title or item.title,
        status=delivery.ContentStatus.PENDING,
        object_key=f"{delivery.OBJECT_KEY_PREFIX}{entry.id}/original",
        content_type=entry.content_type,
        size_bytes=len(sample.body(entry)),
        created_at=sample.course.created_at,
        updated_at=sample.course.created_at,
        duration_seconds=item.duration_seconds if seconds is None else seconds,
        captions=tuple(
            delivery.Caption(
                language=caption.language,
                kind=delivery.CaptionKind(caption.kind),
                object_key=f"{delivery.OBJECT_KEY_PREFIX}{entry.id}"
                f"/captions/{caption.language}.{caption.kind}.vtt",
            )
            for caption in entry.captions
        ),
    )


def _checksum(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


async def wait_for_outlines(
    known: OutlineReader,
    published: Mapping[str, int],
    *,
    seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """Wait until progress knows these outlines, or for so long; how many it does not know."""
    deadline = monotonic() + seconds
    while True:
        outlines = await known.read_outlines(published)
        missing = sum(
            course_id not in outlines or outlines[course_id].version < version
            for course_id, version in published.items()
        )
        if not missing or monotonic() >= deadline:
            return missing
        await sleep(_LOOK_SECONDS)


async def _load(options: argparse.Namespace) -> None:
    # Files of several MB, on a machine that starts three services at the same time.
    patient = BreakerPolicy(call_timeout_seconds=30)
    settings = AwsSettings(options.region, read_timeout_seconds=20, breaker=patient)
    registry = PipelineRegistry()
    tracer = create_tracer(
        service="seed", version="local", daemon_address=None, rules=SamplingRules(default_rate=0)
    )
    async with open_clients(
        settings, registry=registry, tracer=tracer, services=("dynamodb", "s3")
    ) as clients:
        seeder = Seeder(
            DynamoDBCourseRepository(clients.dynamodb, table=options.catalog_table),
            DynamoContentRepository(clients.dynamodb, table=options.content_table),
            BucketWriter(clients.s3, options.bucket),
        )
        _say(asdict(await seeder.load(await asyncio.to_thread(read_samples, options.samples))))
        missing = await wait_for_outlines(
            DynamoDBProgressRepository(clients.dynamodb, table=options.progress_table),
            seeder.published,
            seconds=options.wait_seconds,
        )
        _say({"outlinesMissing": missing})


def _say(document: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Loads, and prints a JSON line of `Loaded`; waits, and prints one that says how many outlines
    progress has not learnt."""
    parser = argparse.ArgumentParser(prog="seed", description="Loads the sample courses.")
    for name in ("region", "catalog-table", "content-table", "progress-table", "bucket"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--samples", type=Path, default=SAMPLES_DIRECTORY)
    parser.add_argument("--wait-seconds", type=float, default=20, help="for progress to learn")
    asyncio.run(_load(parser.parse_args(arguments)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
