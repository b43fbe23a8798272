"""How much of a dependency one process asks for at once, and how often it asks again.

Owns the numbers and whether they can be. Knows no clock and no state.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass


class InvalidPolicyError(ValueError):
    """A policy that can't be, with every reason. problems: by field, what is wrong with it."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(f"{field} {problem}" for field, problem in problems.items()))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class BulkheadPolicy:
    """max_concurrent_calls: calls that run at once.
    max_queued_calls: calls that may wait for a slot; 0 refuses at once.
    max_wait_seconds: the longest wait; the caller's deadline may end it before.

    Raises InvalidPolicyError, a ValueError, that names every invalid field.
    """

    max_concurrent_calls: int = 50
    max_queued_calls: int = 100
    max_wait_seconds: float = 0.5

    def __post_init__(self) -> None:
        _refuse(
            _wrong(self.max_concurrent_calls, "max_concurrent_calls", _COUNT),
            _wrong(self.max_queued_calls, "max_queued_calls", _COUNT_OR_NONE),
            _wrong(self.max_wait_seconds, "max_wait_seconds", _DURATION),
        )


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """max_attempts: the first included; 1 retries nothing.
    base_delay_seconds, max_delay_seconds: before the n-th retry waits a time between 0 and
    `base * 2**(n - 1)`, at most `max`, all of it by chance ("full jitter": Brooker, "Exponential
    Backoff And Jitter", AWS Architecture Blog 2015). What a dependency asks for by its
    `retry_after_seconds` is added, unless it is longer than `max`: then there is no retry.

    Raises InvalidPolicyError, a ValueError, that names every invalid field.
    """

    max_attempts: int = 3
    base_delay_seconds: float = 0.05
    max_delay_seconds: float = 1.0

    def __post_init__(self) -> None:
        _refuse(
            _wrong(self.max_attempts, "max_attempts", _COUNT),
            _wrong(self.base_delay_seconds, "base_delay_seconds", _DURATION),
            _wrong(self.max_delay_seconds, "max_delay_seconds", _DURATION),
        )
        if self.max_delay_seconds < self.base_delay_seconds:
            raise InvalidPolicyError({"max_delay_seconds": "must not be below base_delay_seconds"})

    def backoff(self, retry: int, random: Callable[[], float]) -> float:
        """Seconds before the retry of this number, from 1; random: at least 0, below 1."""
        # The exponent is bounded: 2.0**1100 is no float any more.
        ceiling = min(self.max_delay_seconds, self.base_delay_seconds * 2.0 ** min(retry - 1, 60))
        return ceiling * random()


@dataclass(frozen=True, slots=True)
class RetryBudgetPolicy:
    """ratio: retries that each first attempt pays for: 0.1 is one in ten.
    min_retries_per_second: earned by time alone, so that little traffic may be retried too.
    max_balance: retries that can be saved up; what is earned beyond it is lost.

    Raises InvalidPolicyError, a ValueError, that names every invalid field.
    """

    ratio: float = 0.1
    min_retries_per_second: float = 0.5
    max_balance: float = 20.0

    def __post_init__(self) -> None:
        _refuse(
            _wrong(self.ratio, "ratio", _RATIO),
            _wrong(self.min_retries_per_second, "min_retries_per_second", _DURATION),
            _wrong(self.max_balance, "max_balance", _BALANCE),
        )


_Check = tuple[Callable[[object], bool], str]


def _is_number(value: object, least: float, most: float = math.inf) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= value <= most
    )


def _is_count(value: object, least: int) -> bool:
    # bool is a subclass of int: True would pass as 1.
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


_COUNT: _Check = (lambda value: _is_count(value, 1), "a whole number of at least 1")
_COUNT_OR_NONE: _Check = (lambda value: _is_count(value, 0), "a whole number of at least 0")
_DURATION: _Check = (lambda value: _is_number(value, 0), "a finite number of at least 0")
_RATIO: _Check = (lambda value: _is_number(value, 0, 1), "a number from 0 to 1")
_BALANCE: _Check = (lambda value: _is_number(value, 1), "a finite number of at least 1")


def _wrong(value: object, field: str, check: _Check) -> Iterator[tuple[str, str]]:
    is_valid, expected = check
    if not is_valid(value):
        yield field, f"must be {expected}, not {value!r}"


def _refuse(*found: Iterator[tuple[str, str]]) -> None:
    problems = {field: problem for problems in found for field, problem in problems}
    if problems:
        raise InvalidPolicyError(problems)
