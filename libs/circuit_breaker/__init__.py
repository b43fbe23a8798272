"""Circuit breaker for asyncio (Nygard, "Release It!"), over pybreaker's state machine.

Owns: when a call to a dependency may be made, and what its outcome means for the next one.
Must not know: any dependency's client, HTTP, tracing, or how services log.
"""

from libs.circuit_breaker._breaker import CircuitBreaker, CircuitOpenError
from libs.circuit_breaker._events import (
    BreakerEvent,
    BreakerListener,
    BreakerSnapshot,
    CallRejected,
    SlowCall,
    State,
    StateChanged,
)
from libs.circuit_breaker._policy import (
    BreakerMode,
    BreakerPolicy,
    Classifier,
    InvalidBreakerPolicyError,
    Outcome,
    SlidingWindowType,
    every_exception_is_a_failure,
)
from libs.circuit_breaker._registry import CircuitBreakerRegistry
from libs.circuit_breaker._timeout import SharedTimeout, TimeoutScope
from libs.circuit_breaker._window import WindowFigures

__all__ = [
    "BreakerEvent",
    "BreakerListener",
    "BreakerMode",
    "BreakerPolicy",
    "BreakerSnapshot",
    "CallRejected",
    "CircuitBreaker",
    "CircuitBreakerRegistry",
    "CircuitOpenError",
    "Classifier",
    "InvalidBreakerPolicyError",
    "Outcome",
    "SharedTimeout",
    "SlidingWindowType",
    "SlowCall",
    "State",
    "StateChanged",
    "TimeoutScope",
    "WindowFigures",
    "every_exception_is_a_failure",
]
