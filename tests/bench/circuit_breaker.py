"""What a call through a closed circuit costs, against a bare await: one JSON line a policy, on the
standard event loop and on uvloop.

    ./pantsw run tests/bench/circuit_breaker.py

CPU time of a call that succeeds without waiting, in microseconds, and as a ratio to the same
function awaited without a breaker. The least of several rounds, since other work only ever adds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from libs.circuit_breaker import (
    BreakerMode,
    BreakerPolicy,
    CircuitBreaker,
    SlidingWindowType,
)

CALLS = 20_000
ROUNDS = 15

POLICIES = {
    "consecutive failures": BreakerPolicy(),
    "consecutive failures, slow calls": BreakerPolicy(slow_call_duration_threshold_seconds=1),
    "count window": BreakerPolicy(sliding_window_type=SlidingWindowType.COUNT_BASED),
    "count window, slow-call rate": BreakerPolicy(
        sliding_window_type=SlidingWindowType.COUNT_BASED,
        slow_call_duration_threshold_seconds=1,
        slow_call_rate_threshold=50,
    ),
    "time window": BreakerPolicy(sliding_window_type=SlidingWindowType.TIME_BASED),
    "time window, slow-call rate": BreakerPolicy(
        sliding_window_type=SlidingWindowType.TIME_BASED,
        slow_call_duration_threshold_seconds=1,
        slow_call_rate_threshold=50,
    ),
    "consecutive failures, call time-out": BreakerPolicy(call_timeout_seconds=5),
    "time window, slow-call rate, call time-out": BreakerPolicy(
        sliding_window_type=SlidingWindowType.TIME_BASED,
        slow_call_duration_threshold_seconds=1,
        slow_call_rate_threshold=50,
        call_timeout_seconds=5,
    ),
    "disabled": BreakerPolicy(mode=BreakerMode.DISABLED),
}


async def dependency() -> str:
    return "answer"


async def bare_round() -> float:
    started = time.thread_time()
    for _ in range(CALLS):
        await dependency()
    return time.thread_time() - started


async def guarded_round(call: Callable[[Callable[[], Awaitable[str]]], Awaitable[str]]) -> float:
    started = time.thread_time()
    for _ in range(CALLS):
        await call(dependency)
    return time.thread_time() - started


async def limited_round() -> float:
    started = time.thread_time()
    for _ in range(CALLS):
        async with asyncio.timeout(5):
            await dependency()
    return time.thread_time() - started


async def measure(loop: str) -> None:
    gc.enable()
    calls = {name: CircuitBreaker(name, policy).call for name, policy in POLICIES.items()}
    gc.collect()
    gc.disable()
    bare = min([await bare_round() for _ in range(ROUNDS)])
    limited = min([await limited_round() for _ in range(ROUNDS)])
    show(loop, "none, bare await", bare, bare)
    show(loop, "none, bare await within asyncio.timeout", limited, bare)
    for name, call in calls.items():
        show(loop, name, min([await guarded_round(call) for _ in range(ROUNDS)]), bare)


def show(loop: str, policy: str, seconds: float, bare: float) -> None:
    report = {
        "loop": loop,
        "policy": policy,
        "microseconds": round(seconds / CALLS * 1e6, 3),
        "addedMicroseconds": round((seconds - bare) / CALLS * 1e6, 3),
        "ratio": round(seconds / bare, 1),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    for name, new_loop in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(measure(name))
