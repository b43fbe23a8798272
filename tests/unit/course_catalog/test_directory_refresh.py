"""Keeping the directory: what is asked when, what a failure leaves, how old the answer is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import pytest

from services.course_catalog.domain.course import Change, Course, Status, Summary
from services.course_catalog.domain.directory import Directory, Query
from services.course_catalog.domain.directory_refresh import (
    DirectoryRefresher,
    Refreshed,
    RefreshFailed,
    RefreshPolicy,
    RefreshStatistics,
)
from services.course_catalog.domain.errors import CatalogUnavailableError
from services.course_catalog.storage.memory import InMemoryCourseRepository
from tests.unit.course_catalog.courses import content, draft, instant, published


class ObservedRepository(InMemoryCourseRepository):
    """Notes what is asked, fails on demand, and can hold an answer back or lag behind writes."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[object] = []
        self.failing: set[object] = set()
        self.running = 0
        self.most_running = 0
        self.gate: asyncio.Event | None = None
        self.hidden: set[str] = set()

    async def _asked(self, what: object, kind: object) -> None:
        self.asked.append(what)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(0)
            if kind in self.failing:
                raise CatalogUnavailableError("failing")
        finally:
            self.running -= 1

    async def listing(self, status: Status) -> AsyncIterator[Sequence[Summary]]:
        await self._asked(status, status)
        async for batch in super().listing(status):
            yield [summary for summary in batch if summary.id not in self.hidden]

    async def changes(self, since: datetime) -> AsyncIterator[Sequence[Change]]:
        await self._asked(since, "changes")
        async for batch in super().changes(since):
            yield [change for change in batch if change.id not in self.hidden]


class World:
    """A refresher with everything around it in hand."""

    def __init__(self, policy: RefreshPolicy | None = None) -> None:
        self.repository = ObservedRepository()
        self.directory = Directory(lambda summary: summary.title.encode())
        self.seconds = 1000.0
        self.wall_clock_is_ahead = 0.0
        self.pauses: list[float] = []
        self.randoms = [0.0, 0.5, 0.999]
        self.reports: list[Refreshed | RefreshFailed] = []
        self.wake: asyncio.Queue[None] = asyncio.Queue()
        self.refresher = DirectoryRefresher(
            self.directory,
            self.repository,
            policy or RefreshPolicy(),
            now=lambda: instant(self.seconds + self.wall_clock_is_ahead),
            monotonic=lambda: self.seconds,
            random=lambda: self.randoms[len(self.pauses) % 3],
            sleep=self.sleep,
            report=self.reports.append,
        )

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.wake.get()

    def titles(self, status: Status = Status.PUBLISHED) -> list[str]:
        return [
            item.decode() for item in self.directory.page(Query(status=status), limit=100).items
        ]

    async def put(self, course: Course, previous: Course | None = None) -> Course:
        if previous is None:
            await self.repository.create(course)
        else:
            await self.repository.replace(course, previous=previous)
        return course


async def until(condition: object) -> None:
    """Let the loop turn until `condition()` holds, a bounded number of times."""
    assert callable(condition)
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to hold")


async def test_the_first_refresh_lists_everything_and_the_next_asks_for_changes() -> None:
    world = World()
    await world.put(published(1))
    await world.put(draft(2))
    await world.put(published(3).archived(now=instant(5)))
    assert world.refresher.age is None
    await world.refresher.refresh()
    assert world.refresher.loaded
    assert world.repository.asked == [
        Status.PUBLISHED,
        Status.DRAFT,
        Status.ARCHIVED,
        instant(1000 - 60),
    ]
    assert (world.titles(), world.titles(Status.DRAFT)) == (["Course 1"], ["Course 2"])
    world.repository.asked.clear()
    world.seconds = 1005
    await world.refresher.refresh()
    world.seconds = 1010
    await world.refresher.refresh()
    assert world.repository.asked == [instant(1000 - 60), instant(1005 - 60)]
    assert [report for report in world.reports if isinstance(report, Refreshed)] == [
        Refreshed(True, 3, 3),
        Refreshed(False, 0, 3),
        Refreshed(False, 0, 3),
    ]


async def test_every_kind_of_change_becomes_visible() -> None:
    world = World()
    one = await world.put(published(1))
    two = await world.put(published(2))
    three = await world.put(draft(3))
    four = await world.put(draft(4))
    await world.refresher.refresh()
    await world.put(one.edited(content(1, title="Edited"), now=instant(1001)), one)
    await world.put(two.archived(now=instant(1001)), two)
    await world.put(three.published(now=instant(1001)), three)
    await world.repository.delete(four.deleted(now=instant(1001)), previous=four)
    await world.put(published(5, at=1001))
    world.seconds = 1002
    await world.refresher.refresh()
    assert sorted(world.titles()) == ["Course 3", "Course 5", "Edited"]
    assert world.titles(Status.DRAFT) == []
    assert world.titles(Status.ARCHIVED) == ["Course 2"]


