"""One pipeline per name, so that every caller of a dependency shares its guards."""

import time
from collections.abc import Callable, Sequence
from random import random as uniform_random

from libs.circuit_breaker import (
    BreakerPolicy,
    CircuitBreakerRegistry,
    Classifier,
    every_exception_is_a_failure,
)
from libs.resilience._budget import RetryBudget
from libs.resilience._bulkhead import Bulkhead, BulkheadSnapshot
from libs.resilience._events import ResilienceListener
from libs.resilience._pipeline import FailureClassifier, ResiliencePipeline, no_failure_passes
from libs.resilience._policy import BulkheadPolicy, RetryBudgetPolicy, RetryPolicy


class PipelineRegistry:
    """Makes pipelines on first demand, over the breakers of `breakers`.

    Its listeners hear the events of every bulkhead and retry; those of the breakers are for the
    listeners of `breakers`.
    """

    def __init__(
        self,
        breakers: CircuitBreakerRegistry | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = uniform_random,
        listeners: Sequence[ResilienceListener] = (),
    ) -> None:
        """clock: of the retry budgets. The breakers have their registry's."""
        self.breakers = breakers or CircuitBreakerRegistry()
        self._clock = clock
        self._random = random
        self._listeners = tuple(listeners)
        self._pipelines: dict[str, tuple[ResiliencePipeline, object]] = {}

    def pipeline(
        self,
        name: str,
        *,
        breaker: BreakerPolicy,
        bulkhead: BulkheadPolicy,
        retry: RetryPolicy,
        budget: RetryBudgetPolicy,
        classify: Classifier = every_exception_is_a_failure,
        classify_failure: FailureClassifier = no_failure_passes,
    ) -> ResiliencePipeline:
        """The pipeline of this name, the same object at every call.

        Raises ValueError when the name is taken with other policies or classifiers.
        """
        guard = self.breakers.breaker(name, breaker, classify)
        asked = (bulkhead, retry, budget, classify_failure)
        found = self._pipelines.get(name)
        if found is None:
            pipeline = ResiliencePipeline(
                guard,
                Bulkhead(name, bulkhead, listeners=self._listeners),
                retry=retry,
                budget=RetryBudget(budget, clock=self._clock),
                classify=classify_failure,
                random=self._random,
                listeners=self._listeners,
            )
            self._pipelines[name] = (pipeline, asked)
            return pipeline
        if found[1] != asked:
            raise ValueError(f"pipeline {name} exists with other policies or another classifier")
        return found[0]

    def bulkheads(self) -> list[BulkheadSnapshot]:
        """One snapshot per bulkhead, by name."""
        return [self._pipelines[name][0].bulkhead.snapshot() for name in sorted(self._pipelines)]
