"""Several authors at once, through two processes on one table: nothing is lost, nothing is doubled.

Over real sockets, on the real repository and the real store of idempotency keys. What was
acknowledged is replayed in the order of its versions: that must give exactly what is kept.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.aws import DynamoDB
from libs.idempotency import DynamoDBIdempotencyStore
from services.course_catalog.app import Storage
from services.course_catalog.storage.dynamodb import DynamoDBCourseRepository
from tests.contract.course_catalog.running import RunningCatalog, running_catalog
from tests.unit.course_catalog.courses import CONTENT_BODY

# Each example sends some dozens of requests to an emulator.
bounded = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_numbers = itertools.count(1)

# Changes to a value of their own can be told apart; of the others two authors may make the same.
OWN = ("title", "outline", "put")
SHARED = ("slug", "publish", "archive")


@pytest.fixture()
async def processes(table: tuple[DynamoDB, str]) -> AsyncIterator[list[RunningCatalog]]:
    """Two processes of the service on one table, as far as one test process can hold two."""
    dynamodb, name = table
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                running_catalog(
                    kept_in=Storage(
                        DynamoDBCourseRepository(dynamodb, name),
                        DynamoDBIdempotencyStore(
                            dynamodb,
                            name,
                            key_attributes=["courseId"],
                            ttl_attribute="expiresAt",
                        ),
                    ),
                    ids=ids,
                )
            )
            for ids in ("one", "two")
        ]


@dataclass
class Author:
    """An author, what they hold of each course, and what they were told of their changes."""

    name: str
    process: RunningCatalog
    held: dict[str, str] = field(default_factory=dict)
    made: list[tuple[str, int, str, dict[str, Any]]] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)

    async def change(self, course_id: str, kind: str, random: Random) -> int:
        """One change of this kind, based on what they hold; who was not first holds the news."""
        number = next(_numbers)
        path = f"/courses/{course_id}"
        title = f"{self.name} {number}"
        body: dict[str, Any]
        match kind:
            case "title":
                method, body = "PATCH", {"title": title}
            case "outline":
                item = {"contentId": f"c-{number}", "title": title, "type": "quiz"}
                section = {"id": "s", "title": title, "items": [item]}
                method, body = "PATCH", {"outline": [section]}
            case "put":
                # With its slug as it is: whether another is free is `slug`'s to try.
                status, headers, seen = await self.process.write("GET", path, groups=("authors",))
                if status != 200 or headers["ETag"] != self.held[course_id]:
                    return 412 if status == 200 else status
                method, body = "PUT", CONTENT_BODY | {"title": title, "slug": seen["slug"]}
            case "slug":
                method, body = "PATCH", {"slug": f"wanted-{random.randrange(4)}"}
            case "delete":
                method, body = "DELETE", {}
            case _:
                method, path, body = "POST", f"{path}/{kind}", {}
        status, headers, answer = await self.process.write(
            method, path, body or None, if_match=self.held[course_id], sub=self.name
        )
        if status == 200:
            version = answer["version"]
            assert headers["ETag"] == f'"v{version}"'
            self.made.append((course_id, version, kind, _shown(kind, body)))
            self.held[course_id] = headers["ETag"]
        elif status == 204:
            self.deleted.add(course_id)
        elif status == 412:
            current = headers["ETag"]
            # A version that is behind can only be overtaken by one that is ahead.
            assert int(current[2:-1]) > int(self.held[course_id][2:-1])
            assert answer["errors"]
            self.held[course_id] = current
        else:
            assert status in (404, 409), answer
        return status


def _shown(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the change is to be seen by."""
    match kind:
        case "publish":
            return {"status": "published"}
        case "archive":
            return {"status": "archived"}
        case "outline":
            return {"outline": body["outline"][0]["items"][0]["contentId"]}
        case "put":
            return {"title": body["title"], "outline": "n-1"}
    return body


async def create(process: RunningCatalog, **changes: Any) -> str:
    body = CONTENT_BODY | {"slug": f"course-{next(_numbers)}"} | changes
    status, _, created = await process.write("POST", "/courses", body)
    assert status == 201
    return str(created["id"])


async def kept_slugs(table: tuple[DynamoDB, str], course_ids: list[str]) -> dict[str, str]:
    """Slug and course of every slug row of these courses; each course has exactly its own."""
    dynamodb, name = table
    items = (await dynamodb.scan(TableName=name, ConsistentRead=True))["Items"]
    rows = {
        item["courseId"]["S"].removeprefix("slug#"): item["ownerId"]["S"]
        for item in items
        if item["courseId"]["S"].startswith("slug#") and item["ownerId"]["S"] in course_ids
    }
    courses = {
        item["slug"]["S"]: item["courseId"]["S"]
        for item in items
        if item["courseId"]["S"] in course_ids and "slug" in item
    }
    assert rows == courses
    return rows


actions = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([*OWN, *OWN, *SHARED, "delete"])),
    min_size=1,
    max_size=4,
)


