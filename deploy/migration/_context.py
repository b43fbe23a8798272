"""What every part of the engine has: the mapping, the tables, the clock, the settings, patience.

Owns how calls are repeated. A read is repeated until it is answered. So is a write, because every
write of the migration is conditional and twice is the same as once; but before one whose answer was
lost is repeated, that is written down (`Control.disturb`), because the first may still be on its way.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from deploy.migration._ports import Database, Throttled, Unanswered
from deploy.migration.mapping import SplitMapping, Table

Result = TypeVar("Result")

Tell = Callable[[str, float, float], None]
"""Hears what is being done, how much of it is, and of how much (0 where nobody knows)."""

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0


def silent(what: str, done: float, total: float) -> None:
    """A `Tell` for those whom nobody watches."""


@dataclass(frozen=True)
class Settings:
    """How the migration runs; times in seconds."""

    segments: int = 8
    """Parts of the source that are copied at the same time."""
    page: int = 100
    """Items of the copy that are read at once, and are all written before the next ones."""
    scan_page: int = 1_000
    """Items that are read at once where a table is gone through and little or nothing is written; AWS
    gives 1 MB at most."""
    batch: int = 500
    """Records of one GetRecords, whose answer has 1 MB at most."""
    concurrency: int = 8
    """Keys of one batch, and items of one page, that are written at the same time."""
    poll: float = 0.2
    look: float = 1.0
    """A worker looks so often what there is to do."""
    discover: float = 5.0
    """New shards are looked for so often, and at once where one has ended (AWS allows ten
    DescribeStream a second)."""
    successor: float = 300.0
    """A shard that has ended is followed by a child within it, or else the stream was turned off."""
    lease: float = 15.0
    """A worker that was not heard of for so long has lost its work."""
    settle: float = 360.0
    """After so long no request can still be on its way: AWS refuses a signature that is five
    minutes old."""
    gate_lease: float = 1.0
    """The application asks who owns a module at least this often."""
    longest_request: float = 2.0
    """A request of the application that passed the gate ends within it."""
    fence: float = 30.0
    """A fence that stands longer is ended by the application itself."""
    most_unread: float = 72_000.0
    """A shard whose beginning was not read for so long (20 h) counts as lost: after 24 h records go
    in silence."""
    clock_skew: float = 3_600.0
    """The clocks of who migrates and of DynamoDB are not further apart: what is so much older than an
    epoch is left to its backfill (docs/adr/0149)."""
    max_lag: float = 60.0
    """The copy waits while replication is further behind."""
    units_per_second: float = 1_000.0
    """Units that the copy takes of the source, and of each target, all workers together."""
    max_lag_to_switch: float = 1.0
    touched_to_switch: int = 100
    """A switch fences once no more items were touched since they were last compared; more are
    compared before the fence, again and again, while users notice nothing, and fewer too as long as
    that leaves less than half of them (docs/adr/0138)."""


class Patience:
    """Repeats a call that was throttled or not answered, with growing, jittered pauses."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]], chance: random.Random) -> None:
        self._sleep = sleep
        self._chance = chance

    async def answer(
        self,
        call: Callable[[], Awaitable[Result]],
        *,
        before: Callable[[], None] = lambda: None,
        unanswered: Callable[[], Awaitable[None]] | None = None,
        throttled: Callable[[], None] = lambda: None,
    ) -> Result:
        """What the call gives. `before` is asked before every attempt, and may raise."""
        pause = _FIRST_PAUSE
        while True:
            before()
            try:
                return await call()
            except Throttled:
                throttled()
            except Unanswered:
                if unanswered is not None:
                    await unanswered()
            await self._sleep(pause * self._chance.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)


@dataclass(frozen=True)
class Context:
    """One process of the migration, a worker or a command. `name` is unique to it.

    `clock` is monotonic; `wall` is the time of day, for people and for durations of hours.
    """

    name: str
    mapping: SplitMapping
    database: Database
    control: Table
    clock: Callable[[], float]
    wall: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    chance: random.Random
    settings: Settings = field(default_factory=Settings)

    @cached_property
    def patience(self) -> Patience:
        return Patience(self.sleep, self.chance)

    def token(self) -> str:
        """A text that was never there before."""
        return f"{self.chance.getrandbits(96):024x}"
