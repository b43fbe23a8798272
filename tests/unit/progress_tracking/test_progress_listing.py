"""How many pages of the store one page of the listing may take, with filters and without."""

from __future__ import annotations

import pytest

from services.progress_tracking.domain.outline import Status
from services.progress_tracking.domain.outlines import KnownOutlines
from services.progress_tracking.domain.repository import SummaryPage
from services.progress_tracking.domain.tracking import (
    MAX_QUERIES_PER_PAGE,
    CourseFilter,
    ProgressTracking,
)
from services.progress_tracking.storage.memory import MemoryProgressRepository
from tests.unit.progress_tracking.updates import NOW, heartbeat

EVERYTHING = CourseFilter()
COMPLETED = CourseFilter(status=Status.COMPLETED)


class CountingRepository(MemoryProgressRepository):
    """Counts its pages, and may give them shorter than asked, as a page of 1 MB is."""

    def __init__(self, *, at_most: int = 100) -> None:
        super().__init__()
        self.pages = 0
        self._at_most = at_most

    async def list_summaries(self, user_id: str, *, after: str | None, limit: int) -> SummaryPage:
        self.pages += 1
        return await super().list_summaries(user_id, after=after, limit=min(limit, self._at_most))


async def tracking(repository: CountingRepository, courses: int) -> ProgressTracking:
    for number in range(courses):
        await repository.record(
            "user-1", f"crs-{number:03}", heartbeat(1, "a", 1.0), outline=None, at=NOW
        )
    outlines = KnownOutlines(
        repository, maximum_age_seconds=30, maximum_entries=1000, monotonic=lambda: 0.0
    )
    return ProgressTracking(repository=repository, outlines=outlines, clock=lambda: NOW)


@pytest.mark.parametrize(("courses", "more"), [(3, False), (5, False), (6, True)])
async def test_a_page_without_filter_is_one_page_of_the_store(courses: int, more: bool) -> None:
    repository = CountingRepository()
    service = await tracking(repository, courses)
    page = await service.list("user-1", chosen=EVERYTHING, after=None, limit=5)
    assert len(page.courses) == min(courses, 5)
    assert (page.next_after == "crs-004") == more
    assert repository.pages == 1


async def test_short_pages_of_the_store_are_put_together() -> None:
    repository = CountingRepository(at_most=2)
    service = await tracking(repository, 9)
    page = await service.list("user-1", chosen=EVERYTHING, after=None, limit=5)
    assert [view.summary.course_id for view in page.courses] == [
        f"crs-{number:03}" for number in range(5)
    ]
    assert page.next_after == "crs-004"
    assert repository.pages == 3


async def test_a_filter_that_leaves_out_everything_ends_and_can_be_continued() -> None:
    repository = CountingRepository()
    service = await tracking(repository, MAX_QUERIES_PER_PAGE + 3)
    page = await service.list("user-1", chosen=COMPLETED, after=None, limit=1)
    assert page.courses == ()
    assert page.next_after == f"crs-{MAX_QUERIES_PER_PAGE - 1:03}"
    assert repository.pages == MAX_QUERIES_PER_PAGE
    rest = await service.list("user-1", chosen=COMPLETED, after=page.next_after, limit=1)
    assert (rest.courses, rest.next_after) == ((), None)
