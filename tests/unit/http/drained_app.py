"""The sample application as a process of its own, as a service's `__main__` runs it.

Arguments: port, drain seconds, seconds of notice, and words: `stdlib` (uvloop is not to be had),
`stuck` (the start never ends), `broken` (the start fails), `metrics` (they are written, though no
interval ends while the test runs). A line on stdin releases held requests.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from libs.auth import Principal
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import ServiceInfo, create_app, run
from libs.logging import configure, get_logger
from libs.metrics import Metrics, reported
from libs.tracing.testing import recording_tracer
from tests.unit.http.sample_app import Sample

_log = get_logger("drained_app")


class AnyToken:
    """Takes every token: keys are not what this process is about."""

    async def verify(self, token: str) -> Principal:
        nothing: frozenset[str] = frozenset()
        return Principal("learner-a", None, nothing, nothing, nothing)


async def create(words: list[str]) -> web.Application:
    sample = Sample()

    @asynccontextmanager
    async def client_of_a_dependency(app: web.Application) -> AsyncIterator[None]:
        if "broken" in words:
            raise RuntimeError("no table")
        if "stuck" in words:
            _log.info("starting")
            await asyncio.Event().wait()
        try:
            yield
        finally:
            _log.info("client_closed")

    @asynccontextmanager
    async def released_by_stdin(app: web.Application) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_reader(sys.stdin.fileno(), sample.release.set)
        yield
        loop.remove_reader(sys.stdin.fileno())

    metrics = Metrics("drained")

    @asynccontextmanager
    async def reporting(app: web.Application) -> AsyncIterator[None]:
        async with reported(metrics, every_seconds=3600 if "metrics" in words else 0):
            yield

    async def hold(request: web.Request) -> web.StreamResponse:
        _log.info("held")
        return await sample.hold(request)

    return create_app(
        service=ServiceInfo("drained", "1.0.0", "r", "i"),
        routes=[web.get("/hold", hold)],
        openapi=dict,
        verifier=AnyToken(),
        tracer=recording_tracer()[0],
        breakers=CircuitBreakerRegistry(),
        problems={},
        lifespan=[reporting, client_of_a_dependency, released_by_stdin],
        metrics=metrics,
    )


def main(port: str, drain_seconds: str, notice_seconds: str, *words: str) -> int:
    if "stdlib" in words:
        sys.modules["uvloop"] = None  # type: ignore[assignment]
    configure(service="drained", version="1.0.0", pretty=False)
    return run(
        lambda: create(list(words)),
        host="127.0.0.1",
        port=int(port),
        drain_seconds=float(drain_seconds),
        readiness_notice_seconds=float(notice_seconds),
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
