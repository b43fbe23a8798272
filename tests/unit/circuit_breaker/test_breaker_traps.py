"""One test for each row of the table of pybreaker's traps: what the adapter does instead."""

import abc
import asyncio
from datetime import UTC, datetime

import pybreaker
import pytest

from libs.circuit_breaker import (
    BreakerPolicy,
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    State,
)
from libs.circuit_breaker.testing import ManualClock
from tests.unit.circuit_breaker.dependency import (
    Dependency,
    UnwellError,
    answer,
    fail,
    failing_call,
    open_circuit,
    started,
)


def breaker(clock: ManualClock, **fields: float) -> CircuitBreaker:
    policy = BreakerPolicy(**{"failure_threshold": 3, **fields})  # type: ignore[arg-type]
    return CircuitBreaker("dependency", policy, clock=clock)


# `@breaker` on `async def` never trips; `call_async` needs tornado.


async def test_async_functions_trip_the_breaker(clock: ManualClock) -> None:
    circuit = breaker(clock)
    await open_circuit(circuit)
    assert circuit.snapshot().state is State.OPEN
    with pytest.raises(CircuitOpenError):
        await circuit.call(answer)


async def test_pybreaker_itself_does_not_see_an_async_failure() -> None:
    """Why there is an adapter. When this fails, pybreaker has learned asyncio: look again."""
    machine = pybreaker.CircuitBreaker(fail_max=1)
    for _ in range(3):
        with pytest.raises(UnwellError):
            await machine(fail)()
    assert machine.current_state == pybreaker.STATE_CLOSED


# Half-open lets every concurrent call through.


@pytest.mark.parametrize("permits", [1, 2, 7])
async def test_half_open_admits_no_more_than_its_permits_of_50_concurrent_calls(
    clock: ManualClock, dependency: Dependency, permits: int
) -> None:
    circuit = breaker(clock, permitted_calls_in_half_open=permits, open_seconds=5)
    await open_circuit(circuit)
    clock.advance(5)
    calls = await started(*(circuit.call(dependency) for _ in range(50)))
    assert len(dependency.calls) == permits
    assert circuit.snapshot().state is State.HALF_OPEN
    assert circuit.snapshot().permits_in_use == permits
    rejected = [call for call in calls if call.done()]
    assert len(rejected) == 50 - permits, "the excess is refused at once, not queued"
    assert all(isinstance(call.exception(), CircuitOpenError) for call in rejected)
    for waiting in dependency.calls:
        waiting.set_result("well")
    admitted = await asyncio.gather(*(call for call in calls if call not in rejected))
    assert admitted == ["well"] * permits
    assert circuit.snapshot().state is State.CLOSED


async def test_a_permit_is_for_one_call_at_a_time_and_comes_back_with_its_outcome(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, success_threshold=3)
    await open_circuit(circuit)
    clock.advance(5)
    for number in range(3):
        (call,) = await started(circuit.call(dependency))
        with pytest.raises(CircuitOpenError):
            await circuit.call(answer)
        dependency.calls[number].set_result("well")
        await call
        assert circuit.snapshot().state is (State.HALF_OPEN if number < 2 else State.CLOSED)


# A cancellation counts as a failure, and the original exception is replaced on the trip.


async def test_cancellation_is_neutral_in_a_closed_circuit(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=1)
    calls = await started(*(circuit.call(dependency) for _ in range(10)))
    for call in calls:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(type(outcome) is asyncio.CancelledError for outcome in outcomes)
    assert circuit.snapshot().state is State.CLOSED
    assert circuit.snapshot().consecutive_failures == 0


async def test_cancellation_does_not_reset_the_count_of_failures(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock)
    await failing_call(circuit)
    (call,) = await started(circuit.call(dependency))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert circuit.snapshot().consecutive_failures == 1


