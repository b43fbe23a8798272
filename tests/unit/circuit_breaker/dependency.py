"""A dependency whose answers the test gives by hand."""

import asyncio
from collections.abc import Awaitable

from libs.circuit_breaker import CircuitBreaker


class UnwellError(Exception):
    """What a dependency raises when it is unwell."""


class Dependency:
    """Each call waits until the test answers it; calls are numbered from 0."""

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[str]] = []

    async def __call__(self) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.calls.append(answer)
        return await answer


async def answer() -> str:
    return "answer"


async def fail() -> str:
    raise UnwellError("unwell")


async def failing_call(breaker: CircuitBreaker) -> None:
    """One call whose failure is the breaker's business, not the test's."""
    try:
        await breaker.call(fail)
    except UnwellError:
        return
    raise AssertionError("the dependency's exception did not come through")


async def open_circuit(breaker: CircuitBreaker) -> None:
    for _ in range(breaker.policy.failure_threshold):
        await failing_call(breaker)


async def started(*calls: Awaitable[object]) -> list[asyncio.Future[object]]:
    """Tasks that have run as far as their first wait."""
    tasks: list[asyncio.Future[object]] = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)
    return tasks
