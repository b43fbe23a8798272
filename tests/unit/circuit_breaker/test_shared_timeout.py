"""A breaker's time-out is asyncio's own, for less: the same scenario through both ends the same.

What tasks do inside the time-out, and what is done to them, is chosen by Hypothesis, in simulated
time. No two things of different kinds are due at the same moment: which of those comes first is
left to the event loop.
"""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import hypothesis.strategies as st
import pytest
import uvloop
from hypothesis import given, settings

from libs.circuit_breaker import BreakerPolicy, CircuitBreaker, State
from libs.circuit_breaker._timeout import SharedTimeout
from tests.unit.circuit_breaker.simulated_time import simulate

TIMEOUT = 1.0
OnCancel = Literal["re-raise", "answer", "fail", "go on", "clean up", "answer and uncancel"]
Body = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Step:
    """Sleeps, and what is done when the sleep is cancelled."""

    seconds: float
    on_cancel: OnCancel


@dataclass(frozen=True)
class Call:
    starts: float
    steps: tuple[Step, ...]
    fails_at_its_end: bool
    outer_timeout: float | None
    cancelled_at: tuple[float, ...]


@dataclass(frozen=True)
class Ending:
    """All that a caller could tell one implementation from the other by."""

    at: float
    outcome: str
    cause: str
    expired: bool
    cancelling: int


def moments(offset: float, most: int) -> st.SearchStrategy[float]:
    return st.integers(1, most).map(lambda quarters: quarters / 4 + offset)


steps = st.builds(
    Step,
    moments(0.03, 7),
    st.sampled_from(["re-raise", "answer", "fail", "go on", "clean up", "answer and uncancel"]),
)
calls = st.builds(
    Call,
    moments(0.0, 5),
    st.lists(steps, max_size=3).map(tuple),
    st.booleans(),
    st.none() | moments(0.05, 6),
    st.lists(moments(0.11, 10), max_size=2, unique=True).map(tuple),
)


async def run_steps(call: Call) -> str:
    for step in call.steps:
        try:
            await asyncio.sleep(step.seconds)
        except asyncio.CancelledError:
            match step.on_cancel:
                case "re-raise":
                    raise
                case "answer":
                    return "late answer"
                case "fail":
                    raise ValueError from None
                case "clean up":
                    await asyncio.sleep(0.013)
                    raise
                case "answer and uncancel":
                    task = asyncio.current_task()
                    assert task is not None
                    task.uncancel()
                    return "uncancelled answer"
                case "go on":
                    pass
    if call.fails_at_its_end:
        raise LookupError
    return "answer"


class Asyncios:
    async def __call__(self, body: Body) -> tuple[str, bool]:
        scope = asyncio.timeout(TIMEOUT)
        self.expired = scope.expired
        async with scope:
            return await body(), scope.expired()


class Ours:
    def __init__(self, shared: SharedTimeout) -> None:
        self._shared = shared

    async def __call__(self, body: Body) -> tuple[str, bool]:
        scope = self._shared.scope()
        self.expired = lambda: scope.expired
        with scope:
            return await body(), scope.expired


async def endings(scenario: list[Call], limit: Callable[[], Asyncios | Ours]) -> list[Ending]:
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def one(number: int, call: Call) -> Ending:
        # Each call at moments of its own.
        await asyncio.sleep(call.starts + number * 0.0017)
        limited = limit()
        cause = ""
        try:
            async with asyncio.timeout(call.outer_timeout):
                answer, expired = await limited(lambda: run_steps(call))
                outcome = f"{answer} {expired}"
        except BaseException as error:
            outcome, cause = type(error).__name__, type(error.__cause__).__name__
        task = asyncio.current_task()
        assert task is not None
        expired_at_the_end = hasattr(limited, "expired") and limited.expired()
        return Ending(
            round(loop.time() - start, 9), outcome, cause, expired_at_the_end, task.cancelling()
        )

    tasks = [loop.create_task(one(number, call)) for number, call in enumerate(scenario)]
    for task, call in zip(tasks, scenario, strict=True):
        for moment in call.cancelled_at:
            loop.call_later(max(moment, call.starts + 0.11), task.cancel)
    await asyncio.wait(tasks)
    return [
        Ending(0, "cancelled outside", "", False, 0) if task.cancelled() else task.result()
        for task in tasks
    ]


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(st.lists(calls, min_size=1, max_size=5))
def test_the_same_scenario_ends_as_with_asyncio_timeout(scenario: list[Call]) -> None:
    async def both() -> tuple[list[Ending], list[Ending]]:
        theirs = await endings(scenario, Asyncios)
        shared = SharedTimeout(TIMEOUT)
        return theirs, await endings(scenario, lambda: Ours(shared))

    theirs, ours = simulate(both())
    assert ours == theirs


def test_the_scenarios_are_of_every_kind() -> None:
    """Without this the property might compare nothing but undisturbed calls."""
    seen: set[str] = set()

    @settings(max_examples=600, deadline=None, derandomize=True, database=None)
    @given(st.lists(calls, min_size=1, max_size=5))
    def look(scenario: list[Call]) -> None:
        for ending in simulate(endings(scenario, Asyncios)):
            seen.add(ending.outcome + (" expired" if ending.expired else ""))

    look()
    assert {
        "answer False",
        "late answer True expired",
        "TimeoutError",
        "TimeoutError expired",
        "CancelledError expired",
        "ValueError expired",
    } <= seen