async def test_cancellation_returns_the_permit_and_leaves_the_circuit_half_open(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock)
    await open_circuit(circuit)
    clock.advance(5)
    (call,) = await started(circuit.call(dependency))
    assert circuit.snapshot().permits_in_use == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert circuit.snapshot().state is State.HALF_OPEN
    assert circuit.snapshot().permits_in_use == 0
    assert await circuit.call(answer) == "answer"
    assert circuit.snapshot().state is State.CLOSED


async def test_an_outer_timeout_stays_a_timeout_and_counts_neither_way(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await circuit.call(dependency)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(circuit.call(dependency), timeout=0.001)
    assert circuit.snapshot().state is State.CLOSED
    assert circuit.snapshot().consecutive_failures == 0


async def test_an_outer_timeout_returns_the_permit(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock)
    await open_circuit(circuit)
    clock.advance(5)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await circuit.call(dependency)
    assert circuit.snapshot().state is State.HALF_OPEN
    assert circuit.snapshot().permits_in_use == 0


async def test_an_inner_timeout_is_a_timeout_error_and_a_failure(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=2, call_timeout_seconds=0.001)
    for failures in (1, 2):
        with pytest.raises(TimeoutError):
            await circuit.call(dependency)
        assert circuit.snapshot().consecutive_failures == failures
    assert circuit.snapshot().state is State.OPEN
    assert all(waiting.cancelled() for waiting in dependency.calls)


async def test_an_inner_timeout_of_a_trial_call_reopens_the_circuit(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, call_timeout_seconds=0.001)
    await open_circuit(circuit)
    clock.advance(5)
    with pytest.raises(TimeoutError):
        await circuit.call(dependency)
    assert circuit.snapshot().state is State.OPEN


async def test_an_inner_timeout_is_a_failure_whatever_the_classifier_thinks_of_timeouts(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = CircuitBreaker(
        "dependency",
        BreakerPolicy(failure_threshold=1, call_timeout_seconds=0.001),
        classify=lambda _: Outcome.IGNORE,
        clock=clock,
    )
    with pytest.raises(TimeoutError):
        await circuit.call(dependency)
    assert circuit.snapshot().state is State.OPEN


async def test_an_outer_cancellation_wins_over_an_inner_timeout_of_the_same_moment(
    clock: ManualClock,
) -> None:
    circuit = breaker(clock, failure_threshold=1, call_timeout_seconds=0.001)
    cancelled_inside = asyncio.Event()
    release = asyncio.Event()

    async def slow_to_stop() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled_inside.set()
            await release.wait()

    call = asyncio.create_task(circuit.call(slow_to_stop))
    await cancelled_inside.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert circuit.snapshot().state is State.CLOSED


async def test_the_exception_that_trips_the_circuit_is_the_one_that_was_raised(
    clock: ManualClock,
) -> None:
    circuit = breaker(clock, failure_threshold=1)
    original = UnwellError("the original")

    async def raise_original() -> None:
        raise original

    with pytest.raises(UnwellError) as caught:
        await circuit.call(raise_original)
    assert circuit.snapshot().state is State.OPEN
    assert caught.value is original
    assert original.__context__ is None
    files = {str(entry.path) for entry in caught.traceback}
    assert not [file for file in files if "pybreaker" in file], "its traceback is its own"


# An excluded exception counts as success.


async def test_an_ignored_exception_does_not_reset_the_count_of_failures(
    clock: ManualClock,
) -> None:
    circuit = three_outcomes(clock)
    await raising(circuit, UnwellError())
    await raising(circuit, LookupError())
    assert circuit.snapshot().consecutive_failures == 1
    await raising(circuit, UnwellError())
    assert circuit.snapshot().state is State.OPEN


async def test_an_ignored_exception_does_not_close_a_half_open_circuit_and_returns_its_permit(
    clock: ManualClock,
) -> None:
    circuit = three_outcomes(clock)
    await raising(circuit, UnwellError())
    await raising(circuit, UnwellError())
    clock.advance(5)
    for _ in range(3):
        await raising(circuit, LookupError())
        assert circuit.snapshot().state is State.HALF_OPEN
        assert circuit.snapshot().permits_in_use == 0


async def test_an_exception_that_means_success_resets_the_count_and_closes_the_circuit(
    clock: ManualClock,
) -> None:
    circuit = three_outcomes(clock)
    await raising(circuit, UnwellError())
    await raising(circuit, FileExistsError())
    assert circuit.snapshot().consecutive_failures == 0
    await raising(circuit, UnwellError())
    await raising(circuit, UnwellError())
    clock.advance(5)
    await raising(circuit, FileExistsError())
    assert circuit.snapshot().state is State.CLOSED


def three_outcomes(clock: ManualClock) -> CircuitBreaker:
    outcomes: dict[type[BaseException], Outcome] = {
        UnwellError: Outcome.FAILURE,
        LookupError: Outcome.IGNORE,
        FileExistsError: Outcome.SUCCESS,
    }
    return CircuitBreaker(
        "dependency",
        BreakerPolicy(failure_threshold=2),
        classify=lambda exception: outcomes[type(exception)],
        clock=clock,
    )


async def raising(circuit: CircuitBreaker, exception: Exception) -> None:
    async def function() -> None:
        raise exception

    with pytest.raises(type(exception)) as caught:
        await circuit.call(function)
    assert caught.value is exception


# Outcomes of calls that began before the last change of state.


async def test_a_late_failure_does_not_reopen_a_circuit_that_has_closed(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=1)
    (slow,) = await started(circuit.call(dependency))
    await failing_call(circuit)
    clock.advance(5)
    await circuit.call(answer)
    dependency.calls[0].set_exception(UnwellError())
    with pytest.raises(UnwellError):
        await slow
    assert circuit.snapshot().state is State.CLOSED
    assert circuit.snapshot().consecutive_failures == 0
    assert circuit.snapshot().late_outcomes == 1


async def test_a_late_success_is_dropped_and_counted_in_a_circuit_that_has_closed(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=1)
    (slow,) = await started(circuit.call(dependency))
    await failing_call(circuit)
    clock.advance(5)
    await circuit.call(answer)
    dependency.calls[0].set_result("old")
    assert await slow == "old"
    assert circuit.snapshot().late_outcomes == 1


async def test_a_late_failure_does_not_decide_a_trial(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=1)
    slow, trial = await _slow_call_and_trial(circuit, clock, dependency)
    dependency.calls[0].set_exception(UnwellError())
    with pytest.raises(UnwellError):
        await slow
    assert circuit.snapshot().state is State.HALF_OPEN
    assert circuit.snapshot().permits_in_use == 1, "nor does it give back the trial's permit"
    dependency.calls[1].set_result("well")
    await trial
    assert circuit.snapshot().state is State.CLOSED


async def test_a_late_success_does_not_close_a_half_open_circuit(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=1)
    slow, trial = await _slow_call_and_trial(circuit, clock, dependency)
    dependency.calls[0].set_result("old")
    assert await slow == "old"
    assert circuit.snapshot().state is State.HALF_OPEN
    dependency.calls[1].set_exception(UnwellError())
    with pytest.raises(UnwellError):
        await trial
    assert circuit.snapshot().state is State.OPEN


async def test_a_late_cancellation_gives_back_no_permit_of_a_later_trial(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=1)
    slow, trial = await _slow_call_and_trial(circuit, clock, dependency)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert circuit.snapshot().permits_in_use == 1
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)


async def test_a_trial_of_an_earlier_half_open_gives_back_no_permit_of_a_later_one(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=1, permitted_calls_in_half_open=2)
    await open_circuit(circuit)
    clock.advance(5)
    first, second = await started(circuit.call(dependency), circuit.call(dependency))
    dependency.calls[0].set_exception(UnwellError())
    await asyncio.gather(first, return_exceptions=True)
    assert circuit.snapshot().state is State.OPEN
    clock.advance(5)
    later = await started(circuit.call(dependency), circuit.call(dependency))
    dependency.calls[1].set_result("old")
    await second
    assert circuit.snapshot().state is State.HALF_OPEN
    assert circuit.snapshot().permits_in_use == 2
    with pytest.raises(CircuitOpenError):
        await circuit.call(dependency)
    for waiting in dependency.calls[2:]:
        waiting.set_result("well")
    await asyncio.gather(*later)


async def test_failures_in_flight_after_opening_do_not_push_the_end_of_open_on(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = breaker(clock, failure_threshold=1, open_seconds=5)
    slow = await started(*(circuit.call(dependency) for _ in range(4)))
    dependency.calls[0].set_exception(UnwellError())
    await asyncio.gather(slow[0], return_exceptions=True)
    for waiting in dependency.calls[1:]:
        clock.advance(1)
        waiting.set_exception(UnwellError())
    await asyncio.gather(*slow, return_exceptions=True)
    assert circuit.snapshot().retry_after_seconds == 2
    clock.advance(2)
    assert await circuit.call(answer) == "answer"


async def _slow_call_and_trial(
    circuit: CircuitBreaker, clock: ManualClock, dependency: Dependency
) -> tuple[asyncio.Future[object], asyncio.Future[object]]:
    (slow,) = await started(circuit.call(dependency))
    await failing_call(circuit)
    clock.advance(5)
    (trial,) = await started(circuit.call(dependency))
    assert circuit.snapshot().state is State.HALF_OPEN
    return slow, trial


# An exception class with a metaclass in `exclude` is called as a predicate.


class AbstractError(Exception, metaclass=abc.ABCMeta):
    """An exception class as a library may have it."""


async def test_an_exception_class_with_a_metaclass_is_classified_like_any_other(
    clock: ManualClock,
) -> None:
    def classify(exception: BaseException) -> Outcome:
        return Outcome.IGNORE if isinstance(exception, AbstractError) else Outcome.FAILURE

    circuit = CircuitBreaker(
        "dependency", BreakerPolicy(failure_threshold=1), classify=classify, clock=clock
    )
    await raising(circuit, AbstractError())
    assert circuit.snapshot().state is State.CLOSED
    await raising(circuit, UnwellError())
    assert circuit.snapshot().state is State.OPEN


async def test_an_exception_class_with_a_metaclass_can_trip_the_circuit(
    clock: ManualClock,
) -> None:
    circuit = breaker(clock, failure_threshold=1)
    await raising(circuit, AbstractError())
    assert circuit.snapshot().state is State.OPEN


# The wall clock.


async def test_open_time_is_by_the_clock_that_was_passed_in(clock: ManualClock) -> None:
    circuit = breaker(clock, open_seconds=5)
    await open_circuit(circuit)
    clock.advance(4.999)
    with pytest.raises(CircuitOpenError) as caught:
        await circuit.call(answer)
    assert caught.value.name == "dependency"
    assert caught.value.retry_after_seconds == pytest.approx(0.001)
    clock.advance(0.001)
    assert await circuit.call(answer) == "answer"


@pytest.mark.parametrize("year", [1990, 2090])
async def test_a_jump_of_the_wall_clock_changes_nothing(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    class JumpingWallClock:
        @staticmethod
        def now(_: object = None) -> datetime:
            return datetime(year, 1, 1, tzinfo=UTC)

    circuit = breaker(clock, open_seconds=5)
    await open_circuit(circuit)
    monkeypatch.setattr(pybreaker, "datetime", JumpingWallClock)
    with pytest.raises(CircuitOpenError):
        await circuit.call(answer)
    clock.advance(5)
    assert await circuit.call(answer) == "answer"
    assert circuit.snapshot().state is State.CLOSED
