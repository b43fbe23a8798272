"""2,000 callers and a dependency that dies and comes back, in simulated time.

Each caller asks every 4 s, at its own phase, and waits no longer than its deadline. The
dependency answers in 20 ms; while it is dead it takes calls and never answers.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import pytest

from libs.circuit_breaker import (
    BreakerEvent,
    BreakerPolicy,
    CircuitBreaker,
    CircuitOpenError,
    SlidingWindowType,
    State,
    StateChanged,
)
from tests.unit.circuit_breaker.simulated_time import simulate

CALLERS = 2_000
PERIOD = 4.0
ANSWER = 0.02
DEADLINE = 1.0
TURNS = 20
DIES, COMES_BACK = 10.0, 50.0
# Between two callers' turns: how long an admissible call may have to wait for somebody to make it.
NEXT_CALLER = PERIOD / CALLERS

POLICIES = {
    "consecutive failures": BreakerPolicy(call_timeout_seconds=0.5, open_seconds=2),
    "failure rate of a count window, growing open time": BreakerPolicy(
        call_timeout_seconds=0.5,
        sliding_window_type=SlidingWindowType.COUNT_BASED,
        permitted_calls_in_half_open=10,
        open_seconds=1,
        open_multiplier=2,
        max_open_seconds=8,
        open_jitter=0.5,
    ),
    "failure rate of a time window, growing open time": BreakerPolicy(
        call_timeout_seconds=0.5,
        sliding_window_type=SlidingWindowType.TIME_BASED,
        sliding_window_size=2,
        permitted_calls_in_half_open=10,
        open_seconds=1,
        open_multiplier=2,
        max_open_seconds=8,
        open_jitter=0.5,
    ),
}


@dataclass
class Story:
    """What happened, in seconds since the beginning."""

    reached: list[tuple[float, State, int]] = field(default_factory=list)
    """When, in which state and in which of its periods a call reached the dependency."""
    changes: list[tuple[float, State]] = field(default_factory=list)
    answered: int = 0
    refused: int = 0
    timed_out: int = 0
    longest_wait: float = 0.0
    longest_refusal: float = 0.0

    @property
    def in_half_open(self) -> Counter[int]:
        """How many calls reached the dependency in each period of half-open."""
        return Counter(period for _, state, period in self.reached if state is State.HALF_OPEN)

    @property
    def closed_after(self) -> float:
        """Seconds from the dependency's return until the circuit was closed for good."""
        at, state = self.changes[-1]
        assert state is State.CLOSED
        return at - COMES_BACK


async def simulation(policy: BreakerPolicy) -> Story:
    loop = asyncio.get_running_loop()
    start = loop.time()
    story = Story()

    def now() -> float:
        return loop.time() - start

    def heard(event: BreakerEvent) -> None:
        if isinstance(event, StateChanged):
            story.changes.append((now(), event.new))

    breaker = CircuitBreaker("dependency", policy, clock=loop.time, random=Random(3).random)
    breaker.add_listener(heard)

    async def dependency() -> None:
        story.reached.append((now(), breaker.state, len(story.changes)))
        if DIES <= now() < COMES_BACK:
            await loop.create_future()
        await asyncio.sleep(ANSWER)

    async def caller(number: int) -> None:
        for turn in range(TURNS):
            await asyncio.sleep(number * NEXT_CALLER + turn * PERIOD - now())
            began = now()
            try:
                async with asyncio.timeout(DEADLINE):
                    await breaker.call(dependency)
                story.answered += 1
            except CircuitOpenError:
                story.refused += 1
                story.longest_refusal = max(story.longest_refusal, now() - began)
            except TimeoutError:
                story.timed_out += 1
            story.longest_wait = max(story.longest_wait, now() - began)

    async with asyncio.TaskGroup() as callers:
        for number in range(CALLERS):
            callers.create_task(caller(number))
    return story


@pytest.mark.parametrize("kind", POLICIES)
def test_a_dependency_that_comes_back_is_not_trampled_and_soon_noticed(kind: str) -> None:
    policy = POLICIES[kind]
    story = simulate(simulation(policy))
    longest_open = policy.max_open_seconds or policy.open_seconds

    assert story.longest_wait <= 0.5 + 1e-6, "the breaker's time-out, well within the deadline"
    assert story.longest_refusal == 0, "a refused caller waits for nothing"
    opened_at = next(at for at, state in story.changes if state is State.OPEN)
    assert story.changes[0][1] is State.OPEN
    assert opened_at > DIES, "a healthy dependency is left alone"
    # What was under way when the circuit opened, and 500 callers a second until then.
    assert story.timed_out <= 600 * (opened_at - DIES) + sum(story.in_half_open.values())

    trials = story.in_half_open
    assert max(trials.values()) <= policy.permitted_calls_in_half_open
    dead = [reached for reached in story.reached if opened_at < reached[0] < COMES_BACK]
    assert {state for _, state, _ in dead} == {State.HALF_OPEN}, "no other call reaches it"

    # An open time that began just before it came back, behind a trial that had to time out.
    assert policy.call_timeout_seconds is not None
    making_trials = policy.permitted_calls_in_half_open * NEXT_CALLER
    assert (
        0
        < story.closed_after
        <= (policy.call_timeout_seconds + longest_open + making_trials + ANSWER + NEXT_CALLER)
    )
    after = [reached for reached in story.reached if reached[0] > COMES_BACK + story.closed_after]
    assert {state for _, state, _ in after} == {State.CLOSED}
    total = story.answered + story.refused + story.timed_out
    assert total == CALLERS * TURNS, "every call of every caller has ended"
    print(  # noqa: T201 - the figures of the README's table, with `pytest -s`
        f"\n{kind}: open after {opened_at - DIES:.2f} s and {story.timed_out} time-outs, "
        f"{len(trials)} half-open periods with at most {max(trials.values())} calls "
        f"({sum(trials.values())} in all), {story.refused} calls refused, "
        f"closed {story.closed_after:.2f} s after the dependency was back"
    )


def test_growing_open_time_sends_fewer_trials_to_a_dead_dependency() -> None:
    constant = BreakerPolicy(call_timeout_seconds=0.5, open_seconds=1)
    growing = BreakerPolicy(
        call_timeout_seconds=0.5, open_seconds=1, open_multiplier=2, max_open_seconds=8
    )
    trials = {
        policy: sum(simulate(simulation(policy)).in_half_open.values())
        for policy in (constant, growing)
    }
    assert trials[growing] * 2 < trials[constant]
