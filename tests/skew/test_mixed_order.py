"""Both releases on the same rows, in every order: what one writes the other reads, changes and ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from multidict import CIMultiDictProxy
from yarl import URL

from tests.load.steady import Plan, SteadyLoad
from tests.skew.deployment import NEW, OLD, PART_BYTES, SINGLE_BYTES, Deployment

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

LOAD_TAG = "load"
ORDERS = pytest.mark.parametrize(
    ("one", "other"),
    [pytest.param(OLD, NEW, id="old first"), pytest.param(NEW, OLD, id="new first")],
)


class Client:
    """Asks either version, as one user."""

    def __init__(self, deployment: Deployment, subject: str, *groups: str) -> None:
        self._deployment = deployment
        self._token = deployment.token(subject, *groups)

    async def ask(
        self,
        version: str,
        method: str,
        path: str,
        body: object = None,
        *,
        status: int = 200,
        **headers: str,
    ) -> tuple[Any, CIMultiDictProxy[str]]:
        """The document and the headers of the answer, which must have this status."""
        service = {
            "courses": "course_catalog",
            "content": "content_delivery",
            "progress": "progress_tracking",
        }[path.split("/")[1].partition("?")[0]]
        sent = {"Authorization": f"Bearer {self._token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        data = None
        if body is not None:
            data = json.dumps(body)
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            sent["Content-Type"] = kind
        url = URL(self._deployment.urls[version][service] + path, encoded=True)
        async with self._deployment.http.request(method, url, data=data, headers=sent) as answer:
            content = await answer.read()
            assert answer.status == status, f"{version} {method} {path}: {content!r}"
            return json.loads(content) if content else None, answer.headers


def _outline(content_id: str) -> list[dict[str, object]]:
    item = {"contentId": content_id, "title": "Tides", "type": "reading"}
    return [{"id": "one", "title": "One", "items": [item]}]


def course(number: int, **changes: object) -> dict[str, object]:
    return {
        "slug": f"skew-{number}",
        "title": f"Course {number}",
        "description": "What it is about.",
        "shortDescription": "What it is about.",
        "language": "en",
        "level": "beginner",
        "tags": ["skew"],
        "outline": _outline("intro"),
        **changes,
    }


async def test_each_version_says_which_it_is(deployment: Deployment) -> None:
    for service in deployment.urls[NEW]:
        found = []
        for version in (OLD, NEW):
            url = f"{deployment.urls[version][service]}/version"
            async with deployment.http.get(url) as answer:
                found.append(await answer.json())
        assert [one["service"] for one in found] == [service, service]
        old, new = (tuple(map(int, one["version"].split("."))) for one in found)
        assert old < new


@ORDERS
async def test_a_course_that_both_edit(deployment: Deployment, one: str, other: str) -> None:
    author = Client(deployment, "author", "authors")
    body = course(deployment.number())
    key = f"key-{deployment.number()}"
    made, headers = await author.ask(one, "POST", "/courses", body, status=201, Idempotency_Key=key)
    path = f"/courses/{made['id']}"
    # The same request again, at the other version: the same course.
    again, _ = await author.ask(other, "POST", "/courses", body, status=201, Idempotency_Key=key)
    assert again == made
    seen, headers = await author.ask(other, "GET", path)
    assert seen == made
    await author.ask(one, "GET", path, status=304, If_None_Match=headers["ETag"])
    title = {"title": "Edited by the other"}
    _, edited = await author.ask(other, "PATCH", path, title, If_Match=headers["ETag"])
    stale = {"title": "Edited on what is old"}
    await author.ask(one, "PATCH", path, stale, status=412, If_Match=headers["ETag"])
    _, published = await author.ask(one, "POST", f"{path}/publish", If_Match=edited["ETag"])
    learner = Client(deployment, "learner-a")
    seen, _ = await learner.ask(other, "GET", path)
    assert (seen["title"], seen["status"]) == ("Edited by the other", "published")
    # Whoever has the name, has it in both.
    await author.ask(other, "POST", "/courses", body, status=409)
    await author.ask(other, "POST", f"{path}/archive", If_Match=published["ETag"])
    archived, _ = await author.ask(one, "GET", path)
    assert archived["status"] == "archived"


@ORDERS
async def test_pages_that_both_give(deployment: Deployment, one: str, other: str) -> None:
    """A cursor of one version leads on in the other."""
    author = Client(deployment, "author", "authors")
    tag = f"pages-{deployment.number()}"
    ids = []
    for _ in range(5):
        body = course(deployment.number(), tags=[tag])
        made, headers = await author.ask(one, "POST", "/courses", body, status=201)
        path = f"/courses/{made['id']}/publish"
        await author.ask(other, "POST", path, If_Match=headers["ETag"])
        ids.append(made["id"])
    for version in (one, other):
        while True:
            page, _ = await author.ask(version, "GET", f"/courses?tag={tag}")
            if len(page["items"]) == len(ids):
                break
    found: list[str] = []
    query = f"/courses?tag={tag}&limit=2&sort=publishedAt"
    cursor, versions = "", [one, other, one]
    for version in versions:
        page, _ = await author.ask(version, "GET", query + cursor)
        found += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['nextCursor']}"
    assert page["nextCursor"] is None
    assert found == ids


@ORDERS
async def test_an_upload_that_both_carry_out(deployment: Deployment, one: str, other: str) -> None:
    author = Client(deployment, "author", "authors")
    body = bytes(range(256)) * 12
    assert SINGLE_BYTES < len(body) < 3 * PART_BYTES
    announcement = {
        "courseId": "skew",
        "title": "Sky",
        "contentType": "video/mp4",
        "sizeBytes": len(body),
    }
    made, _ = await author.ask(one, "POST", "/content", announcement, status=201)
    path = f"/content/{made['id']}"
    await _send(deployment, made["upload"], body, parts=[1])
    state, _ = await author.ask(other, "GET", f"{path}/upload")
    assert state["missing"] == [{"first": 2, "last": 3}]
    ticket, _ = await author.ask(other, "POST", f"{path}/upload/parts", {})
    await _send(deployment, ticket["upload"], body, parts=[2])
    ticket, _ = await author.ask(one, "POST", f"{path}/upload/parts", {})
    await _send(deployment, ticket["upload"], body, parts=[3])
    done, _ = await author.ask(other, "POST", f"{path}/upload/complete")
    assert done["state"] == "ready"
    learner = Client(deployment, "learner-a")
    for version in (one, other):
        found, _ = await learner.ask(version, "GET", path)
        async with deployment.http.get(URL(found["url"], encoded=True)) as answer:
            assert await answer.read() == body
    metadata, headers = await author.ask(one, "GET", f"{path}/metadata")
    change = {"title": "Night", "position": 7, "durationSeconds": 60}
    await author.ask(other, "PUT", f"{path}/metadata", change, If_Match=headers["ETag"])
    metadata, _ = await author.ask(one, "GET", f"{path}/metadata")
    assert (metadata["title"], metadata["position"]) == ("Night", 7)
    await author.ask(one, "DELETE", path, status=204)
    await learner.ask(other, "GET", path, status=404)


async def _send(
    deployment: Deployment, upload: Mapping[str, Any], body: bytes, *, parts: list[int]
) -> None:
    for part in upload["partUrls"]:
        if part["partNumber"] in parts:
            start = (part["partNumber"] - 1) * upload["partSize"]
            piece = body[start : start + part["sizeBytes"]]
            url = URL(part["url"], encoded=True)
            async with deployment.http.put(url, data=piece) as answer:
                assert answer.status == 200


@ORDERS
async def test_an_attempt_that_the_other_begins(
    deployment: Deployment, one: str, other: str
) -> None:
    learner = Client(deployment, f"learner-{deployment.number()}")
    path = "/progress/me/skew"
    first = {
        "occurredAt": "2026-02-01T09:00:00Z",
        "deviceId": "phone",
        "resume": {"contentId": "intro", "positionSeconds": 30},
        "items": {"intro": {"completed": True}},
    }
    written, _ = await learner.ask(one, "PUT", path, first, status=201)
    read, headers = await learner.ask(other, "GET", path)
    assert read == written
    await learner.ask(one, "GET", path, status=304, If_None_Match=headers["ETag"])
    begun, _ = await learner.ask(other, "DELETE", path)
    assert begun["attempt"] == 2
    # Of the attempt that is over: merged away by both, and not an error.
    late = first | {"attempt": 1, "deviceId": "laptop"}
    after, _ = await learner.ask(one, "PUT", path, late)
    assert (after["attempt"], after["completedCount"]) == (2, 0)
    batch = {"entries": [first | {"courseId": "skew", "attempt": 2}, first | {"courseId": "more"}]}
    synchronised, _ = await learner.ask(one, "POST", "/progress/me/batch", batch)
    assert [result["status"] for result in synchronised["results"]] == [200, 201]
    courses, _ = await learner.ask(other, "GET", "/progress/me")
    assert {item["courseId"]: item["attempt"] for item in courses["items"]} == {
        "skew": 2,
        "more": 1,
    }


async def test_a_load_on_both_at_once_loses_nothing(deployment: Deployment) -> None:
    """As behind a balancer while one version takes the other's place: the same learners' devices
    write to the same courses at both."""
    author = Client(deployment, "author", "authors")
    await _something_to_read(deployment, author)
    users = ("learner-a", "learner-b")
    tokens = {user: deployment.token(user) for user in users}
    load = SteadyLoad(
        [deployment.urls[OLD], deployment.urls[NEW]],
        tokens,
        plan=Plan(devices=8, requests_per_second=10, most_requests=200),
        courses=f"/courses?tag={LOAD_TAG}",
    )
    async with load.running():
        await load.more_requests(600)
    told = [str(failure) for failure in load.failures]
    if told:
        services = {failure.service for failure in load.failures}
        told += [line for service in services for line in deployment.complaints(service)]
    assert not told, "\n".join(told)
    assert await load.lost_writes() == []
    assert load.acknowledged_writes > 100


async def _something_to_read(deployment: Deployment, author: Client) -> None:
    body = b"# Spring and neap\n"
    announcement = {
        "courseId": "skew",
        "title": "Tides",
        "contentType": "text/markdown",
        "sizeBytes": len(body),
    }
    made, _ = await author.ask(OLD, "POST", "/content", announcement, status=201)
    from tests.skew.states import send_form

    await send_form(deployment.http, made["upload"], body)
    await author.ask(OLD, "POST", f"/content/{made['id']}/upload/complete")
    content = course(
        deployment.number(),
        tags=[LOAD_TAG],
        outline=_outline(made["id"]),
    )
    created, headers = await author.ask(NEW, "POST", "/courses", content, status=201)
    path = f"/courses/{created['id']}/publish"
    await author.ask(NEW, "POST", path, If_Match=headers["ETag"])
    for version in (OLD, NEW):
        while not (await author.ask(version, "GET", f"/courses?tag={LOAD_TAG}"))[0]["items"]:
            continue
