"""Keeps the directory close to the repository: one load, then what changed, for as long as it runs.

Owns when to ask, what to ask for and how old the answer is. Knows neither the store's keys nor how
the directory orders things. Time, randomness and waiting are passed in.

A refresh asks for the changes since the last one, less an overlap: indexes lag behind writes and
writers' clocks differ, so a change may show up a little later than its timestamp says. Applying a
change twice does nothing. Now and then everything is listed anew, against what no overlap covers,
and at once when the wall clock was set: what it said at the last refresh then means nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.course_catalog.domain.course import Change, Status
from services.course_catalog.domain.directory import Directory
from services.course_catalog.domain.repository import CourseRepository

# So many changes are taken in before other work on the event loop gets its turn.
_CHUNK = 100


@dataclass(frozen=True)
class RefreshPolicy:
    """How the directory is kept; all in seconds. Raises ValueError for what makes no sense.

    `interval`: between two refreshes, each drawn from 0.8 to 1.2 times it so that processes do not
    ask in step. `first_retry`: after a failure before anything was loaded, doubled up to the
    interval. `overlap`: how much further back than the last refresh to ask. `reload`: after how
    long to list everything anew. `stale_after`: from which age on the directory counts as stale.
    """

    interval: float = 5.0
    first_retry: float = 0.5
    overlap: float = 60.0
    reload: float = 3600.0
    stale_after: float = 60.0

    def __post_init__(self) -> None:
        wrong = [name for name, value in vars(self).items() if not value > 0]
        if wrong:
            raise ValueError(f"must be above zero: {', '.join(wrong)}")


@dataclass(frozen=True)
class Refreshed:
    """A refresh that succeeded: whether it listed everything, how many courses were news."""

    full: bool
    changed: int
    courses: int


@dataclass(frozen=True)
class RefreshFailed:
    """A refresh that failed; `age` is that of what the directory knows, None when nothing."""

    error: Exception
    age: float | None


@dataclass(frozen=True)
class RefreshStatistics:
    """Refreshes since the start, by how they ended."""

    succeeded: int
    failed: int


class DirectoryRefresher:
    """Loads `directory` from `repository` and keeps it up.

    `now` gives the instant (to ask for changes since), `monotonic` seconds (for ages), `random` a
    number in [0, 1), `sleep` waits so many seconds; `report` hears of every refresh.
    """

    def __init__(
        self,
        directory: Directory,
        repository: CourseRepository,
        policy: RefreshPolicy,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        report: Callable[[Refreshed | RefreshFailed], None] = lambda _: None,
    ) -> None:
        self._directory = directory
        self._repository = repository
        self._policy = policy
        self._now = now
        self._monotonic = monotonic
        self._random = random
        self._sleep = sleep
        self._report = report
        self._refreshing = asyncio.Lock()
        self._loaded = asyncio.Event()
        self._learnt: dict[str, tuple[Change, float]] = {}
        self._known_until: datetime | None = None
        self._current_at = 0.0
        self._listed_at = 0.0
        self._succeeded = 0
        self._failed = 0

    def statistics(self) -> RefreshStatistics:
        """How often the directory was and could not be refreshed."""
        return RefreshStatistics(self._succeeded, self._failed)

    @property
    def loaded(self) -> bool:
        """Whether the directory was complete at least once."""
        return self._loaded.is_set()

    @property
    def age(self) -> float | None:
        """Seconds since the directory was known to be current; None before it was loaded."""
        return self._monotonic() - self._current_at if self.loaded else None

    @property
    def is_stale(self) -> bool:
        """Whether the directory is loaded but older than it should get."""
        age = self.age
        return age is not None and age > self._policy.stale_after

    async def wait_until_loaded(self, seconds: float) -> bool:
        """Wait for the first load, at most so long; whether the directory is loaded."""
        if not self.loaded:
            try:
                async with asyncio.timeout(seconds):
                    await self._loaded.wait()
            except TimeoutError:
                return False
        return True

    def learn(self, change: Change) -> None:
        """Take in a change that this process has just made itself, so that who made it sees it.

        For a while it is known better than what the repository's indexes, which lag behind, tell.
        Before the first load there is nothing to keep up.
        """
        if not self.loaded:
            return
        known = self._learnt.get(change.id)
        if known is None or known[0].version < change.version:
            self._learnt[change.id] = (change, self._monotonic())
            self._directory.apply(change)

    async def run(self) -> None:
        """Refresh for ever; failures are reported and tried again. Ends by being cancelled."""
        retry = min(self._policy.first_retry, self._policy.interval)
        while True:
            try:
                await self.refresh()
            except Exception as error:  # whatever fails, the directory must not stop refreshing
                self._failed += 1
                self._report(RefreshFailed(error, self.age))
            pause = self._policy.interval
            if not self.loaded:
                pause, retry = retry, min(2 * retry, self._policy.interval)
            await self._sleep(pause * (0.8 + 0.4 * self._random()))

    async def refresh(self) -> None:
        """Bring the directory up to date once; never two at a time.

        Raises what the repository raises; what was learnt until then is kept.
        """
        async with self._refreshing:
            started, started_at = self._now(), self._monotonic()
            known_until = self._known_until
            full = (
                known_until is None
                or started_at - self._listed_at >= self._policy.reload
                or self._was_clock_set(known_until, started, started_at)
            )
            changed = 0
            if full:
                changed = await self._reload(started)
            else:
                async for batch in self._changes(known_until or started):
                    changed += await self._apply(batch)
            for _ in self._directory.settle():
                await asyncio.sleep(0)
            self._forget_learnt()
            self._known_until, self._current_at = started, started_at
            if full:
                self._listed_at = started_at
            self._loaded.set()
            self._succeeded += 1
        self._report(Refreshed(full, changed, len(self._directory)))

    def _was_clock_set(self, known_until: datetime, started: datetime, started_at: float) -> bool:
        """Whether the wall clock has moved otherwise than time has since the last refresh.

        A clock that was ahead and is right again would have us ask for changes since a moment that
        those in between came before. Half the overlap: the rest is left to its own purpose.
        """
        moved = (started - known_until).total_seconds() - (started_at - self._current_at)
        return abs(moved) > self._policy.overlap / 2

    async def _reload(self, started: datetime) -> int:
        changed = 0
        seen: set[str] = set()
        # Readers' courses first. A course whose status changes meanwhile may be met twice or not
        # at all; the changes asked for afterwards settle it.
        for status in (Status.PUBLISHED, Status.DRAFT, Status.ARCHIVED):
            async for listed in self._repository.listing(status):
                seen.update(summary.id for summary in listed)
                changed += await self._apply(listed)
        async for batch in self._changes(started):
            seen.update(change.id for change in batch)
            changed += await self._apply(batch)
        # What was learnt meanwhile may be in no index yet; of what was deleted nothing is retained.
        seen.update(self._learnt)
        return changed + self._directory.retain(seen)

    def _changes(self, since: datetime) -> AsyncIterator[Sequence[Change]]:
        return self._repository.changes(since - timedelta(seconds=self._policy.overlap))

    async def _apply(self, batch: Iterable[Change]) -> int:
        changed = 0
        for number, change in enumerate(batch, start=1):
            learnt = self._learnt.get(change.id)
            # A deleted course leaves no version in the directory that an old entry could be held
            # against.
            if learnt is None or learnt[0].version < change.version:
                changed += self._directory.apply(change)
            if number % _CHUNK == 0:
                for _ in self._directory.compact():
                    await asyncio.sleep(0)
                await asyncio.sleep(0)
        return changed

    def _forget_learnt(self) -> None:
        """Beyond the overlap the indexes have caught up, as every refresh supposes."""
        until = self._monotonic() - self._policy.overlap
        self._learnt = {
            course_id: (change, learnt_at)
            for course_id, (change, learnt_at) in self._learnt.items()
            if learnt_at > until
        }
