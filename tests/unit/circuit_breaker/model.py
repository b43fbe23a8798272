"""The breaker as one would explain it on a whiteboard: what the state machine tests agree with.

No pybreaker, no asyncio, no ring buffers: every call that counted is kept, and the windows are
counted anew each time.
"""

from dataclasses import dataclass, field

import hypothesis.strategies as st

from libs.circuit_breaker import (
    BreakerPolicy,
    BreakerSnapshot,
    Outcome,
    SlidingWindowType,
    State,
    WindowFigures,
)


class UnwellError(Exception):
    pass


class NotFoundError(Exception):
    """An exception that means success."""


class CallerMistakeError(Exception):
    """An exception that says nothing about the dependency."""


OUTCOMES: dict[type[BaseException], Outcome] = {
    UnwellError: Outcome.FAILURE,
    NotFoundError: Outcome.SUCCESS,
    CallerMistakeError: Outcome.IGNORE,
}


def classify(exception: BaseException) -> Outcome:
    # A time-out inside the breaker is a failure without the classifier being asked.
    return OUTCOMES[type(exception)]


@st.composite
def policies(draw: st.DrawFn, call_timeout_seconds: float | None = None) -> BreakerPolicy:
    """Every kind of policy, small enough for each of its thresholds to be reached."""
    window = draw(st.sampled_from(SlidingWindowType))
    size = draw(st.integers(1, 6))
    slow = draw(st.sampled_from([None, 1, 2]))
    rates = st.sampled_from([1, 34, 50, 75, 100])
    rated = window is not SlidingWindowType.NONE and slow is not None
    open_seconds = draw(st.integers(1, 10))
    multiplier = draw(st.sampled_from([1, 2, 3]))
    counted = window is SlidingWindowType.COUNT_BASED
    return BreakerPolicy(
        failure_threshold=draw(st.integers(1, 4)),
        open_seconds=open_seconds,
        permitted_calls_in_half_open=draw(st.integers(1, 3)),
        call_timeout_seconds=call_timeout_seconds,
        success_threshold=(draw(st.integers(1, 4)) if window is SlidingWindowType.NONE else 1),
        sliding_window_type=window,
        sliding_window_size=size,
        minimum_number_of_calls=draw(st.integers(1, size if counted else 6)),
        failure_rate_threshold=draw(rates),
        slow_call_duration_threshold_seconds=slow,
        slow_call_rate_threshold=draw(st.none() | rates) if rated else None,
        open_multiplier=multiplier,
        max_open_seconds=open_seconds + draw(st.integers(0, 15)),
        open_jitter=draw(st.sampled_from([0, 0.5])),
    )


CHANCE = 0.5
"""What the injected random always gives."""


@dataclass
class Counted:
    at: float
    failed: bool
    slow: bool


@dataclass
class Model:
    policy: BreakerPolicy
    now: float
    state: State = State.CLOSED
    period: int = 0
    failures: int = 0
    successes: int = 0
    permits: int = 0
    open_until: float = 0.0
    openings: int = 0
    rejected: int = 0
    slow_calls: int = 0
    late: int = 0
    counted: list[Counted] = field(default_factory=list)
    window_of: State = State.CLOSED
    changes: list[tuple[State, State]] = field(default_factory=list)

    @property
    def windowed(self) -> bool:
        return self.policy.sliding_window_type is not SlidingWindowType.NONE

    def begin(self) -> bool:
        """Whether a call is admitted."""
        if self.state is State.OPEN and self.now >= self.open_until:
            self.go(State.HALF_OPEN)
        admitted = self.state in (State.CLOSED, State.DISABLED) or (
            self.state is State.HALF_OPEN
            and self.permits < self.policy.permitted_calls_in_half_open
        )
        if not admitted:
            self.rejected += 1
        elif self.state is State.HALF_OPEN:
            self.permits += 1
        return admitted

    def end(self, period: int, outcome: Outcome, began: float) -> None:
        if period != self.period:
            self.late += outcome is not Outcome.IGNORE
            return
        if self.state is State.DISABLED:
            return
        if self.state is State.HALF_OPEN and (outcome is Outcome.IGNORE or not self.windowed):
            self.permits -= 1
        if outcome is Outcome.IGNORE:
            return
        threshold = self.policy.slow_call_duration_threshold_seconds
        slow = threshold is not None and self.now - began > threshold
        self.slow_calls += slow
        failed = outcome is Outcome.FAILURE
        if self.windowed:
            self.counted.append(Counted(self.now, failed, slow))
            self._judge_rates()
        else:
            self._judge_run(failed)

    def force(self, state: State) -> None:
        """Forced open or disabled."""
        if self.state is not state:
            self.go(state)

    def go(self, state: State) -> None:
        if state is not self.state:
            self.changes.append((self.state, state))
        self.state = state
        self.period += 1
        self.successes = 0
        self.permits = 0
        if state is State.OPEN:
            longest = self.policy.max_open_seconds or self.policy.open_seconds
            grown = self.policy.open_seconds * self.policy.open_multiplier**self.openings
            seconds = min(grown, longest) * (1 - self.policy.open_jitter * CHANCE)
            self.open_until = self.now + seconds
            self.openings += 1
        if state is State.CLOSED:
            self.openings = 0
            self.failures = 0
        if state in (State.CLOSED, State.HALF_OPEN):
            self.counted = []
            self.window_of = state

    def figures(self) -> WindowFigures | None:
        if not self.windowed:
            return None
        inside = self._inside_window()
        return WindowFigures(
            len(inside), sum(call.failed for call in inside), sum(call.slow for call in inside)
        )

    def agrees_with(self, snapshot: BreakerSnapshot) -> None:
        assert snapshot.state is self.state
        assert snapshot.consecutive_failures == self.failures
        assert snapshot.window == self.figures()
        assert snapshot.permits_in_use == self.permits
        assert snapshot.rejected_calls == self.rejected
        assert snapshot.slow_calls == self.slow_calls
        assert snapshot.late_outcomes == self.late
        left = max(0.0, self.open_until - self.now)
        assert snapshot.retry_after_seconds == (left if self.state is State.OPEN else 0.0)

    def _judge_run(self, failed: bool) -> None:
        if failed:
            self.failures += 1
            if self.state is State.HALF_OPEN or self.failures >= self.policy.failure_threshold:
                self.go(State.OPEN)
            return
        self.failures = 0
        self.successes += 1
        if self.state is State.HALF_OPEN and self.successes >= self.policy.success_threshold:
            self.go(State.CLOSED)

    def _judge_rates(self) -> None:
        inside = self._inside_window()
        trials = self.state is State.HALF_OPEN
        of = self.policy.permitted_calls_in_half_open if trials else len(inside)
        if not trials and len(inside) < self.policy.minimum_number_of_calls:
            return
        slow_rate = self.policy.slow_call_rate_threshold
        if 100 * sum(call.failed for call in inside) / of >= self.policy.failure_rate_threshold or (
            slow_rate is not None and 100 * sum(call.slow for call in inside) / of >= slow_rate
        ):
            self.go(State.OPEN)
        elif trials and len(inside) == of:
            self.go(State.CLOSED)

    def _inside_window(self) -> list[Counted]:
        size = self.policy.sliding_window_size
        if self.window_of is State.HALF_OPEN:
            return self.counted
        if self.policy.sliding_window_type is SlidingWindowType.COUNT_BASED:
            return self.counted[-size:]
        return [call for call in self.counted if int(self.now) - int(call.at) < size]
