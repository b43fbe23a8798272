"""The AWS below the running platform stops answering, and later goes on: who notices what.

It hangs, which is worse than being gone: connections stay open and nothing comes back.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from tests.system.exchange import Answer, ask
from tests.system.logs import logged
from tests.system.platform_process import RunningPlatform, until
from tests.system.roles import SERVICES

pytestmark = pytest.mark.timeout(300)

AT_ONCE = 2.0
BREAKER_ANSWERS = 0.5
# A request's deadline, with room for a busy machine; far below the gateway's 29 s.
WITHIN_A_CALL = 10.0
# As many as failures open a breaker, and more.
UNREAD = [f"/content/tides-{item}" for item in ("1-1", "1-2", "1-3", "2-1", "2-2", "2-3")]


@pytest.fixture()
def hang(platform: RunningPlatform) -> Iterator[Callable[[], int]]:
    """Stops the embedded AWS in its tracks; goes on by its id at the end in any case."""
    (aws,) = (
        process_id
        for process_id in platform.process_ids
        if b"embedded_aws" in Path(f"/proc/{process_id}/cmdline").read_bytes()
    )

    def stop() -> int:
        os.kill(aws, signal.SIGSTOP)
        return aws

    yield stop
    os.kill(aws, signal.SIGCONT)


def test_what_is_answered_while_dynamodb_hangs_and_after(
    platform: RunningPlatform, hang: Callable[[], int]
) -> None:
    token = platform.document["users"]["learner-a"]["accessToken"]

    def get(path: str, within: float) -> Answer:
        began = monotonic()
        answer = ask(platform.gateway + path, token=token)
        assert monotonic() - began < within
        return answer

    def refused_at_once(path: str) -> bool:
        began = monotonic()
        answer = ask(platform.gateway + path, token=token)
        assert answer.status == 503
        return monotonic() - began < BREAKER_ANSWERS

    def answers(path: str, status: int) -> bool:
        return ask(platform.gateway + path, token=token).status == status

    before = get("/courses?limit=100", AT_ONCE)
    opened = get("/courses/tides", AT_ONCE)
    assert (before.status, opened.status, "Warning" in opened.headers) == (200, 200, False)

    aws = hang()
    # The listing stands in memory: no slower, the same, and honest about its age.
    listing = get("/courses?limit=100", AT_ONCE)
    assert (listing.status, listing.body) == (200, before.body)
    # A course that was read before is answered from memory, and says so. What is not known can not
    # be answered: when to try again, and never a 500.
    unknown = ["/courses/maps", *UNREAD, *["/progress/me"] * len(UNREAD)]
    with ThreadPoolExecutor(len(unknown) + 1) as pool:
        remembered = pool.submit(get, "/courses/tides", WITHIN_A_CALL)
        refusals = [pool.submit(get, path, WITHIN_A_CALL) for path in unknown]
    stale = remembered.result()
    assert (stale.status, stale.body) == (200, opened.body)
    assert stale.headers["Warning"] == '110 - "Response is Stale"'
    assert int(stale.headers["Age"]) >= 0
    for refusal in refusals:
        refused = refusal.result()
        assert (refused.status, refused.json["code"]) == (503, "dependency_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
    # So many failures open the breakers: nobody waits any more.
    for service, path in (("content_delivery", UNREAD[0]), ("progress_tracking", "/progress/me")):
        until(partial(refused_at_once, path), f"the breaker of {service} is open")
        assert any(
            event["event"] == "circuit_state_changed" and event["new"] == "open"
            for event in logged(platform, service)
        )
    # No task is taken out of service for it.
    for service in SERVICES:
        ready = ask(platform.document["services"][service] + "/readyz")
        assert ready.status == 200
    until(
        lambda: any(
            event["event"] == "directory_refresh_failed"
            for event in logged(platform, "course_catalog")
        ),
        "the log says that the directory gets older",
    )
    aged = get("/courses?limit=100", AT_ONCE)
    assert int(aged.headers["Age"]) >= 5

    os.kill(aws, signal.SIGCONT)
    # A draft, which is not there for a reader.
    until(partial(answers, "/courses/maps", 404), "the catalog reads again")
    until(partial(answers, UNREAD[0], 200), "content delivery reads again")
    until(partial(answers, "/progress/me", 200), "progress tracking reads again")
    until(
        lambda: int(get("/courses", AT_ONCE).headers["Age"]) < 5, "the directory is refreshed again"
    )
    assert "Warning" not in get("/courses/tides", AT_ONCE).headers
    requests = [
        event
        for service in SERVICES
        for event in logged(platform, service)
        if event["event"] == "request"
    ]
    assert {event["status"] for event in requests} <= {200, 304, 404, 503}
