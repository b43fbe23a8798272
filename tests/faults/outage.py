"""How an outage is examined: what is answered before, when it begins, while it lasts, and after.

Owns the order of things and the measuring; what must hold is asserted by the tests, and here only
what must hold in every outage of every dependency.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

from deploy.load.answer import Answer
from tests.faults.harness import (
    PATIENCE_SECONDS,
    REQUEST_DEADLINE_SECONDS,
    SCHEDULING_SLACK_SECONDS,
    Platform,
)
from tests.faults.samples import COURSES
from tests.load.learner import Learner

# More failures than open a circuit.
VOLLEY = 6
ROUNDS_WHILE_OPEN = 7
POLL_SECONDS = 0.05

Ask = Callable[[], Coroutine[None, None, Answer]]


@dataclass(frozen=True)
class Endpoint:
    """An endpoint as the table names it, how it is asked, and when it answers as before."""

    name: str
    ask: Ask
    well: Callable[[Answer], bool]


@dataclass
class Observed:
    """The answers of one endpoint during an outage, and how long after it all is as before."""

    first: list[Answer] = field(default_factory=list)
    later: list[Answer] = field(default_factory=list)
    recovery: float | None = None

    @property
    def during(self) -> Sequence[Answer]:
        """Every answer while the fault lasted."""
        return [*self.first, *self.later]


async def observe(
    endpoints: Sequence[Endpoint],
    *,
    begin: Callable[[], Awaitable[None]],
    end: Callable[[], Awaitable[None]],
    when_known: Callable[[], Awaitable[None]],
) -> dict[str, Observed]:
    """Begin the fault, ask everything, end it, and wait until all answer as before; by name.

    `when_known` runs once every endpoint has failed often enough to be known for it.
    """
    found = {endpoint.name: Observed() for endpoint in endpoints}
    await begin()
    await asyncio.gather(*(_volley(endpoint, found[endpoint.name].first) for endpoint in endpoints))
    await when_known()
    for _ in range(ROUNDS_WHILE_OPEN):
        for endpoint in endpoints:
            found[endpoint.name].later.append(await endpoint.ask())
    began = time.monotonic()
    await end()
    recovered = await asyncio.gather(*(_until_well(endpoint) for endpoint in endpoints))
    for endpoint, moment in zip(endpoints, recovered, strict=True):
        found[endpoint.name].recovery = moment - began
    return found


async def _volley(endpoint: Endpoint, answers: list[Answer]) -> None:
    answers += await asyncio.gather(*(endpoint.ask() for _ in range(VOLLEY)))


async def _until_well(endpoint: Endpoint) -> float:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not endpoint.well(await endpoint.ask()):
            await asyncio.sleep(POLL_SECONDS)
    return time.monotonic()


def endpoints_of(platform: Platform, learner: Learner) -> list[Endpoint]:
    """The platform's endpoints, two of them with a course and a content that nobody has read yet."""
    course = platform.unread_course()

    def get(path: str) -> Ask:
        return lambda: platform.ask("GET", path)

    def is_200(answer: Answer) -> bool:
        return answer.status == 200

    return [
        Endpoint(LISTING, get("/courses?limit=100"), _is_refreshed),
        Endpoint(COURSE_READ_BEFORE, get(f"/courses/{COURSES[0]}"), _is_fresh),
        Endpoint(COURSE_NEVER_READ, get(f"/courses/{course}"), is_200),
        Endpoint(CONTENT, get(f"/content/{course}-0"), is_200),
        Endpoint(PROGRESS_LIST, get("/progress/me"), is_200),
        Endpoint(PROGRESS_COURSE, get(learner.path), is_200),
        Endpoint(PROGRESS_PUT, lambda: learner.write(), lambda a: a.status in (200, 201)),
    ]


LISTING = "`GET /courses`"
COURSE_READ_BEFORE = "`GET /courses/{id}`, read before"
COURSE_NEVER_READ = "`GET /courses/{id}`, never read"
CONTENT = "`GET /content/{id}`"
CONTENT_JUST_READ = "`GET /content/{id}`, read within the last 5 s"
PROGRESS_LIST = "`GET /progress/{user}`"
PROGRESS_COURSE = "`GET /progress/{user}/{course}`"
PROGRESS_PUT = "`PUT /progress/{user}/{course}`"
HEALTH = "`/healthz`, `/readyz`"


def _is_fresh(answer: Answer) -> bool:
    return answer.status == 200 and "Warning" not in answer.headers


def _is_refreshed(answer: Answer) -> bool:
    # One refresh every five seconds or so: what is younger than a second has just been one.
    return _is_fresh(answer) and int(answer.headers["Age"]) < 1


async def ask_health(platform: Platform, services: Sequence[str]) -> list[Answer]:
    """Liveness and readiness of each service, asked past the gateway, which has no such paths."""
    return [
        await platform.ask("GET", path, service=service, user=None)
        for service in services
        for path in ("/healthz", "/readyz")
    ]


def assert_nobody_waited_beyond_the_deadline(platform: Platform) -> None:
    """No request of this test took longer than its deadline; the next test starts at none."""
    slowest = max(platform.answers, key=lambda answer: answer.seconds)
    platform.answers.clear()
    bound = REQUEST_DEADLINE_SECONDS + SCHEDULING_SLACK_SECONDS
    assert slowest.seconds < bound, f"{slowest} took longer than {bound} s"