def under_way(shared: SharedTimeout) -> int:
    assert shared._calls is not None
    return len(shared._calls.under_way)


def is_armed(shared: SharedTimeout) -> bool:
    assert shared._calls is not None
    return shared._calls.timer is not None


def test_one_timer_serves_all_calls_and_none_is_left_when_idle() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        armed: list[float] = []
        call_at = loop.call_at

        def counted(when: float, *args: object, **kwargs: object) -> asyncio.TimerHandle:
            armed.append(when)
            return call_at(when, *args, **kwargs)  # type: ignore[arg-type]

        shared = SharedTimeout(TIMEOUT)

        async def call() -> None:
            with shared.scope():
                await asyncio.sleep(0)

        loop.call_at = counted  # type: ignore[method-assign]
        await asyncio.gather(*(call() for _ in range(1000)))
        assert len(armed) == 1
        assert under_way(shared) == 0
        loop.call_at = call_at  # type: ignore[method-assign]
        await asyncio.sleep(TIMEOUT + 0.1)
        assert not is_armed(shared)

    simulate(main())


def test_calls_that_ended_are_forgotten_though_an_earlier_one_lasts() -> None:
    class Value:
        pass

    variable: contextvars.ContextVar[Value] = contextvars.ContextVar("variable")

    async def main() -> None:
        shared = SharedTimeout(TIMEOUT)

        async def call(seconds: float) -> None:
            variable.set(Value())
            values.add(variable.get())
            with shared.scope():
                await asyncio.sleep(seconds)

        values: weakref.WeakSet[Value] = weakref.WeakSet()
        first = asyncio.ensure_future(call(0.9))
        await asyncio.sleep(0)
        later = [asyncio.ensure_future(call(0.1)) for _ in range(20)]
        ended = [weakref.ref(task) for task in later]
        await asyncio.gather(*later)
        del later
        await asyncio.sleep(0)  # while this task is woken by them, the loop holds them
        gc.collect()
        assert [task() for task in ended] == [None] * 20
        assert len(values) == 1, "what the calls had in their contexts has gone with them"
        await first
        del first
        await asyncio.sleep(0)
        gc.collect()
        assert under_way(shared) == 0
        assert not values
        assert is_armed(shared)

    simulate(main())


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_breaker_may_be_used_on_one_loop_after_the_other(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    breaker = CircuitBreaker("used", BreakerPolicy(failure_threshold=3, call_timeout_seconds=0.01))

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    for _ in range(3):
        with asyncio.Runner(loop_factory=new_loop) as runner, pytest.raises(TimeoutError):
            runner.run(breaker.call(hang))
    assert breaker.state is State.OPEN


def test_the_calls_of_a_loop_that_was_left_are_still_limited() -> None:
    shared = SharedTimeout(0.01)

    async def hang() -> None:
        with shared.scope():
            await asyncio.get_running_loop().create_future()

    async def pass_by() -> None:
        with shared.scope():
            await asyncio.sleep(0)

    with asyncio.Runner() as first, asyncio.Runner() as second:

        async def begin() -> "asyncio.Task[None]":
            task = asyncio.ensure_future(hang())
            await asyncio.sleep(0)
            return task

        async def end(task: "asyncio.Task[None]") -> None:
            await task

        task = first.run(begin())
        second.run(pass_by())
        with pytest.raises(TimeoutError):
            first.run(end(task))


def test_outside_a_task_there_is_nothing_to_cut() -> None:
    shared = SharedTimeout(1)
    problems: list[BaseException] = []

    def enter() -> None:
        try:
            shared.scope()
        except RuntimeError as error:
            problems.append(error)

    async def main() -> None:
        asyncio.get_running_loop().call_soon(enter)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert [str(problem) for problem in problems] == [
        "a call with a time-out is made inside a task"
    ]


def test_who_is_due_is_told_so_once_and_in_no_calls_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def main() -> list[tuple[float, str, str]]:
        loop = asyncio.get_running_loop()
        told: list[tuple[float, str, str]] = []
        shared = SharedTimeout(TIMEOUT)

        async def call(name: str, seconds: float) -> None:
            variable.set(name)
            with shared.scope(
                on_expiry=lambda: told.append((loop.time() - 1000, name, variable.get()))
            ):
                await asyncio.sleep(seconds)

        calls = [call("stays", 5.0), call("ends", 0.5), call("stays too", 5.0)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(found) for found in ended] == [TimeoutError, type(None), TimeoutError]
        return told

    assert simulate(main()) == [(TIMEOUT, "stays", "none"), (TIMEOUT, "stays too", "none")]


def test_one_that_is_disarmed_has_no_timer_until_it_is_used_again() -> None:
    async def main() -> None:
        shared = SharedTimeout(TIMEOUT)
        shared.disarm()
        with shared.scope():
            pass
        assert is_armed(shared)
        shared.disarm()
        assert not is_armed(shared)
        with pytest.raises(TimeoutError), shared.scope():
            await asyncio.sleep(2 * TIMEOUT)

    simulate(main())
