"""What befalls the processes themselves: no daemon for traces, another time, a loop that stands still,
a death in the middle of a write."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from deploy.load.answer import Answer
from deploy.local._faults import Fault
from deploy.local._ports import port_of, reserve
from deploy.local._services import SERVICES
from tests.faults.harness import PATIENCE_SECONDS, Platform
from tests.faults.outage import (
    CONTENT,
    CONTENT_JUST_READ,
    COURSE_NEVER_READ,
    COURSE_READ_BEFORE,
    HEALTH,
    LISTING,
    POLL_SECONDS,
    PROGRESS_COURSE,
    PROGRESS_LIST,
    PROGRESS_PUT,
    VOLLEY,
    ask_health,
    assert_nobody_waited_beyond_the_deadline,
    endpoints_of,
    observe,
)
from tests.faults.report import Report
from tests.faults.samples import COURSES
from tests.load.history import Outcome
from tests.load.learner import Learner

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

EVERYTHING = "every endpoint"
HOUR = 3600.0
STANDSTILL_SECONDS = 0.5


async def test_xray_daemon_absent(platform: Platform, report: Report) -> None:
    with reserve() as nobody:
        daemon = f"127.0.0.1:{port_of(nobody)}"
        await platform.restart(*SERVICES, TRACING_DAEMON=daemon, TRACING_RATE="1")
        learner = Learner(platform, "untraced")
        await learner.write("device-0")
        endpoints = endpoints_of(platform, learner)
        answers = await asyncio.gather(*(e.ask() for e in endpoints for _ in range(VOLLEY)))
    assert {answer.status for answer in answers} == {200}
    health = await ask_health(platform, SERVICES)
    assert {answer.status for answer in health} == {200}
    assert await learner.problems() == []
    # Not a word for every span that nobody takes, and no error.
    for service in SERVICES:
        assert not [e for e in platform.process(service).events if e.get("level") == "error"]
    assert_nobody_waited_beyond_the_deadline(platform)
    report.note("test_xray_daemon_absent", "X-Ray daemon absent", EVERYTHING, later=answers)
    report.note("test_xray_daemon_absent", "X-Ray daemon absent", HEALTH, later=health)
    await platform.restart(*SERVICES)


@pytest.mark.parametrize("hours", [1, -1])
async def test_clock_jumps_by_an_hour(platform: Platform, report: Report, hours: int) -> None:
    """AWS refuses signatures of another time. Where it doesn't say what time it is, that is as if
    DynamoDB were gone, and no longer than that."""
    platform.dynamodb_dialect.says_when = False
    learner = Learner(platform, f"clock-{hours}")
    listing = await platform.ask("GET", "/courses?limit=100")
    course = await platform.ask("GET", f"/courses/{COURSES[0]}")
    started = await learner.write("device-0")
    assert (listing.status, course.status, started.status) == (200, 200, 201)
    health: list[Answer] = []
    strangers: list[Answer] = []
    just_read: list[Answer] = []

    async def begin() -> None:
        for _ in range(2):
            just_read.append(await platform.ask("GET", f"/content/{COURSES[0]}-0"))
            platform.move_clock(hours * HOUR)
        just_read.append(await platform.fetch(str(just_read[-1].json["url"])))

    async def end() -> None:
        platform.move_clock(0)

    async def when_known() -> None:
        health.extend(await ask_health(platform, SERVICES))
        if hours < 0:
            # Whose token has not been seen by this process yet: to its clock it is of the future.
            strangers.append(await platform.ask("GET", "/progress/me", user="author"))

    async with learner.writing():
        observed = await observe(
            endpoints_of(platform, learner),
            begin=begin,
            end=end,
            when_known=when_known,
        )
    for answer in observed[LISTING].during:
        assert (answer.status, answer.body) == (200, listing.body)
    for answer in observed[COURSE_READ_BEFORE].during:
        assert (answer.status, answer.body) == (200, course.body)
        assert "Warning" in answer.headers
    # 503 and not 500: nothing is wrong with the request, and it will be served.
    for name in (COURSE_NEVER_READ, CONTENT, PROGRESS_LIST, PROGRESS_COURSE, PROGRESS_PUT):
        for answer in observed[name].during:
            assert (answer.status, answer.code) == (503, "dependency_unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
    assert {(answer.status, answer.code) for answer in strangers} <= {(401, "invalid_token")}
    # What is remembered is signed all the same, for another time: S3 does not take it.
    assert [answer.status for answer in just_read] == [200, 200, 403]
    assert {answer.status for answer in health} == {200}
    assert await learner.problems() == []
    assert learner.history.count(Outcome.ACKNOWLEDGED) > 1
    assert_nobody_waited_beyond_the_deadline(platform)
    fault = f"Wall clock jumps {'forward' if hours > 0 else 'back'} by an hour"
    for name, seen in observed.items():
        report.note(
            "test_clock_jumps_by_an_hour",
            fault,
            name,
            first=seen.first,
            later=seen.later,
            recovery=seen.recovery,
        )
    report.note(
        "test_clock_jumps_by_an_hour",
        fault,
        CONTENT_JUST_READ,
        first=just_read[1:2],
        answer="200, with a URL that S3 refuses (403)",
    )
    report.note("test_clock_jumps_by_an_hour", fault, HEALTH, later=health)


@pytest.mark.parametrize("minutes", [20, -20])
async def test_clock_is_corrected_by_dynamodb(
    platform: Platform, report: Report, minutes: int
) -> None:
    """DynamoDB's refusal says what time it is, and everything is signed for that from then on."""
    learner = Learner(platform, f"corrected-{minutes}")
    await learner.write("device-0")
    endpoints = endpoints_of(platform, learner)
    platform.move_clock(minutes * 60)
    first = [await endpoint.ask() for endpoint in endpoints]
    answers = await asyncio.gather(*(e.ask() for e in endpoints for _ in range(VOLLEY)))
    unsigned = await platform.ask("GET", f"/content/{platform.unread_course()}-0")
    assert {answer.status for answer in (*first, *answers, unsigned)} == {200}
    assert (await platform.fetch(str(unsigned.json["url"]))).status == 200
    # Right again, and again of another time to what was learnt.
    platform.move_clock(0)
    answers += await asyncio.gather(*(e.ask() for e in endpoints))
    assert {answer.status for answer in answers} == {200}
    assert await learner.problems() == []
    assert_nobody_waited_beyond_the_deadline(platform)
    fault = (
        f"Wall clock jumps {'forward' if minutes > 0 else 'back'} by 20 minutes, and DynamoDB says"
    )
    report.note(
        "test_clock_is_corrected_by_dynamodb", fault, EVERYTHING, first=first, later=answers
    )


