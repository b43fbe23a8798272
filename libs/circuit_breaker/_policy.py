"""What counts as failure and how much of it a breaker takes. Knows no state and no clock.

The vocabulary is resilience4j's, with the unit in the name of a duration; rates are in percent.
"""

import enum
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass


class Outcome(enum.Enum):
    """What one finished call says about the dependency's health."""

    SUCCESS = "success"
    """The dependency answered as it should; this includes answers like "not found"."""

    FAILURE = "failure"
    """The dependency is unwell: 5xx, throttling, refused connection, time-out."""

    IGNORE = "ignore"
    """Says nothing either way, for example a request that the caller built wrongly."""


Classifier = Callable[[BaseException], Outcome]
"""Takes the exception that a call raised. Asked for `Exception`s only: cancellation and the
other `BaseException`s are always neutral. A classifier that raises counts as FAILURE."""


def every_exception_is_a_failure(_: BaseException) -> Outcome:
    """The strictest classifier: whatever is raised counts against the dependency."""
    return Outcome.FAILURE


class SlidingWindowType(enum.Enum):
    """What opens a closed circuit."""

    NONE = "none"
    """`failure_threshold` failures in a row."""

    COUNT_BASED = "count_based"
    """A rate among the last `sliding_window_size` calls."""

    TIME_BASED = "time_based"
    """A rate among the calls of the last `sliding_window_size` seconds."""


class BreakerMode(enum.Enum):
    """How a breaker begins; its methods change that later."""

    NORMAL = "normal"
    FORCED_OPEN = "forced_open"
    """Every call is refused, until somebody resets the breaker."""

    DISABLED = "disabled"
    """Every call is let through, with its time-out, and nothing is counted."""


