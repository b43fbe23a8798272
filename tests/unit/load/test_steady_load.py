"""The steady load counts every failure, and its checker finds every acknowledged write that is gone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web

from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import ProgressUpdate
from services.progress_tracking.domain.repository import Recorded
from services.progress_tracking.storage.memory import MemoryProgressRepository
from tests.contract.progress_tracking.service import running
from tests.load.steady import Plan, SteadyLoad

PLAN = Plan(devices=4, requests_per_second=200, most_requests=60)
COURSE = {"id": "tides", "outline": [{"items": [{"contentId": "moon"}, {"contentId": "sun"}]}]}


class ForgetfulRepository(MemoryProgressRepository):
    """Acknowledges every update and keeps all but the tenth."""

    def __init__(self) -> None:
        super().__init__()
        self._number = 0

    async def record(
        self,
        user_id: str,
        course_id: str,
        update: ProgressUpdate,
        *,
        outline: Outline | None,
        at: datetime,
    ) -> Recorded:
        self._number += 1
        before = dict(self._courses)
        found = await super().record(user_id, course_id, update, outline=outline, at=at)
        if self._number == 10:
            self._courses = before
        return found


class Reads:
    """The catalog and the content: every so often they fail, if they are told to."""

    def __init__(self, *, fail_every: int | None = None) -> None:
        self.answered = 0
        self.failed = 0
        self._fail_every = fail_every

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/courses", self._page)
        app.router.add_get("/courses/{id}", self._course)
        app.router.add_get("/content/{id}", self._content)
        return app

    async def _page(self, request: web.Request) -> web.Response:
        return web.json_response({"items": [COURSE]})

    async def _course(self, request: web.Request) -> web.Response:
        return web.json_response(COURSE)

    async def _content(self, request: web.Request) -> web.Response:
        self.answered += 1
        if self._fail_every and self.answered % self._fail_every == 0:
            self.failed += 1
            if self.failed % 2:
                raise web.HTTPServiceUnavailable
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"url": "https://store.invalid"})


@asynccontextmanager
async def load_on(reads: Reads, repository: MemoryProgressRepository) -> AsyncIterator[SteadyLoad]:
    runner = web.AppRunner(reads.app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with running(repository) as progress:
            progress.now = datetime.now(UTC)
            bases = {
                "course_catalog": url,
                "content_delivery": url,
                "progress_tracking": str(progress.served.api),
            }
            users = ("learner-a", "learner-b")
            tokens = {user: progress.issuer.token(sub=user) for user in users}
            yield SteadyLoad([bases], tokens, plan=PLAN)
    finally:
        await runner.cleanup()


async def test_where_all_is_well_nothing_is_found() -> None:
    async with load_on(Reads(), MemoryProgressRepository()) as load:
        async with load.running():
            await load.more_requests(100)
        assert load.failures == []
        assert await load.lost_writes() == []
        assert load.acknowledged_writes > 10
        assert all(counts.requests > 20 for counts in load.counts.values())
        assert "progress_tracking" in str(load)


async def test_every_failure_is_counted_once() -> None:
    reads = Reads(fail_every=7)
    async with load_on(reads, MemoryProgressRepository()) as load:
        async with load.running():
            await load.more_requests(150)
        assert len(load.failures) == reads.failed > 3
        assert {failure.answer.status for failure in load.failures} == {0, 503}
        assert {failure.service for failure in load.failures} == {"content_delivery"}
        # What failed was asked once: nothing else was sent for it.
        assert load.counts["content_delivery"].requests == reads.answered
        assert await load.lost_writes() == []
        assert "GET /content/" in str(load.failures[0])


async def test_a_write_that_is_acknowledged_and_forgotten_is_found() -> None:
    async with load_on(Reads(), ForgetfulRepository()) as load:
        async with load.running():
            await load.more_requests(150)
        assert load.failures == []
        lost = [line for line in await load.lost_writes() if ": lost: the update of" in line]
        assert len(lost) == 1


async def test_each_client_stops_at_its_bound() -> None:
    async with load_on(Reads(), MemoryProgressRepository()) as load:
        async with load.running():
            bound = PLAN.devices * PLAN.most_requests
            await load.more_requests(bound - load.requests)
        assert load.requests == bound


async def test_an_entry_of_a_batch_that_fails_is_a_failure() -> None:
    """The batch itself is 200 then."""

    class Failing(MemoryProgressRepository):
        async def record(
            self,
            user_id: str,
            course_id: str,
            update: ProgressUpdate,
            *,
            outline: Outline | None,
            at: datetime,
        ) -> Recorded:
            if update.resume_position_seconds == 5:
                raise RuntimeError("one of them")
            return await super().record(user_id, course_id, update, outline=outline, at=at)

    async with load_on(Reads(), Failing()) as load:
        async with load.running():
            await load.more_requests(150)
        assert load.failures
        assert {failure.service for failure in load.failures} == {"progress_tracking"}
        batches = [one.answer for one in load.failures if one.answer.method == "POST"]
        for answer in batches:
            assert answer.status == 200
            assert 500 in [result["status"] for result in json.loads(answer.body)["results"]]
        assert await load.lost_writes() == []
