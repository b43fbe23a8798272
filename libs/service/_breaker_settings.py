"""The policy of a service's circuit breakers, read from its `BREAKER_*` variables.

Each variable is named as the field of `BreakerPolicy` that it sets. Owns the bounds of what an
operator may ask for; how fields go together is the policy's own business.
"""

from __future__ import annotations

from libs.circuit_breaker import (
    BreakerMode,
    BreakerPolicy,
    InvalidBreakerPolicyError,
    SlidingWindowType,
)
from libs.config import Environment

_WINDOWS = "|".join(kind.value for kind in SlidingWindowType)
_MODES = "|".join(mode.value for mode in BreakerMode)


def read_breaker_policy(environment: Environment) -> BreakerPolicy:
    """The policy; problems, also those of fields that don't go together, are recorded."""

    def count(name: str, default: int) -> int:
        return environment.integer(name, minimum=1, maximum=1000, default=default)

    def optional(name: str, *, minimum: float, maximum: float) -> float | None:
        # 0 is below every minimum, so it can stand for "not set".
        value = environment.number(name, minimum=minimum, maximum=maximum, default=0)
        return value or None

    fields = {
        "failure_threshold": count("BREAKER_FAILURE_THRESHOLD", 5),
        "success_threshold": count("BREAKER_SUCCESS_THRESHOLD", 1),
        "permitted_calls_in_half_open": count("BREAKER_PERMITTED_CALLS_IN_HALF_OPEN", 1),
        "sliding_window_size": count("BREAKER_SLIDING_WINDOW_SIZE", 100),
        "minimum_number_of_calls": count("BREAKER_MINIMUM_NUMBER_OF_CALLS", 20),
    }
    window = environment.text("BREAKER_SLIDING_WINDOW_TYPE", default="none", pattern=_WINDOWS)
    mode = environment.text("BREAKER_MODE", default="normal", pattern=_MODES)
    failure_rate = environment.number(
        "BREAKER_FAILURE_RATE_THRESHOLD", minimum=1, maximum=100, default=50
    )
    slow_call_rate = optional("BREAKER_SLOW_CALL_RATE_THRESHOLD", minimum=1, maximum=100)
    slow_call_seconds = optional(
        "BREAKER_SLOW_CALL_DURATION_THRESHOLD_SECONDS", minimum=0.001, maximum=25
    )
    call_timeout_seconds = environment.number(
        "BREAKER_CALL_TIMEOUT_SECONDS", minimum=0.1, maximum=25, default=2
    )
    open_seconds = environment.number("BREAKER_OPEN_SECONDS", minimum=0.1, maximum=300, default=5)
    open_multiplier = environment.number(
        "BREAKER_OPEN_MULTIPLIER", minimum=1, maximum=10, default=1
    )
    max_open_seconds = optional("BREAKER_MAX_OPEN_SECONDS", minimum=0.1, maximum=3600)
    open_jitter = environment.number("BREAKER_OPEN_JITTER", minimum=0, maximum=0.9, default=0)
    try:
        return BreakerPolicy(
            **fields,
            sliding_window_type=SlidingWindowType(window),
            mode=BreakerMode(mode),
            failure_rate_threshold=failure_rate,
            slow_call_rate_threshold=slow_call_rate,
            slow_call_duration_threshold_seconds=slow_call_seconds,
            call_timeout_seconds=call_timeout_seconds,
            open_seconds=open_seconds,
            open_multiplier=open_multiplier,
            max_open_seconds=max_open_seconds,
            open_jitter=open_jitter,
        )
    except InvalidBreakerPolicyError as error:
        for field, problem in error.problems.items():
            environment.reject(f"BREAKER_{field.upper()}", problem)
        return BreakerPolicy()