class InvalidBreakerPolicyError(ValueError):
    """A policy that can't be, with every reason.

    problems: by field, what is wrong with it.
    """

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field} {problem}" for field, problem in problems.items()))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens, how long it stays open and what closes it again.

    Without a sliding window:
    failure_threshold: consecutive failures that open a closed circuit.
    success_threshold: successes in half-open that close the circuit; one failure re-opens it.

    With one:
    sliding_window_size: calls or whole seconds, as `sliding_window_type` says.
    minimum_number_of_calls: fewer calls in the window than these never open the circuit.
    failure_rate_threshold: percent of the window's calls; reached, it opens the circuit.
    slow_call_rate_threshold: the same for slow calls; None sets none. In half-open both rates
    are those of the permitted calls: below their thresholds they close the circuit.

    With and without:
    slow_call_duration_threshold_seconds: a call that takes longer is slow; None: no call is.
    permitted_calls_in_half_open: trial calls. Without a window so many may be under way at
    once; with one so many are made in all, and decide together.
    call_timeout_seconds: limit of one call, counted as a failure; None sets no limit.
    open_seconds: how long an open circuit rejects every call.
    open_multiplier, max_open_seconds: each time a trial fails, open time grows by this factor,
    up to this bound (None without growth); once the circuit has closed it begins anew.
    open_jitter: share of the open time that chance may take off, 0 to 1, so that the tasks of a
    service don't all try at the same moment.
    mode: how the breaker begins.

    Raises InvalidBreakerPolicyError, a ValueError, that names every invalid field.
    """

    failure_threshold: int = 5
    open_seconds: float = 5.0
    permitted_calls_in_half_open: int = 1
    call_timeout_seconds: float | None = None
    success_threshold: int = 1
    sliding_window_type: SlidingWindowType = SlidingWindowType.NONE
    sliding_window_size: int = 100
    minimum_number_of_calls: int = 20
    failure_rate_threshold: float = 50.0
    slow_call_duration_threshold_seconds: float | None = None
    slow_call_rate_threshold: float | None = None
    open_multiplier: float = 1.0
    max_open_seconds: float | None = None
    open_jitter: float = 0.0
    mode: BreakerMode = BreakerMode.NORMAL

    def __post_init__(self) -> None:
        problems = dict(_field_problems(self))
        # The fields together: asked only about fields that are valid by themselves.
        problems = dict(_combination_problems(self, problems)) | problems
        if problems:
            raise InvalidBreakerPolicyError(problems)


def _field_problems(policy: BreakerPolicy) -> Iterator[tuple[str, str]]:
    for field in (
        "failure_threshold",
        "permitted_calls_in_half_open",
        "success_threshold",
        "sliding_window_size",
        "minimum_number_of_calls",
    ):
        value = getattr(policy, field)
        if not _is_count(value):
            yield field, f"must be a whole number of at least 1, not {value!r}"
    if not _is_duration(policy.open_seconds):
        yield "open_seconds", f"must be a finite number above 0, not {policy.open_seconds!r}"
    for field in (
        "call_timeout_seconds",
        "slow_call_duration_threshold_seconds",
        "max_open_seconds",
    ):
        value = getattr(policy, field)
        if value is not None and not _is_duration(value):
            yield field, f"must be None or a finite number above 0, not {value!r}"
    rate = policy.failure_rate_threshold
    if not _is_rate(rate):
        yield "failure_rate_threshold", f"must be a percentage above 0, to 100, not {rate!r}"
    slow_rate = policy.slow_call_rate_threshold
    if slow_rate is not None and not _is_rate(slow_rate):
        yield (
            "slow_call_rate_threshold",
            f"must be None or a percentage above 0, to 100, not {slow_rate!r}",
        )
    if not _is_duration(policy.open_multiplier) or policy.open_multiplier < 1:
        yield (
            "open_multiplier",
            f"must be a finite number of at least 1, not {policy.open_multiplier!r}",
        )
    if not _is_number(policy.open_jitter) or not 0 <= policy.open_jitter < 1:
        yield "open_jitter", f"must be a number from 0 to below 1, not {policy.open_jitter!r}"
    for field, kind in (("sliding_window_type", SlidingWindowType), ("mode", BreakerMode)):
        value = getattr(policy, field)
        if not isinstance(value, kind):
            yield field, f"must be a {kind.__name__}, not {value!r}"


def _combination_problems(
    policy: BreakerPolicy, invalid: dict[str, str]
) -> Iterator[tuple[str, str]]:
    def valid(*fields: str) -> bool:
        return not invalid.keys() & set(fields)

    window = policy.sliding_window_type
    slow = policy.slow_call_duration_threshold_seconds
    if (
        window is SlidingWindowType.COUNT_BASED
        and valid("minimum_number_of_calls", "sliding_window_size")
        and policy.minimum_number_of_calls > policy.sliding_window_size
    ):
        yield (
            "minimum_number_of_calls",
            "must not be above sliding_window_size, or it would never be reached",
        )
    if policy.slow_call_rate_threshold is not None and valid("slow_call_rate_threshold"):
        needed = [
            need
            for need, missing in (
                ("a sliding window", window is SlidingWindowType.NONE),
                ("slow_call_duration_threshold_seconds", slow is None),
            )
            if missing
        ]
        if needed:
            yield "slow_call_rate_threshold", f"needs {' and '.join(needed)}"
    if (
        window is not SlidingWindowType.NONE
        and valid("success_threshold", "sliding_window_type")
        and policy.success_threshold != 1
    ):
        yield "success_threshold", "has no effect with a sliding window: the rates decide"
    timeout = policy.call_timeout_seconds
    if (
        slow is not None
        and timeout is not None
        and valid("slow_call_duration_threshold_seconds", "call_timeout_seconds")
        and slow >= timeout
    ):
        yield (
            "slow_call_duration_threshold_seconds",
            "must be below call_timeout_seconds, or it would never be reached",
        )
    if valid("open_seconds", "max_open_seconds", "open_multiplier"):
        if policy.max_open_seconds is None:
            if policy.open_multiplier > 1:
                yield "max_open_seconds", "is needed when open_multiplier is above 1"
        elif policy.max_open_seconds < policy.open_seconds:
            yield "max_open_seconds", "must not be below open_seconds"


def _is_count(value: object) -> bool:
    # bool is a subclass of int: True would pass as 1.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_duration(value: object) -> bool:
    return _is_number(value) and value > 0  # type: ignore[operator]


def _is_rate(value: object) -> bool:
    return _is_duration(value) and value <= 100  # type: ignore[operator]
