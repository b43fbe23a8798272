"""How long the next open period lasts. Knows no state machine and no clock."""

from collections.abc import Callable

from libs.circuit_breaker._policy import BreakerPolicy


class OpenTime:
    """Grows by the policy's factor from one failed trial to the next, up to its bound."""

    def __init__(self, policy: BreakerPolicy, random: Callable[[], float]) -> None:
        """random: at least 0, below 1."""
        self._policy = policy
        self._random = random
        self._next = policy.open_seconds

    def draw(self) -> float:
        """Seconds of the open period that begins now. Chance only takes off: the bound holds."""
        policy = self._policy
        seconds = self._next
        if policy.max_open_seconds is not None:
            self._next = min(seconds * policy.open_multiplier, policy.max_open_seconds)
        if policy.open_jitter == 0:
            return seconds
        return seconds * (1 - policy.open_jitter * self._random())

    def reset(self) -> None:
        """The dependency has recovered: the next open period is a first one."""
        self._next = self._policy.open_seconds
