"""Rates, slow calls, growing open time, and what somebody decides by hand."""

import asyncio
import math

import pytest

from libs.circuit_breaker import (
    BreakerEvent,
    BreakerMode,
    BreakerPolicy,
    CallRejected,
    CircuitBreaker,
    CircuitBreakerRegistry,
    CircuitOpenError,
    InvalidBreakerPolicyError,
    SlidingWindowType,
    SlowCall,
    State,
    StateChanged,
    WindowFigures,
)
from libs.circuit_breaker.testing import ManualClock
from tests.unit.circuit_breaker.dependency import (
    Dependency,
    UnwellError,
    answer,
    failing_call,
    open_circuit,
    started,
)


def rates(clock: ManualClock, **fields: object) -> CircuitBreaker:
    """Opens at 50 % of the last 10 calls, of 4 at least; 4 trials decide."""
    policy = BreakerPolicy(
        **{  # type: ignore[arg-type]
            "sliding_window_type": SlidingWindowType.COUNT_BASED,
            "sliding_window_size": 10,
            "minimum_number_of_calls": 4,
            "permitted_calls_in_half_open": 4,
            **fields,
        }
    )
    return CircuitBreaker("dependency", policy, clock=clock)


async def slow_call(circuit: CircuitBreaker, clock: ManualClock, seconds: float) -> None:
    async def slow() -> None:
        clock.advance(seconds)

    await circuit.call(slow)


# What can't be is refused when the policy is made.


def test_every_problem_of_a_policy_is_named_with_its_field() -> None:
    with pytest.raises(InvalidBreakerPolicyError) as caught:
        BreakerPolicy(
            failure_threshold=0,
            sliding_window_type="count_based",  # type: ignore[arg-type]
            sliding_window_size=0,
            minimum_number_of_calls=True,
            failure_rate_threshold=0,
            slow_call_rate_threshold=101,
            slow_call_duration_threshold_seconds=math.inf,
            open_multiplier=0.5,
            max_open_seconds=4,
            open_jitter=1,
            mode=None,  # type: ignore[arg-type]
        )
    assert set(caught.value.problems) == {
        "failure_threshold",
        "sliding_window_type",
        "sliding_window_size",
        "minimum_number_of_calls",
        "failure_rate_threshold",
        "slow_call_rate_threshold",
        "slow_call_duration_threshold_seconds",
        "open_multiplier",
        "open_jitter",
        "mode",
    }
    assert all(
        f"{field} {told}" in str(caught.value) for field, told in caught.value.problems.items()
    )


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("minimum_number_of_calls", {"sliding_window_size": 10, "minimum_number_of_calls": 11}),
        ("slow_call_rate_threshold", {"slow_call_rate_threshold": 50}),
        ("success_threshold", {"success_threshold": 2}),
        (
            "slow_call_duration_threshold_seconds",
            {"call_timeout_seconds": 2, "slow_call_duration_threshold_seconds": 2},
        ),
        ("max_open_seconds", {"open_multiplier": 2}),
        ("max_open_seconds", {"open_seconds": 5, "max_open_seconds": 4}),
    ],
)
def test_fields_that_do_not_go_together_are_refused(field: str, fields: dict[str, int]) -> None:
    with pytest.raises(InvalidBreakerPolicyError) as caught:
        BreakerPolicy(sliding_window_type=SlidingWindowType.COUNT_BASED, **fields)  # type: ignore[arg-type]
    assert set(caught.value.problems) == {field}


# Rates.


async def test_a_rate_opens_the_circuit_once_there_are_enough_calls(clock: ManualClock) -> None:
    circuit = rates(clock)
    await failing_call(circuit)
    await failing_call(circuit)
    await circuit.call(answer)
    assert circuit.snapshot().window == WindowFigures(calls=3, failures=2, slow_calls=0)
    assert circuit.snapshot().state is State.CLOSED, "three calls say too little"
    await circuit.call(answer)
    assert (
        circuit.snapshot().state is State.OPEN
    ), "the fourth call was well, yet half of them failed"
    window = circuit.snapshot().window
    assert window is not None
    assert window.failure_rate == 50


