"""Listing and opening courses as clients experience it: pages, revalidation, rights, outages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from libs.http import DRAIN
from libs.logging.testing import captured_logs
from services.course_catalog.domain.course import Level
from tests.contract.course_catalog.running import RunningCatalog, running_catalog
from tests.unit.course_catalog.courses import content, draft, instant, published

COURSES = [published(n, at=n) for n in range(5)]


async def ids(running: RunningCatalog, query: str, **options: object) -> list[str]:
    status, _, body = await running.get(f"/courses?{query}", **options)
    assert isinstance(body, dict)
    assert status == 200, body
    return [item["id"] for item in body["items"]]


def body_of(answer: tuple[int, Mapping[str, str], object]) -> dict[str, object]:
    assert isinstance(answer[2], dict)
    return answer[2]


async def test_pages_follow_each_other_by_cursor_and_by_link() -> None:
    async with running_catalog(courses=COURSES) as running:
        path, seen = "/courses?limit=2&q=course&sort=publishedAt", []
        while path:
            _, headers, body = await running.get(path)
            assert isinstance(body, dict)
            seen.append([item["id"] for item in body["items"]])
            link = headers.get("Link", "")
            assert (body["nextCursor"] is None) == (link == "")
            if link:
                path = link.removeprefix("<").removesuffix('>; rel="next"')
                assert (
                    path
                    == f"/courses?limit=2&q=course&sort=publishedAt&cursor={body['nextCursor']}"
                )
            else:
                path = ""
    assert seen == [["crs-0", "crs-1"], ["crs-2", "crs-3"], ["crs-4"]]


async def test_a_link_spells_what_was_asked_as_it_must_be_spelt() -> None:
    many = [published(n, at=n, title="Ä & <b> 100%") for n in range(3)]
    async with running_catalog(courses=many) as running:
        _, headers, _ = await running.get("/courses?limit=1&q=%C3%A4%20%26%20%3Cb%3E")
        path = headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
        assert await ids(running, path.partition("?")[2]) == ["crs-1"]


async def test_a_full_page_is_shown_in_full() -> None:
    async with running_catalog(courses=COURSES[:1]) as running:
        body = body_of(await running.get("/courses"))
    assert body == {
        "items": [
            {
                "id": "crs-0",
                "slug": "course-0",
                "title": "Course 0",
                "shortDescription": "What this course is about.",
                "language": "en",
                "level": "beginner",
                "tags": ["ocean", "physics"],
                "instructors": ["Coastal Observatory"],
                "status": "published",
                "outlineVersion": 1,
                "version": 2,
                "createdAt": "2026-01-01T00:00:00.000Z",
                "updatedAt": "2026-01-01T00:00:00.001Z",
                "publishedAt": "2026-01-01T00:00:00.001Z",
            }
        ],
        "nextCursor": None,
    }


async def test_filters_reach_the_directory() -> None:
    special = published(
        9, at=9, title="Océan", tags=("Deep Sea",), language="fr-CA", level=Level.ADVANCED
    )
    async with running_catalog(courses=[*COURSES, special]) as running:
        for query in (
            "q=ocean%20deep",
            "tag=deep%20sea",
            "level=advanced",
            "language=FR",
            "updatedSince=2026-01-01T00:00:09%2B00:00",
            "ids=crs-9,crs-nobody,crs-9",
            "sort=-updatedAt&limit=1",
            "status=published&language=fr-ca&level=advanced&tag=DEEP+SEA&q=oce",
        ):
            assert await ids(running, query) == ["crs-9"], query
        assert await ids(running, "sort=title&limit=1") == ["crs-0"]
        assert await ids(running, "ids=" + ",".join(f"crs-{n}" for n in range(100))) == [
            "crs-9", "crs-4", "crs-3", "crs-2", "crs-1", "crs-0"
        ]  # fmt: skip


async def test_readers_see_published_courses_only() -> None:
    archived = published(7).archived(now=instant(10))
    async with running_catalog(courses=[*COURSES, draft(6), archived]) as running:
        assert "crs-6" not in await ids(running, "limit=100")
        assert await ids(running, "ids=crs-6,crs-7") == []
        for status, course in (("draft", "crs-6"), ("archived", "crs-7")):
            assert (await running.get(f"/courses?status={status}"))[0] == 403
            assert await ids(running, f"status={status}", groups=["authors"]) == [course]
        assert (await running.get("/courses/crs-6"))[0] == 404
        assert (await running.get("/courses/crs-6", groups=["authors"]))[0] == 200
        # Who is in the middle of a course can finish it.
        assert body_of(await running.get("/courses/crs-7"))["status"] == "archived"


async def test_a_page_that_an_author_has_seen_is_still_refused_to_readers() -> None:
    async with running_catalog(courses=[*COURSES, draft(6)]) as running:
        assert await ids(running, "status=draft", groups=["authors"]) == ["crs-6"]
        assert await ids(running, "status=draft", groups=["authors"]) == ["crs-6"]
        assert (await running.get("/courses?status=draft"))[0] == 403


async def test_a_page_asked_again_is_the_same_to_the_byte_but_for_its_age() -> None:
    async with running_catalog(courses=COURSES) as running:
        status, headers, body = await running.get("/courses?limit=2")
        running.seconds += 7
        again, later, same = await running.get("/courses?limit=2")
    assert (again, same) == (status, body)
    assert later["Age"] == "7"
    for name in ("ETag", "Link", "Cache-Control", "Vary", "Content-Length"):
        assert later[name] == headers[name]


async def test_a_draft_and_a_course_that_never_was_look_the_same() -> None:
    async with running_catalog(courses=[draft(6)]) as running:
        hidden = body_of(await running.get("/courses/crs-6"))
        absent = body_of(await running.get("/courses/crs-x"))
    of_the_request = {"instance": "", "requestId": "", "traceId": ""}
    assert {**hidden, **of_the_request} == {**absent, **of_the_request}


async def test_a_page_is_revalidated_until_something_on_it_changes() -> None:
    async with running_catalog(courses=COURSES) as running:
        _, headers, _ = await running.get("/courses?limit=2")
        known = {"If-None-Match": headers["ETag"]}
        assert (await running.get("/courses?limit=2", headers=known))[0] == 304
        assert (await running.get("/courses?limit=3", headers=known))[0] == 200
        weak = {"If-None-Match": f'"other", W/{headers["ETag"]}'}
        assert (await running.get("/courses?limit=2", headers=weak))[0] == 304
        changed = COURSES[4].edited(content(4, title="New"), now=instant(50))
        await running.repository.replace(changed, previous=COURSES[4])
        assert (await running.get("/courses?limit=2", headers=known))[0] == 304
        await running.catalog.refresher.refresh()
        status, headers, _ = await running.get("/courses?limit=2", headers=known)
        assert (status, headers["ETag"] != known["If-None-Match"]) == (200, True)


async def test_a_course_is_revalidated_by_its_version() -> None:
    async with running_catalog(courses=COURSES) as running:
        status, headers, body = await running.get("/courses/crs-1")
        assert (status, headers["ETag"]) == (200, '"v2"')
        assert headers["Cache-Control"] == "private, no-cache"
        assert "Age" not in headers
        assert isinstance(body, dict)
        assert body["outline"] == [
            {
                "id": "one",
                "title": "Section one",
                "items": [
                    {"contentId": "c1-1", "title": "Watch", "type": "video",
                     "durationSeconds": 62, "required": True, "weight": 1},
                    {"contentId": "c1-2", "title": "Read", "type": "reading",
                     "durationSeconds": None, "required": False, "weight": 0.5},
                ],
            }
        ]  # fmt: skip
        for value, expected in (('"v2"', 304), ('W/"v2"', 304), ("*", 304), ('"v1"', 200)):
            answered = await running.get("/courses/crs-1", headers={"If-None-Match": value})
            assert answered[0] == expected
        changed = COURSES[1].edited(content(1, title="New"), now=instant(50))
        await running.repository.replace(changed, previous=COURSES[1])
        status, headers, _ = await running.get("/courses/crs-1", headers={"If-None-Match": '"v2"'})
        assert (status, headers["ETag"]) == (200, '"v3"')


async def test_head_says_what_get_would() -> None:
    async with running_catalog(courses=COURSES) as running:
        for path in ("/courses?limit=2", "/courses/crs-1"):
            _, shown, _ = await running.get(path)
            async with running.request("HEAD", path) as response:
                assert (response.status, await response.read()) == (200, b"")
                for name in ("ETag", "Content-Length", "Content-Type", "Cache-Control", "Link"):
                    assert response.headers.get(name) == shown.get(name)


async def test_a_listing_never_asks_the_store() -> None:
    async with running_catalog(courses=COURSES) as running:
        before = running.repository.reads
        for query in ("limit=1", "q=course", "ids=crs-1", "sort=title"):
            await ids(running, query)
        assert running.repository.reads == before


async def test_the_listing_outlives_the_store_and_says_so() -> None:
    async with running_catalog(courses=COURSES) as running:
        running.repository.failing = True
        for seconds, warning in ((0, None), (60, None), (1, '110 - "Response is Stale"')):
            running.seconds += seconds
            with captured_logs() as events:
                status, headers, _ = await running.get("/courses")
            assert (status, headers.get("Warning")) == (200, warning)
        assert headers["Age"] == "61"
        access = next(event for event in events if event["event"] == "request")
        assert (access["stale"], access["ageSeconds"], access["route"]) == (True, 61, "/courses")
        running.repository.failing = False
        await running.catalog.refresher.refresh()
        _, headers, _ = await running.get("/courses")
        assert (headers["Age"], headers.get("Warning")) == ("0", None)


async def test_a_course_read_before_outlives_the_store_and_says_so() -> None:
    async with running_catalog(courses=COURSES) as running:
        await running.get("/courses/crs-1")
        running.repository.failing = True
        running.seconds += 90.7
        with captured_logs() as events:
            status, headers, body = await running.get("/courses/crs-1")
        assert (status, headers["ETag"], headers["Age"]) == (200, '"v2"', "90")
        assert headers["Warning"] == '110 - "Response is Stale"'
        assert isinstance(body, dict)
        assert body["title"] == "Course 1"
        access = next(event for event in events if event["event"] == "request")
        assert (access["stale"], access["ageSeconds"]) == (True, 91)
        status, headers, _ = await running.get("/courses/crs-2")
        assert (status, headers["Retry-After"]) == (503, "3")


async def test_a_process_that_never_loaded_waits_a_little_and_refuses() -> None:
    async with running_catalog(courses=COURSES, failing=True) as running:
        assert (await running.get("/readyz", anonymous=True))[0] == 503
        assert (await running.get("/healthz", anonymous=True))[0] == 200
        status, headers, body = await running.get("/courses")
        assert isinstance(body, dict)
        assert (status, body["code"]) == (503, "dependency_unavailable")
        assert int(headers["Retry-After"]) >= 1
        # What is wrong with a request is said at once, loaded or not.
        assert (await running.get("/courses?limit=0"))[0] == 400
        assert (await running.get("/courses?status=draft"))[0] == 403
        running.repository.failing = False
        await running.catalog.refresher.refresh()
        assert (await running.get("/courses"))[0] == 200
        assert (await running.get("/readyz", anonymous=True))[0] == 200


async def test_a_request_that_waits_for_the_first_load_is_answered_by_it() -> None:
    settings = {"CATALOG_DIRECTORY_WAIT_SECONDS": "20"}
    async with running_catalog(courses=COURSES, failing=True, settings=settings) as running:
        waiting = asyncio.create_task(running.get("/courses"))
        while len(running.app[DRAIN].requests) == 0:
            await asyncio.sleep(0)
        running.repository.failing = False
        await running.catalog.refresher.refresh()
        assert (await waiting)[0] == 200


async def test_once_loaded_the_process_stays_ready_while_the_store_fails() -> None:
    async with running_catalog(courses=COURSES) as running:
        running.repository.failing = True
        running.seconds += 100_000
        assert (await running.get("/readyz", anonymous=True))[0] == 200


@pytest.mark.parametrize("path", ["/courses", "/courses/crs-1", "/nothing", "/courses?limit=0"])
async def test_without_a_token_nothing_is_learnt(path: str) -> None:
    async with running_catalog(courses=COURSES) as running:
        status, headers, body = await running.get(path, anonymous=True)
    assert isinstance(body, dict)
    assert (status, body["code"]) == (401, "authentication_required")
    assert headers["WWW-Authenticate"] == "Bearer"


async def test_a_course_is_found_by_its_description_which_listings_do_not_show() -> None:
    found = published(7, at=7, description="Über Strömungen und Gezeitenkraftwerke.")
    async with running_catalog(courses=[*COURSES, found]) as running:
        for q in ("gezeiten", "STROMUNGEN", "%C3%BCber%20course"):
            _, _, body = await running.get(f"/courses?q={q}")
            assert isinstance(body, dict)
            (item,) = body["items"]
            assert item["id"] == "crs-7"
            assert not {"description", "descriptionWords"} & item.keys()
