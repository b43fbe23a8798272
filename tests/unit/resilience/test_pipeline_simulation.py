"""2,000 callers with the whole pipeline, and a dependency that dies, browns out and comes back.

In simulated time. Each caller asks every 4 s, at its own phase, with a second of time for the
answer. The dependency answers in 20 ms; while it is dead it hangs or refuses at once, while it is
brown a share of its answers are failures.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import pytest

from libs.circuit_breaker import (
    BreakerEvent,
    BreakerMode,
    BreakerPolicy,
    CircuitBreakerRegistry,
    CircuitOpenError,
    SlidingWindowType,
    State,
    StateChanged,
)
from libs.resilience import (
    BulkheadFullError,
    BulkheadPolicy,
    CallRetried,
    DeadlineExceededError,
    FailureKind,
    PipelineRegistry,
    Repeatable,
    ResilienceEvent,
    RetryBudgetPolicy,
    RetryPolicy,
    deadline_scope,
)
from tests.unit.circuit_breaker.simulated_time import simulate

CALLERS = 2_000
PERIOD = 4.0
ANSWER = 0.02
DEADLINE = 1.0
ATTEMPT = 0.3
TURNS = 20
DIES, COMES_BACK = 10.0, 50.0
# Between two callers' turns: how long an admissible call may have to wait for somebody to make it.
NEXT_CALLER = PERIOD / CALLERS

Fault = Literal["hangs", "refuses", "fails 40 %"]

BULKHEAD = BulkheadPolicy(max_concurrent_calls=50, max_queued_calls=100, max_wait_seconds=0.2)
RETRY = RetryPolicy(max_attempts=3, base_delay_seconds=0.05, max_delay_seconds=0.2)
BUDGET = RetryBudgetPolicy(ratio=0.1, min_retries_per_second=0.5, max_balance=20)
IN_A_ROW = BreakerPolicy(call_timeout_seconds=ATTEMPT, open_seconds=2)
RATE = BreakerPolicy(
    call_timeout_seconds=ATTEMPT,
    sliding_window_type=SlidingWindowType.TIME_BASED,
    sliding_window_size=2,
    permitted_calls_in_half_open=10,
    open_seconds=1,
    open_multiplier=2,
    max_open_seconds=8,
    open_jitter=0.5,
)
NO_BREAKER = BreakerPolicy(call_timeout_seconds=ATTEMPT, mode=BreakerMode.DISABLED)


class RefusedError(Exception):
    pass


def kind_of(error: Exception) -> FailureKind:
    if isinstance(error, RefusedError):
        return FailureKind.NOT_EXECUTED
    return FailureKind.MAYBE_EXECUTED


@dataclass
class Story:
    """What happened, in seconds since the beginning."""

    reached: list[tuple[float, State, int]] = field(default_factory=list)
    """When, in which state and in which of its periods an attempt reached the dependency."""
    changes: list[tuple[float, State]] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    first_attempts: int = 0
    retried_at: list[float] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    longest_wait: float = 0.0

    @property
    def in_half_open(self) -> Counter[int]:
        return Counter(period for _, state, period in self.reached if state is State.HALF_OPEN)

    @property
    def noticed_after(self) -> float:
        at, state = self.changes[-1]
        assert state is State.CLOSED
        return at - COMES_BACK


async def simulation(
    fault: Fault,
    breaker: BreakerPolicy,
    *,
    bulkhead: BulkheadPolicy = BULKHEAD,
    budget: RetryBudgetPolicy = BUDGET,
) -> Story:
    loop = asyncio.get_running_loop()
    start = loop.time()
    story = Story()
    chance = Random(7)

    def now() -> float:
        return loop.time() - start

    def heard(event: BreakerEvent) -> None:
        if isinstance(event, StateChanged):
            story.changes.append((now(), event.new))

    def heard_of_retry(event: ResilienceEvent) -> None:
        if isinstance(event, CallRetried):
            story.retried_at.append(now())

    registry = PipelineRegistry(
        CircuitBreakerRegistry(clock=loop.time, random=Random(3).random, listeners=[heard]),
        clock=loop.time,
        random=Random(5).random,
        listeners=[heard_of_retry],
    )
    pipeline = registry.pipeline(
        "dependency",
        breaker=breaker,
        bulkhead=bulkhead,
        retry=RETRY,
        budget=budget,
        classify_failure=kind_of,
    )

    async def dependency() -> None:
        story.reached.append((now(), pipeline.breaker.state, len(story.changes)))
        story.under_way += 1
        story.most_under_way = max(story.most_under_way, story.under_way)
        try:
            if DIES <= now() < COMES_BACK:
                if fault == "hangs":
                    await loop.create_future()
                if fault == "refuses" or chance.random() < 0.4:
                    raise RefusedError
            await asyncio.sleep(ANSWER)
        finally:
            story.under_way -= 1

    async def caller(number: int) -> None:
        for turn in range(TURNS):
            await asyncio.sleep(number * NEXT_CALLER + turn * PERIOD - now())
            began = now()
            story.first_attempts += 1
            try:
                with deadline_scope(DEADLINE, clock=loop.time):
                    await pipeline.call(dependency, repeatable=Repeatable.ALWAYS)
                story.endings["answered"] += 1
            except (
                CircuitOpenError,
                BulkheadFullError,
                DeadlineExceededError,
                RefusedError,
                TimeoutError,
            ) as error:
                story.endings[type(error).__name__] += 1
            story.longest_wait = max(story.longest_wait, now() - began)

    async with asyncio.TaskGroup() as callers:
        for number in range(CALLERS):
            callers.create_task(caller(number))
    assert pipeline.bulkhead.snapshot().running == 0
    assert sum(story.endings.values()) == CALLERS * TURNS, "every call has ended"
    return story


def report(what: str, story: Story) -> None:
    half_open = story.in_half_open
    noticed = f"{story.noticed_after:.2f} s" if story.changes else "-"
    opened = next((f"{at - DIES:.2f} s" for at, _ in story.changes), "-")
    print(  # noqa: T201 - the figures of the README's table, with `pytest -s`
        f"\n{what}: opens after {opened}, {dict(story.endings)}, {len(story.retried_at)} retries, "
        f"most under way {story.most_under_way}, half-open {len(half_open)} periods, most "
        f"{max(half_open.values(), default=0)}, in all {sum(half_open.values())}, longest wait "
        f"{story.longest_wait:.2f} s, noticed after {noticed}"
    )


def assert_within_budget(story: Story, policy: RetryBudgetPolicy) -> None:
    """Over the whole time, and second by second while it fails."""
    seconds = PERIOD * TURNS
    paid = policy.max_balance + policy.ratio * story.first_attempts
    assert len(story.retried_at) <= paid + policy.min_retries_per_second * seconds
    each_second = Counter(int(at) for at in story.retried_at)
    calls_a_second = CALLERS / PERIOD
    for count in each_second.values():
        assert count <= policy.max_balance + policy.ratio * calls_a_second + 1


@pytest.mark.parametrize("fault", ["hangs", "refuses"])
@pytest.mark.parametrize("kind", ["failures in a row", "rate of 2 s"])
def test_a_dependency_dies_and_comes_back(kind: str, fault: Fault) -> None:
    breaker = IN_A_ROW if kind == "failures in a row" else RATE
    story = simulate(simulation(fault, breaker))
    report(f"{kind}, {fault}", story)

    assert story.longest_wait <= DEADLINE + 1e-6
    assert_within_budget(story, BUDGET)
    assert story.most_under_way <= BULKHEAD.max_concurrent_calls
    assert story.changes[0][1] is State.OPEN, "a dependency that hangs opens the circuit, too"
    opened_at = story.changes[0][0]
    assert DIES < opened_at < DIES + 2 * DEADLINE + 2

    permitted = breaker.permitted_calls_in_half_open
    assert max(story.in_half_open.values()) <= permitted
    dead = [reached for reached in story.reached if opened_at + 1e-9 < reached[0] < COMES_BACK]
    assert {state for _, state, _ in dead} <= {State.HALF_OPEN}, "no other call reaches it"
    longest_open = breaker.max_open_seconds or breaker.open_seconds
    making_trials = permitted * NEXT_CALLER
    assert 0 < story.noticed_after <= ATTEMPT + longest_open + making_trials + ANSWER + NEXT_CALLER
    after = [state for at, state, _ in story.reached if at > COMES_BACK + story.noticed_after]
    assert set(after) == {State.CLOSED}


def test_a_browned_out_dependency_gets_its_share_of_retries_and_no_more() -> None:
    """Nothing opens a circuit at 40 %: here the budget alone stands between the callers' three
    attempts and a dependency that has enough to do."""
    story = simulate(simulation("fails 40 %", RATE))
    report("rate of 2 s, fails 40 %", story)
    boundless = RetryBudgetPolicy(ratio=1, min_retries_per_second=1000, max_balance=1e9)
    storm = simulate(simulation("fails 40 %", NO_BREAKER, budget=boundless))
    report("no budget, no breaker, fails 40 %", storm)

    assert story.changes == []
    assert_within_budget(story, BUDGET)
    failing_for = (COMES_BACK - DIES) / PERIOD * CALLERS
    # Nearly all of what the traffic paid for was used.
    assert len(story.retried_at) > 0.9 * BUDGET.ratio * failing_for
    assert len(storm.retried_at) > 4 * len(story.retried_at)
    assert story.longest_wait <= DEADLINE + 1e-6


def test_without_breaker_and_bulkhead_a_hanging_dependency_holds_every_call() -> None:
    """What the guards are for."""
    unbounded = BulkheadPolicy(max_concurrent_calls=10_000)
    story = simulate(simulation("hangs", NO_BREAKER, bulkhead=unbounded))
    report("no breaker, no bulkhead, hangs", story)
    assert story.most_under_way > 2 * BULKHEAD.max_concurrent_calls
    assert story.longest_wait <= DEADLINE + 1e-6, "but for the deadline, which holds all the same"
