"""DynamoDB fails in six ways under the running platform: what is answered, and what is not lost."""

from __future__ import annotations

import pytest

from deploy.load.answer import Answer
from deploy.local._faults import Fault
from deploy.local._services import SERVICES
from tests.faults.harness import Platform
from tests.faults.outage import (
    CONTENT,
    CONTENT_JUST_READ,
    COURSE_NEVER_READ,
    COURSE_READ_BEFORE,
    HEALTH,
    LISTING,
    PROGRESS_COURSE,
    PROGRESS_LIST,
    PROGRESS_PUT,
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

# While a circuit is open nobody waits. Far above what an answer takes that asks nobody, and far
# below an attempt's time-out.
AT_ONCE_SECONDS = 1.0
# What may reach DynamoDB in the rounds after a circuit opened: trial calls and the refreshing of
# the directory. Every round asks five times what would reach it, were the circuit closed.
FEW = 12


async def test_dynamodb_refusing_connections(platform: Platform, report: Report) -> None:
    await _dynamodb_fails(platform, report, Fault.REFUSE, "test_dynamodb_refusing_connections")


async def test_dynamodb_hanging(platform: Platform, report: Report) -> None:
    await _dynamodb_fails(platform, report, Fault.HANG, "test_dynamodb_hanging")


async def test_dynamodb_resetting_in_the_middle_of_an_answer(
    platform: Platform, report: Report
) -> None:
    await _dynamodb_fails(
        platform, report, Fault.RESET, "test_dynamodb_resetting_in_the_middle_of_an_answer"
    )


async def test_dynamodb_answering_500(platform: Platform, report: Report) -> None:
    await _dynamodb_fails(platform, report, Fault.ERROR, "test_dynamodb_answering_500")


async def test_dynamodb_throttling(platform: Platform, report: Report) -> None:
    await _dynamodb_fails(platform, report, Fault.THROTTLE, "test_dynamodb_throttling")


async def test_dynamodb_answering_after_10_s(platform: Platform, report: Report) -> None:
    await _dynamodb_fails(platform, report, Fault.SLOW, "test_dynamodb_answering_after_10_s")


async def test_dynamodb_not_answering_to_syn(platform: Platform, report: Report) -> None:
    await _dynamodb_fails(platform, report, Fault.BLACK_HOLE, "test_dynamodb_not_answering_to_syn")


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.THROTTLE])
async def test_dynamodb_fails_under_the_sdks_transport(
    platform: Platform, report: Report, fault: Fault
) -> None:
    """What is answered does not depend on who sends the calls."""
    await platform.restart(*SERVICES, DYNAMODB_TRANSPORT="sdk")
    test = "test_dynamodb_fails_under_the_sdks_transport"
    await _dynamodb_fails(platform, report, fault, test, " (`DYNAMODB_TRANSPORT=sdk`)")
    await platform.restart(*SERVICES)


async def _dynamodb_fails(
    platform: Platform, report: Report, fault: Fault, test: str, setting: str = ""
) -> None:
    learner = Learner(platform, f"outage-{fault.name}{'-sdk' if setting else ''}")
    listing = await platform.ask("GET", "/courses?limit=100")
    course = await platform.ask("GET", f"/courses/{COURSES[0]}")
    started = await learner.write("device-0")
    assert (listing.status, course.status, started.status) == (200, 200, 201)
    health: list[Answer] = []
    reached_before: list[int] = []

    just_read: list[Answer] = []

    async def begin() -> None:
        for _ in range(2):
            just_read.append(await platform.ask("GET", f"/content/{COURSES[0]}-0"))
            await platform.dynamodb.switch(fault)

    async def when_known() -> None:
        reached_before.append(platform.dynamodb.requests[fault])
        health.extend(await ask_health(platform, SERVICES))

    async with learner.writing():
        observed = await observe(
            endpoints_of(platform, learner),
            begin=begin,
            end=lambda: platform.dynamodb.switch(Fault.NONE),
            when_known=when_known,
        )

    # The listing stands in memory: the same, whatever DynamoDB does.
    for answer in observed[LISTING].during:
        assert (answer.status, answer.body) == (200, listing.body)
    # A course that was read before is answered from memory, and says that and how old it is.
    for answer in observed[COURSE_READ_BEFORE].during:
        assert (answer.status, answer.body) == (200, course.body)
        assert answer.headers["Warning"] == '110 - "Response is Stale"'
        assert int(answer.headers["Age"]) >= 0
    # What is not known can not be answered: when to try again, and never a 500.
    for name in (COURSE_NEVER_READ, CONTENT, PROGRESS_LIST, PROGRESS_COURSE, PROGRESS_PUT):
        for answer in observed[name].during:
            assert answer.status == 503, (name, answer)
            assert int(answer.headers["Retry-After"]) >= 1
        # Once the circuit is open nobody waits, and nothing is sent.
        assert min(answer.seconds for answer in observed[name].later) < AT_ONCE_SECONDS
    assert platform.dynamodb.requests[fault] - reached_before[0] <= FEW
    # What was read a moment ago is remembered for that long, and signing needs nobody.
    assert [answer.status for answer in just_read] == [200, 200]
    # No task is taken out of service for it.
    assert {answer.status for answer in health} == {200}

    assert await learner.problems() == []
    assert learner.history.count(Outcome.ACKNOWLEDGED) > 1
    assert learner.history.count(Outcome.REFUSED) == 0
    assert_nobody_waited_beyond_the_deadline(platform)
    for name, seen in observed.items():
        report.note(
            test,
            f"DynamoDB {fault}{setting}",
            name,
            first=seen.first,
            later=seen.later,
            recovery=seen.recovery,
        )
    report.note(test, f"DynamoDB {fault}{setting}", CONTENT_JUST_READ, first=just_read[1:])
    report.note(test, f"DynamoDB {fault}{setting}", HEALTH, later=health)


async def test_endpoints_recover_without_each_other(platform: Platform, report: Report) -> None:
    """Each closes the circuit again by its own requests, when nobody asks for anything else."""
    learner = Learner(platform, "alone")
    await learner.write()
    endpoints = {endpoint.name: endpoint for endpoint in endpoints_of(platform, learner)}

    async def nothing() -> None:
        pass

    # The first three are of three services; a writer must do without a reader's help too.
    for names in ((COURSE_NEVER_READ, CONTENT, PROGRESS_COURSE), (PROGRESS_PUT,)):
        observed = await observe(
            [endpoints[name] for name in names],
            begin=lambda: platform.dynamodb.switch(Fault.REFUSE),
            end=lambda: platform.dynamodb.switch(Fault.NONE),
            when_known=nothing,
        )
        for name, seen in observed.items():
            assert {answer.status for answer in seen.during} == {503}, name
            report.note(
                "test_endpoints_recover_without_each_other",
                f"DynamoDB {Fault.REFUSE}, nothing else asked for",
                name,
                first=seen.first,
                later=seen.later,
                recovery=seen.recovery,
            )
    assert await learner.problems() == []
    assert_nobody_waited_beyond_the_deadline(platform)
