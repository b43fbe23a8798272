"""What a breaker tells about itself: its state, a snapshot and the events for listeners."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from libs.circuit_breaker._window import WindowFigures


class State(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    """Somebody decided so: every call is refused until the breaker is reset."""
    DISABLED = "disabled"
    """Somebody decided so: every call is let through and nothing counts."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The circuit went from one state to another."""

    name: str
    old: State
    new: State


@dataclass(frozen=True, slots=True)
class CallRejected:
    """A call was refused without reaching the dependency."""

    name: str
    state: State
    retry_after_seconds: float


@dataclass(frozen=True, slots=True)
class SlowCall:
    """A call that counted took longer than the policy's threshold, whatever its outcome."""

    name: str
    duration_seconds: float


BreakerEvent = StateChanged | CallRejected | SlowCall

BreakerListener = Callable[[BreakerEvent], None]
"""Called synchronously, after the breaker is consistent again, so it has to be quick. What it
raises is logged and never reaches a caller of the breaker."""


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A breaker at one moment.

    consecutive_failures: failures since the last success or state change to closed; 0 under a
    sliding window.
    window: what the sliding window holds, None without one; in half-open, and when a trial has
    opened the circuit again, it holds the trials.
    permits_in_use: permits that half-open has given out: to calls under way and, under a
    sliding window, to those whose outcome waits for the others; 0 in other states.
    retry_after_seconds: until an open circuit admits a call; 0 in other states.
    rejected_calls, slow_calls, late_outcomes: totals since the breaker was made. A late outcome
    belongs to a call that began before the last state change, and was dropped.
    """

    name: str
    state: State
    consecutive_failures: int
    window: WindowFigures | None
    permits_in_use: int
    retry_after_seconds: float
    rejected_calls: int
    slow_calls: int
    late_outcomes: int
