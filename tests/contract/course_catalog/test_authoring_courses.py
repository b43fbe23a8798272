"""What authors get: created, changed, published, archived and deleted courses, over a real socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.course_catalog.domain.course import Status
from tests.contract.course_catalog.running import RunningCatalog, running_catalog
from tests.unit.course_catalog.courses import CONTENT_BODY, content, draft, instant, published

BODY = CONTENT_BODY
MADE_BY_THE_SERVICE = {
    "id", "status", "outlineVersion", "version", "createdAt", "updatedAt", "publishedAt",
}  # fmt: skip


def errors(body: Any) -> dict[str, str]:
    return {error["pointer"]: error["message"] for error in body.get("errors", ())}


def shown_items(body: Any) -> list[Any]:
    return [item for section in body["outline"] for item in section["items"]]


async def test_a_created_course_is_a_draft_at_its_location() -> None:
    async with running_catalog() as running:
        status, headers, created = await running.write("POST", "/courses", BODY)
        assert (status, headers["Location"], headers["ETag"]) == (201, "/courses/new-1", '"v1"')
        assert (created["id"], created["status"], created["version"]) == ("new-1", "draft", 1)
        assert created["createdAt"] == created["updatedAt"] == "2026-01-01T00:00:30.000Z"
        assert created["publishedAt"] is None
        # What was left out has its default.
        assert shown_items(created)[1] == {
            "contentId": "n-2", "title": "Read", "type": "reading", "durationSeconds": None,
            "required": True, "weight": 0.5,
        }  # fmt: skip
        status, seen, opened = await running.get(headers["Location"], groups=["authors"])
        assert (status, seen["ETag"], opened) == (200, '"v1"', created)
        assert (await running.get(headers["Location"]))[0] == 404


async def test_every_change_is_in_the_listing_of_the_process_that_answered() -> None:
    """Before any refresh, and still after one that finds the indexes as they were."""
    async with running_catalog() as running:

        async def listed(status: str) -> list[str]:
            _, _, page = await running.get(f"/courses?status={status}", groups=["authors"])
            assert isinstance(page, dict)
            return [item["title"] for item in page["items"]]

        await running.write("POST", "/courses", BODY)
        assert await listed("draft") == ["A new course"]
        await running.write("PATCH", "/courses/new-1", {"title": "New"}, if_match='"v1"')
        assert await listed("draft") == ["New"]
        await running.write("POST", "/courses/new-1/publish", if_match='"v2"')
        assert (await listed("draft"), await listed("published")) == ([], ["New"])
        await running.write("POST", "/courses/new-1/archive", if_match='"v3"')
        assert (await listed("published"), await listed("archived")) == ([], ["New"])
        await running.write("POST", "/courses", BODY | {"slug": "another"})
        await running.write("DELETE", "/courses/new-2", if_match='"v1"')
        await running.catalog.refresher.refresh()
        assert (await listed("draft"), await listed("archived")) == ([], ["New"])


async def test_an_authors_own_change_outlives_the_table() -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        await running.get("/courses/crs-1", groups=["authors"])
        await running.write("PATCH", "/courses/crs-1", {"title": "New"}, if_match='"v1"')
        running.repository.failing = True
        status, headers, body = await running.get("/courses/crs-1", groups=["authors"])
    assert isinstance(body, dict)
    assert (status, headers["ETag"], body["title"]) == (200, '"v2"', "New")
    assert "Warning" in headers


async def test_replacing_is_whole_and_patching_is_not() -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        status, _, patched = await running.write(
            "PATCH", "/courses/crs-1", {"title": "New", "tags": None}, if_match='"v1"'
        )
        assert status == 200
        assert (patched["title"], patched["tags"]) == ("New", [])
        assert patched["instructors"] == ["Coastal Observatory"]
        whole = {name: value for name, value in BODY.items() if name not in ("tags", "outline")}
        status, headers, replaced = await running.write(
            "PUT", "/courses/crs-1", whole, if_match='"v2"'
        )
        assert (status, headers["ETag"]) == (200, '"v3"')
        assert (replaced["tags"], replaced["outline"]) == ([], [])
        assert {name: replaced[name] for name in whole} == whole
        assert replaced["id"] == "crs-1"


async def test_the_outlines_version_grows_with_the_outline_alone() -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        seen = []
        outline = BODY["outline"]
        patches: tuple[dict[str, object], ...] = (
            {"title": "A"},
            {"outline": outline},
            {"tags": []},
            {"outline": None},
        )
        for version, patch in enumerate(patches, start=1):
            _, _, body = await running.write(
                "PATCH", "/courses/crs-1", patch, if_match=f'"v{version}"'
            )
            seen.append((body["version"], body["outlineVersion"]))
    assert seen == [(2, 1), (3, 2), (4, 2), (5, 3)]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_change_that_changes_nothing_makes_no_version(method: str) -> None:
    async with running_catalog() as running:
        _, _, created = await running.write("POST", "/courses", BODY)
        same = {name: created[name] for name in created.keys() - MADE_BY_THE_SERVICE}
        for body in (same, BODY):
            status, headers, answer = await running.write(
                method, "/courses/new-1", body, if_match='"v1"'
            )
            assert (status, headers["ETag"], answer) == (200, '"v1"', created)
        status, _, answer = await running.write("PATCH", "/courses/new-1", {}, if_match='"v1"')
        assert (status, answer) == (200, created)


async def test_publishing_and_archiving_twice_is_doing_it_once() -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        _, _, first = await running.write("POST", "/courses/crs-1/publish", if_match='"v1"')
        assert (first["status"], first["version"]) == ("published", 2)
        for based_on in ('"v1"', '"v2"', "*"):
            status, headers, again = await running.write(
                "POST", "/courses/crs-1/publish", if_match=based_on
            )
            assert (status, headers["ETag"], again) == (200, '"v2"', first)
        running.passed += instant(60) - instant(0)
        _, _, archived = await running.write("POST", "/courses/crs-1/archive", if_match='"v2"')
        assert archived["status"] == "archived"
        status, _, again = await running.write("POST", "/courses/crs-1/archive", if_match='"v2"')
        assert (status, again) == (200, archived)
        _, _, reopened = await running.write("POST", "/courses/crs-1/publish", if_match='"v3"')
        assert (reopened["status"], reopened["publishedAt"]) == ("published", first["publishedAt"])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "", BODY),
        ("PATCH", "", {"title": "New", "tags": None}),
        ("PATCH", "", {"slug": "moved"}),
        ("POST", "/publish", None),
    ],
)
async def test_a_change_whose_answer_was_lost_is_answered_when_sent_again(
    method: str, path: str, body: object
) -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        running.repository.lose_answer = True
        status, _, _ = await running.write(method, f"/courses/crs-1{path}", body, if_match='"v1"')
        assert status == 503
        status, headers, again = await running.write(
            method, f"/courses/crs-1{path}", body, if_match='"v1"'
        )
        assert (status, headers["ETag"], again["version"]) == (200, '"v2"', 2)
        # And the directory has it, though the first answer never said that it was made.
        _, _, page = await running.get(
            f"/courses?status={again['status']}&ids=crs-1", groups=["authors"]
        )
        assert isinstance(page, dict)
        assert page["items"][0]["version"] == 2


async def test_who_was_not_first_sees_what_was_changed_meanwhile() -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        path = "/courses/crs-1"
        await running.write("PATCH", path, {"title": "A", "shortDescription": "B"}, if_match='"v1"')
        await running.write("POST", f"{path}/publish", if_match='"v2"')
        await running.write("PATCH", path, {"title": "C"}, if_match='"v3"')
        mine = {"title": "Mine"}
        status, headers, body = await running.write("PATCH", path, mine, if_match='"v1"')
        assert (status, body["code"], headers["ETag"]) == (412, "precondition_failed", '"v4"')
        assert body["detail"] == "The course is in version 4 by now; read it again."
        assert errors(body) == {
            "/shortDescription": "was changed in version 2",
            "/status": "was changed in version 3",
            "/title": "was changed in version 4",
        }
        _, _, body = await running.write("PATCH", path, mine, if_match='"v1", "v3"')
        assert errors(body) == {"/title": "was changed in version 4"}
        # None of these names an earlier version of this course: nothing can be said about it.
        for foreign in ('"v5"', '"abc"', 'W/"v4"', '"v99999999999999999999"'):
            status, headers, body = await running.write("PATCH", path, mine, if_match=foreign)
            assert (status, headers["ETag"], errors(body)) == (412, '"v4"', {})
        status, _, body = await running.write("PATCH", path, mine, if_match='"v1", "v4"')
        assert (status, body["title"]) == (200, "Mine")


@pytest.mark.parametrize("based_on", ['"v1"', "*"])
async def test_a_change_between_reading_and_writing_is_never_lost(based_on: str) -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        meanwhile = draft(1).edited(content(1, language="de"), now=instant(9))

        async def overtake() -> None:
            await running.repository.replace(meanwhile, previous=draft(1))

        running.repository.before_write = overtake
        status, headers, body = await running.write(
            "PATCH", "/courses/crs-1", {"title": "Mine"}, if_match=based_on
        )
        if based_on == "*":
            assert (status, body["title"], body["language"]) == (200, "Mine", "de")
        else:
            assert (status, headers["ETag"]) == (412, '"v2"')
            assert errors(body) == {"/language": "was changed in version 2"}


async def test_a_draft_is_deleted_once_and_its_slug_is_free() -> None:
    async with running_catalog(courses=[draft(1)]) as running:
        running.repository.lose_answer = True
        status, _, _ = await running.write("DELETE", "/courses/crs-1", if_match='"v1"')
        assert status == 503
        status, _, body = await running.write("DELETE", "/courses/crs-1", if_match='"v1"')
        assert (status, body["code"]) == (404, "course_not_found")
        status, _, _ = await running.write("POST", "/courses", BODY | {"slug": "course-1"})
        assert status == 201


@pytest.mark.parametrize("path", ["/courses/crs-1", "/courses/none", "/courses/a.b"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_who_may_not_write_learns_nothing(method: str, path: str) -> None:
    """Neither what there is nor whether the request was right."""
    async with running_catalog(courses=[draft(1)]) as running:
        reads = running.repository.reads
        status, headers, body = await running.write(method, path, {"x": 1}, groups=())
        assert (status, body["code"]) == (403, "forbidden")
        assert "ETag" not in headers
        assert running.repository.reads == reads


async def test_a_course_changed_before_changes_were_tracked_says_that_all_may_have_changed() -> (
    None
):
    async with running_catalog(courses=[published(1)]) as running:
        running.forget("crs-1", "changedIn")
        _, _, body = await running.write("PATCH", "/courses/crs-1", {}, if_match='"v1"')
        assert body["version"] == 2  # nothing to do, so nothing to refuse
        _, _, body = await running.write("PATCH", "/courses/crs-1", {"title": "x"}, if_match='"v1"')
        assert errors(body).keys() == {f"/{name}" for name in BODY} | {"/status"}
        assert set(errors(body).values()) == {"was changed in version 2"}


class TestIdempotencyKeys:
    async def test_the_same_request_creates_one_course_and_has_one_answer(self) -> None:
        async with running_catalog() as running:
            first = await running.write("POST", "/courses", BODY, key="k1")
            await running.write("PATCH", "/courses/new-1", {"title": "New"}, if_match='"v1"')
            again = await running.write("POST", "/courses", dict(reversed(BODY.items())), key="k1")
            assert (again[0], again[2]) == (201, first[2])
            for name in ("Location", "ETag", "Cache-Control", "Vary", "Content-Type"):
                assert again[1][name] == first[1][name]
            assert again[1]["Idempotent-Replayed"] == "true"
            assert await drafts(running) == ["new-1"]

    async def test_a_key_is_its_callers_own(self) -> None:
        async with running_catalog() as running:
            await running.write("POST", "/courses", BODY, key="k1", sub="author-a")
            status, _, body = await running.write(
                "POST", "/courses", BODY, key="k1", sub="author-b"
            )
            assert (status, body["code"]) == (409, "slug_taken")
            other = BODY | {"slug": "other"}
            status, headers, _ = await running.write(
                "POST", "/courses", other, key="k1", sub="author-b"
            )
            assert status == 201
            assert "Idempotent-Replayed" not in headers

    async def test_concurrent_requests_with_one_key_create_one_course(self) -> None:
        async with running_catalog() as running:
            answers = await asyncio.gather(
                *(running.write("POST", "/courses", BODY, key="k1") for _ in range(8))
            )
            created = [body["id"] for status, _, body in answers if status == 201]
            waiting = [body["code"] for status, _, body in answers if status == 409]
            assert len(set(created)) == 1
            assert set(waiting) <= {"idempotency_in_progress"}
            assert len(created) + len(waiting) == 8
            status, _, body = await running.write("POST", "/courses", BODY, key="k1")
            assert (status, body["id"]) == (201, created[0])
            assert await drafts(running) == [created[0]]

    @pytest.mark.parametrize("made", [True, False])
    async def test_after_a_failure_the_request_is_carried_on(self, made: bool) -> None:
        async with running_catalog() as running:
            running.repository.lose_answer = made
            running.repository.refuse_write = not made
            status, _, _ = await running.write("POST", "/courses", BODY, key="k1")
            assert status == 503
            status, _, body = await running.write("POST", "/courses", BODY, key="k1")
            assert (status, body["id"], body["version"]) == (201, "new-1", 1)
            assert await drafts(running) == ["new-1"]

    async def test_after_a_refusal_the_corrected_request_may_have_the_key(self) -> None:
        async with running_catalog(courses=[draft(1)]) as running:
            taken = BODY | {"slug": "course-1"}
            status, _, body = await running.write("POST", "/courses", taken, key="k1")
            assert (status, errors(body)) == (409, {"/slug": "belongs to another course"})
            status, _, _ = await running.write("POST", "/courses", BODY, key="k1")
            assert status == 201

    async def test_a_body_that_is_refused_leaves_no_key(self) -> None:
        async with running_catalog() as running:
            status, _, _ = await running.write("POST", "/courses", {}, key="k1")
            assert (status, running.keys.records) == (422, {})


async def drafts(running: RunningCatalog) -> list[str]:
    """The drafts by id, as they are kept and as they are listed."""
    kept = [
        course.id async for batch in running.repository.listing(Status.DRAFT) for course in batch
    ]
    _, _, page = await running.get("/courses?status=draft&sort=title", groups=["authors"])
    assert isinstance(page, dict)
    assert [item["id"] for item in page["items"]] == kept
    return kept
