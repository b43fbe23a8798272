"""What a breaker tells about itself: its state, a snapshot and the events for listeners."""

import enum
from collections.abc import Callable
from dataclasses import dataclass


class State(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


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


BreakerEvent = StateChanged | CallRejected

BreakerListener = Callable[[BreakerEvent], None]
"""Called synchronously, after the breaker is consistent again, so it has to be quick. What it
raises is logged and never reaches a caller of the breaker."""


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A breaker at one moment.

    consecutive_failures: failures since the last success or state change to closed.
    permits_in_use: calls under way that half-open admitted; 0 in other states.
    retry_after_seconds: until an open circuit admits a call; 0 in other states.
    rejected_calls, late_outcomes: totals since the breaker was made. A late outcome belongs to
    a call that began before the last state change, and was dropped.
    """

    name: str
    state: State
    consecutive_failures: int
    permits_in_use: int
    retry_after_seconds: float
    rejected_calls: int
    late_outcomes: int