async def test_a_change_that_shows_up_late_is_met_by_the_overlap() -> None:
    world = World()
    await world.refresher.refresh()
    world.repository.hidden.add("crs-1")
    await world.put(published(1, at=1001))
    for seconds in (1005, 1010, 1055):
        world.seconds = seconds
        await world.refresher.refresh()
        assert world.titles() == []
    world.repository.hidden.clear()
    await world.refresher.refresh()
    assert world.titles() == ["Course 1"]


async def test_changes_made_while_the_clock_was_ahead_are_met_when_it_is_right_again() -> None:
    world = World()
    await world.refresher.refresh()
    world.wall_clock_is_ahead = 240
    world.seconds = 1005
    await world.refresher.refresh()
    # Written by an author's process whose clock is right.
    await world.put(published(1, at=1006))
    world.seconds = 1010
    await world.refresher.refresh()
    assert world.titles() == []
    world.wall_clock_is_ahead = 0
    world.seconds = 1015
    await world.refresher.refresh()
    assert world.titles() == ["Course 1"]


@pytest.mark.parametrize("ahead", [-3600.0, -31.0, 31.0, 3600.0])
async def test_a_clock_that_was_set_has_everything_listed_anew_once(ahead: float) -> None:
    world = World()
    await world.refresher.refresh()
    world.wall_clock_is_ahead = ahead
    for seconds in (1005, 1010):
        world.seconds = seconds
        await world.refresher.refresh()
    assert [report.full for report in world.reports if isinstance(report, Refreshed)] == [
        True,
        True,
        False,
    ]


async def test_a_clock_that_drifts_within_the_overlap_has_nothing_listed_anew() -> None:
    world = World()
    await world.refresher.refresh()
    for seconds, ahead in ((1005, 29), (1010, 0), (1015, -29)):
        world.seconds, world.wall_clock_is_ahead = seconds, ahead
        await world.refresher.refresh()
    assert [report.full for report in world.reports if isinstance(report, Refreshed)] == [
        True,
        False,
        False,
        False,
    ]


async def test_what_no_overlap_covers_is_met_by_the_reload() -> None:
    """A writer whose clock is hours behind, and a tombstone that was removed unseen."""
    world = World()
    gone = await world.put(published(1))
    await world.refresher.refresh()
    await world.put(published(2, at=-7200))
    world.repository.hidden.add(gone.id)
    world.seconds = 1000 + 3599
    await world.refresher.refresh()
    assert world.titles() == ["Course 1"]
    world.seconds = 1000 + 3600
    await world.refresher.refresh()
    assert world.titles() == ["Course 2"]


async def test_a_change_during_the_listing_is_not_lost() -> None:
    world = World()
    course = await world.put(draft(1, at=999))
    world.repository.gate = asyncio.Event()
    refreshing = asyncio.create_task(world.refresher.refresh())
    await until(lambda: world.repository.asked == [Status.PUBLISHED])
    # It leaves the drafts while the published ones are listed already: neither listing has it.
    world.repository.hidden.add(course.id)
    world.repository.gate.set()
    await until(lambda: Status.ARCHIVED in world.repository.asked)
    await world.put(course.published(now=instant(1000)), course)
    world.repository.hidden.clear()
    await refreshing
    assert world.titles() == ["Course 1"]


async def test_refreshes_never_run_at_the_same_time() -> None:
    world = World()
    await asyncio.gather(*(world.refresher.refresh() for _ in range(5)))
    assert world.repository.most_running == 1
    assert len(world.reports) == 5


@pytest.mark.parametrize("part", [*Status, "changes"])
async def test_a_failed_load_leaves_nothing_loaded_and_is_made_good(part: object) -> None:
    world = World()
    await world.put(published(1))
    world.repository.failing.add(part)
    with pytest.raises(CatalogUnavailableError):
        await world.refresher.refresh()
    assert (world.refresher.loaded, world.refresher.age) == (False, None)
    world.repository.failing.clear()
    await world.refresher.refresh()
    assert (world.refresher.loaded, world.titles()) == (True, ["Course 1"])


async def test_while_the_store_fails_the_directory_ages_and_what_was_missed_is_caught_up() -> None:
    world = World(RefreshPolicy(stale_after=60))
    await world.put(published(1))
    await world.refresher.refresh()
    world.repository.failing.add("changes")
    for seconds, stale in ((1060, False), (1061, True), (1900, True)):
        world.seconds = seconds
        with pytest.raises(CatalogUnavailableError):
            await world.refresher.refresh()
        assert (world.refresher.age, world.refresher.is_stale) == (seconds - 1000, stale)
        assert world.titles() == ["Course 1"]
    await world.put(published(2, at=1100))
    world.repository.failing.clear()
    await world.refresher.refresh()
    assert world.repository.asked[-1] == instant(1000 - 60)
    assert sorted(world.titles()) == ["Course 1", "Course 2"]
    assert (world.refresher.age, world.refresher.is_stale) == (0, False)