@bounded
@given(
    rounds=st.lists(st.lists(actions, min_size=2, max_size=4), min_size=1, max_size=3),
    random=st.randoms(use_true_random=False),
)
async def test_no_update_is_lost(
    table: tuple[DynamoDB, str],
    processes: list[RunningCatalog],
    rounds: list[list[list[tuple[int, str]]]],
    random: Random,
) -> None:
    courses = [await create(process) for process in processes]
    authors = [
        Author(f"author-{number}", processes[number % 2], dict.fromkeys(courses, '"v1"'))
        for number in range(4)
    ]

    async def work(author: Author, script: list[tuple[int, str]]) -> None:
        for course, kind in script:
            await author.change(courses[course], kind, random)

    for scripts in rounds:
        async with asyncio.TaskGroup() as group:
            for author, script in zip(authors, scripts, strict=False):
                group.create_task(work(author, script))
        # No two courses share a slug, and no slug is held by nobody.
        await kept_slugs(table, courses)

    for course_id in courses:
        deleted = any(course_id in author.deleted for author in authors)
        made: dict[int, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        for author in authors:
            versions = [version for found, version, _, _ in author.made if found == course_id]
            assert versions == sorted(versions)
            for found, version, kind, shown in author.made:
                if found == course_id:
                    made[version].append((kind, shown))
        status, headers, body = await processes[0].write("GET", f"/courses/{course_id}")
        if deleted:
            assert status == 404
            continue
        assert (status, headers["ETag"]) == (200, f'"v{body["version"]}"')
        expected: dict[str, Any] = {"title": CONTENT_BODY["title"], "outline": "n-1"}
        expected |= {"status": "draft"}
        for version in range(2, body["version"] + 1):
            # Every version was somebody's, and where values are their own, nobody else's. Who
            # wanted what was there already has been answered with it, at the same version.
            assert made[version]
            assert sum(kind in OWN for kind, _ in made[version]) <= 1
            for _, shown in made[version]:
                expected |= shown
        seen = {name: body[name] for name in expected if name != "outline"}
        assert seen | {"outline": body["outline"][0]["items"][0]["contentId"]} == expected


@bounded
@given(writers=st.integers(2, 6), kind=st.sampled_from(["title", "outline", "mixed"]))
async def test_of_writers_with_one_version_exactly_one_is_first(
    processes: list[RunningCatalog], writers: int, kind: str
) -> None:
    course_id = await create(processes[0])
    kinds = itertools.cycle(["title", "outline"] if kind == "mixed" else [kind])
    authors = [
        Author(f"author-{number}", processes[number % 2], {course_id: '"v1"'})
        for number in range(writers)
    ]
    statuses = await asyncio.gather(
        *(
            author.change(course_id, next(kinds), Random(number))
            for number, author in enumerate(authors)
        )
    )
    assert sorted(statuses) == [200] + [412] * (writers - 1)
    # Whoever was late now holds what the winner made, and can go on from there.
    late = next(author for author, status in zip(authors, statuses, strict=True) if status == 412)
    assert await late.change(course_id, "title", Random(1)) == 200


@bounded
@given(callers=st.integers(2, 6))
async def test_one_slug_of_many_that_want_it_is_one_courses(
    table: tuple[DynamoDB, str], processes: list[RunningCatalog], callers: int
) -> None:
    slug = f"wanted-by-all-{next(_numbers)}"
    others = [await create(process) for process in processes]
    answers = await asyncio.gather(
        *(
            processes[n % 2].write("POST", "/courses", CONTENT_BODY | {"slug": slug})
            for n in range(callers)
        ),
        *(
            processes[0].write("PATCH", f"/courses/{other}", {"slug": slug}, if_match='"v1"')
            for other in others
        ),
    )
    given_to = [body["id"] for status, _, body in answers if status in (200, 201)]
    refused = [body["code"] for status, _, body in answers if status == 409]
    assert (len(given_to), refused) == (1, ["slug_taken"] * (callers + 1))
    assert (await kept_slugs(table, [*others, *given_to]))[slug] == given_to[0]


@bounded
@given(
    requests=st.lists(
        st.tuples(st.sampled_from(["k1", "k2"]), st.sampled_from(["ann", "bob"]), st.booleans()),
        min_size=2,
        max_size=8,
    )
)
async def test_one_key_is_one_course_whoever_answers(
    processes: list[RunningCatalog], requests: list[tuple[str, str, bool]]
) -> None:
    run = next(_numbers)

    async def send(process: RunningCatalog, request: tuple[str, str, bool]) -> tuple[int, Any]:
        key, author, other_body = request
        slug = f"keyed-{run}-{key}-{author}-{other_body}".lower()
        status, _, body = await process.write(
            "POST", "/courses", CONTENT_BODY | {"slug": slug}, key=f"{key}-{run}", sub=author
        )
        return status, body

    answers = await asyncio.gather(
        *(send(processes[n % 2], request) for n, request in enumerate(requests))
    )
    created: dict[tuple[str, str], dict[str, Any]] = {}
    for (key, author, _), (status, body) in zip(requests, answers, strict=True):
        if status == 201:
            assert created.setdefault((key, author), body) == body
        else:
            assert body["code"] in ("idempotency_in_progress", "idempotency_key_reused")
    # Whoever asks again gets the answer that there is, and the other request still none.
    for request in requests:
        scope = request[:2]
        status, body = await send(processes[0], request)
        if status == 201:
            assert created.setdefault(scope, body) == body
        else:
            assert body["code"] == "idempotency_key_reused"
    assert set(created) == {request[:2] for request in requests}
    assert len({body["id"] for body in created.values()}) == len(created)
