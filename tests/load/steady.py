"""A steady load of reads and progress writes, by several devices of several learners.

Owns the pace, the mixture and the counting: what was asked, what failed, how long it took, and whether
what was acknowledged is there at the end. Nothing is sent twice, so whatever a client would notice is a
failure here. It knows no deployment: what happens meanwhile is the caller's.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deploy.load.answer import Answer
from deploy.load.connection import Connection
from tests.load.history import Outcome
from tests.load.learner import Learner

# Longer than any request may take in a service: who gets nothing until then never will.
PATIENCE_SECONDS = 30.0
# A course takes so many updates, then another begins: their answers show the whole course.
_UPDATES_PER_COURSE = 40
_BATCH = 3


@dataclass(frozen=True)
class Plan:
    """How much: `devices` clients, each `requests_per_second`, none more than `most_requests`."""

    devices: int = 8
    requests_per_second: float = 5.0
    most_requests: int = 5000


@dataclass(frozen=True)
class Failure:
    """A request that did not get its answer. `moment` is monotonic."""

    moment: float
    service: str
    answer: Answer

    def __str__(self) -> str:
        answer = self.answer
        what = answer.status or "no answer"
        return (
            f"{answer.method} {answer.path} of {self.service}: {what} after {answer.seconds:.3f} s: "
            f"{answer.body!r}"
        )


@dataclass
class Counts:
    """What was asked of one service. `seconds` has how long each answer took."""

    requests: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class Device:
    """One learner's device: a connection to each service, and one request after the other."""

    def __init__(
        self, bases: Mapping[str, str], tokens: Mapping[str, str], note: Callable[[Answer], None]
    ) -> None:
        self._connections = {
            service: Connection(url, patience_seconds=PATIENCE_SECONDS)
            for service, url in bases.items()
        }
        self._tokens = tokens
        self._note = note

    async def ask(
        self,
        method: str,
        path: str,
        *,
        user: str | None = "learner-a",
        body: object = None,
        service: str | None = None,
    ) -> Answer:
        """One request, noted."""
        headers = {} if user is None else {"Authorization": f"Bearer {self._tokens[user]}"}
        connection = self._connections[service or service_of(path)]
        answer = await connection.ask(method, path, headers=headers, body=body)
        self._note(answer)
        return answer

    def close(self) -> None:
        """Close its connections."""
        for connection in self._connections.values():
            connection.close()


