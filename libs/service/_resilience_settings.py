"""The bulkheads and retries of a service, read from its `BULKHEAD_*` and `RETRY_*` variables.

Each variable is named as the field that it sets, of `BulkheadPolicy`, `RetryPolicy` and, after
`RETRY_BUDGET_`, `RetryBudgetPolicy`. Owns the bounds of what an operator may ask for, and that the
times go together.
"""

from __future__ import annotations

from libs.circuit_breaker import BreakerPolicy
from libs.config import Environment
from libs.resilience import BulkheadPolicy, InvalidPolicyError, RetryBudgetPolicy, RetryPolicy


def read_bulkhead_policy(environment: Environment) -> BulkheadPolicy:
    """The policy; problems are recorded."""
    return BulkheadPolicy(
        max_concurrent_calls=environment.integer(
            "BULKHEAD_MAX_CONCURRENT_CALLS", minimum=1, maximum=1000, default=50
        ),
        max_queued_calls=environment.integer(
            "BULKHEAD_MAX_QUEUED_CALLS", minimum=0, maximum=10_000, default=100
        ),
        max_wait_seconds=environment.number(
            "BULKHEAD_MAX_WAIT_SECONDS", minimum=0, maximum=25, default=0.5
        ),
    )


def read_retry_policy(environment: Environment) -> RetryPolicy:
    """The policy; problems, also those of fields that don't go together, are recorded."""
    max_attempts = environment.integer("RETRY_MAX_ATTEMPTS", minimum=1, maximum=5, default=3)
    base_delay_seconds = environment.number(
        "RETRY_BASE_DELAY_SECONDS", minimum=0, maximum=10, default=0.05
    )
    max_delay_seconds = environment.number(
        "RETRY_MAX_DELAY_SECONDS", minimum=0, maximum=25, default=1
    )
    try:
        return RetryPolicy(max_attempts, base_delay_seconds, max_delay_seconds)
    except InvalidPolicyError as error:
        for field, problem in error.problems.items():
            environment.reject(f"RETRY_{field.upper()}", problem)
        return RetryPolicy()


def read_retry_budget_policy(environment: Environment) -> RetryBudgetPolicy:
    """The policy; problems are recorded."""
    return RetryBudgetPolicy(
        ratio=environment.number("RETRY_BUDGET_RATIO", minimum=0, maximum=1, default=0.1),
        min_retries_per_second=environment.number(
            "RETRY_BUDGET_MIN_RETRIES_PER_SECOND", minimum=0, maximum=100, default=0.5
        ),
        max_balance=environment.number(
            "RETRY_BUDGET_MAX_BALANCE", minimum=1, maximum=10_000, default=20
        ),
    )


def require_whole_attempt_within_request(
    environment: Environment,
    *,
    request_timeout_seconds: float,
    breaker: BreakerPolicy,
    bulkhead: BulkheadPolicy,
) -> None:
    """Record a problem where a request's time may end before one attempt has had its own.

    An attempt that is cut by the deadline says nothing to its circuit: were that every attempt, a
    dependency that hangs would never open it.
    """
    attempt = breaker.call_timeout_seconds or 0.0
    if request_timeout_seconds <= attempt + bulkhead.max_wait_seconds:
        environment.reject(
            "REQUEST_TIMEOUT_SECONDS",
            "must be above BREAKER_CALL_TIMEOUT_SECONDS and BULKHEAD_MAX_WAIT_SECONDS together "
            f"({attempt:g} + {bulkhead.max_wait_seconds:g}), or a dependency that hangs would not "
            "open its circuit",
        )