@pytest.mark.parametrize("minutes", [4, -4])
async def test_clock_jumps_by_four_minutes(
    platform: Platform, report: Report, minutes: int
) -> None:
    """Within what AWS tolerates, a clock that was set is no fault."""
    learner = Learner(platform, f"clock-minutes-{minutes}")
    await learner.write("device-0")
    endpoints = endpoints_of(platform, learner)
    platform.move_clock(minutes * 60)
    answers = await asyncio.gather(*(e.ask() for e in endpoints for _ in range(VOLLEY)))
    platform.move_clock(0)
    answers += await asyncio.gather(*(e.ask() for e in endpoints))
    assert {answer.status for answer in answers} == {200}
    assert await learner.problems() == []
    assert_nobody_waited_beyond_the_deadline(platform)
    fault = f"Wall clock jumps {'forward' if minutes > 0 else 'back'} by 4 minutes"
    report.note("test_clock_jumps_by_four_minutes", fault, EVERYTHING, later=answers)


async def test_event_loop_blocked_500_ms(platform: Platform, report: Report) -> None:
    """A process that stands still for half a second answers late, and takes no dependency for dead."""
    learner = Learner(platform, "blocked")
    await learner.write("device-0")
    endpoints = endpoints_of(platform, learner)
    seen = {service: len(platform.process(service).events) for service in SERVICES}
    answers: list[Answer] = []
    for service in SERVICES:
        process_id = platform.process(service).process_id
        asking = [asyncio.create_task(e.ask()) for e in endpoints for _ in range(VOLLEY)]
        # So the requests are under way, some of them in the middle of a call to DynamoDB.
        while not any(task.done() for task in asking):
            await asyncio.sleep(0)
        os.kill(process_id, signal.SIGSTOP)
        try:
            await asyncio.sleep(STANDSTILL_SECONDS)
        finally:
            os.kill(process_id, signal.SIGCONT)
        answers += await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {200}
    for service in SERVICES:
        events = platform.process(service).events[seen[service] :]
        assert "circuit_state_changed" not in {event.get("event") for event in events}
    assert await learner.problems() == []
    assert_nobody_waited_beyond_the_deadline(platform)
    report.note(
        "test_event_loop_blocked_500_ms", "Event loop blocked 500 ms", EVERYTHING, first=answers
    )


async def test_progress_killed_during_a_put(platform: Platform, report: Report) -> None:
    """SIGKILL while DynamoDB has the write and its answer is under way: the client can not know."""
    learner = Learner(platform, "killed")
    await learner.write("device-0")
    deaths = []
    recoveries = []
    async with learner.writing():
        # Once in the middle of ordinary writes, once with writes that are certainly under way.
        for fault in (Fault.NONE, Fault.SLOW):
            await platform.dynamodb.switch(fault)
            met = platform.dynamodb.requests[fault]
            asking = [asyncio.create_task(learner.write()) for _ in range(VOLLEY)]
            async with asyncio.timeout(PATIENCE_SECONDS):
                while platform.dynamodb.requests[fault] < met + VOLLEY:
                    await asyncio.sleep(0)
            await platform.kill("progress_tracking")
            deaths += await asyncio.gather(*asking)
            deaths.append(await learner.write("device-0"))
            await platform.dynamodb.switch(Fault.NONE)
            began = time.monotonic()
            await platform.start("progress_tracking")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await learner.write()).status != 200:
                    await asyncio.sleep(POLL_SECONDS)
            recoveries.append(time.monotonic() - began)
    assert {answer.status for answer in deaths} <= {200, 502, 503}
    assert {answer.status for answer in deaths} & {502, 503}
    assert await learner.problems() == []
    assert learner.history.count(Outcome.UNKNOWN) > 0
    # The gateway in front is what answers here; what it says comes from nobody's deadline.
    assert_nobody_waited_beyond_the_deadline(platform)
    report.note(
        "test_progress_killed_during_a_put",
        "Progress tracking killed (SIGKILL) during a PUT",
        PROGRESS_PUT,
        first=deaths,
        recovery=max(recoveries),
    )
