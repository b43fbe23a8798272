"""A deadline travels with the work, and only ever comes nearer."""

import asyncio
import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from libs.circuit_breaker.testing import ManualClock
from libs.resilience import (
    Deadline,
    DeadlineExceededError,
    current_deadline,
    deadline_scope,
    without_deadline,
)


def remaining() -> float | None:
    deadline = current_deadline()
    return None if deadline is None else deadline.remaining()


def test_nobody_waits_unless_somebody_says_so() -> None:
    assert current_deadline() is None


def test_what_remains_is_by_the_clock_that_was_passed_in() -> None:
    clock = ManualClock()
    with deadline_scope(5, clock=clock) as deadline:
        assert (deadline.remaining(), deadline.expired) == (5, False)
        clock.advance(4.5)
        assert remaining() == 0.5
        clock.advance(0.5)
        assert (deadline.remaining(), deadline.expired) == (0, True)
        clock.advance(1)
        assert deadline.remaining() == 0
    assert current_deadline() is None


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 3)), max_size=6))
def test_scopes_nest_and_only_ever_shorten(scopes: list[tuple[float, float]]) -> None:
    clock = ManualClock(0)

    def enter(left: list[tuple[float, float]], nearest: float) -> None:
        if not left:
            return
        (seconds, passed), *others = left
        before = current_deadline()
        clock.advance(passed)
        with deadline_scope(seconds, clock=clock) as deadline:
            nearest = min(nearest, clock.now + seconds)
            assert deadline is current_deadline()
            assert deadline.remaining() == pytest.approx(max(0, nearest - clock.now))
            enter(others, nearest)
            assert deadline is current_deadline()
        assert current_deadline() is before

    enter(scopes, math.inf)
    assert current_deadline() is None


async def test_tasks_inherit_it() -> None:
    clock = ManualClock()
    with deadline_scope(5, clock=clock):
        clock.advance(1)

        async def look() -> float | None:
            await asyncio.sleep(0)
            return remaining()

        assert list(await asyncio.gather(look(), look())) == [4, 4]
        async with asyncio.TaskGroup() as group:
            grouped = group.create_task(look())
        assert grouped.result() == 4
        assert await asyncio.to_thread(remaining) == 4
        left = asyncio.create_task(look())
    assert await left == 4, "also one that is still running when the scope has ended"


async def test_a_task_shortens_nobody_elses() -> None:
    clock = ManualClock()

    async def hurry() -> float | None:
        with deadline_scope(1, clock=clock):
            await asyncio.sleep(0)
            return remaining()

    with deadline_scope(5, clock=clock):
        assert list(await asyncio.gather(hurry(), hurry())) == [1, 1]
        assert remaining() == 5


async def test_background_work_leaves_it_behind() -> None:
    clock = ManualClock()

    async def background() -> float | None:
        await asyncio.sleep(0)
        return remaining()

    with deadline_scope(5, clock=clock):
        with without_deadline():
            task = asyncio.create_task(background())
            with deadline_scope(9, clock=clock):
                assert remaining() == 9, "a deadline of its own, not the request's"
        assert remaining() == 5
        assert await task is None


@pytest.mark.parametrize("at", [math.nan, math.inf])
def test_a_deadline_is_a_moment(at: float) -> None:
    with pytest.raises(ValueError, match="moment"):
        Deadline(at)


def test_the_error_says_what_was_done() -> None:
    assert "was not begun" in str(DeadlineExceededError("dynamodb:read", started=False))
    assert "was cut short" in str(DeadlineExceededError("dynamodb:read", started=True))
