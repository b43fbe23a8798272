"""What the library tells its listeners, and how no listener can harm a call."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

_log: Final = logging.getLogger(__name__)


class BulkheadRefusal(Enum):
    QUEUE_FULL = "queue_full"
    WAIT_EXCEEDED = "wait_exceeded"
    """No slot became free within `max_wait_seconds`."""


class RetryRefusal(Enum):
    """Why a failure that might have been repaired by another attempt gets none."""

    ATTEMPTS = "attempts"
    """The policy's last attempt has failed."""
    NOT_REPEATABLE = "not_repeatable"
    """It may have been executed, and must not be twice."""
    BUDGET = "budget"
    """Retries have had their share of the traffic."""
    DEADLINE = "deadline"
    """What remains does not hold the wait and a whole attempt."""
    CIRCUIT = "circuit"
    """The circuit is not closed: trials are for calls that are new."""
    RETRY_AFTER = "retry_after"
    """The dependency asked for a longer wait than the policy's longest."""


@dataclass(frozen=True, slots=True)
class BulkheadRejected:
    """A call was refused because too many others are under way."""

    name: str
    reason: BulkheadRefusal
    running: int
    queued: int


@dataclass(frozen=True, slots=True)
class CallRetried:
    """Another attempt is made. attempt: its number, from 2; error: the class that the last one
    raised."""

    name: str
    attempt: int
    delay_seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class RetryRefused:
    """A failure is passed on to the caller without another attempt."""

    name: str
    reason: RetryRefusal
    error: str


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """A call was not begun, or was cut, because its caller's time was over."""

    name: str
    started: bool


ResilienceEvent = BulkheadRejected | CallRetried | RetryRefused | DeadlinePassed

ResilienceListener = Callable[[ResilienceEvent], None]
"""Called synchronously, so it has to be quick. What it raises is logged and reaches no caller."""


def tell(listeners: Iterable[ResilienceListener], event: ResilienceEvent) -> None:
    for listener in listeners:
        try:
            listener(event)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            # BaseException: a listener that reads a cancelled future must not cancel the call.
            _log.exception("listener of %s raised", event.name)
