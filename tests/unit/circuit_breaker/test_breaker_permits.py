"""However a trial call ends, its permit comes back: a lost permit would leave the circuit
half-open for good."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest

from libs.circuit_breaker import (
    BreakerEvent,
    BreakerPolicy,
    CallRejected,
    CircuitBreaker,
    CircuitOpenError,
    Outcome,
    State,
    StateChanged,
)
from libs.circuit_breaker.testing import ManualClock
from tests.unit.circuit_breaker.dependency import (
    Dependency,
    UnwellError,
    answer,
    fail,
    open_circuit,
    started,
)


class ForcedExitError(BaseException):
    """A BaseException that is no cancellation."""


async def half_open_soon(
    clock: ManualClock,
    classify: Callable[[BaseException], Outcome] = lambda _: Outcome.FAILURE,
    *,
    success_threshold: int = 1,
    call_timeout_seconds: float | None = None,
) -> CircuitBreaker:
    """An open circuit whose next call is a trial."""
    circuit = CircuitBreaker(
        "dependency",
        BreakerPolicy(
            failure_threshold=1,
            success_threshold=success_threshold,
            call_timeout_seconds=call_timeout_seconds,
        ),
        classify=classify,
        clock=clock,
    )
    await open_circuit(circuit)
    clock.advance(5)
    return circuit


async def test_a_call_cancelled_before_it_ran_never_held_a_permit(clock: ManualClock) -> None:
    circuit = await half_open_soon(clock)
    task = asyncio.create_task(circuit.call(answer))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert circuit.state is State.OPEN
    assert await circuit.call(answer) == "answer"


async def test_a_cancellation_that_strikes_at_the_first_wait_returns_the_permit(
    clock: ManualClock, dependency: Dependency
) -> None:
    """The cancellation is requested while the call runs: after the permit, before any wait."""
    circuit = await half_open_soon(clock)

    async def cancelled_on_the_way() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return await dependency()

    task = asyncio.create_task(circuit.call(cancelled_on_the_way))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert circuit.state is State.HALF_OPEN
    assert circuit.snapshot().permits_in_use == 0


async def test_a_call_that_is_dropped_unfinished_returns_the_permit(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = await half_open_soon(clock)
    call = circuit.call(dependency)
    call.send(None)
    assert circuit.snapshot().permits_in_use == 1
    call.close()
    assert circuit.snapshot().permits_in_use == 0


async def test_an_exit_of_the_program_passes_through_and_returns_the_permit(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = await half_open_soon(clock, success_threshold=2)
    for exit_by in (KeyboardInterrupt(), SystemExit(1), ForcedExitError()):
        call = circuit.call(dependency)
        call.send(None)
        with pytest.raises(type(exit_by)) as caught:
            call.throw(exit_by)
        assert caught.value is exit_by
        assert circuit.state is State.HALF_OPEN
        assert circuit.snapshot().permits_in_use == 0


async def test_a_function_that_raises_before_it_waits_returns_the_permit(
    clock: ManualClock,
) -> None:
    circuit = await half_open_soon(clock, lambda _: Outcome.IGNORE)

    def not_a_coroutine_function() -> Awaitable[str]:
        raise UnwellError

    with pytest.raises(UnwellError):
        await circuit.call(not_a_coroutine_function)
    assert circuit.snapshot().permits_in_use == 0


async def test_a_function_that_gives_no_awaitable_returns_the_permit(clock: ManualClock) -> None:
    circuit = await half_open_soon(clock, lambda _: Outcome.IGNORE)
    with pytest.raises(TypeError):
        await circuit.call(lambda: "answer")  # type: ignore[arg-type, return-value]
    assert circuit.snapshot().permits_in_use == 0


@pytest.mark.parametrize(
    "raised", [ValueError("bug"), asyncio.CancelledError(), ForcedExitError()], ids=repr
)
async def test_a_classifier_that_raises_counts_as_failure_and_hides_nothing(
    clock: ManualClock, caplog: pytest.LogCaptureFixture, raised: BaseException
) -> None:
    def broken(_: BaseException) -> NoReturn:
        raise raised

    circuit = await half_open_soon(clock, broken)
    with pytest.raises(UnwellError):
        await circuit.call(fail)
    assert circuit.state is State.OPEN
    clock.advance(5)
    assert await circuit.call(answer) == "answer", "and the next trial finds its permit"
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


async def test_a_classifier_that_exits_the_program_returns_the_permit(clock: ManualClock) -> None:
    exiting = False

    def classify(_: BaseException) -> Outcome:
        if exiting:
            raise KeyboardInterrupt
        return Outcome.FAILURE

    circuit = await half_open_soon(clock, classify)
    exiting = True
    call = circuit.call(fail)
    with pytest.raises(KeyboardInterrupt):
        call.send(None)
    assert circuit.state is State.HALF_OPEN
    assert circuit.snapshot().permits_in_use == 0


@pytest.mark.parametrize(
    "raised", [ValueError("bug"), asyncio.CancelledError(), ForcedExitError()], ids=repr
)
async def test_a_listener_that_raises_reaches_no_caller_and_keeps_no_permit(
    clock: ManualClock, dependency: Dependency, raised: BaseException
) -> None:
    heard: list[BreakerEvent] = []

    def broken(_: BreakerEvent) -> None:
        raise raised

    circuit = await half_open_soon(clock)
    circuit.add_listener(broken)
    circuit.add_listener(heard.append)
    (trial,) = await started(circuit.call(dependency))
    with pytest.raises(CircuitOpenError):
        await circuit.call(answer)
    dependency.calls[0].set_result("well")
    assert await trial == "well"
    assert circuit.state is State.CLOSED
    assert heard == [
        StateChanged("dependency", State.OPEN, State.HALF_OPEN),
        CallRejected("dependency", State.HALF_OPEN, 5.0),
        StateChanged("dependency", State.HALF_OPEN, State.CLOSED),
    ]


async def test_a_listener_that_exits_the_program_keeps_no_permit(clock: ManualClock) -> None:
    def exits(event: BreakerEvent) -> None:
        raise SystemExit(1)

    circuit = await half_open_soon(clock)
    circuit.add_listener(exits)
    call = circuit.call(answer)
    with pytest.raises(SystemExit):
        call.send(None)
    assert circuit.state is State.HALF_OPEN
    assert circuit.snapshot().permits_in_use == 0


async def test_a_listener_sees_a_consistent_breaker(clock: ManualClock) -> None:
    circuit = await half_open_soon(clock)
    seen: list[tuple[BreakerEvent, State, int]] = []

    def look(event: BreakerEvent) -> None:
        snapshot = circuit.snapshot()
        seen.append((event, snapshot.state, snapshot.permits_in_use))

    circuit.add_listener(look)
    await circuit.call(answer)
    assert seen == [
        (StateChanged("dependency", State.OPEN, State.HALF_OPEN), State.HALF_OPEN, 0),
        (StateChanged("dependency", State.HALF_OPEN, State.CLOSED), State.CLOSED, 0),
    ]


async def test_an_answer_after_the_time_limit_is_given_and_counts_as_failure(
    clock: ManualClock,
) -> None:
    """A function may catch the cancellation of the time-out and answer all the same."""
    circuit = await half_open_soon(clock, call_timeout_seconds=0.001)

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late answer"
        return "no wait"

    assert await circuit.call(stubborn) == "late answer"
    assert circuit.state is State.OPEN
    clock.advance(5)
    assert await circuit.call(answer) == "answer"


async def test_a_rejected_half_open_call_is_told_when_the_trial_must_have_ended(
    clock: ManualClock, dependency: Dependency
) -> None:
    circuit = await half_open_soon(clock, call_timeout_seconds=0.25)
    (trial,) = await started(circuit.call(dependency))
    with pytest.raises(CircuitOpenError) as caught:
        await circuit.call(answer)
    assert caught.value.retry_after_seconds == 0.25
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    assert circuit.snapshot().rejected_calls == 1


async def test_concurrent_callers_with_every_ending_at_once_leave_no_permit_behind(
    clock: ManualClock, dependency: Dependency
) -> None:
    """Many rounds of half-open with mixed endings, then a plain trial must still be possible."""
    circuit = await half_open_soon(clock, success_threshold=100)
    for ending in range(40):
        first = len(dependency.calls)
        calls = await started(*(circuit.call(dependency) for _ in range(10)))
        trials = [call for call in calls if not call.done()]
        assert len(trials) == len(dependency.calls) - first == 1
        if ending % 4 == 0:
            trials[0].cancel()
        elif ending % 4 == 1:
            dependency.calls[-1].set_exception(UnwellError())
        elif ending % 4 == 2:
            dependency.calls[-1].set_result("well")
        else:
            dependency.calls[-1].cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert circuit.snapshot().permits_in_use == 0
        clock.advance(5)
