"""What learners' apps meet: who may, recording and merging, revalidation, paging and filters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from libs.auth import Principal
from services.progress_tracking.domain.outline import Outline, OutlineItem
from tests.contract.progress_tracking.service import (
    CONTRACT,
    COURSE,
    LIST,
    OTHER_SECRET,
    SECRET,
    Service,
    running,
)
from tests.unit.progress_tracking.updates import NOW, OUTLINE

AT_NINE = "2026-02-01T09:00:00.000Z"
AT_TEN = "2026-02-01T10:00:00.000Z"


@pytest.fixture()
async def service() -> AsyncIterator[Service]:
    async with running() as found:
        yield found


def update(at: str = AT_NINE, device: str = "phone", **members: object) -> dict[str, object]:
    return {"occurredAt": at, "deviceId": device, **members}


async def put(
    service: Service,
    course: str,
    body: Mapping[str, object],
    *,
    user: str = "me",
    status: int = 200,
) -> dict[str, Any]:
    response = await service.request("PUT", f"/progress/{user}/{course}", json=body)
    assert response.status == status, await response.text()
    document = await CONTRACT.check(response, "PUT", COURSE)
    assert isinstance(document, dict)
    return document


async def restart(service: Service, query: str = "") -> dict[str, Any]:
    response = await service.request("DELETE", f"/progress/me/crs-1{query}")
    assert response.status == 200, await response.text()
    document = await CONTRACT.check(response, "DELETE", COURSE)
    assert isinstance(document, dict)
    return document


async def get(service: Service, path: str, template: str = COURSE) -> dict[str, Any]:
    response = await service.request("GET", path)
    assert response.status == 200, await response.text()
    document = await CONTRACT.check(response, "GET", template)
    assert isinstance(document, dict)
    return document


async def test_the_first_update_is_201_and_answers_the_merged_document(service: Service) -> None:
    await service.repository.learn_outline(OUTLINE)
    body = update(
        attempt=1,
        resume={"contentId": "tides", "positionSeconds": 41.5},
        items={
            "intro": {"completed": True, "fraction": 1, "positionSeconds": 62.0},
            "extra": {"fraction": 0.5, "occurredAt": "2026-02-01T08:59:00+00:30"},
        },
    )
    document = await put(service, "crs-1", body, status=201)
    assert document == {
        "userId": "learner-a",
        "courseId": "crs-1",
        "status": "in_progress",
        "percent": 33,
        "completedCount": 1,
        "totalCount": 2,
        "outlineVersion": 3,
        "newItemsSinceCompletion": None,
        "resume": {"contentId": "tides", "positionSeconds": 41.5, "occurredAt": AT_NINE},
        "startedAt": "2026-02-01T08:29:00.000Z",
        "completedAt": None,
        "updatedAt": "2026-03-01T12:00:00.000Z",
        "attempt": 1,
        "items": {
            "extra": {
                "completed": False,
                "completedAt": None,
                "fraction": 0.5,
                "positionSeconds": None,
                "occurredAt": None,
            },
            "intro": {
                "completed": True,
                "completedAt": AT_NINE,
                "fraction": 1,
                "positionSeconds": 62,
                "occurredAt": AT_NINE,
            },
        },
    }
    assert await get(service, "/progress/learner-a/crs-1") == document
    listed = await get(service, "/progress/me", LIST)
    del document["items"], document["userId"]
    assert listed == {"userId": "learner-a", "items": [document], "nextCursor": None}


async def test_repeated_and_stale_updates_answer_the_current_state(service: Service) -> None:
    resume = {"contentId": "tides", "positionSeconds": 9}
    current = await put(service, "crs-1", update(AT_TEN, resume=resume), status=201)
    service.now += timedelta(hours=1)
    assert await put(service, "crs-1", update(AT_TEN, resume=resume)) == current
    stale = update(AT_TEN, device="desktop", resume={"contentId": "intro", "positionSeconds": 1})
    assert await put(service, "crs-1", stale) == current


async def test_completion_is_told_with_what_authors_added_since(service: Service) -> None:
    await service.repository.learn_outline(OUTLINE)
    done = {"intro": {"completed": True}, "tides": {"completed": True}}
    document = await put(service, "crs-1", update(items=done), status=201)
    assert (document["status"], document["percent"]) == ("completed", 100)
    assert (document["completedAt"], document["newItemsSinceCompletion"]) == (AT_NINE, 0)
    new = OutlineItem("new", required=True, weight=1.0)
    await service.repository.learn_outline(Outline("crs-1", 4, (*OUTLINE.items, new)))
    document = await get(service, "/progress/me/crs-1")
    assert (document["status"], document["percent"]) == ("completed", 75)
    assert (document["completedAt"], document["newItemsSinceCompletion"]) == (AT_NINE, 1)
    assert (document["completedCount"], document["totalCount"]) == (2, 3)


async def test_percent_is_null_while_the_outline_is_unknown(service: Service) -> None:
    document = await put(service, "crs-1", update(items={"a": {"completed": True}}), status=201)
    assert document["percent"] is None
    assert (document["completedCount"], document["totalCount"]) == (1, None)
    assert document["outlineVersion"] is None


class TestAttempts:
    async def test_an_update_of_an_attempt_that_is_over_answers_the_current_one(
        self, service: Service
    ) -> None:
        await put(service, "crs-1", update(attempt=1), status=201)
        await service.repository.start_attempt("learner-a", "crs-1", following=1, at=service.now)
        late = update(AT_TEN, attempt=1, items={"intro": {"completed": True}})
        document = await put(service, "crs-1", late)
        assert (document["attempt"], document["status"]) == (2, "not_started")
        assert document["items"] == {}
        document = await put(service, "crs-1", update(AT_TEN))
        assert (document["attempt"], document["startedAt"]) == (2, AT_TEN)

    async def test_a_restart_shows_the_new_attempt(self, service: Service) -> None:
        await service.repository.learn_outline(OUTLINE)
        done = {"intro": {"completed": True, "fraction": 1}, "tides": {"completed": True}}
        await put(service, "crs-1", update(items=done), status=201)
        service.now += timedelta(hours=1)
        document = await restart(service)
        assert document == {
            "userId": "learner-a",
            "courseId": "crs-1",
            "status": "not_started",
            "percent": 0,
            "completedCount": 0,
            "totalCount": 2,
            "outlineVersion": 3,
            "newItemsSinceCompletion": None,
            "resume": None,
            "startedAt": None,
            "completedAt": None,
            "updatedAt": "2026-03-01T13:00:00.000Z",
            "attempt": 2,
            "items": {},
        }
        assert await get(service, "/progress/me/crs-1") == document
        listed = await get(service, "/progress/me?status=not_started", LIST)
        assert [course["attempt"] for course in listed["items"]] == [2]

    async def test_a_restart_that_is_sent_again_skips_no_attempt(self, service: Service) -> None:
        await put(service, "crs-1", update(), status=201)
        first = await restart(service)
        assert await restart(service) == first
        assert await restart(service, "?attempt=1") == first
        # The first request comes once more, late: a device has been at work in attempt 2.
        current = await put(service, "crs-1", update(AT_TEN, attempt=2))
        assert await restart(service, "?attempt=1") == current
        assert (await restart(service, "?attempt=2"))["attempt"] == 3
        # Without the attempt it ends what is current, whenever it comes.
        await put(service, "crs-1", update(AT_TEN))
        assert (await restart(service))["attempt"] == 4

    async def test_there_is_nothing_to_restart(self, service: Service) -> None:
        for query in ("", "?attempt=1", "?attempt=2"):
            response = await service.request("DELETE", f"/progress/me/crs-1{query}")
            problem = await CONTRACT.check(response, "DELETE", COURSE)
            assert isinstance(problem, dict)
            assert (problem["status"], problem["code"]) == (404, "progress_not_found")
        current = await put(service, "crs-1", update(), status=201)
        response = await service.request("DELETE", "/progress/me/crs-1?attempt=2")
        problem = await CONTRACT.check(response, "DELETE", COURSE)
        assert isinstance(problem, dict)
        assert (problem["status"], problem["code"]) == (409, "attempt_not_started")
        assert await get(service, "/progress/me/crs-1") == current

    async def test_only_the_user_and_staff_restart(self, service: Service) -> None:
        await put(service, "crs-1", update(), status=201)
        path = "/progress/learner-a/crs-1"
        assert (await service.request("DELETE", path, sub="learner-b")).status == 403
        assert (await get(service, path))["attempt"] == 1
        ended = await service.request("DELETE", path, sub="staff-1", groups=["staff"])
        assert (await ended.json())["attempt"] == 2

    async def test_an_attempt_that_has_not_begun_is_a_conflict(self, service: Service) -> None:
        response = await service.request("PUT", "/progress/me/crs-1", json=update(attempt=2))
        problem = await CONTRACT.check(response, "PUT", COURSE)
        assert isinstance(problem, dict)
        assert (problem["status"], problem["code"]) == (409, "attempt_not_started")
        response = await service.request("GET", "/progress/me/crs-1")
        assert response.status == 404


class TestAuthorization:
    paths = ("/progress/learner-b", "/progress/learner-b/crs-1", "/progress/nobody/crs-none")

    @pytest.mark.parametrize("path", paths)
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_another_users_progress_is_refused_whether_or_not_it_exists(
        self, service: Service, method: str, path: str
    ) -> None:
        response = await service.request(
            "PUT", "/progress/me/crs-1", sub="learner-b", json=update()
        )
        assert response.status == 201
        refused = await service.request(method, path)
        assert refused.status == 403
        assert refused.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'

    async def test_the_refusal_comes_before_anything_else_is_judged(self, service: Service) -> None:
        for path in ("/progress/learner-b/a.b", "/progress/a.b/c.d?limit=0", "/progress/a.b"):
            assert (await service.request("GET", path)).status == 403
        refused = await service.request("PUT", "/progress/learner-b/crs-1", data=b"no json")
        assert refused.status == 403

    async def test_authors_have_no_right_to_learners_progress(self, service: Service) -> None:
        refused = await service.request("GET", "/progress/learner-b", groups=["authors"])
        assert refused.status == 403

    async def test_staff_read_and_write_for_a_user(self, service: Service) -> None:
        written = await service.request(
            "PUT", "/progress/learner-b/crs-1", sub="staff-1", groups=["staff"], json=update()
        )
        assert written.status == 201
        assert (await written.json())["userId"] == "learner-b"
        read = await service.request(
            "GET", "/progress/learner-b/crs-1", sub="staff-1", groups=["staff"]
        )
        assert await read.json() == await written.json()
        own = await service.request("GET", "/progress/me", sub="staff-1", groups=["staff"])
        assert (await own.json())["items"] == []

    async def test_a_subject_that_cannot_be_a_key_has_no_progress(self) -> None:
        class Outline:
            async def verify(self, token: str) -> Principal:
                nothing: frozenset[str] = frozenset()
                return Principal("~outline#crs-1", None, nothing, nothing, nothing)

        async with running(verifier=Outline()) as service:
            for path in ("/progress/me", "/progress/me/crs-1"):
                assert (await service.request("GET", path)).status == 403
            own = await service.request("GET", "/progress/~outline%23crs-1")
            assert own.status == 400


class TestRevalidation:
    @pytest.mark.parametrize("path", ["/progress/me", "/progress/me/crs-1"])
    async def test_an_unchanged_answer_is_304_and_a_changed_one_is_not(
        self, service: Service, path: str
    ) -> None:
        await put(service, "crs-1", update(), status=201)
        first = await service.request("GET", path)
        assert first.headers["Cache-Control"] == "private, no-cache"
        known = {"If-None-Match": f'"other", W/{first.headers["ETag"]}'}
        again = await service.request("GET", path, headers=known)
        assert again.status == 304
        assert again.headers["ETag"] == first.headers["ETag"]
        head = await service.request("HEAD", path)
        assert head.headers["ETag"] == first.headers["ETag"]
        assert head.headers["Content-Length"] == first.headers["Content-Length"]
        await put(service, "crs-1", update(AT_TEN, resume={"contentId": "a", "positionSeconds": 1}))
        changed = await service.request("GET", path, headers=known)
        assert changed.status == 200

    async def test_a_new_outline_changes_the_tag(self, service: Service) -> None:
        await put(service, "crs-1", update(), status=201)
        first = await service.request("GET", "/progress/me/crs-1")
        await service.repository.learn_outline(OUTLINE)
        second = await service.request(
            "GET", "/progress/me/crs-1", headers={"If-None-Match": first.headers["ETag"]}
        )
        assert second.status == 200
        assert (await second.json())["percent"] == 0

    async def test_what_is_written_carries_no_tag(self, service: Service) -> None:
        response = await service.request("PUT", "/progress/me/crs-1", json=update())
        assert "ETag" not in response.headers


class TestListing:
    @pytest.fixture()
    async def courses(self, service: Service) -> list[str]:
        """Seven courses a minute apart, every second one completed."""
        names = [f"crs-{number}" for number in range(7)]
        for number, name in enumerate(names):
            service.now = NOW + timedelta(minutes=number)
            item = OutlineItem("intro", required=True, weight=1.0)
            await service.repository.learn_outline(Outline(name, 1, (item,)))
            items = {"intro": {"completed": number % 2 == 0}}
            await put(service, name, update(items=items), status=201)
        return names

    async def pages(self, service: Service, query: str, limit: int) -> list[list[str]]:
        found: list[list[str]] = []
        cursor = ""
        while True:
            path = f"/progress/me?limit={limit}{query}{cursor}"
            page = await get(service, path, LIST)
            found.append([course["courseId"] for course in page["items"]])
            if page["nextCursor"] is None:
                return found
            cursor = f"&cursor={page['nextCursor']}"

    @pytest.mark.parametrize("limit", [1, 3, 7, 100])
    async def test_pages_follow_each_other(
        self, service: Service, courses: list[str], limit: int
    ) -> None:
        found = await self.pages(service, "", limit)
        assert [name for page in found for name in page] == courses
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert found[-1]

    async def test_filters_hold_while_paging(self, service: Service, courses: list[str]) -> None:
        completed = await self.pages(service, "&status=completed", 2)
        assert [name for page in completed for name in page] == courses[::2]
        progressing = await self.pages(service, "&status=in_progress", 2)
        assert [name for page in progressing for name in page] == courses[1::2]
        since = "2026-03-01T12:03:00Z"
        recent = await self.pages(service, f"&updatedSince={since}", 3)
        assert [name for page in recent for name in page] == courses[3:]
        both = await self.pages(service, f"&status=completed&updatedSince={since}", 1)
        assert [name for page in both for name in page] == ["crs-4", "crs-6"]
        assert await self.pages(service, "&status=not_started", 3) == [[]]

    async def test_the_limit_may_change_between_pages(
        self, service: Service, courses: list[str]
    ) -> None:
        first = await get(service, "/progress/me?limit=2", LIST)
        rest = await get(service, f"/progress/me?limit=100&cursor={first['nextCursor']}", LIST)
        assert [course["courseId"] for course in rest["items"]] == courses[2:]

    async def test_a_cursor_is_good_for_its_user_and_filters_only(
        self, service: Service, courses: list[str]
    ) -> None:
        plain = (await get(service, "/progress/me?limit=2", LIST))["nextCursor"]
        filtered = (await get(service, "/progress/me?limit=2&status=completed", LIST))["nextCursor"]
        refused = [
            ("learner-a", f"status=completed&cursor={plain}"),
            ("learner-a", f"updatedSince=2026-01-01T00:00:00Z&cursor={plain}"),
            ("learner-a", f"cursor={filtered}"),
            ("learner-b", f"cursor={plain}"),
        ]
        for sub, query in refused:
            response = await service.request("GET", f"/progress/me?{query}", sub=sub)
            assert (response.status, (await response.json())["code"]) == (400, "invalid_cursor")
        # The same user by name, and staff looking at that user, go on where the user was.
        for sub, groups in (("learner-a", ()), ("staff-1", ("staff",))):
            response = await service.request(
                "GET", f"/progress/learner-a?cursor={plain}", sub=sub, groups=groups
            )
            assert response.status == 200

    async def test_a_cursor_outlives_the_change_of_the_secret(
        self, service: Service, courses: list[str]
    ) -> None:
        cursor = (await get(service, "/progress/me?limit=2", LIST))["nextCursor"]
        for secrets, status in (
            (f"{OTHER_SECRET},{SECRET}", 200),
            (OTHER_SECRET, 400),
        ):
            variables = {"PROGRESS_CURSOR_SECRETS": secrets}
            async with running(service.repository, variables=variables) as other:
                response = await other.request("GET", f"/progress/me?cursor={cursor}")
                assert response.status == status

    async def test_a_user_without_progress_has_an_empty_list(self, service: Service) -> None:
        page = await get(service, "/progress/me", LIST)
        assert page == {"userId": "learner-a", "items": [], "nextCursor": None}


async def test_a_fault_of_ours_is_500_and_tells_nothing() -> None:
    async with running() as service:
        service.repository.read = None  # type: ignore[method-assign,assignment]
        response = await service.request("GET", "/progress/me/crs-1")
        problem = await response.json()
        assert (response.status, problem["code"]) == (500, "internal_error")
        assert "NoneType" not in str(problem)
