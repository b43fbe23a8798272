"""The order of the guards, and what is retried: each case in simulated time, to its exact end."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from libs.circuit_breaker import (
    BreakerMode,
    BreakerPolicy,
    CircuitBreakerRegistry,
    CircuitOpenError,
    State,
)
from libs.resilience import (
    BulkheadFullError,
    BulkheadPolicy,
    BulkheadRefusal,
    BulkheadRejected,
    CallRetried,
    DeadlineExceededError,
    DeadlinePassed,
    FailureKind,
    PipelineRegistry,
    Repeatable,
    ResilienceEvent,
    ResiliencePipeline,
    RetryBudgetPolicy,
    RetryPolicy,
    RetryRefusal,
    RetryRefused,
    current_deadline,
    deadline_scope,
    without_deadline,
)
from tests.unit.circuit_breaker.simulated_time import SimulatedLoop

T = TypeVar("T")


class NotSentError(Exception):
    """Nothing was executed."""


class LostAnswerError(Exception):
    """Nobody knows what was executed."""


class BusyError(Exception):
    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds


class AnsweredError(Exception):
    """An answer: asking again gives the same."""


KINDS: dict[type[Exception], FailureKind] = {
    NotSentError: FailureKind.NOT_EXECUTED,
    BusyError: FailureKind.NOT_EXECUTED,
    LostAnswerError: FailureKind.MAYBE_EXECUTED,
    TimeoutError: FailureKind.MAYBE_EXECUTED,
    AnsweredError: FailureKind.FINAL,
}


class World:
    """A pipeline on a loop of its own, its events, and a dependency that ends as it is told."""

    def __init__(
        self,
        *,
        breaker: BreakerPolicy | None = None,
        bulkhead: BulkheadPolicy | None = None,
        retry: RetryPolicy | None = None,
        budget: RetryBudgetPolicy | None = None,
    ) -> None:
        self.loop = SimulatedLoop()
        self.events: list[ResilienceEvent] = []
        self.called_at: list[float] = []
        self.endings: list[Exception | float | str] = []
        registry = PipelineRegistry(
            CircuitBreakerRegistry(clock=self.loop.time),
            clock=self.loop.time,
            random=lambda: 0.5,
            listeners=[self.events.append],
        )
        self.pipeline: ResiliencePipeline = registry.pipeline(
            "dependency",
            breaker=breaker or BreakerPolicy(failure_threshold=10, call_timeout_seconds=2),
            bulkhead=bulkhead or BulkheadPolicy(),
            retry=retry or RetryPolicy(3, base_delay_seconds=0.2, max_delay_seconds=1),
            budget=budget or RetryBudgetPolicy(1, 10, 100),
            classify_failure=lambda error: KINDS[type(error)],
        )
        self.began = self.loop.time()

    async def dependency(self) -> str:
        """Raises, answers, or waits for so long and answers."""
        self.called_at.append(self.now)
        ending = self.endings.pop(0) if self.endings else "answer"
        if isinstance(ending, Exception):
            raise ending
        if isinstance(ending, float):
            await asyncio.sleep(ending)
            return "answer"
        return ending

    @property
    def now(self) -> float:
        return round(self.loop.time() - self.began, 6)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def call(self, repeatable: Repeatable = Repeatable.ALWAYS) -> Coroutine[Any, Any, str]:
        return self.pipeline.call(self.dependency, repeatable=repeatable)

    def call_within(
        self, seconds: float, repeatable: Repeatable = Repeatable.ALWAYS
    ) -> Coroutine[Any, Any, str]:
        async def limited() -> str:
            with deadline_scope(seconds, clock=self.loop.time):
                return await self.call(repeatable)

        return limited()

    def refusals(self) -> list[RetryRefusal]:
        return [event.reason for event in self.events if isinstance(event, RetryRefused)]


@pytest.fixture()
def world() -> World:
    return World()


def test_what_succeeds_is_called_once_and_holds_nothing(world: World) -> None:
    assert world.run(world.call()) == "answer"
    assert (world.called_at, world.events) == ([0.0], [])
    assert world.pipeline.bulkhead.snapshot().running == 0


def test_what_passes_is_tried_again_after_a_wait_by_chance(world: World) -> None:
    world.endings = [NotSentError(), LostAnswerError()]
    assert world.run(world.call()) == "answer"
    # Half of 0.2, then half of 0.4.
    assert world.called_at == [0.0, 0.1, 0.3]
    assert world.events == [
        CallRetried("dependency", 2, 0.1, "NotSentError"),
        CallRetried("dependency", 3, 0.2, "LostAnswerError"),
    ]


def test_the_original_exception_of_the_last_attempt_comes_through(world: World) -> None:
    last = LostAnswerError("third")
    world.endings = [LostAnswerError("first"), LostAnswerError("second"), last]
    with pytest.raises(LostAnswerError) as caught:
        world.run(world.call())
    assert caught.value is last
    assert caught.value.__cause__ is None
    assert world.refusals() == [RetryRefusal.ATTEMPTS]
    assert len(world.called_at) == 3


@pytest.mark.parametrize(
    ("repeatable", "error", "attempts", "refusals"),
    [
        (Repeatable.ALWAYS, NotSentError(), 2, []),
        (Repeatable.ALWAYS, LostAnswerError(), 2, []),
        (Repeatable.ALWAYS, AnsweredError(), 1, []),
        (Repeatable.ONLY_IF_NOT_EXECUTED, NotSentError(), 2, []),
        (
            Repeatable.ONLY_IF_NOT_EXECUTED,
            LostAnswerError(),
            1,
            [RetryRefusal.NOT_REPEATABLE],
        ),
        (Repeatable.NEVER, NotSentError(), 1, [RetryRefusal.NOT_REPEATABLE]),
        (Repeatable.NEVER, LostAnswerError(), 1, [RetryRefusal.NOT_REPEATABLE]),
    ],
)
def test_only_what_is_safe_to_repeat_is_repeated(
    world: World,
    repeatable: Repeatable,
    error: Exception,
    attempts: int,
    refusals: list[RetryRefusal],
) -> None:
    world.endings = [error]
    if attempts == 1:
        with pytest.raises(type(error)) as caught:
            world.run(world.call(repeatable))
        assert caught.value is error
    else:
        assert world.run(world.call(repeatable)) == "answer"
    assert len(world.called_at) == attempts
    assert world.refusals() == refusals


def test_an_attempts_time_out_is_retried_where_that_is_safe(world: World) -> None:
    world.endings = [60.0]
    assert world.run(world.call()) == "answer"
    assert world.called_at == [0.0, 2.1]
    world.endings = [60.0]
    with pytest.raises(TimeoutError):
        world.run(world.call(Repeatable.ONLY_IF_NOT_EXECUTED))


def test_what_a_dependency_asks_for_is_waited_for_if_it_fits(world: World) -> None:
    world.endings = [BusyError(0.7)]
    assert world.run(world.call()) == "answer"
    assert world.called_at == [0.0, 0.8]
    world.endings = [BusyError(1.01)]
    with pytest.raises(BusyError):
        world.run(world.call())
    assert world.refusals() == [RetryRefusal.RETRY_AFTER]


def test_retries_end_with_the_budget() -> None:
    world = World(budget=RetryBudgetPolicy(ratio=0, min_retries_per_second=0, max_balance=5))
    world.endings = [NotSentError(), NotSentError()]
    with pytest.raises(NotSentError):
        world.run(world.call())
    assert len(world.called_at) == 2, "the one retry that a process begins with"
    assert world.refusals() == [RetryRefusal.BUDGET]


def test_no_retry_begins_that_the_deadline_would_cut() -> None:
    world = World()
    world.endings = [NotSentError()]
    # A wait of 0.1 and an attempt of 2.
    assert world.run(world.call_within(2.1)) == "answer"
    world.endings = [NotSentError()]
    with pytest.raises(NotSentError):
        world.run(world.call_within(2.09))
    assert world.refusals() == [RetryRefusal.DEADLINE]


def test_work_whose_caller_has_gone_is_not_begun(world: World) -> None:
    with pytest.raises(DeadlineExceededError) as caught:
        world.run(world.call_within(0))
    assert not caught.value.started
    assert world.called_at == []
    assert world.events == [DeadlinePassed("dependency", started=False)]
    assert world.pipeline.budget.balance == 1, "and pays for no retry"


def test_an_attempt_that_the_deadline_cuts_is_neutral() -> None:
    world = World(breaker=BreakerPolicy(failure_threshold=1, call_timeout_seconds=2))
    world.endings = [60.0]
    with pytest.raises(DeadlineExceededError) as caught:
        world.run(world.call_within(1.5))
    assert caught.value.started
    assert world.now == 1.5
    assert world.events == [DeadlinePassed("dependency", started=True)]
    assert world.pipeline.breaker.state is State.CLOSED
    assert world.pipeline.breaker.snapshot().consecutive_failures == 0


def test_an_attempt_that_had_its_whole_time_counts_though_the_deadline_is_near() -> None:
    world = World(breaker=BreakerPolicy(failure_threshold=1, call_timeout_seconds=2))
    world.endings = [60.0]
    with pytest.raises(TimeoutError):
        world.run(world.call_within(2))
    assert world.pipeline.breaker.state is State.OPEN


def test_a_timeout_of_the_functions_own_is_not_taken_for_the_deadline(world: World) -> None:
    world.endings = [TimeoutError("its own")]
    with pytest.raises(TimeoutError, match="its own"):
        world.run(world.call_within(1, Repeatable.NEVER))


def test_a_cancellation_passes_through_and_gives_the_slot_back(world: World) -> None:
    async def cancelled() -> None:
        world.endings = [60.0]
        task = asyncio.ensure_future(world.call_within(1))
        await asyncio.sleep(0.5)
        assert world.pipeline.bulkhead.snapshot().running == 1
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    world.run(cancelled())
    assert world.pipeline.bulkhead.snapshot().running == 0
    assert world.events == []


def test_an_open_circuit_is_not_retried_and_a_retry_is_no_trial() -> None:
    world = World(breaker=BreakerPolicy(failure_threshold=1, open_seconds=5))
    world.endings = [NotSentError()]
    with pytest.raises(NotSentError):
        world.run(world.call())
    with pytest.raises(CircuitOpenError):
        world.run(world.call())
    assert len(world.called_at) == 1
    assert world.refusals() == [RetryRefusal.CIRCUIT]


def test_a_retry_that_finds_the_circuit_open_ends_as_the_attempt_before_it() -> None:
    world = World(breaker=BreakerPolicy(failure_threshold=2, open_seconds=5))
    mine = NotSentError("mine")
    world.endings = [mine, NotSentError("another caller's")]

    async def two() -> list[str | BaseException]:
        first = asyncio.ensure_future(world.call())
        await asyncio.sleep(0.05)
        second = asyncio.ensure_future(world.call())
        return list(await asyncio.gather(first, second, return_exceptions=True))

    found, _ = world.run(two())
    assert found is mine
    assert len(world.called_at) == 2


def test_nobody_queues_in_front_of_an_open_circuit() -> None:
    world = World(
        breaker=BreakerPolicy(mode=BreakerMode.FORCED_OPEN),
        bulkhead=BulkheadPolicy(max_concurrent_calls=1, max_queued_calls=5, max_wait_seconds=5),
    )
    assert world.pipeline.bulkhead.try_acquire()
    with pytest.raises(CircuitOpenError):
        world.run(world.call())
    assert world.now == 0


def test_a_full_bulkhead_refuses_and_counts_against_nobody() -> None:
    world = World(
        breaker=BreakerPolicy(failure_threshold=1),
        bulkhead=BulkheadPolicy(max_concurrent_calls=1, max_queued_calls=1, max_wait_seconds=0.5),
    )

    async def three() -> list[str | BaseException]:
        world.endings = [3.0]
        return await asyncio.gather(*(world.call() for _ in range(3)), return_exceptions=True)

    answers = world.run(three())
    assert answers[0] == "answer"
    assert [type(answer) for answer in answers[1:]] == [BulkheadFullError] * 2
    assert world.events == [
        BulkheadRejected("dependency", BulkheadRefusal.QUEUE_FULL, running=1, queued=1),
        BulkheadRejected("dependency", BulkheadRefusal.WAIT_EXCEEDED, running=1, queued=0),
    ]
    assert world.pipeline.breaker.snapshot().consecutive_failures == 0
    assert world.pipeline.breaker.state is State.CLOSED


def test_the_deadline_ends_the_wait_for_a_slot() -> None:
    world = World(bulkhead=BulkheadPolicy(1, 1, 5))
    assert world.pipeline.bulkhead.try_acquire()
    with pytest.raises(DeadlineExceededError) as caught:
        world.run(world.call_within(0.5))
    assert (world.now, caught.value.started) == (0.5, False)
    assert world.events == [DeadlinePassed("dependency", started=False)]


def test_a_slot_is_not_held_while_waiting_for_a_retry() -> None:
    world = World(bulkhead=BulkheadPolicy(1, 0, 0))
    world.endings = [NotSentError()]

    async def between() -> int:
        call = asyncio.ensure_future(world.call())
        await asyncio.sleep(0.05)
        running = world.pipeline.bulkhead.snapshot().running
        assert await call == "answer"
        return running

    assert world.run(between()) == 0


def test_background_work_has_all_the_time_it_needs(world: World) -> None:
    async def request() -> str:
        with deadline_scope(1, clock=world.loop.time):
            with without_deadline():
                task = asyncio.ensure_future(world.call())
            assert current_deadline() is not None
        return await task

    world.endings = [1.5]
    assert world.run(request()) == "answer"


@pytest.mark.parametrize("raised", [RuntimeError(), asyncio.CancelledError()])
def test_a_listener_that_raises_breaks_nothing(
    raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[ResilienceEvent] = []

    def broken(event: ResilienceEvent) -> None:
        raise raised

    registry = PipelineRegistry(listeners=[broken, heard.append], random=lambda: 0.0)
    pipeline = registry.pipeline(
        "dependency",
        breaker=BreakerPolicy(),
        bulkhead=BulkheadPolicy(1, 0, 0),
        retry=RetryPolicy(2),
        budget=RetryBudgetPolicy(),
        classify_failure=lambda _: FailureKind.NOT_EXECUTED,
    )
    failures: list[Exception] = [NotSentError()]

    async def function() -> str:
        if failures:
            raise failures.pop()
        return "answer"

    assert asyncio.run(pipeline.call(function, repeatable=Repeatable.ALWAYS)) == "answer"
    assert [type(event) for event in heard] == [CallRetried]
    assert "listener of dependency raised" in caplog.text


def test_the_registry_gives_one_pipeline_a_name() -> None:
    def pipeline(
        registry: PipelineRegistry, *, name: str = "a", attempts: int = 2
    ) -> ResiliencePipeline:
        return registry.pipeline(
            name,
            breaker=BreakerPolicy(),
            bulkhead=BulkheadPolicy(),
            retry=RetryPolicy(attempts),
            budget=RetryBudgetPolicy(),
        )

    registry = PipelineRegistry()
    assert pipeline(registry) is pipeline(registry)
    assert pipeline(registry, name="b") is not pipeline(registry)
    with pytest.raises(ValueError, match="pipeline a exists with other policies"):
        pipeline(registry, attempts=3)
    assert [snapshot.name for snapshot in registry.bulkheads()] == ["a", "b"]
    assert [snapshot.name for snapshot in registry.breakers.snapshots()] == ["a", "b"]
