"""S3 fails in six ways: content delivery signs by itself and goes on, the URL's user meets the fault."""

from __future__ import annotations

import asyncio

import pytest

from deploy.load.answer import Answer
from deploy.local._faults import Fault
from tests.faults.harness import Platform
from tests.faults.outage import CONTENT, VOLLEY, assert_nobody_waited_beyond_the_deadline
from tests.faults.report import Report
from tests.faults.samples import CONTENTS_PER_COURSE

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

AT_THE_URL = "S3, at the URL that was given"
# As a player would wait at most; a client of its own, S3 is not asked by any service.
PLAYER_PATIENCE_SECONDS = 15.0


async def test_s3_refusing_connections(platform: Platform, report: Report) -> None:
    met = await _s3_fails(platform, report, Fault.REFUSE, "test_s3_refusing_connections")
    assert met.status == 0


async def test_s3_hanging(platform: Platform, report: Report) -> None:
    met = await _s3_fails(platform, report, Fault.HANG, "test_s3_hanging", patience_seconds=3)
    assert (met.status, met.seconds >= 3) == (0, True)


async def test_s3_resetting_in_the_middle_of_an_answer(platform: Platform, report: Report) -> None:
    met = await _s3_fails(
        platform, report, Fault.RESET, "test_s3_resetting_in_the_middle_of_an_answer"
    )
    assert met.status == 0


async def test_s3_answering_500(platform: Platform, report: Report) -> None:
    met = await _s3_fails(platform, report, Fault.ERROR, "test_s3_answering_500")
    assert (met.status, b"<Code>InternalError</Code>" in met.body) == (500, True)


async def test_s3_throttling(platform: Platform, report: Report) -> None:
    met = await _s3_fails(platform, report, Fault.THROTTLE, "test_s3_throttling")
    assert (met.status, b"<Code>SlowDown</Code>" in met.body) == (503, True)


async def test_s3_answering_after_10_s(platform: Platform, report: Report) -> None:
    met = await _s3_fails(platform, report, Fault.SLOW, "test_s3_answering_after_10_s")
    assert (met.status, met.seconds >= 10) == (200, True)


async def _s3_fails(
    platform: Platform,
    report: Report,
    fault: Fault,
    test: str,
    *,
    patience_seconds: float = PLAYER_PATIENCE_SECONDS,
) -> Answer:
    """Ask for content while S3 fails; gives what the URL's user meets."""
    course = platform.unread_course()
    before = await platform.ask("GET", f"/content/{course}-0")
    assert before.status == 200
    await platform.s3.switch(fault)
    asked = platform.s3.connections
    # Contents never read and one that was: all are signed.
    answers = await asyncio.gather(
        *(
            platform.ask("GET", f"/content/{course}-{number % CONTENTS_PER_COURSE}")
            for number in range(VOLLEY)
        )
    )
    assert {answer.status for answer in answers} == {200}
    # The service has not so much as connected: what S3 does is between it and the URL's user.
    assert platform.s3.connections == asked
    url = str(answers[1].json["url"])
    assert url.startswith(platform.s3.url)
    met = await platform.fetch(url, patience_seconds=patience_seconds)
    await platform.s3.switch(Fault.NONE)
    # A URL that was given meanwhile is as good as any.
    after = await platform.fetch(url)
    assert (after.status, after.body) == (200, f"{course}-1".encode())
    assert_nobody_waited_beyond_the_deadline(platform)
    report.note(test, f"S3 {fault}", CONTENT, first=answers)
    what = f"{met.status}" if met.status else "no whole answer"
    report.note(test, f"S3 {fault}", AT_THE_URL, answer=what, first=[met], recovery=after.seconds)
    return met
