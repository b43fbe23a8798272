"""What guards a call to a dependency besides its circuit breaker: the caller's deadline, a bulkhead,
retries within a budget, and the one order in which all of them stand.

Owns whether a call is made now, later, once more or not at all. Must not know: any dependency's
client, HTTP, tracing, or how services log.
"""

from libs.resilience._budget import RetryBudget
from libs.resilience._bulkhead import Bulkhead, BulkheadFullError, BulkheadSnapshot
from libs.resilience._deadline import (
    Deadline,
    DeadlineExceededError,
    current_deadline,
    deadline_scope,
    without_deadline,
)
from libs.resilience._events import (
    BulkheadRefusal,
    BulkheadRejected,
    CallRetried,
    DeadlinePassed,
    ResilienceEvent,
    ResilienceListener,
    RetryRefusal,
    RetryRefused,
)
from libs.resilience._pipeline import (
    FailureClassifier,
    FailureKind,
    Repeatable,
    ResiliencePipeline,
    no_failure_passes,
)
from libs.resilience._policy import (
    BulkheadPolicy,
    InvalidPolicyError,
    RetryBudgetPolicy,
    RetryPolicy,
)
from libs.resilience._registry import PipelineRegistry

__all__ = [
    "Bulkhead",
    "BulkheadFullError",
    "BulkheadPolicy",
    "BulkheadRefusal",
    "BulkheadRejected",
    "BulkheadSnapshot",
    "CallRetried",
    "Deadline",
    "DeadlineExceededError",
    "DeadlinePassed",
    "FailureClassifier",
    "FailureKind",
    "InvalidPolicyError",
    "PipelineRegistry",
    "Repeatable",
    "ResilienceEvent",
    "ResilienceListener",
    "ResiliencePipeline",
    "RetryBudget",
    "RetryBudgetPolicy",
    "RetryPolicy",
    "RetryRefusal",
    "RetryRefused",
    "current_deadline",
    "deadline_scope",
    "no_failure_passes",
    "without_deadline",
]
