"""What is counted of the guards between a service and its dependencies: circuit breakers, bulkheads,
retries and deadlines, from their events and their state. Each is named as its operation class.
"""

from __future__ import annotations

from libs.circuit_breaker import (
    BreakerEvent,
    CallRejected,
    CircuitBreakerRegistry,
    SlowCall,
    State,
    StateChanged,
)
from libs.metrics import Dimension, Metrics, Unit
from libs.resilience import (
    BulkheadRefusal,
    BulkheadRejected,
    CallRetried,
    DeadlinePassed,
    PipelineRegistry,
    ResilienceEvent,
    RetryRefusal,
    RetryRefused,
)

# Two for each dependency, reads and writes.
_MAX_OPERATION_CLASSES = 32

STATE_NUMBERS = {
    State.DISABLED: -1,
    State.CLOSED: 0,
    State.HALF_OPEN: 1,
    State.OPEN: 2,
    State.FORCED_OPEN: 3,
}
"""`BreakerState` as a number: above 1 every call is refused, below 0 none is guarded."""


class BreakerMetrics:
    """A listener for the registry's breakers."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._breaker = Dimension("Breaker", maximum=_MAX_OPERATION_CLASSES)
        state = Dimension("State", values=[state.value for state in State])
        by_breaker = [["Breaker"]]
        self._changes = metrics.counter(
            "BreakerStateChanges", dimensions=[self._breaker, state], rollups=by_breaker
        )
        self._rejections = metrics.counter("BreakerRejections", dimensions=[self._breaker])
        self._slow_calls = metrics.counter("SlowCalls", dimensions=[self._breaker])

    def __call__(self, event: BreakerEvent) -> None:
        """Count one event."""
        match event:
            case StateChanged(name=name, new=new):
                self._changes.add(1, name, new.value)
            case CallRejected(name=name):
                self._rejections.add(1, name)
            case SlowCall(name=name):
                self._slow_calls.add(1, name)

    def watch(self, registry: CircuitBreakerRegistry) -> None:
        """Report the state of each of the registry's breakers at every flush."""

        def states() -> dict[tuple[str, ...], float]:
            return {
                (snapshot.name,): STATE_NUMBERS[snapshot.state] for snapshot in registry.snapshots()
            }

        self._metrics.gauge("BreakerState", states, unit=Unit.NONE, dimensions=[self._breaker])


class GuardMetrics:
    """A listener for the registry's bulkheads, retries and deadlines."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._guard = guard = Dimension("OperationClass", maximum=_MAX_OPERATION_CLASSES)
        by_guard = [["OperationClass"]]
        refusals = Dimension("Reason", values=[reason.value for reason in BulkheadRefusal])
        self._rejections = metrics.counter(
            "BulkheadRejections", dimensions=[guard, refusals], rollups=by_guard
        )
        self._retries = metrics.counter("Retries", dimensions=[guard])
        reasons = Dimension("Reason", values=[reason.value for reason in RetryRefusal])
        self._refused = metrics.counter(
            "RetriesRefused", dimensions=[guard, reasons], rollups=by_guard
        )
        self._deadlines = metrics.counter("DeadlinesPassed", dimensions=[guard])

    def __call__(self, event: ResilienceEvent) -> None:
        """Count one event."""
        match event:
            case BulkheadRejected(name=name, reason=reason):
                self._rejections.add(1, name, reason.value)
            case CallRetried(name=name):
                self._retries.add(1, name)
            case RetryRefused(name=name, reason=refusal):
                self._refused.add(1, name, refusal.value)
            case DeadlinePassed(name=name):
                self._deadlines.add(1, name)

    def watch(self, registry: PipelineRegistry) -> None:
        """Report how full each of the registry's bulkheads is at every flush."""

        def running() -> dict[tuple[str, ...], float]:
            return {(bulkhead.name,): bulkhead.running for bulkhead in registry.bulkheads()}

        def queued() -> dict[tuple[str, ...], float]:
            return {(bulkhead.name,): bulkhead.queued for bulkhead in registry.bulkheads()}

        self._metrics.gauge("BulkheadRunning", running, dimensions=[self._guard])
        self._metrics.gauge("BulkheadQueued", queued, dimensions=[self._guard])
