"""The retry budget (Finagle's): retries are paid for by traffic, so that they never multiply it.

A retry storm is a whole fleet that answers an overload with more load. Each first attempt deposits
a share of a retry, time deposits a little more, and every retry withdraws a whole one. Owns the
balance; knows neither errors nor waits.
"""

import time
from collections.abc import Callable
from typing import Final

from libs.resilience._policy import RetryBudgetPolicy

# Ten deposits of 0.1 are a whole retry, though their sum as floats is a little less.
_ROUNDING: Final = 1e-9


class RetryBudget:
    """In any span of time: retries <= max_balance + ratio * first attempts + minimum * seconds."""

    def __init__(
        self,
        policy: RetryBudgetPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: seconds, never going backwards."""
        self.policy: Final = policy or RetryBudgetPolicy()
        self._ratio = self.policy.ratio
        self._most = self.policy.max_balance
        self._clock = clock
        # A process that has just begun may retry once.
        self._balance = 1.0
        self._filled_at = clock()

    @property
    def balance(self) -> float:
        """Retries that could be made now."""
        self._fill()
        return self._balance

    def deposit(self) -> None:
        """A first attempt is made."""
        balance = self._balance + self._ratio
        self._balance = balance if balance < self._most else self._most

    def withdraw(self) -> bool:
        """Pays for one retry, if the balance holds it."""
        self._fill()
        if self._balance < 1 - _ROUNDING:
            return False
        self._balance = max(0.0, self._balance - 1)
        return True

    def _fill(self) -> None:
        now = self._clock()
        earned = (now - self._filled_at) * self.policy.min_retries_per_second
        self._balance = min(self._most, self._balance + earned)
        self._filled_at = now