async def test_failures_that_alternate_with_successes_open_it_where_runs_never_would(
    clock: ManualClock,
) -> None:
    runs = CircuitBreaker("runs", BreakerPolicy(failure_threshold=2), clock=clock)
    shares = rates(clock)
    for _ in range(2):
        for circuit in (runs, shares):
            await circuit.call(answer)
            await failing_call(circuit)
    assert (runs.state, shares.state) == (State.CLOSED, State.OPEN)


async def test_calls_leave_a_time_window_with_their_second(clock: ManualClock) -> None:
    circuit = rates(clock, sliding_window_type=SlidingWindowType.TIME_BASED, sliding_window_size=3)
    await failing_call(circuit)
    clock.advance(2.9)
    await failing_call(circuit)
    clock.advance(0.1)
    assert circuit.snapshot().window == WindowFigures(1, 1, 0)
    clock.advance(1_000_000)
    assert circuit.snapshot().window == WindowFigures(0, 0, 0)
    for _ in range(3):
        await failing_call(circuit)
    assert circuit.snapshot().state is State.CLOSED, "the old failures don't make up the minimum"


async def test_trials_decide_together_and_no_more_are_made_than_permitted(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = rates(clock)
    for _ in range(4):
        await failing_call(circuit)
    clock.advance(5)
    calls = await started(*(circuit.call(dependency) for _ in range(50)))
    assert len(dependency.calls) == 4
    dependency.calls[0].set_exception(UnwellError())
    dependency.calls[1].set_result("well")
    await asyncio.sleep(0)
    with pytest.raises(CircuitOpenError):
        await circuit.call(answer)
    assert circuit.snapshot().permits_in_use == 4, "those that have ended wait for the others"
    for waiting in dependency.calls[2:]:
        waiting.set_result("well")
    await asyncio.gather(*calls, return_exceptions=True)
    assert circuit.snapshot().state is State.CLOSED, "one of four is below the threshold"
    assert circuit.snapshot().window == WindowFigures(0, 0, 0)


async def test_trials_that_can_not_be_made_good_any_more_open_it_at_once(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = rates(clock)
    for _ in range(4):
        await failing_call(circuit)
    clock.advance(5)
    (hanging,) = await started(circuit.call(dependency))
    await failing_call(circuit)
    assert circuit.snapshot().state is State.HALF_OPEN
    await failing_call(circuit)
    assert circuit.snapshot().state is State.OPEN
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)


async def test_a_cancelled_trial_is_made_by_another(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = rates(clock, permitted_calls_in_half_open=1)
    for _ in range(4):
        await failing_call(circuit)
    clock.advance(5)
    (trial,) = await started(circuit.call(dependency))
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    assert await circuit.call(answer) == "answer"
    assert circuit.snapshot().state is State.CLOSED


# Slow calls.


async def test_slow_calls_open_the_circuit_and_are_told_to_listeners(clock: ManualClock) -> None:
    heard: list[BreakerEvent] = []
    circuit = rates(clock, slow_call_duration_threshold_seconds=1, slow_call_rate_threshold=75)
    circuit.add_listener(heard.append)
    await slow_call(circuit, clock, 1)  # as long as allowed
    for seconds in (1.5, 2, 3):
        await slow_call(circuit, clock, seconds)
    assert heard == [
        SlowCall("dependency", 1.5),
        SlowCall("dependency", 2),
        SlowCall("dependency", 3),
        StateChanged("dependency", State.CLOSED, State.OPEN),
    ]
    assert circuit.snapshot().window == WindowFigures(4, 0, 3)
    assert circuit.snapshot().slow_calls == 3


async def test_without_a_window_slow_calls_are_only_told(clock: ManualClock) -> None:
    policy = BreakerPolicy(failure_threshold=1, slow_call_duration_threshold_seconds=1)
    circuit = CircuitBreaker("dependency", policy, clock=clock)

    def broken(_: BreakerEvent) -> None:
        raise UnwellError

    circuit.add_listener(broken)
    for _ in range(10):
        await slow_call(circuit, clock, 2)
    assert circuit.snapshot().state is State.CLOSED
    assert circuit.snapshot().slow_calls == 10


# Open time.


async def test_open_time_grows_to_its_bound_and_begins_anew_after_recovery(
    clock: ManualClock,
) -> None:
    policy = BreakerPolicy(
        failure_threshold=1, open_seconds=2, open_multiplier=3, max_open_seconds=15
    )
    circuit = CircuitBreaker("dependency", policy, clock=clock)

    async def opened_for() -> float:
        await failing_call(circuit)
        left = circuit.snapshot().retry_after_seconds
        clock.advance(left)
        return left

    assert [await opened_for() for _ in range(5)] == [2, 6, 15, 15, 15]
    await circuit.call(answer)
    assert circuit.snapshot().state is State.CLOSED
    assert [await opened_for() for _ in range(2)] == [2, 6]


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 10.0), (0.5, 8.0), (0.999, 6.004)])
async def test_chance_takes_off_no_more_than_the_jitter(
    clock: ManualClock, chance: float, seconds: float
) -> None:
    registry = CircuitBreakerRegistry(clock=clock, random=lambda: chance)
    policy = BreakerPolicy(failure_threshold=1, open_seconds=10, open_jitter=0.4)
    circuit = registry.breaker("dependency", policy)
    await open_circuit(circuit)
    assert circuit.snapshot().retry_after_seconds == pytest.approx(seconds)


