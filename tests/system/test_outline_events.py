"""An author changes a course, and a learner's percentage changes: through the catalog's table, the
stream, the pipe, the topic, the queue and the consumer of a running platform."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.local._provision import EmbeddedAws
from libs.aws import AwsSettings, open_clients
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.tracing.testing import recording_tracer
from services.course_catalog.domain.course import (
    Course,
    CourseContent,
    ItemType,
    Level,
    OutlineItem,
    Section,
    new_course,
)
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from services.progress_tracking.storage.rows import outline_key
from tests.system.platform_process import DEADLINE_SECONDS, ROOT, RunningPlatform, until, up

pytestmark = pytest.mark.timeout(400)


def session_of(platform: RunningPlatform) -> tuple[EmbeddedAws, dict[str, Any]]:
    session = json.loads((platform.state / "session.json").read_text())
    return EmbeddedAws.from_ready_line(session["readyLine"]), session["resources"]


@asynccontextmanager
async def catalog(
    platform: RunningPlatform, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DynamoDBCourseRepository]:
    """The catalog's own repository, as the administrator: what its authoring endpoints write by."""
    aws, resources = session_of(platform)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.secret_access_key)
    async with open_clients(
        AwsSettings(aws.region), registry=CircuitBreakerRegistry(), tracer=recording_tracer()[0]
    ) as clients:
        yield DynamoDBCourseRepository(clients.dynamodb, resources["tables"]["course_catalog"])


def content(slug: str, items: int) -> CourseContent:
    return CourseContent(
        slug=slug,
        title="A course that changes",
        description="It does.",
        short_description="It does.",
        language="en",
        level=Level.BEGINNER,
        outline=(
            Section(
                "one",
                "One",
                tuple(
                    OutlineItem(f"{slug}-{number}", "Read", ItemType.READING)
                    for number in range(items)
                ),
            ),
        ),
    )


def progress_of(platform: RunningPlatform, course_id: str) -> dict[str, Any]:
    answer = platform.request(f"/progress/me/{course_id}", user="learner-a")
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


def complete(platform: RunningPlatform, course_id: str, *content_ids: str) -> dict[str, Any]:
    answer = platform.request(
        f"/progress/me/{course_id}",
        user="learner-a",
        method="PUT",
        body={
            "occurredAt": "2026-03-01T10:00:00Z",
            "deviceId": "phone",
            "items": {content_id: {"completed": True} for content_id in content_ids},
        },
    )
    assert answer.status in (200, 201)
    found: dict[str, Any] = answer.json
    return found


def until_percent(platform: RunningPlatform, course_id: str, percent: int | None) -> dict[str, Any]:
    until(
        lambda: progress_of(platform, course_id)["percent"] == percent,
        f"{percent} percent of {course_id}",
    )
    return progress_of(platform, course_id)


async def test_what_the_author_changes_the_learner_sees(
    platform: RunningPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with catalog(platform, monkeypatch) as courses:
        course = new_course("changing", content("changing", 2), now=datetime.now(UTC))
        await courses.create(course)
        assert complete(platform, "changing", "changing-0")["percent"] is None  # still a draft
        opened = course.published(now=datetime.now(UTC))
        await courses.replace(opened, previous=course)
        until_percent(platform, "changing", 50)

        more = opened.edited(content("changing", 4), now=datetime.now(UTC))
        await courses.replace(more, previous=opened)
        seen = until_percent(platform, "changing", 25)
        assert (seen["totalCount"], seen["outlineVersion"]) == (4, 2)

        fewer = more.edited(content("changing", 1), now=datetime.now(UTC))
        await courses.replace(fewer, previous=more)
        seen = until_percent(platform, "changing", 100)
        assert (seen["status"], seen["newItemsSinceCompletion"]) == ("completed", 0)

        again: Course = fewer.edited(content("changing", 3), now=datetime.now(UTC))
        await courses.replace(again, previous=fewer)
        seen = until_percent(platform, "changing", 33)
        assert (seen["totalCount"], seen["outlineVersion"]) == (3, 4)


async def test_poison_is_parked_while_good_ones_go_on(
    platform: RunningPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws, resources = session_of(platform)
    async with aws.client("sqs") as sqs:
        await sqs.send_message(
            QueueUrl=resources["outline_queue_url"], MessageBody='{"no": "event"}'
        )
        async with catalog(platform, monkeypatch) as courses:
            course = new_course("besides", content("besides", 2), now=datetime.now(UTC))
            await courses.create(course)
            await courses.replace(course.published(now=datetime.now(UTC)), previous=course)
            complete(platform, "besides", "besides-1")
            until_percent(platform, "besides", 50)

        deadline = time.monotonic() + DEADLINE_SECONDS
        parked: list[dict[str, Any]] = []
        while not parked and time.monotonic() < deadline:
            answer = await sqs.receive_message(
                QueueUrl=resources["parked_outlines_url"], WaitTimeSeconds=2
            )
            parked += answer.get("Messages", [])
        assert [message["Body"] for message in parked] == ['{"no": "event"}']


async def forget_outline(platform: RunningPlatform, course_id: str) -> None:
    """What a lost event amounts to."""
    aws, resources = session_of(platform)
    async with aws.client("dynamodb") as dynamodb:
        await dynamodb.delete_item(
            TableName=resources["tables"]["progress_tracking"], Key=outline_key(course_id)
        )


def replay(platform: RunningPlatform, *arguments: str) -> dict[str, Any]:
    _, environment = up()
    finished = subprocess.run(
        [
            *(sys.executable, str(ROOT / "deploy" / "replay" / "outlines.py"), "--json"),
            *("--token-from", "platform:staff", "--state", str(platform.state), *arguments),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


async def test_the_replay_brings_back_every_outline(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    complete(platform, "tides", "tides-1-1")
    before = progress_of(platform, "tides")["percent"]
    assert before
    await forget_outline(platform, "tides")
    until_percent(platform, "tides", None)

    dry = replay(platform, "--dry-run")
    assert (dry["dryRun"], dry["sent"], dry["failed"]) == (True, 0, {})
    assert dry["courses"] >= 13
    assert progress_of(platform, "tides")["percent"] is None

    done = replay(platform, "--checkpoint", str(tmp_path / "replay.json"))
    assert done["sent"] == done["courses"] == dry["courses"]
    assert not (tmp_path / "replay.json").exists()
    until_percent(platform, "tides", before)


def test_what_the_platform_s_end_took_comes_back_at_the_next_start(tmp_path: Path) -> None:
    def run(act: Callable[[RunningPlatform], None], *arguments: str) -> None:
        running = RunningPlatform(tmp_path, tmp_path / "state", "--port", "0", *arguments)
        try:
            act(running)
            assert running.signal(signal.SIGINT) == 0, running.errors
        finally:
            running.end()

    def lose(platform: RunningPlatform) -> None:
        # The outlines of all samples are there as soon as the platform is.
        assert complete(platform, "tides", "tides-1-1")["percent"]
        asyncio.run(forget_outline(platform, "tides"))

    def find_again(platform: RunningPlatform) -> None:
        until(
            lambda: bool(progress_of(platform, "tides")["percent"]), "the replay of the next start"
        )

    run(lose)
    run(find_again)
