"""``up.py --monolith``: the state before a migration, as its user meets it, and after a stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import ClientError

from deploy.local._provision import EmbeddedAws
from tests.system.logs import logged
from tests.system.platform_process import ROOT, RunningPlatform, run_up
from tests.system.roles import SERVICES

pytestmark = pytest.mark.timeout(600)

ITEMS = 600


@pytest.fixture(scope="module")
def platform_arguments() -> Sequence[str]:
    return ("--monolith", "--items", str(ITEMS))


def items(platform: RunningPlatform, table: str) -> list[dict[str, Any]]:
    """Everything in a table, as the administrator sees it."""

    async def scan() -> list[dict[str, Any]]:
        session = json.loads((platform.state / "session.json").read_text())
        aws = EmbeddedAws.from_ready_line(session["readyLine"])
        found: list[dict[str, Any]] = []
        async with aws.client("dynamodb") as dynamodb:
            pages = dynamodb.get_paginator("scan").paginate(
                TableName=platform.document["tables"][table]
            )
            async for page in pages:
                found += page["Items"]
        return found

    return asyncio.run(scan())


def test_it_says_where_everything_is(platform: RunningPlatform) -> None:
    document = platform.document
    assert document["tables"] == {
        "source": "lyceum-monolith",
        "control": "lyceum-migration",
        "course_catalog": "CourseCatalog",
        "content_delivery": "Content",
        "progress_tracking": "Progress",
    }
    assert document["monolith"].startswith("http://127.0.0.1:")
    assert document["outlineQueue"].startswith(document["aws"])
    assert json.loads((platform.state / "platform.json").read_text()) == document
    with urllib.request.urlopen(document["monolith"] + "/version", timeout=30) as answer:
        assert json.load(answer)["service"] == "monolith"


def test_the_one_table_is_filled_and_the_services_are_empty(platform: RunningPlatform) -> None:
    found = items(platform, "source")
    assert len(found) == ITEMS
    kinds = {(item["pk"]["S"].partition("#")[0], "updatedAt" in item) for item in found}
    assert {("COURSE", True), ("CONTENT", False), ("USER", False), ("PAYMENT", False)} <= kinds
    for service in SERVICES:
        assert items(platform, service) == []
    assert [item["pk"]["S"] for item in items(platform, "control")] == ["~seed"]


def test_who_migrates_may_do_what_its_policy_says_and_no_more(platform: RunningPlatform) -> None:
    lines = (platform.state / "migration.env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines)
    assert (platform.state / "migration.env").stat().st_mode & 0o777 == 0o600
    # What docs/migrating.md begins with: a plan tries each right, and finds none missing.
    command = (
        "plan", "--mapping", "deploy.migration.mappings.lyceum",
        "--local", str(platform.state), "--json",
    )  # fmt: skip
    planned = subprocess.run(
        [sys.executable, "-m", "deploy.migration.migrate", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert planned.returncode == 0, planned.stdout + planned.stderr
    (plan,) = (
        document
        for document in map(json.loads, planned.stdout.splitlines())
        if document["event"] == "planned"
    )
    assert plan["problems"] == []
    assert plan["items"] == ITEMS

    async def refused() -> str:
        session = aioboto3.Session(
            aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
            region_name=variables["AWS_REGION"],
        )
        async with session.client(
            "dynamodb", endpoint_url=variables["AWS_ENDPOINT_URL"]
        ) as dynamodb:
            with pytest.raises(ClientError) as denied:
                await dynamodb.delete_table(TableName=platform.document["tables"]["source"])
        return str(denied.value.response["Error"]["Code"])

    assert asyncio.run(refused()) == "AccessDeniedException"


def test_the_whole_journey_is_answered_by_the_monolith(platform: RunningPlatform) -> None:
    listed = platform.request("/courses?limit=100").json["items"]
    course = platform.request(f"/courses/{listed[0]['id']}").json
    content = next(item for section in course["outline"] for item in section["items"])
    answer = platform.request(f"/content/{content['contentId']}")
    assert answer.status == 200
    with urllib.request.urlopen(answer.json["url"], timeout=30) as played:
        assert len(played.read()) == answer.json["sizeBytes"]
    update = {
        "occurredAt": "2026-01-02T03:04:05Z",
        "deviceId": "phone",
        "items": {content["contentId"]: {"completed": True}},
    }
    answer = platform.request(f"/progress/me/{course['id']}", method="PUT", body=update)
    assert answer.status in (200, 201), answer.body
    assert answer.json["percent"] > 0
    # The demo users have learnt here for years.
    assert len(platform.request("/progress/me").json["items"]) > 1
    served = {event.get("route") for event in logged(platform, "monolith")}
    assert {
        "/courses",
        "/courses/{courseId}",
        "/content/{contentId}",
        "/progress/{userId}",
    } <= served
    for service in SERVICES:
        routes = {event.get("route") for event in logged(platform, service)}
        assert routes <= {None, "/readyz"}
        assert items(platform, service) == []


def test_a_course_is_created_in_the_one_table(platform: RunningPlatform) -> None:
    body = {
        "slug": "a-new-course",
        "title": "A new course",
        "description": "What it is about.",
        "shortDescription": "What it is about.",
        "language": "en",
        "level": "beginner",
        "outline": [],
    }
    answer = platform.request("/courses", user="author", method="POST", body=body)
    assert answer.status == 201, answer.body
    kept = {item["pk"]["S"]: item for item in items(platform, "source")}
    assert kept[f"COURSE#{answer.json['id']}"]["state"] == {"S": "draft"}
    assert kept["SLUG#a-new-course"]["courseId"] == {"S": answer.json["id"]}


def test_a_stop_keeps_everything_and_a_start_fills_nothing_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    arguments = ("--port", "0", "--monolith", "--items")
    first = RunningPlatform(tmp_path, state, *arguments, "300")
    try:
        update = {"occurredAt": "2026-01-02T03:04:05Z", "deviceId": "test", "items": {}}
        answer = first.request("/progress/me/somewhere", method="PUT", body=update)
        assert answer.status == 201, answer.body
        before = items(first, "source")
        assert len(before) == 301
        assert first.signal(signal.SIGINT) == 0, first.errors
    finally:
        first.end()
    refused = run_up("--port", "0", "--state", str(state), directory=tmp_path)
    assert refused.returncode == 1
    assert "--monolith goes on with it" in refused.stderr
    second = RunningPlatform(tmp_path, state, *arguments, "400")
    try:

        def key(item: dict[str, Any]) -> tuple[str, str]:
            return item["pk"]["S"], item["sk"]["S"]

        assert sorted(items(second, "source"), key=key) == sorted(before, key=key)
        assert second.request("/progress/me/somewhere").status == 200
        assert second.signal(signal.SIGINT) == 0, second.errors
    finally:
        second.end()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--items", "500"), "--items goes with --monolith"),
        (("--monolith", "--items", "5"), "'5' is not a number of items (200 to 2,000,000)"),
        (("--monolith", "--containers"), "--monolith and --containers do not go together"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, arguments: Sequence[str], why: str
) -> None:
    refused = run_up("--state", str(tmp_path / "state"), *arguments, directory=tmp_path)
    assert refused.returncode == 2
    assert why in refused.stderr
    assert not (tmp_path / "state").exists()
