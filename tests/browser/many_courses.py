"""As many courses in the catalog's table as a large academy has, as the service itself keeps them.

Made by the service's own domain and codec, so that nothing is there that it could not have written. In
batches, past its API: five thousand requests would take minutes. The rows that tell others of an
outline are left out: nobody learns one of these courses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from deploy.local._provision import EmbeddedAws
from services.course_catalog.domain.course import (
    Course,
    CourseContent,
    ItemType,
    Level,
    OutlineItem,
    Section,
    new_course,
)
from services.course_catalog.storage.items import course_item, slug_item
from tests.system.platform_process import RunningPlatform

RARE_LANGUAGE = "ja"
RARE_EVERY = 100
_ROWS_A_BATCH = 25
_AT_ONCE = 4
# Before all samples: these stay the newest.
_PUBLISHED = datetime(2020, 1, 1, tzinfo=UTC)


def keep(platform: RunningPlatform, count: int) -> None:
    """Writes so many published courses; the catalog learns of them as of any change."""
    # Playwright's loop runs in this thread.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _write(platform, count)).result()


async def _write(platform: RunningPlatform, count: int) -> None:
    session = json.loads((platform.state / "session.json").read_text())
    aws = EmbeddedAws.from_ready_line(session["readyLine"])
    table = session["resources"]["tables"]["course_catalog"]
    rows = _rows(count, datetime.now(UTC).replace(microsecond=0))
    async with aws.client("dynamodb") as dynamodb:

        async def write_in_turn() -> None:
            while batch := list(islice(rows, _ROWS_A_BATCH)):
                answer = await dynamodb.batch_write_item(
                    RequestItems={table: [{"PutRequest": {"Item": row}} for row in batch]}
                )
                assert not answer.get("UnprocessedItems")

        await asyncio.gather(*(write_in_turn() for _ in range(_AT_ONCE)))


def _rows(count: int, now: datetime) -> Iterator[Any]:
    for number in range(count):
        course = _course(number, now)
        yield course_item(course)
        yield slug_item(course)


def _course(number: int, now: datetime) -> Course:
    """Published long ago, and changed now: so the catalog, which asks for changes, learns of it."""
    item = OutlineItem(f"one-of-many-{number}", "Read", ItemType.READING)
    content = CourseContent(
        slug=f"one-of-many-{number}",
        title=f"Course {number} of many",
        description="What it is about, in a few words.",
        short_description="One of many.",
        language="fr" if number % RARE_EVERY else RARE_LANGUAGE,
        level=Level.ADVANCED,
        tags=("many",),
        instructors=("An academy",),
        outline=(Section("one", "One", (item,)),),
    )
    at = _PUBLISHED + timedelta(seconds=number)
    course = new_course(f"crs-many-{number:04}", content, now=at).published(now=at)
    return replace(course, updated_at=now)
