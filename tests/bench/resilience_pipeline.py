"""What a call through the whole pipeline costs, against a bare await: one JSON line a case.

    ./pantsw run tests/bench/resilience_pipeline.py

CPU time of a call that succeeds without waiting, in microseconds, and as a ratio to the same
function awaited without guards, on the standard event loop and on uvloop. The least of several
rounds, since other work only ever adds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop

from libs.circuit_breaker import BreakerPolicy, SlidingWindowType
from libs.resilience import (
    BulkheadPolicy,
    PipelineRegistry,
    Repeatable,
    ResiliencePipeline,
    RetryBudgetPolicy,
    RetryPolicy,
    deadline_scope,
)

CALLS = 20_000
ROUNDS = 15

Call = Callable[[], Awaitable[str]]


async def dependency() -> str:
    return "answer"


def pipeline(breaker: BreakerPolicy) -> ResiliencePipeline:
    return PipelineRegistry().pipeline(
        "dependency",
        breaker=breaker,
        bulkhead=BulkheadPolicy(),
        retry=RetryPolicy(),
        budget=RetryBudgetPolicy(),
    )


async def round_of(call: Call) -> float:
    started = time.thread_time()
    for _ in range(CALLS):
        await call()
    return time.thread_time() - started


async def measure(loop: str) -> None:
    consecutive = pipeline(BreakerPolicy(call_timeout_seconds=2))
    dearest = pipeline(
        BreakerPolicy(
            call_timeout_seconds=2,
            sliding_window_type=SlidingWindowType.TIME_BASED,
            slow_call_duration_threshold_seconds=1,
            slow_call_rate_threshold=50,
        )
    )

    async def through_breaker() -> str:
        return await consecutive.breaker.call(dependency)

    async def through_pipeline() -> str:
        return await consecutive.call(dependency, repeatable=Repeatable.ALWAYS)

    async def through_dearest() -> str:
        return await dearest.call(dependency, repeatable=Repeatable.ALWAYS)

    gc.enable()
    gc.collect()
    gc.disable()
    bare = min([await round_of(dependency) for _ in range(ROUNDS)])
    show(loop, "none, bare await", bare, bare)
    cases = {
        "breaker with call time-out": (through_breaker, None),
        "pipeline, no deadline": (through_pipeline, None),
        "pipeline, deadline 5 s": (through_pipeline, 5.0),
        "pipeline, deadline nearer than the attempt's time-out": (through_pipeline, 1.0),
        "pipeline, time window and slow-call rate, deadline 5 s": (through_dearest, 5.0),
    }
    for name, (call, seconds) in cases.items():
        times = []
        for _ in range(ROUNDS):
            if seconds is None:
                times.append(await round_of(call))
            else:
                with deadline_scope(seconds):
                    times.append(await round_of(call))
        show(loop, name, min(times), bare)


def show(loop: str, case: str, seconds: float, bare: float) -> None:
    report = {
        "loop": loop,
        "case": case,
        "microseconds": round(seconds / CALLS * 1e6, 3),
        "addedMicroseconds": round((seconds - bare) / CALLS * 1e6, 3),
        "ratio": round(seconds / bare, 1),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    for name, new_loop in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(measure(name))