# Decisions.


async def test_a_circuit_that_was_forced_open_stays_so_until_it_is_reset(
    clock: ManualClock,
) -> None:
    heard: list[BreakerEvent] = []
    circuit = CircuitBreaker("dependency", BreakerPolicy(), clock=clock)
    circuit.add_listener(heard.append)
    circuit.force_open()
    circuit.force_open()
    clock.advance(1_000_000)
    with pytest.raises(CircuitOpenError) as refused:
        await circuit.call(answer)
    assert refused.value.retry_after_seconds == 5
    circuit.reset()
    assert await circuit.call(answer) == "answer"
    assert heard == [
        StateChanged("dependency", State.CLOSED, State.FORCED_OPEN),
        CallRejected("dependency", State.FORCED_OPEN, 5.0),
        StateChanged("dependency", State.FORCED_OPEN, State.CLOSED),
    ]


async def test_a_disabled_circuit_counts_nothing_and_still_limits_a_call(
    clock: ManualClock, dependency: Dependency
) -> None:
    policy = BreakerPolicy(
        failure_threshold=1, mode=BreakerMode.DISABLED, call_timeout_seconds=0.001
    )
    circuit = CircuitBreaker("dependency", policy, clock=clock)
    for _ in range(3):
        await failing_call(circuit)
    with pytest.raises(TimeoutError):
        await circuit.call(dependency)
    assert circuit.snapshot().state is State.DISABLED
    assert circuit.snapshot().consecutive_failures == 0
    circuit.reset()
    await failing_call(circuit)
    assert circuit.snapshot().state is State.OPEN


async def test_a_policy_may_begin_forced_open(clock: ManualClock) -> None:
    circuit = CircuitBreaker("dependency", BreakerPolicy(mode=BreakerMode.FORCED_OPEN), clock=clock)
    with pytest.raises(CircuitOpenError):
        await circuit.call(answer)


async def test_a_trial_under_way_has_no_say_after_a_decision(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = CircuitBreaker("dependency", BreakerPolicy(failure_threshold=1), clock=clock)
    await open_circuit(circuit)
    clock.advance(5)
    (trial,) = await started(circuit.call(dependency))
    circuit.force_open()
    dependency.calls[0].set_result("well")
    await trial
    assert circuit.snapshot().state is State.FORCED_OPEN
    assert circuit.snapshot().late_outcomes == 1
