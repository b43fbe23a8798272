"""The token issuer's keys cannot be had, when a service starts and later."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import pytest

from deploy.local._faults import Fault
from deploy.local._services import SERVICES
from tests.faults.harness import Platform
from tests.faults.outage import (
    VOLLEY,
    ask_health,
    assert_nobody_waited_beyond_the_deadline,
    endpoints_of,
)
from tests.faults.report import Report
from tests.load.learner import Learner

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

STARTED = "progress_tracking"
EVERYTHING = "every endpoint with a token"


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.HANG, Fault.ERROR])
async def test_keys_out_of_reach_at_start(platform: Platform, report: Report, fault: Fault) -> None:
    await platform.keys.switch(fault)
    await platform.kill(STARTED)
    await platform.start(STARTED)
    health = await platform.ask("GET", "/healthz", service=STARTED, user=None)
    ready = await platform.ask("GET", "/readyz", service=STARTED, user=None)
    # Alive, so that nobody restarts it for what a restart does not mend; not ready, so that nobody
    # sends it requests.
    assert (health.status, ready.status) == (200, 503)
    answers = [await platform.ask("GET", "/progress/me") for _ in range(3)]
    for answer in answers:
        assert (answer.status, answer.code) == (503, "dependency_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    await platform.keys.switch(Fault.NONE)
    began = time.monotonic()
    await platform.until_ready(STARTED)
    recovery = time.monotonic() - began
    assert (await platform.ask("GET", "/progress/me")).status == 200
    assert_nobody_waited_beyond_the_deadline(platform)
    test, name = "test_keys_out_of_reach_at_start", f"Keys at start: {fault}"
    report.note(test, name, "`/healthz`", later=[health])
    report.note(test, name, "`/readyz`", later=[ready], recovery=recovery)
    report.note(test, name, EVERYTHING, first=answers, recovery=recovery)


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.HANG, Fault.ERROR])
async def test_keys_out_of_reach_later(platform: Platform, report: Report, fault: Fault) -> None:
    learner = Learner(platform, f"keys-{fault.name}")
    await learner.write("device-0")
    await platform.keys.switch(fault)
    fetched = platform.keys.connections
    endpoints = endpoints_of(platform, learner)
    # Somebody comes with a token of a key that nobody has heard of. It may be a new one, so the
    # issuer is asked, if it was not within the last minute; nobody else waits for that.
    platform.tokens["unheard"] = _with_an_unheard_key(platform.tokens["learner-a"])
    unheard = asyncio.create_task(platform.ask("GET", "/progress/me", user="unheard"))
    answers = await asyncio.gather(*(e.ask() for e in endpoints for _ in range(VOLLEY)))
    assert {answer.status for answer in answers} <= {200, 201}
    # Devices whose user has not been seen in this process are let in by the keys that are known.
    others = [
        await platform.ask("GET", "/progress/me", user=user) for user in ("learner-b", "staff")
    ]
    assert {answer.status for answer in others} == {200}
    refusals = [await unheard, await platform.ask("GET", "/progress/me", user="unheard")]
    assert {(answer.status, answer.code) for answer in refusals} == {(401, "invalid_token")}
    assert platform.keys.connections <= fetched + 1
    assert {answer.status for answer in await ask_health(platform, SERVICES)} == {200}
    await platform.keys.switch(Fault.NONE)
    assert await learner.problems() == []
    assert_nobody_waited_beyond_the_deadline(platform)
    test, name = "test_keys_out_of_reach_later", f"Keys later: {fault}"
    report.note(test, name, EVERYTHING, later=[*answers, *others], answer="200, 201")
    report.note(test, name, "a token of a key never heard of", first=refusals)


def _with_an_unheard_key(token: str) -> str:
    """The token as if another key had signed it, which the issuer may have taken into use since."""
    head, rest = token.split(".", 1)
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    renamed = json.dumps({**header, "kid": "unheard-of"}).encode()
    return f"{base64.urlsafe_b64encode(renamed).decode().rstrip('=')}.{rest}"
