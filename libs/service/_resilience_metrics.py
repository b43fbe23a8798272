"""What is counted of the circuit breakers, from their events and their state.

The place for the events of whatever else stands between a service and its dependencies: a listener
here, an entry in `common_parts`.
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

# Two for each dependency, reads and writes.
_MAX_BREAKERS = 32

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
        self._breaker = Dimension("Breaker", maximum=_MAX_BREAKERS)
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
