"""The demo's load against a server of the three APIs that does what it should, and one that doesn't."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from aiohttp import web

from deploy.migration._demo._device import Tempo
from deploy.migration._demo._facts import Facts, Pause, is_whole, percentile
from deploy.migration._demo._history import History, Kind
from deploy.migration._demo._items import (
    CATALOG,
    CONTENT,
    MODULES,
    PROGRESS,
    content,
    course,
    progress,
    progress_of_content,
)
from deploy.migration._demo._load import Load, People

Stored = dict[str, Any]

_COURSE: Stored = {
    "title": "T", "description": "D", "language": "en", "level": "beginner", "tags": [],
    "instructors": [], "outline": [], "createdAt": "2021-03-01T06:00:00.000Z", "publishedAt": None,
}  # fmt: skip
_CONTENT: Stored = {
    "courseId": "c", "position": 1, "contentType": "video/mp4", "sizeBytes": 1, "captions": [],
    "checksumSha256": None, "durationSeconds": None, "renditions": [], "failureReason": None,
    "createdAt": "2021-03-01T06:00:00.000Z",
}  # fmt: skip


@dataclass
class Apis:
    """The three APIs in memory, as far as the load asks them."""

    courses: dict[str, Stored] = field(default_factory=dict)
    contents: dict[str, Stored] = field(default_factory=dict)
    users: dict[str, Stored] = field(default_factory=dict)
    deleted: list[tuple[dict[str, Stored], str, Stored]] = field(default_factory=list)
    """What was deleted: from where, its key, and what it was."""
    changed: list[tuple[dict[str, Stored], str, Stored]] = field(default_factory=list)
    """What was changed: where, its key, and what it was before."""
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    after: Callable[[Apis], None] = lambda _: None
    """Happens after each write."""

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/courses", self.page),
                web.post("/courses", self.create_course),
                web.get("/courses/{id}", self.get_course),
                web.patch("/courses/{id}", self.patch_course),
                web.delete("/courses/{id}", self.delete_course),
                web.get("/content", self.page),
                web.post("/content", self.announce),
                web.get("/content/{id}/metadata", self.get_content),
                web.put("/content/{id}/metadata", self.put_content),
                web.delete("/content/{id}", self.delete_content),
                web.post("/content/{id}/restore", self.restore_content),
                web.get("/progress/me", self.page),
                web.get("/progress/{user}/{id}", self.get_progress),
                web.put("/progress/{user}/{id}", self.put_progress),
                web.delete("/progress/{user}/{id}", self.restart),
            ]
        )
        return app

    async def page(self, _: web.Request) -> web.Response:
        return web.json_response({"items": []})

    async def create_course(self, request: web.Request) -> web.Response:
        body = await request.json()
        if any(one["slug"] == body["slug"] for one in self.courses.values()):
            return web.json_response({"code": "slug_taken"}, status=409)
        made = {**_COURSE, **body, "id": f"n{next(self.numbers)}", "status": "draft", "version": 1}
        self.courses[made["id"]] = made
        return self._tagged(made, 201)

    async def get_course(self, request: web.Request) -> web.Response:
        return self._found(self.courses, request.match_info["id"])

    async def patch_course(self, request: web.Request) -> web.Response:
        return self._change(self.courses, request.match_info["id"], await request.json())

    async def delete_course(self, request: web.Request) -> web.Response:
        return self._delete(self.courses, request.match_info["id"])

    async def announce(self, request: web.Request) -> web.Response:
        body = await request.json()
        made = {
            **_CONTENT,
            **body,
            "id": f"n{next(self.numbers)}",
            "status": "pending",
            "version": 1,
        }
        self.contents[made["id"]] = made
        return self._tagged(made, 201)

    async def get_content(self, request: web.Request) -> web.Response:
        return self._found(self.contents, request.match_info["id"])

    async def put_content(self, request: web.Request) -> web.Response:
        return self._change(self.contents, request.match_info["id"], await request.json())

    async def delete_content(self, request: web.Request) -> web.Response:
        key = request.match_info["id"]
        self.deleted.append((self.contents, key, self.contents[key]))
        self.contents[key] = {**self.contents[key], "status": "deleted"}
        self.after(self)
        return web.Response(status=204)

    async def restore_content(self, request: web.Request) -> web.Response:
        return self._change(self.contents, request.match_info["id"], {"status": "ready"})

    async def get_progress(self, request: web.Request) -> web.Response:
        return self._found(self.users, self._key(request))

    async def put_progress(self, request: web.Request) -> web.Response:
        body, key = await request.json(), self._key(request)
        before = self.users.get(key, {"attempt": 1, "resume": None, "items": {}, "version": 0})
        done = {name: {"positionSeconds": None, **one} for name, one in body["items"].items()}
        self.users[key] = {
            **before,
            "resume": body["resume"],
            "items": {**before["items"], **done},
        }
        self.after(self)
        return self._tagged(self.users[key], 200)

    async def restart(self, request: web.Request) -> web.Response:
        key = self._key(request)
        before = self.users[key]
        self.deleted.append((self.users, key, {**before, "attempt": before["attempt"] + 1}))
        return self._change(
            self.users, key, {"attempt": before["attempt"] + 1, "resume": None, "items": {}}
        )

    def _key(self, request: web.Request) -> str:
        return f"{request.match_info['user']} {request.match_info['id']}"

    def _found(self, among: dict[str, Stored], key: str) -> web.Response:
        if key not in among:
            return web.json_response({"code": "not_found"}, status=404)
        return self._tagged(among[key], 200)

    def _change(self, among: dict[str, Stored], key: str, changes: Stored) -> web.Response:
        self.changed.append((among, key, among[key]))
        among[key] = {**among[key], **changes, "version": among[key]["version"] + 1}
        answer = self._tagged(among[key], 200)
        self.after(self)
        return answer

    def _delete(self, among: dict[str, Stored], key: str) -> web.Response:
        self.deleted.append((among, key, among.pop(key)))
        self.after(self)
        return web.Response(status=204)

    def _tagged(self, document: Stored, status: int) -> web.Response:
        headers = {"ETag": f'"v{document["version"]}"'}
        return web.json_response(document, status=status, headers=headers)


def populated() -> Apis:
    """APIs with what was there before."""
    apis = Apis()
    for number in range(12):
        apis.courses[f"c{number}"] = {
            **_COURSE, "id": f"c{number}", "slug": f"s{number}", "shortDescription": "old",
            "status": "draft" if number % 3 == 1 else "published", "version": 1,
        }  # fmt: skip
        apis.contents[f"k{number}"] = {
            **_CONTENT, "id": f"k{number}", "title": "old", "status": "ready", "version": 1,
        }  # fmt: skip
        apis.users[f"u{number} c1"] = {
            "attempt": 1, "version": 1, "resume": {"contentId": "k1", "positionSeconds": 2.5},
            "items": {"k1": {"completed": True, "fraction": 0.5, "positionSeconds": 2}},
        }  # fmt: skip
    return apis


@asynccontextmanager
async def loaded(apis: Apis) -> AsyncIterator[Load]:
    """A load that knows what is there."""
    runner = web.AppRunner(apis.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        people = People(token=lambda user: user, learners={"learner-a": "a", "learner-b": "b"})
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        load = Load(url, people, per_second=2000, chance=Random(3))
        items = [
            *(course(f"c{number}") for number in range(12)),
            *(content(f"k{number}") for number in range(12)),
            *(progress(f"u{number}", "c1") for number in range(12)),
        ]
        await load.look_at(items, lambda _: None)
        yield load
    finally:
        await runner.cleanup()


async def asked(load: Load, count: int = 150) -> None:
    """Some requests of each module."""
    async with asyncio.timeout(120), load.running():
        for module in MODULES:
            await load.more_requests(module, count)


async def test_of_a_server_that_is_right_nothing_is_said() -> None:
    apis = populated()
    async with loaded(apis) as load:
        await asked(load)
        await load.read_all(lambda done, total: None)

        assert load.counts.failures == []
        assert load.history.problems == []
        assert is_whole(load.counts, load.history)
        # Of each kind something was deleted, old and new.
        for among in (apis.courses, apis.contents, apis.users):
            keys = {key for where, key, _ in apis.deleted if where is among}
            assert any(key.startswith(("c", "k", "u")) for key in keys)
            assert any(key.startswith(("n", "a ", "b ")) for key in keys)


@pytest.mark.parametrize("module", MODULES)
async def test_what_was_deleted_and_comes_back_is_found(module: str) -> None:
    apis = populated()
    among = {CATALOG: apis.courses, CONTENT: apis.contents, PROGRESS: apis.users}[module]
    planted: list[str] = []

    def resurrect(apis: Apis) -> None:
        where, key, before = apis.deleted[-1] if apis.deleted else ({}, "", {})
        if not planted and where is among:
            planted.append(key)
            among[key] = before

    apis.after = resurrect
    async with loaded(apis) as load:
        await asked(load)
        await load.read_all(lambda done, total: None)

        assert planted
        assert load.history.count(Kind.RESURRECTED) > 0
        assert not is_whole(load.counts, load.history)


@pytest.mark.parametrize("module", MODULES)
async def test_what_nobody_touched_and_vanishes_is_lost(module: str) -> None:
    apis = populated()
    async with loaded(apis) as load:
        await asked(load, 30)
        known = {CATALOG: apis.courses, CONTENT: apis.contents, PROGRESS: apis.users}[module]
        # Every second item is changed by writers; the others are to stay as they were.
        gone = next(key for key in known if key in ("c0", "k0", "u0 c1"))
        del known[gone]
        await load.read_all(lambda done, total: None)

        assert [problem.kind for problem in load.history.problems] == [Kind.LOST] * len(
            load.history.problems
        )
        assert load.history.count(Kind.LOST) > 0


async def test_a_write_that_was_acknowledged_and_is_undone_is_found() -> None:
    apis = populated()
    planted: list[str] = []

    def undo(apis: Apis) -> None:
        where, key, before = apis.changed[-1] if apis.changed else ({}, "", {})
        # Of one that its author reads again at once.
        if not planted and before.get("slug", "").startswith("demo"):
            planted.append(key)
            where[key] = {**before, "version": before["version"] + 1}

    apis.after = undo
    async with loaded(apis) as load:
        await asked(load)
        await load.read_all(lambda done, total: None)

        assert planted
        assert load.history.count(Kind.STALE) + load.history.count(Kind.LOST) > 0


async def test_an_answer_that_does_not_hold_what_was_written_is_found() -> None:
    apis = populated()
    real = apis.put_progress

    async def forget_the_third(request: web.Request) -> web.Response:
        is_third = (await request.json())["resume"]["contentId"] == "demo-3"
        return await (apis.get_progress if is_third else real)(request)

    apis.put_progress = forget_the_third  # type: ignore[method-assign]
    async with loaded(apis) as load:
        await asked(load)

        assert load.history.count(Kind.LOST) > 0


async def test_a_slug_that_stays_taken_is_resurrected_and_one_taken_twice_is_lost() -> None:
    apis = populated()
    async with loaded(apis) as load:
        ghosts: list[str] = []

        def haunt(apis: Apis) -> None:
            for where, _, before in apis.deleted:
                if where is apis.courses and before["slug"].startswith("demo") and not ghosts:
                    ghosts.append("ghost")
                    apis.courses["ghost"] = {**before, "id": "ghost"}

        apis.after = haunt
        await asked(load)

        (problem,) = load.history.problems
        assert problem.kind is Kind.RESURRECTED
        assert problem.item.startswith("slug demo")


async def test_what_is_not_answered_well_is_a_failure_and_is_left_alone() -> None:
    apis = populated()
    calls = itertools.count()
    real = apis.put_progress

    async def fail_now_and_then(request: web.Request) -> web.Response:
        answer = await real(request)
        return answer if next(calls) % 10 else web.json_response({}, status=503)

    apis.put_progress = fail_now_and_then  # type: ignore[method-assign]
    async with loaded(apis) as load:
        await asked(load)
        await load.read_all(lambda done, total: None)

        assert load.counts.failed[PROGRESS] > 0
        assert "503" in load.counts.failures[0]
        # It was carried out, nobody knows it, and that is no inconsistency.
        assert load.history.problems == []
        assert not is_whole(load.counts, load.history)


async def test_devices_ask_as_often_as_they_are_told_from_then_on() -> None:
    tempo = Tempo(per_second=20, devices=10)
    before = tempo.interval
    tempo.per_second = 5

    assert (before, tempo.interval) == (0.5, 2.0)
    async with loaded(populated()) as load:
        load.ask(500)
        assert load.per_second == 500


async def test_the_table_of_facts_has_what_was_counted() -> None:
    facts = Facts(
        items=100, copy_seconds=4.0, lags=[9.0, 0.0, 1.0, 3.0, 99.0], copied_at=1, seconds=75
    )
    facts.ended_at = 4
    facts.pauses[CATALOG] = Pause(1.5, 1.75)
    async with loaded(populated()) as load:
        await asked(load, 20)

        document = facts.document(load.counts, load.history)
        table = facts.table(load.counts, load.history)

    assert document["requests"] == len(load.counts.requests)
    assert document["lost"] == document["resurrected"] == document["failures"] == 0
    assert document["lagP99Seconds"] == 3.0
    assert document["lagMostWhileCopyingSeconds"] == 9.0
    assert document["itemsPerSecond"] == 25.0
    assert document["writePauses"] == {CATALOG: {"toldSeconds": 1.5, "longestWriteSeconds": 1.75}}
    assert "100 items, 25 a second under load" in table
    assert "1.50 s by the command, longest write 1.75 s" in table
    assert "1 min 15 s" in table


def test_who_reads_while_an_update_is_written_may_see_a_part_of_it() -> None:
    history, item = History(), progress("u", "c")
    sent = {
        "attempt": "1",
        **progress_of_content("x", completed=True, fraction=1, position=None),
    }
    write = history.writing(str(item), sent, began=0)
    state = {"completed": True, "fraction": None, "positionSeconds": None}
    facts = item.facts_of({"attempt": 1, "resume": None, "items": {"x": state}})

    assert history.read(str(item), facts, began=1, ended=2) == []
    write.acknowledged(3)
    (lost,) = history.read(str(item), facts, began=4, ended=5)

    assert (lost.kind, lost.fact) == (Kind.LOST, "content x fraction")


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([], 99) == 0
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([float(number) for number in range(1, 101)], 99) == 99.0
