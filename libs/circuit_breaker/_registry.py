"""One breaker per name, so that every caller of a dependency shares its circuit."""

import time
from collections.abc import Callable, Sequence
from random import random as uniform_random

from libs.circuit_breaker._breaker import CircuitBreaker
from libs.circuit_breaker._events import BreakerListener, BreakerSnapshot
from libs.circuit_breaker._policy import (
    BreakerPolicy,
    Classifier,
    every_exception_is_a_failure,
)


class CircuitBreakerRegistry:
    """Makes breakers on first demand. Its listeners hear the events of each of them."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = uniform_random,
        listeners: Sequence[BreakerListener] = (),
    ) -> None:
        self._clock = clock
        self._random = random
        self._listeners = tuple(listeners)
        self._breakers: dict[str, CircuitBreaker] = {}

    def breaker(
        self,
        name: str,
        policy: BreakerPolicy,
        classify: Classifier = every_exception_is_a_failure,
    ) -> CircuitBreaker:
        """The breaker of this name, the same object at every call.

        Raises ValueError when the name is taken with another policy or classifier: two meanings
        of failure can't share a circuit.
        """
        breaker = self._breakers.get(name)
        if breaker is None:
            breaker = CircuitBreaker(
                name, policy, classify=classify, clock=self._clock, random=self._random
            )
            for listener in self._listeners:
                breaker.add_listener(listener)
            self._breakers[name] = breaker
            return breaker
        if breaker.policy != policy:
            raise ValueError(
                f"circuit {name} exists with {breaker.policy}, so it can't be had with {policy}"
            )
        if breaker.classify != classify:
            raise ValueError(f"circuit {name} exists with another classifier")
        return breaker

    def snapshots(self) -> list[BreakerSnapshot]:
        """One snapshot per breaker, by name."""
        return [self._breakers[name].snapshot() for name in sorted(self._breakers)]
