"""What counts as failure and how much of it a breaker takes. Knows no state and no clock."""

import enum
import math
from collections.abc import Callable
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


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens, how long it stays open and what closes it again.

    failure_threshold: consecutive failures that open a closed circuit.
    open_seconds: how long an open circuit rejects every call.
    permitted_calls_in_half_open: calls that may be under way at once while half-open.
    call_timeout_seconds: limit of one call, counted as a failure; None sets no limit.
    success_threshold: successes in half-open that close the circuit.

    Raises ValueError that names every invalid field, not only the first.
    """

    failure_threshold: int = 5
    open_seconds: float = 5.0
    permitted_calls_in_half_open: int = 1
    call_timeout_seconds: float | None = None
    success_threshold: int = 1

    def __post_init__(self) -> None:
        problems = [
            f"{field} must be a whole number of at least 1, not {value!r}"
            for field, value in (
                ("failure_threshold", self.failure_threshold),
                ("permitted_calls_in_half_open", self.permitted_calls_in_half_open),
                ("success_threshold", self.success_threshold),
            )
            if not _is_count(value)
        ]
        if not _is_duration(self.open_seconds):
            problems.append(
                f"open_seconds must be a finite number above 0, not {self.open_seconds!r}"
            )
        if self.call_timeout_seconds is not None and not _is_duration(self.call_timeout_seconds):
            problems.append(
                "call_timeout_seconds must be None or a finite number above 0, "
                f"not {self.call_timeout_seconds!r}"
            )
        if problems:
            raise ValueError("; ".join(problems))


def _is_count(value: object) -> bool:
    # bool is a subclass of int: True would pass as 1.
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_duration(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value > 0
    )
