"""What is told of each call: which, how long, what came of it and what it consumed.

Owns the form in which an observer hears it and the reading of consumed capacity. Must not know
who listens: metrics and logs are the service's business.
"""

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from libs.aws._errors import ConditionFailed, DependencyError, NotFound, RequestRejected, Throttled
from libs.circuit_breaker import CircuitOpenError
from libs.logging import get_logger
from libs.resilience import BulkheadFullError, DeadlineExceededError

_log = get_logger(__name__)

CapacityKind = Literal["read", "write"]


class CallOutcome(enum.Enum):
    """What came of a call."""

    SUCCESS = "success"
    CONDITION_FAILED = "condition_failed"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    NOT_ATTEMPTED = "not_attempted"
    """Refused before it was sent, by an open circuit, a full bulkhead or a passed deadline: the
    dependency knows nothing of it."""
    CANCELLED = "cancelled"
    """Whoever waited for it has gone."""

    @property
    def is_answer(self) -> bool:
        """Whether the dependency did what it was asked, be it to say no to a condition."""
        return self in (CallOutcome.SUCCESS, CallOutcome.CONDITION_FAILED, CallOutcome.NOT_FOUND)

    @property
    def is_error(self) -> bool:
        """Whether the dependency, or what we sent it, is at fault."""
        return not self.is_answer and self not in (
            CallOutcome.NOT_ATTEMPTED,
            CallOutcome.CANCELLED,
        )


@dataclass(frozen=True, slots=True)
class ConsumedCapacity:
    """Capacity units that a call took from a table, or from one of its indexes.

    index: None for the table itself.
    """

    table: str
    index: str | None
    kind: CapacityKind
    units: float


@dataclass(frozen=True, slots=True)
class DependencyCall:
    """One finished call.

    dependency: "dynamodb" or "s3"; operation: as AWS spells it. seconds: as the caller waited, all
    attempts together. consumed: what DynamoDB reports with an answer; it reports nothing with an
    error, although an unmet condition costs as much as a write.
    """

    dependency: str
    operation: str
    seconds: float
    outcome: CallOutcome
    consumed: tuple[ConsumedCapacity, ...] = ()


CallObserver = Callable[[DependencyCall], None]
"""Called synchronously after each call, so it has to be quick. What it raises is logged and never
reaches whoever made the call."""


def unobserved(_: DependencyCall) -> None:
    """The observer of those who have none."""


def tell(observer: CallObserver, call: DependencyCall) -> None:
    """Tell the observer of a call, whatever it does."""
    try:
        observer(call)
    except Exception:
        _log.exception("call_observer_failed", operation=call.operation)


def outcome_of(error: BaseException) -> CallOutcome:
    """What a call came to that ended with this exception, one of those its method raises."""
    match error:
        case ConditionFailed():
            return CallOutcome.CONDITION_FAILED
        case NotFound():
            return CallOutcome.NOT_FOUND
        case RequestRejected():
            return CallOutcome.REJECTED
        case Throttled():
            return CallOutcome.THROTTLED
        case DependencyError(reason="timeout"):
            return CallOutcome.TIMEOUT
        case CircuitOpenError() | BulkheadFullError() | DeadlineExceededError(started=False):
            return CallOutcome.NOT_ATTEMPTED
        case DeadlineExceededError():
            return CallOutcome.CANCELLED
        case Exception():
            return CallOutcome.UNAVAILABLE
    return CallOutcome.CANCELLED


def consumed_capacity(
    response: Mapping[str, Any], kind: CapacityKind
) -> tuple[ConsumedCapacity, ...]:
    """What `ConsumedCapacity` of an answer says: one entry, or a list where the operation may
    concern several tables. Never raises, whatever stands there."""
    reported = response.get("ConsumedCapacity")
    if reported is None:
        return ()
    entries = reported if isinstance(reported, list) else [reported]
    try:
        return tuple(one for entry in entries for one in _of_table(entry, kind))
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()


def _of_table(entry: Mapping[str, Any], kind: CapacityKind) -> Iterator[ConsumedCapacity]:
    table = str(entry["TableName"])
    if "Table" not in entry:
        # A total without the parts.
        yield ConsumedCapacity(table, None, kind, float(entry["CapacityUnits"]))
        return
    yield ConsumedCapacity(table, None, kind, float(entry["Table"]["CapacityUnits"]))
    for indexes in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        for name, index in entry.get(indexes, {}).items():
            yield ConsumedCapacity(table, str(name), kind, float(index["CapacityUnits"]))
