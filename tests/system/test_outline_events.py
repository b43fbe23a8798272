"""An author changes a course, and a learner's percentage changes: through the catalog's table, the
stream, the pipe, the topic, the queue and the consumer of a running platform."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.local._provision import EmbeddedAws
from services.progress_tracking.storage.rows import outline_key
from tests.system.exchange import Answer, ask
from tests.system.platform_process import DEADLINE_SECONDS, ROOT, RunningPlatform, until, up

pytestmark = pytest.mark.timeout(400)


def session_of(platform: RunningPlatform) -> tuple[EmbeddedAws, dict[str, Any]]:
    session = json.loads((platform.state / "session.json").read_text())
    return EmbeddedAws.from_ready_line(session["readyLine"]), session["resources"]


class Author:
    """One course and its author, who changes it by the catalog's API."""

    def __init__(self, platform: RunningPlatform, slug: str, items: int) -> None:
        self._slug = slug
        self._gateway = platform.gateway
        self._token = platform.document["users"]["author"]["accessToken"]
        made = self._ask("POST", "/courses", self._content(items))
        self.course_id: str = made.json["id"]
        self._etag = made.headers["ETag"]

    def publish(self) -> None:
        self._change("POST", "/publish", None)

    def set_items(self, items: int) -> None:
        self._change("PUT", "", self._content(items))

    def _content(self, items: int) -> dict[str, Any]:
        entries = [
            {"contentId": f"{self._slug}-{number}", "title": "Read", "type": "reading"}
            for number in range(items)
        ]
        return {
            "slug": self._slug,
            "title": "A course that changes",
            "description": "It does.",
            "shortDescription": "It does.",
            "language": "en",
            "level": "beginner",
            "outline": [{"id": "one", "title": "One", "items": entries}],
        }

    def _change(self, method: str, action: str, body: object) -> None:
        path = f"/courses/{self.course_id}{action}"
        self._etag = self._ask(method, path, body, {"If-Match": self._etag}).headers["ETag"]

    def _ask(
        self, method: str, path: str, body: object, headers: Mapping[str, str] | None = None
    ) -> Answer:
        answer = ask(
            self._gateway + path,
            method=method,
            token=self._token,
            json_body=body,
            headers=headers or {},
        )
        assert answer.status in (200, 201), answer.body
        return answer


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


def test_what_the_author_changes_the_learner_sees(platform: RunningPlatform) -> None:
    author = Author(platform, "changing", 2)
    course = author.course_id
    assert complete(platform, course, "changing-0")["percent"] is None  # still a draft
    author.publish()
    until_percent(platform, course, 50)

    author.set_items(4)
    seen = until_percent(platform, course, 25)
    assert (seen["totalCount"], seen["outlineVersion"]) == (4, 2)

    author.set_items(1)
    assert until_percent(platform, course, 100)["status"] == "completed"

    author.set_items(3)
    seen = until_percent(platform, course, 33)
    assert (seen["totalCount"], seen["outlineVersion"]) == (3, 4)


async def test_poison_is_parked_while_good_ones_go_on(platform: RunningPlatform) -> None:
    aws, resources = session_of(platform)
    async with aws.client("sqs") as sqs:
        await sqs.send_message(
            QueueUrl=resources["outline_queue_url"], MessageBody='{"no": "event"}'
        )
        author = Author(platform, "besides", 2)
        author.publish()
        complete(platform, author.course_id, "besides-1")
        until_percent(platform, author.course_id, 50)

        deadline = time.monotonic() + DEADLINE_SECONDS
        parked: list[dict[str, Any]] = []
        while not parked and time.monotonic() < deadline:
            answer = await sqs.receive_message(
                QueueUrl=resources["parked_outlines_url"], WaitTimeSeconds=2
            )
            parked += answer.get("Messages", [])
        assert [message["Body"] for message in parked] == ['{"no": "event"}']


async def knows_outline(platform: RunningPlatform, course_id: str) -> bool:
    aws, resources = session_of(platform)
    async with aws.client("dynamodb") as dynamodb:
        answer = await dynamodb.get_item(
            TableName=resources["tables"]["progress_tracking"], Key=outline_key(course_id)
        )
    return "Item" in answer


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
    await forget_outline(platform, "tides")
    dry = replay(platform, "--dry-run")
    assert (dry["dryRun"], dry["sent"], dry["failed"]) == (True, 0, {})
    assert dry["courses"] >= 13
    assert not await knows_outline(platform, "tides")

    done = replay(platform, "--checkpoint", str(tmp_path / "replay.json"))
    assert done["sent"] == done["courses"] == dry["courses"]
    assert not (tmp_path / "replay.json").exists()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await knows_outline(platform, "tides"):
            await asyncio.sleep(0.2)


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
