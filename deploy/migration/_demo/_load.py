"""A steady load on all three APIs: authors and learners who write, and many who read.

Owns who asks how often, and what is read. Everything that is read is judged (`_history.py`): what was
there before and nobody changes, what was there before and is changed, and what is new. It asks the
gateway alone, and does not know who answers.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

from deploy.migration._demo._device import Counts, Device, Pace, StoppedError, Tempo
from deploy.migration._demo._history import History
from deploy.migration._demo._items import CATALOG, CONTENT, MODULES, PROGRESS, Item
from deploy.migration._demo._processes import ProgramError
from deploy.migration._demo._writers import (
    Drafts,
    Names,
    Writer,
    heartbeats,
    old_content,
    old_courses,
    old_progress,
    uploads,
)

_READERS: Final = 6
_WRITERS: Final = 5
"""Besides the learners."""
_RECENT: Final = 60
_AT_ONCE: Final = 4


@dataclass(frozen=True)
class People:
    """The demo users: a fresh token of each, and how the two learners are called in paths."""

    token: Callable[[str], str]
    learners: Mapping[str, str]


class Load:
    """The load; `running` begins and ends it. Once."""

    def __init__(self, gateway: str, people: People, *, per_second: float, chance: Random) -> None:
        """`per_second`: requests of all devices together, at most."""
        self.history = History()
        self.counts = Counts()
        self._gateway = gateway
        self._people = people
        self._tempo = Tempo(per_second, _WRITERS + len(people.learners) + _READERS)
        self._chance = chance
        self._names = Names(f"{chance.getrandbits(24):06x}")
        self._untouched: dict[str, list[Item]] = {module: [] for module in MODULES}
        self._changed: dict[str, list[Item]] = {module: [] for module in MODULES}
        self._recent = {module: deque[Item](maxlen=_RECENT) for module in MODULES}
        self._all: dict[str, Item] = {}

    async def look_at(self, items: Sequence[Item], tell: Callable[[int], None]) -> None:
        """Read what is there before anybody writes; every second item is to be changed."""
        left = iter(enumerate(items))
        done = itertools.count(1)

        async def look() -> None:
            async with self._device(counts=Counts()) as device:
                for number, item in left:
                    answer = await device.ask(item.module, "GET", item.path, expected=(200, 404))
                    facts = item.facts(answer)
                    if facts is None:
                        raise ProgramError(f"{item} can not be read: {answer}", [])
                    self.history.found(str(item), facts)
                    self._all[str(item)] = item
                    if number % 2:
                        self._changed[item.module].append(item)
                    else:
                        self._untouched[item.module].append(item)
                    tell(next(done))

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(look())
        # Whoever was answered first: the same seed is to ask the same.
        for found in (*self._untouched.values(), *self._changed.values()):
            found.sort(key=str)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask until the block ends; what is under way is answered first."""
        asking = [*self._writers(), *([self._read] * _READERS)]
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            paces = []
            for number, writer in enumerate(asking):
                # Spread over the first interval, so that they do not ask in step.
                pace = Pace(self._tempo, first=number / self._tempo.per_second)
                paces.append(pace)
                group.create_task(self._keep_asking(writer, pace))
            try:
                yield
            finally:
                for pace in paces:
                    pace.stop()

    async def read_all(self, tell: Callable[[int, int], None]) -> None:
        """Read every item once more, when nothing is written any more."""
        left = iter(list(self._all.values()))
        done = itertools.count(1)

        async def read() -> None:
            async with self._device(counts=self.counts) as device:
                for item in left:
                    await device.read(item, is_last=True)
                    tell(next(done), len(self._all))

        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(read())

    @property
    def per_second(self) -> float:
        """How often all devices together ask, at most."""
        return self._tempo.per_second

    def ask(self, per_second: float) -> None:
        """Ask so often from now on."""
        self._tempo.per_second = per_second

    def some(self, module: str, count: int) -> list[Item]:
        """Items of a module that are known, the new ones first."""
        return [*self._recent[module], *self._changed[module], *self._untouched[module]][:count]

    async def more_requests(self, module: str, count: int) -> None:
        """Wait until so many more of a module's requests were answered, or were not."""
        goal = self.counts.asked[module] + count
        while self.counts.asked[module] < goal:
            await asyncio.sleep(0.1)

    def _writers(self) -> list[Writer]:
        names, written = self._names, self._written
        old = self._changed
        return [
            Drafts(names, written),
            old_courses(names, old[CATALOG]),
            uploads(names, written),
            old_content(names, old[CONTENT]),
            *(
                heartbeats(names, user, subject, written)
                for user, subject in self._people.learners.items()
            ),
            old_progress(names, old[PROGRESS]),
        ]

    async def _keep_asking(self, writer: Writer, pace: Pace) -> None:
        async with self._device(counts=self.counts, pace=pace) as device:
            try:
                await writer(device)
            except StoppedError:
                return

    def _device(self, *, counts: Counts, pace: Pace | None = None) -> Device:
        return Device(self._gateway, self._people.token, self.history, counts, pace)

    def _written(self, item: Item) -> None:
        self._recent[item.module].append(item)
        self._all[str(item)] = item

    async def _read(self, device: Device) -> None:
        for module in itertools.cycle(MODULES):
            drawn = self._chance.random()
            items: Sequence[Item] = self._untouched[module]
            if drawn < 0.25 and self._recent[module]:
                items = self._recent[module]
            elif drawn < 0.5 and self._changed[module]:
                items = self._changed[module]
            if drawn > 0.9 or not items:
                await self._read_page(device, module)
            else:
                await device.read(self._chance.choice(items))

    async def _read_page(self, device: Device, module: str) -> None:
        """What learners' applications ask besides, of which nothing is judged but that it comes."""
        if module == PROGRESS:
            await device.ask(module, "GET", "/progress/me?limit=5", user="learner-a")
        elif module == CATALOG:
            await device.ask(module, "GET", "/courses?limit=20", user="learner-a")
        else:
            course_id = self._chance.choice(self._untouched[CATALOG]).key
            await device.ask(module, "GET", f"/content?courseId={course_id}&limit=20")
