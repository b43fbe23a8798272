"""Asks less while this machine does not keep up, and as before afterwards.

On AWS a migration takes capacity that users do not miss. Here one emulator answers users, workers and
commands alike, one after the other. What is asked of it beyond that only waits: replication falls behind
so that nothing can be switched, and requests take longer than the application's gate lets them, which
users see. Owns when that is, and the wait until replication has caught up.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import Final

from deploy.migration._demo._facts import percentile
from deploy.migration._demo._load import Load
from deploy.migration._demo._report import Report
from libs.console import Style

LOOKS: Final = 10
"""Lag is noted once a second: as many seconds are judged together."""
LAG_TO_SWITCH_SECONDS: Final = 1.0
BEHIND_SECONDS: Final = 20.0
LATE_SECONDS: Final = 0.5
"""A quarter of the gate's `longest_request`."""
LATE_PERCENT: Final = 95
LEAST_PER_SECOND: Final = 2.0
LEAST_SHARE_IF_LATE: Final = 0.25
"""While it is copied most of what the emulator does is not the load's: less than this makes nobody wait less."""


class KeepingUp:
    """Judges a load by its answers and by how far replication is behind.

    Args:
        lags: seconds that it was behind; others add one a second.
        clock: monotonic seconds, those of the load's requests.
    """

    def __init__(
        self,
        load: Load,
        lags: Sequence[float],
        report: Report,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._load = load
        self._lags = lags
        self._report = report
        self._clock = clock
        self._sleep = sleep
        self._judged_from = 0.0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Until the block ends the load is halved whenever this machine does not keep up."""
        per_second = self._load.per_second
        watching = asyncio.create_task(self._watch(LEAST_SHARE_IF_LATE * per_second))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            self._load.ask(per_second)

    @contextmanager
    def changing_hands(self) -> Iterator[None]:
        """A module changes its owner: its requests wait for that, however idle the machine is."""
        self._judged_from = inf
        try:
            yield
        finally:
            self._judged_from = self._clock()

    async def caught_up(self) -> None:
        """Wait until a switch would not refuse for lag."""
        waited = 0
        while True:
            await self._looks(1)
            if self._lags[-1] <= LAG_TO_SWITCH_SECONDS:
                break
            waited += 1
            self._report.goes_on(f"replication is {self._lags[-1]:.0f} s behind", 0, 0)
            if waited % LOOKS == 0:
                self._slow_down(LEAST_PER_SECOND)
        self._report.done()

    async def _watch(self, least_if_late: float) -> None:
        while True:
            began, lag = self._clock(), self._lags[-1] if self._lags else 0.0
            await self._looks(LOOKS)
            if self._lags[-1] > max(BEHIND_SECONDS, lag + LOOKS / 2):
                self._slow_down(LEAST_PER_SECOND)
            elif self._is_late(began):
                self._slow_down(least_if_late)

    async def _looks(self, count: int) -> None:
        goal = len(self._lags) + count
        while len(self._lags) < goal:
            await self._sleep(0.1)

    def _is_late(self, since: float) -> bool:
        seconds: dict[str, list[float]] = defaultdict(list)
        for request in self._load.counts.requests:
            if request.began >= self._judged_from and request.began + request.seconds >= since:
                seconds[request.module].append(request.seconds)
        return any(percentile(taken, LATE_PERCENT) > LATE_SECONDS for taken in seconds.values())

    def _slow_down(self, least: float) -> None:
        slower = max(self._load.per_second / 2, least)
        if slower >= self._load.per_second:
            return
        self._load.ask(slower)
        self._report.happened(
            "slowedDown",
            f"this machine does not keep up: {slower:g} requests a second for now",
            {"perSecond": slower},
            style=Style.YELLOW,
        )