async def test_the_loop_goes_on_through_failures_jittered_and_soon_at_first() -> None:
    world = World(RefreshPolicy(interval=5, first_retry=1))
    await world.put(published(1))
    world.repository.failing.add(Status.PUBLISHED)
    loop = asyncio.create_task(world.refresher.run())
    for count in range(1, 6):
        await until(lambda: len(world.pauses) == count)  # noqa: B023
        if count == 5:
            world.repository.failing.clear()
        world.wake.put_nowait(None)
    await until(lambda: len(world.pauses) == 6)
    # 1, 2, 4, 5, 5 and, once loaded, 5 seconds; times 0.8, 1.0, 1.1996 in turn.
    expected = [0.8, 2.0, 4 * 1.1996, 4.0, 5.0, 5 * 1.1996]
    assert world.pauses == pytest.approx(expected)
    assert [type(report) for report in world.reports] == [RefreshFailed] * 5 + [Refreshed]
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_waiting_for_the_first_load_is_bounded() -> None:
    world = World()
    assert not await world.refresher.wait_until_loaded(0)
    waiting = asyncio.create_task(world.refresher.wait_until_loaded(20))
    await world.refresher.refresh()
    assert await waiting
    assert await world.refresher.wait_until_loaded(0)


def test_a_policy_without_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="interval, overlap"):
        RefreshPolicy(interval=0, overlap=float("nan"))


async def test_refreshes_are_counted_by_how_they_ended() -> None:
    world = World()
    world.repository.failing = {Status.PUBLISHED}
    running = asyncio.create_task(world.refresher.run())
    await until(lambda: len(world.pauses) == 1)
    assert world.refresher.statistics() == RefreshStatistics(succeeded=0, failed=1)
    world.repository.failing = set()
    for pauses in (2, 3):
        world.wake.put_nowait(None)
        await until(lambda pauses=pauses: len(world.pauses) == pauses)
    assert world.refresher.statistics() == RefreshStatistics(succeeded=2, failed=1)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_what_this_process_wrote_is_shown_at_once_and_outlives_lagging_indexes() -> None:
    world = World(RefreshPolicy(reload=100))
    await world.refresher.refresh()
    created = await world.put(published(1))
    world.repository.hidden = {"crs-1"}  # written, but in no index yet
    world.refresher.learn(created.summary())
    assert world.titles() == ["Course 1"]
    world.seconds = 1005
    await world.refresher.refresh()
    assert world.titles() == ["Course 1"]
    # Beyond the overlap an index has caught up; one that has not is believed at the next reload.
    world.seconds = 1099
    await world.refresher.refresh()
    assert world.titles() == ["Course 1"]
    world.seconds = 1200
    await world.refresher.refresh()
    assert world.titles() == []


async def test_what_was_learnt_while_a_reload_is_under_way_is_not_dropped_by_it() -> None:
    world = World(RefreshPolicy(reload=10))
    await world.refresher.refresh()
    world.seconds += 10
    world.repository.gate = asyncio.Event()
    world.repository.hidden = {"crs-1"}
    reload = asyncio.create_task(world.refresher.refresh())
    await until(lambda: world.repository.running)
    created = await world.put(published(1))
    world.refresher.learn(created.summary())
    world.repository.gate.set()
    await reload
    assert world.titles() == ["Course 1"]


async def test_what_this_process_deleted_is_not_brought_back_by_an_index_that_lags() -> None:
    world = World()
    course = await world.put(draft(1, at=1000))
    await world.refresher.refresh()
    world.refresher.learn(course.deleted(now=instant(1001)))
    assert world.titles(Status.DRAFT) == []
    world.seconds = 1005
    await world.refresher.refresh()  # the index has still the draft
    assert world.titles(Status.DRAFT) == []


async def test_what_was_learnt_gives_way_to_what_is_newer() -> None:
    world = World()
    one = await world.put(published(1, at=1000))
    await world.refresher.refresh()
    mine = await world.put(one.edited(content(1, title="Mine"), now=instant(1001)), one)
    world.refresher.learn(mine.summary())
    world.refresher.learn(one.summary())
    assert world.titles() == ["Mine"]
    await world.put(mine.edited(content(1, title="Another's"), now=instant(1002)), mine)
    world.seconds = 1005
    await world.refresher.refresh()
    assert world.titles() == ["Another's"]


async def test_before_the_first_load_there_is_nothing_to_keep_up() -> None:
    world = World()
    course = await world.put(published(1))
    world.refresher.learn(course.summary())
    assert world.titles() == []
    await world.refresher.refresh()
    assert world.titles() == ["Course 1"]
