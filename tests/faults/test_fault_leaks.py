"""A thousand failures leave nothing behind: no descriptor, no connection, no task.

The calls really fail: the circuits are disabled, and the call's time-out is short so that a thousand
of them can hang within seconds. A second thousand meets circuits that are open.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from deploy.load.answer import Answer
from deploy.local._faults import Fault
from deploy.local._provision import PREFIXES
from deploy.local._services import SERVICES
from libs.logging.testing import captured_logs
from services.content_delivery.app import create_app
from services.content_delivery.config import Config
from tests.faults.harness import PATIENCE_SECONDS, Platform
from tests.faults.kernel import connections, open_descriptors
from tests.faults.outage import POLL_SECONDS, Ask
from tests.faults.report import Report
from tests.load.learner import Learner

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

FAILURES = 1000
AT_ONCE = 20
# So many of each; those that hang take their time.
FAULTS = {Fault.REFUSE: 300, Fault.HANG: 100, Fault.RESET: 300, Fault.ERROR: 300}
SHORT = {"BREAKER_CALL_TIMEOUT_SECONDS": "0.5"}
NAME = f"{FAILURES} failures"


async def test_no_descriptor_is_left_after_1000_failures(
    platform: Platform, report: Report
) -> None:
    """Each service's process, while its calls to DynamoDB fail in four ways in turn."""
    await platform.restart(*SERVICES, BREAKER_MODE="disabled", **SHORT)
    learner = Learner(platform, "leaks")
    await learner.write(service="progress_tracking")
    asking = _asking(platform, learner)
    before = {}
    for service in SERVICES:
        await _crowd(asking[service], AT_ONCE)
        before[service] = await _at_rest(platform, service)
    reached = sum(platform.dynamodb.requests.values())
    for fault, count in FAULTS.items():
        await platform.dynamodb.switch(fault)
        crowds = [_crowd(asking[service], count) for service in SERVICES]
        for service, answers in zip(SERVICES, await asyncio.gather(*crowds), strict=True):
            assert {answer.status for answer in answers} == {503}, (service, fault)
    await platform.dynamodb.switch(Fault.NONE)
    # They were no rejections: but for those that were refused, calls were made.
    assert sum(platform.dynamodb.requests.values()) - reached >= FAILURES
    after = {service: await _at_rest(platform, service) for service in SERVICES}
    assert after == before
    assert await learner.problems() == []
    platform.answers.clear()
    report.note(
        "test_no_descriptor_is_left_after_1000_failures",
        f"{NAME} that reach DynamoDB, circuits disabled",
        "descriptors and connections of each service",
        answer=_counted(before),
    )


async def test_no_descriptor_is_left_after_1000_rejections(
    platform: Platform, report: Report
) -> None:
    """The same with circuits that open: hardly a call is made."""
    await platform.restart(*SERVICES)
    learner = Learner(platform, "rejections")
    await learner.write(service="progress_tracking")
    asking = _asking(platform, learner)
    before = {}
    for service in SERVICES:
        await _crowd(asking[service], AT_ONCE)
        before[service] = await _at_rest(platform, service)
    await platform.dynamodb.switch(Fault.REFUSE)
    crowds = [_crowd(asking[service], FAILURES) for service in SERVICES]
    for service, answers in zip(SERVICES, await asyncio.gather(*crowds), strict=True):
        assert {answer.status for answer in answers} == {503}, service
    await platform.dynamodb.switch(Fault.NONE)
    after = {service: await _at_rest(platform, service) for service in SERVICES}
    assert after == before
    assert await learner.problems() == []
    platform.answers.clear()
    report.note(
        "test_no_descriptor_is_left_after_1000_rejections",
        f"{NAME} while circuits are open",
        "descriptors and connections of each service",
        answer=_counted(before),
    )