class SteadyLoad:
    """The load; `running` begins and ends it. Once."""

    def __init__(
        self,
        bases: Sequence[Mapping[str, str]],
        tokens: Mapping[str, str],
        *,
        plan: Plan | None = None,
        learners: Sequence[str] = ("learner-a", "learner-b"),
        courses: str = "/courses?limit=5",
    ) -> None:
        """`bases`: where each service is asked, by one device after the other; `tokens`: of each
        user in `learners`; `courses`: a page of the courses that are read, with their contents."""
        self.plan = plan or Plan()
        self.counts = {service: Counts() for service in bases[0]}
        self.acknowledged_writes = 0
        self.began = time.monotonic()
        self._bases = bases
        self._tokens = tokens
        self._users = learners
        self._page = courses
        self._courses: list[str] = []
        self._contents: list[str] = []
        self._run = secrets.token_hex(4)
        self._reader = self._device(noted=False)
        self._numbers = itertools.count()
        self._learners: list[tuple[str, Learner]] = []
        self._current: dict[str, Learner] = {}

    @property
    def requests(self) -> int:
        """Everything that was asked so far."""
        return sum(counts.requests for counts in self.counts.values())

    @property
    def failures(self) -> list[Failure]:
        """Everything that failed so far, in its order."""
        found = [one for counts in self.counts.values() for one in counts.failures]
        return sorted(found, key=lambda failure: failure.moment)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SteadyLoad]:
        """Every device asks until the block ends or its bound is reached. Then all are answered."""
        await self._learn_what_there_is()
        stop = asyncio.Event()
        self.began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(self.plan.devices):
                group.create_task(self._keep_asking(number, stop))
            try:
                await self.more_requests(2 * self.plan.devices)
                yield self
            finally:
                stop.set()

    async def more_requests(self, count: int) -> None:
        """Wait until so many more have been asked, whatever came of them."""
        goal = self.requests + count
        async with asyncio.timeout(10 * PATIENCE_SECONDS):
            while self.requests < goal:
                await asyncio.sleep(0.01)

    async def lost_writes(self) -> list[str]:
        """Read every course back: what is wrong with what the service says, one line each.

        By the rules of progress each acknowledged update must be in what is read.
        """
        found = []
        try:
            for user, learner in self._learners:
                problems = await learner.problems()
                found += [f"{user} in {learner.history.course_id}: {one}" for one in problems]
        finally:
            self._reader.close()
        return found

    def __str__(self) -> str:
        lines = [f"{'service':20} {'requests':>8} {'failures':>8} {'p50 ms':>7} {'max ms':>7}"]
        for service, counts in self.counts.items():
            median = statistics.median(counts.seconds) * 1000 if counts.seconds else 0.0
            longest = max(counts.seconds, default=0.0) * 1000
            lines.append(
                f"{service:20} {counts.requests:8} {len(counts.failures):8} "
                f"{median:7.1f} {longest:7.1f}"
            )
        kinds = Counter(_kind(failure.answer) for failure in self.failures)
        lines += [f"  {count} x {kind}" for kind, count in sorted(kinds.items())]
        return "\n".join(lines)

    async def _learn_what_there_is(self) -> None:
        page = await self._reader.ask("GET", self._page, user=self._users[0])
        assert page.status == 200, page
        self._courses = [course["id"] for course in page.json["items"]]
        for course in self._courses:
            answer = await self._reader.ask("GET", f"/courses/{course}", user=self._users[0])
            assert answer.status == 200, answer
            self._contents += [
                item["contentId"] for section in answer.json["outline"] for item in section["items"]
            ]

    def _device(self, number: int = 0, *, noted: bool = True) -> Device:
        bases = self._bases[number % len(self._bases)]
        return Device(bases, self._tokens, self._note if noted else lambda answer: None)

    async def _keep_asking(self, number: int, stop: asyncio.Event) -> None:
        # Devices of one user are at every base, and so write to the same courses there.
        user = self._users[number // len(self._bases) % len(self._users)]
        device = self._device(number)
        name = f"device-{number}"
        interval = 1 / self.plan.requests_per_second
        # Spread over the first interval, so that they do not ask in step.
        due = time.monotonic() + interval * number / self.plan.devices
        try:
            for step in range(self.plan.most_requests):
                with_delay = due - time.monotonic()
                if with_delay > 0:
                    await _wait(stop, with_delay)
                if stop.is_set():
                    return
                # Who was held up does not make up for it: the pace is an upper bound.
                due = max(due + interval, time.monotonic())
                await self._step(step + number)(device, user, name, step)
        finally:
            device.close()

    def _step(self, number: int) -> Callable[[Device, str, str, int], Awaitable[None]]:
        return (
            self._read_page,
            self._heartbeat,
            self._read_content,
            self._read_course,
            self._read_progress,
            self._read_content,
            self._batch,
            self._read_course,
            self._list_progress,
        )[number % 9]

    async def _read_page(self, device: Device, user: str, name: str, step: int) -> None:
        await device.ask("GET", self._page if step % 2 else "/courses?limit=2", user=user)

    async def _read_course(self, device: Device, user: str, name: str, step: int) -> None:
        course = self._courses[step % len(self._courses)]
        await device.ask("GET", f"/courses/{course}", user=user)

    async def _read_content(self, device: Device, user: str, name: str, step: int) -> None:
        content = self._contents[step % len(self._contents)]
        await device.ask("GET", f"/content/{content}", user=user)

    async def _heartbeat(self, device: Device, user: str, name: str, step: int) -> None:
        answer = await self._learner(user).write(name, through=device)
        self.acknowledged_writes += answer.status in (200, 201)

    async def _batch(self, device: Device, user: str, name: str, step: int) -> None:
        learner = self._learner(user)
        before = learner.history.count(Outcome.ACKNOWLEDGED)
        await learner.write_batch(name, updates=_BATCH, through=device)
        self.acknowledged_writes += learner.history.count(Outcome.ACKNOWLEDGED) - before

    async def _read_progress(self, device: Device, user: str, name: str, step: int) -> None:
        learner = self._learner(user)
        # 404 until its first write has been answered.
        if learner.history.count(Outcome.ACKNOWLEDGED):
            await device.ask("GET", learner.path, user=user)
        else:
            await self._list_progress(device, user, name, step)

    async def _list_progress(self, device: Device, user: str, name: str, step: int) -> None:
        await device.ask("GET", "/progress/me?limit=5", user=user)

    def _learner(self, user: str) -> Learner:
        """Who writes to the user's course of the moment."""
        found = self._current.get(user)
        if found is None or len(found.history.entries) >= _UPDATES_PER_COURSE:
            course = f"load-{self._run}-{next(self._numbers)}"
            found = self._current[user] = Learner(self._reader, course, user=user)
            self._learners.append((user, found))
        return found

    def _note(self, answer: Answer) -> None:
        service = service_of(answer.path)
        counts = self.counts[service]
        counts.requests += 1
        counts.seconds.append(answer.seconds)
        if not _is_well(answer):
            counts.failures.append(Failure(time.monotonic(), service, answer))


def service_of(path: str) -> str:
    """The service that a path of the APIs belongs to."""
    return {
        "courses": "course_catalog",
        "content": "content_delivery",
        "progress": "progress_tracking",
    }[path.split("/")[1].partition("?")[0]]


def _is_well(answer: Answer) -> bool:
    if answer.status not in (200, 201):
        return False
    if answer.method == "POST":
        return all(result["status"] in (200, 201) for result in answer.json["results"])
    return True


def _kind(answer: Answer) -> str:
    words = answer.body[:200].decode("utf-8", "replace")
    return f"{answer.method} {answer.path.split('?')[0].split('/')[1]}: {answer.status} {words}"


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
