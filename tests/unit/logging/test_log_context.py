"""Each request's context is its own, whatever runs at the same time, and is gone afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from libs.logging import bind, clear, get_logger, request_context
from libs.logging.testing import captured_logs

log = get_logger("tests")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    clear()
    yield
    clear()


def test_a_block_binds_and_restores_what_was_there_before() -> None:
    bind(requestId="outer", route="/courses")
    with captured_logs() as events:
        with request_context(requestId="inner"):
            bind(sub="learner")
            log.info("inside")
        log.info("outside")
    inside, outside = events
    assert (inside["requestId"], inside["route"], inside["sub"]) == ("inner", "/courses", "learner")
    assert (outside["requestId"], outside["route"]) == ("outer", "/courses")
    assert "sub" not in outside


def test_a_block_that_raises_restores_too() -> None:
    with pytest.raises(ZeroDivisionError), request_context(requestId="r-1"):
        raise ZeroDivisionError
    with captured_logs() as events:
        log.info("after")
    assert "requestId" not in events[0]


def test_clear_forgets_everything() -> None:
    bind(requestId="r-1")
    clear()
    with captured_logs() as events:
        log.info("after")
    assert "requestId" not in events[0]


def test_an_events_own_value_wins_over_the_context() -> None:
    with captured_logs() as events, request_context(status=200):
        log.info("event", status=500)
    assert events[0]["status"] == 500


async def test_a_thousand_concurrent_requests_never_mix() -> None:
    turns = asyncio.Semaphore(50)

    async def step(number: int) -> None:
        await asyncio.sleep(0)
        log.info("deep", expected=number)

    async def request(number: int) -> None:
        async with turns:
            with request_context(requestId=number):
                await asyncio.sleep(0)
                bind(sub=f"user-{number}")
                async with asyncio.TaskGroup() as group:
                    group.create_task(step(number))
                    group.create_task(step(number))
                log.info("shallow", expected=number)

    with captured_logs() as events:
        await asyncio.gather(*(request(number) for number in range(1_000)))
    assert len(events) == 3_000
    for event in events:
        assert event["requestId"] == event["expected"]
        assert event["sub"] == f"user-{event['expected']}"


async def test_what_a_child_task_binds_stays_with_it() -> None:
    async def child() -> None:
        bind(child=True)
        log.info("child")

    with captured_logs() as events, request_context(requestId="r-1"):
        await asyncio.create_task(child())
        log.info("parent")
    assert [("child" in event, event["requestId"]) for event in events] == [
        (True, "r-1"),
        (False, "r-1"),
    ]


async def test_two_requests_in_one_task_share_nothing() -> None:
    """An HTTP/1.1 connection is one task: its requests follow each other in one context."""
    with captured_logs() as events:
        with request_context(requestId="first"):
            bind(sub="learner-a")
        with request_context(requestId="second"):
            log.info("second")
    assert "sub" not in events[0]


async def test_the_context_follows_into_threads() -> None:
    with captured_logs() as events, request_context(requestId="r-1"):
        await asyncio.to_thread(log.info, "thread")
    assert events[0]["requestId"] == "r-1"


async def test_a_cancelled_request_restores_the_context() -> None:
    started = asyncio.Event()

    async def request() -> None:
        try:
            with request_context(requestId="r-1"):
                started.set()
                await asyncio.Event().wait()
        finally:
            log.info("after")

    with captured_logs() as events:
        task = asyncio.create_task(request())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert "requestId" not in events[0]


async def test_a_block_that_ends_in_another_context_does_not_raise() -> None:
    block = request_context(requestId="r-1")
    await asyncio.create_task(_enter(block))
    block.__exit__(None, None, None)


async def _enter(block: object) -> None:
    block.__enter__()  # type: ignore[attr-defined]
