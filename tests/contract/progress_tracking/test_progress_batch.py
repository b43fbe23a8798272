"""Offline sync: many updates in one request, each with a result of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from itertools import permutations
from typing import Any

import pytest

from libs.aws import DependencyUnavailable
from libs.circuit_breaker import CircuitOpenError
from services.progress_tracking.api.schemas import MAX_CONTENTS_IN_A_BATCH_ANSWER
from services.progress_tracking.domain.errors import CorruptProgressError
from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import MAX_CONTENTS_PER_COURSE, ProgressUpdate
from services.progress_tracking.domain.repository import Recorded
from services.progress_tracking.domain.tracking import MAX_CONCURRENT_COURSES
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository
from services.progress_tracking.storage.memory import MemoryProgressRepository
from tests.backends import Backend
from tests.contract.progress_tracking.service import BATCH, CONTRACT, COURSE, Service, running
from tests.contract.progress_tracking.table import ObservedDynamoDB, dynamodb_on, new_table
from tests.unit.progress_tracking.updates import NOW, OUTLINE, completing

PATH = "/progress/me/batch"


class TroubledRepository(MemoryProgressRepository):
    """`trouble` is awaited before each update of a course is recorded."""

    def __init__(self, trouble: Callable[[str], Any]) -> None:
        super().__init__()
        self.trouble = trouble

    async def record(
        self,
        user_id: str,
        course_id: str,
        update: ProgressUpdate,
        *,
        outline: Outline | None,
        at: datetime,
    ) -> Recorded:
        await self.trouble(course_id)
        return await super().record(user_id, course_id, update, outline=outline, at=at)


@pytest.fixture()
async def service() -> AsyncIterator[Service]:
    async with running() as found:
        yield found


def entry(course: str, minute: int = 0, *done: str, **members: object) -> dict[str, object]:
    return {
        "courseId": course,
        "occurredAt": f"2026-02-01T09:{minute:02}:00.000Z",
        "deviceId": "phone",
        "items": {content_id: {"completed": True} for content_id in done},
        **members,
    }


async def send(service: Service, entries: Sequence[object], **options: Any) -> list[dict[str, Any]]:
    """The results of a batch that is answered 200."""
    response = await service.request("POST", PATH, json={"entries": entries}, **options)
    assert response.status == 200, await response.text()
    document = await CONTRACT.check(response, "POST", BATCH)
    assert isinstance(document, dict)
    assert len(document["results"]) == len(entries)
    found: list[dict[str, Any]] = document["results"]
    return found


async def course(service: Service, name: str) -> dict[str, Any] | None:
    response = await service.request("GET", f"/progress/me/{name}")
    document = await CONTRACT.check(response, "GET", COURSE)
    assert isinstance(document, dict)
    return document if response.status == 200 else None


def statuses(results: Sequence[Mapping[str, Any]]) -> list[int]:
    return [result["status"] for result in results]


async def test_each_entry_has_the_answer_that_a_put_would_have(service: Service) -> None:
    await service.repository.learn_outline(OUTLINE)
    assert statuses(await send(service, [entry("crs-1", 1, "intro")])) == [201]
    results = await send(
        service,
        [
            entry("crs-1", 2, "tides"),
            entry("crs-1", 3, attempt=2),
            entry("crs-2", 4, "a", resume={"contentId": "a", "positionSeconds": 1.5}),
            entry("crs-3", 5, occurredAt="yesterday"),
        ],
    )
    assert statuses(results) == [200, 409, 201, 422]
    assert [result["courseId"] for result in results] == ["crs-1", "crs-1", "crs-2", "crs-3"]
    assert results[0]["progress"] == await course(service, "crs-1")
    assert (results[0]["progress"]["status"], results[0]["progress"]["percent"]) == (
        "completed",
        100,
    )
    assert results[2]["progress"] == await course(service, "crs-2")
    refused = results[1]["problem"]
    assert (refused["code"], refused["instance"]) == ("attempt_not_started", "/progress/me/crs-1")
    assert await course(service, "crs-3") is None
    # As the PUT of the same entry answers, word for word but for the request's own id.
    body = entry("crs-1", 3, attempt=2)
    del body["courseId"]
    put = await (await service.request("PUT", "/progress/me/crs-1", json=body)).json()
    own = {"requestId": None, "traceId": None}
    assert {**refused, **own} == {**put, **own}


async def test_the_order_of_entries_does_not_matter(service: Service) -> None:
    await service.repository.learn_outline(OUTLINE)
    entries = [
        entry("crs-1", 1, "intro"),
        entry("crs-1", 5, "tides", deviceId="laptop"),
        entry("crs-1", 3, attempt=7),
        entry("crs-2", 1, "a", resume={"contentId": "a", "positionSeconds": 2}),
        entry("crs-1", 3, "tides", "intro", resume={"contentId": "tides", "positionSeconds": 9}),
    ]
    expected = None
    for number, order in enumerate(permutations(range(len(entries)))):
        user = f"user-{number}"
        response = await service.request(
            "POST", PATH, sub=user, json={"entries": [entries[index] for index in order]}
        )
        document = await response.json()
        found = {}
        for index, result in zip(order, document["results"], strict=True):
            if "progress" in result:
                assert result["progress"].pop("userId") == user
            result.get("problem", {}).pop("requestId", None)
            result.get("problem", {}).pop("traceId", None)
            found[index] = result
        expected = expected or found
        assert found == expected
    assert expected is not None
    assert [expected[number]["status"] for number in range(5)] == [201, 201, 409, 201, 201]
    assert expected[0]["progress"] == expected[4]["progress"]
    assert expected[0]["progress"]["completedAt"] == "2026-02-01T09:03:00.000Z"


async def test_a_repeated_batch_changes_nothing(service: Service) -> None:
    entries = [entry("crs-1", 1, "intro"), entry("crs-2", 2, "a")]
    first = await send(service, entries)
    again = await send(service, entries)
    assert (statuses(first), statuses(again)) == ([201, 201], [200, 200])
    assert [result["progress"] for result in again] == [result["progress"] for result in first]


async def test_an_entry_of_an_attempt_that_is_over_is_answered_with_the_current_one(
    service: Service,
) -> None:
    await send(service, [entry("crs-1", 1, "intro")])
    await service.request("DELETE", "/progress/me/crs-1?attempt=1")
    results = await send(
        service, [entry("crs-1", 2, "tides", attempt=1), entry("crs-1", 3, "quiz", attempt=2)]
    )
    assert statuses(results) == [200, 200]
    assert {result["progress"]["attempt"] for result in results} == {2}
    assert set(results[0]["progress"]["items"]) == {"quiz"}


async def test_twenty_five_courses_in_one_batch(service: Service) -> None:
    entries = [entry(f"crs-{number}", number, "intro") for number in range(25)]
    assert statuses(await send(service, entries)) == [201] * 25
    page = await (await service.request("GET", "/progress/me?limit=100")).json()
    assert len(page["items"]) == 25


class TestTrouble:
    async def test_what_failed_alone_is_sent_again_alone(self) -> None:
        broken = {"crs-2"}

        async def trouble(course_id: str) -> None:
            if course_id in broken:
                raise DependencyUnavailable("dynamodb", "UpdateItem", reason="timeout")

        async with running(TroubledRepository(trouble)) as service:
            entries = [entry(name, 1, "intro") for name in ("crs-1", "crs-2", "crs-3")]
            results = await send(service, entries)
            assert statuses(results) == [201, 503, 201]
            assert results[1]["problem"]["code"] == "dependency_unavailable"
            assert results[1]["retryAfterSeconds"] >= 1
            assert await course(service, "crs-2") is None
            broken.clear()
            again = [entries[at] for at, status in enumerate(statuses(results)) if status == 503]
            assert statuses(await send(service, again)) == [201]
            for name in ("crs-1", "crs-2", "crs-3"):
                assert await course(service, name) is not None

    async def test_a_circuit_that_opens_half_way(self) -> None:
        calls = 0

        async def trouble(course_id: str) -> None:
            nonlocal calls
            calls += 1
            if calls > 6:
                raise CircuitOpenError("dynamodb:write", 6.2)

        async with running(TroubledRepository(trouble)) as service:
            results = await send(service, [entry(f"crs-{n}", 1, "intro") for n in range(25)])
            assert sorted(statuses(results)) == [201] * 6 + [503] * 19
            for result in results:
                assert result.get("retryAfterSeconds") == (None if result["status"] == 201 else 7)
                recorded = await course(service, result["courseId"])
                assert (recorded is not None) == (result["status"] == 201)

    async def test_time_that_is_over_half_way(self) -> None:
        begun: list[str] = []

        async def trouble(course_id: str) -> None:
            begun.append(course_id)
            if int(course_id) >= 5:
                await asyncio.Event().wait()

        async with running(TroubledRepository(trouble)) as service:
            entries = [entry(f"{number:02}", 1, "intro") for number in range(12)]
            headers = {"X-Request-Timeout-Ms": "1500"}
            results = await send(service, entries, headers=headers)
            assert statuses(results) == [201] * 5 + [503] * 7
            assert {result["retryAfterSeconds"] for result in results[5:]} == {1}
            # What had its turn only then was not begun any more.
            assert len(begun) == 5 + MAX_CONCURRENT_COURSES
            # What was acknowledged is there.
            for result in results[:5]:
                assert result["progress"] == await course(service, result["courseId"])

    async def test_a_course_that_is_broken_holds_up_no_other(self) -> None:
        async def trouble(course_id: str) -> None:
            if course_id == "crs-1":
                raise CorruptProgressError("a rule that every row satisfies")

        async with running(TroubledRepository(trouble)) as service:
            results = await send(service, [entry("crs-1"), entry("crs-2")])
            assert statuses(results) == [500, 201]
            assert results[0]["problem"]["code"] == "internal_error"
            assert "retryAfterSeconds" not in results[0]
            assert "every row" not in str(results)

    async def test_when_nothing_could_be_decided_the_request_has_failed(self) -> None:
        async def trouble(course_id: str) -> None:
            raise CircuitOpenError("dynamodb:write", 2.0)

        async with running(TroubledRepository(trouble)) as service:
            entries = [entry("crs-1"), entry("crs-2")]
            response = await service.request("POST", PATH, json={"entries": entries})
            problem = await CONTRACT.check(response, "POST", BATCH)
            assert isinstance(problem, dict)
            assert (response.status, problem["code"]) == (503, "dependency_unavailable")
            assert response.headers["Retry-After"] == "2"
            # One entry that is refused for good is a decision.
            results = await send(service, [*entries, None])
            assert statuses(results) == [503, 503, 422]

    async def test_few_courses_are_recorded_at_a_time_and_one_entry_of_each(self) -> None:
        under_way: list[str] = []
        most = 0
        everybody = asyncio.Event()

        async def trouble(course_id: str) -> None:
            nonlocal most
            assert course_id not in under_way
            under_way.append(course_id)
            most = max(most, len(under_way))
            if most == MAX_CONCURRENT_COURSES:
                everybody.set()
            await everybody.wait()
            under_way.remove(course_id)

        async with running(TroubledRepository(trouble)) as service:
            entries = [entry(f"crs-{number % 12}", number) for number in range(24)]
            assert statuses(await send(service, entries)) == [201] * 24
        assert most == MAX_CONCURRENT_COURSES


class TestAuthorization:
    async def test_another_users_batch_is_refused_before_anything_is_judged(
        self, service: Service
    ) -> None:
        for body in (b"no json", b'{"entries":[]}'):
            refused = await service.request("POST", "/progress/learner-b/batch", data=body)
            assert refused.status == 403
        malformed = await service.request(
            "POST", "/progress/a.b/batch", sub="staff-1", groups=["staff"], data=b"no json"
        )
        assert (malformed.status, (await malformed.json())["code"]) == (400, "invalid_path")

    async def test_staff_sync_for_a_user(self, service: Service) -> None:
        response = await service.request(
            "POST",
            "/progress/learner-b/batch",
            sub="staff-1",
            groups=["staff"],
            json={"entries": [entry("crs-1", 1, attempt=3), entry("crs-1", 1)]},
        )
        document = await CONTRACT.check(response, "POST", BATCH)
        assert isinstance(document, dict)
        assert document["userId"] == "learner-b"
        assert document["results"][1]["progress"]["userId"] == "learner-b"
        assert document["results"][0]["problem"]["instance"] == "/progress/learner-b/crs-1"


async def test_an_answer_that_would_grow_too_large_leaves_courses_out(service: Service) -> None:
    names = [f"content-{number}" for number in range(MAX_CONTENTS_PER_COURSE)]
    courses = [f"crs-{number}" for number in range(7)]
    for name in courses:
        update = completing(1, *names)
        await service.repository.record("learner-a", name, update, outline=None, at=NOW)
    results = await send(service, [entry(name, 2) for name in courses])
    assert statuses(results) == [200] * 7
    shown = [len(result["progress"]["items"]) for result in results if "progress" in result]
    assert shown == [MAX_CONTENTS_PER_COURSE] * 5
    assert sum(shown) <= MAX_CONTENTS_IN_A_BATCH_ANSWER


async def test_two_devices_that_come_back_at_once(
    ministack_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over sockets and on the table: each has read what the other has not yet changed."""
    async with dynamodb_on(ministack_backend, monkeypatch) as dynamodb:
        observed = ObservedDynamoDB(dynamodb)
        repository = DynamoDBProgressRepository(observed, table=await new_table(ministack_backend))
        await repository.learn_outline(OUTLINE)
        async with running(repository) as service:
            phone = [entry("crs-1", 4, "intro"), entry("crs-2", 1, "a"), entry("crs-1", 9, "tides")]
            laptop = [
                entry("crs-1", 5, "tides", deviceId="laptop"),
                entry("crs-2", 2, "b", resume={"contentId": "b", "positionSeconds": 3}),
            ]
            observed.hold_writes_until(8)
            answers = await asyncio.gather(send(service, phone), send(service, laptop))
            assert sorted(statuses(answers[0])[:2] + statuses(answers[1])) == [200, 200, 201, 201]
            first, second = await course(service, "crs-1"), await course(service, "crs-2")
            assert first is not None
            assert second is not None
            assert (first["status"], first["completedAt"]) == (
                "completed",
                "2026-02-01T09:05:00.000Z",
            )
            assert set(second["items"]) == {"a", "b"}
            # Whatever was acknowledged is in the end of it.
            for result in answers[0] + answers[1]:
                kept = first if result["courseId"] == "crs-1" else second
                assert result["progress"]["items"].keys() <= kept["items"].keys()