@pytest.mark.parametrize("mode", ["disabled", "normal"])
async def test_no_task_is_left_after_1000_failures(
    platform: Platform, report: Report, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service in this process, where its tasks can be counted, on sockets as ever."""
    prefix = PREFIXES["content_delivery"]
    variables = platform.environment("content_delivery") | {
        f"{prefix}{name}": value
        for name, value in {"BREAKER_MODE": mode, "PORT": "0", **SHORT}.items()
    }
    for name, value in variables.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    own = {name: value for name, value in variables.items() if name.startswith((prefix, "AWS_"))}
    async with _served_here(create_app(Config.from_environment(own))) as runner:
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        token = {"Authorization": f"Bearer {platform.tokens['learner-a']}"}

        async def ask() -> Answer:
            return await platform.fetch(f"{base}/content/nowhere", headers=token)

        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await platform.fetch(f"{base}/readyz")).status != 200:
                await asyncio.sleep(POLL_SECONDS)
        await _crowd(ask, AT_ONCE)
        before = await _tasks_at_rest(platform, runner)
        for fault, count in FAULTS.items():
            await platform.dynamodb.switch(fault)
            answers = await _crowd(ask, count)
            assert {answer.status for answer in answers} == {503}, fault
        await platform.dynamodb.switch(Fault.NONE)
        assert await _tasks_at_rest(platform, runner) == before
    report.note(
        "test_no_task_is_left_after_1000_failures",
        f"{NAME}, circuits {'as ever' if mode == 'normal' else mode}",
        "tasks of content delivery's process",
        answer=f"{before.total()} tasks before and after",
    )


@asynccontextmanager
async def _served_here(app: web.Application) -> AsyncIterator[web.AppRunner]:
    """The application on a free port of this process, which keeps what it logs to itself."""
    with captured_logs() as events:
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield runner
        finally:
            await runner.cleanup()
    assert "unhandled_error" not in {event.get("event") for event in events}


def _counted(descriptors: Mapping[str, Counter[str]]) -> str:
    counts = ", ".join(f"{service} {found.total()}" for service, found in descriptors.items())
    return f"open descriptors before and after: {counts}; no connection is left"


def _asking(platform: Platform, learner: Learner) -> dict[str, Ask]:
    """A request of each service that makes a call to DynamoDB every time; past the gateway, so that
    no connection of the gateway's is counted."""
    return {
        "course_catalog": lambda: platform.ask("GET", "/courses/nowhere", service="course_catalog"),
        "content_delivery": lambda: platform.ask(
            "GET", "/content/nowhere", service="content_delivery"
        ),
        "progress_tracking": lambda: learner.write(service="progress_tracking"),
    }


async def _crowd(ask: Ask, count: int) -> list[Answer]:
    """So many requests, some of them at once."""
    answers: list[Answer] = []

    async def one_after_the_other() -> None:
        for _ in range(count // AT_ONCE):
            answers.append(await ask())

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return answers


async def _at_rest(platform: Platform, service: str) -> Counter[str]:
    """The descriptors of a service that nobody asks and that holds no connection.

    The servers close the idle ones, as AWS does: the service must notice, and let them go.
    """
    process_id = platform.process(service).process_id
    await platform.dynamodb.drop_connections()
    await platform.keys.drop_connections()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while connections(process_id):
            await asyncio.sleep(POLL_SECONDS)
    return open_descriptors(process_id)


async def _tasks_at_rest(platform: Platform, runner: web.AppRunner) -> Counter[str]:
    """The tasks of this process by what they run, when nobody is connected to anything."""
    assert runner.server is not None
    await platform.dynamodb.drop_connections()
    await platform.keys.drop_connections()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while runner.server.connections:
            await asyncio.sleep(POLL_SECONDS)
    # One turn of the loop for what ends with its connection.
    await asyncio.sleep(POLL_SECONDS)
    # Not asyncio.all_tasks: that forgets a task that is waited for by nobody but garbage.
    gc.collect()
    running = [
        str(getattr(task.get_coro(), "__qualname__", task.get_name()))
        for task in gc.get_objects()
        if isinstance(task, asyncio.Task) and not task.done()
    ]
    # The other services go on, and meet the proxies.
    return Counter(name for name in running if not name.startswith("FaultProxy."))
