"""What tracing adds to a request: one JSON line a case, on the standard loop and on uvloop.

    ./pantsw run tests/bench/tracing.py

CPU time, in microseconds, of one request through the real middleware of `libs.http`: a real request
of aiohttp's, read from a socket, is answered again and again by a handler that opens two spans,
reads the current trace and writes its header, as one that calls two dependencies does. Against
the same handler without a tracer and without the middleware. The least of several rounds, since
other work only ever adds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
import uvloop
from aiohttp import web
from aiohttp.test_utils import TestServer

from libs.http._tracing import tracing_middleware
from libs.logging import request_context
from libs.tracing import (
    TRACE_HEADER,
    CentralRules,
    Emitter,
    SamplingRule,
    SamplingRules,
    Tracer,
    create_tracer,
    format_header,
)
from libs.tracing.testing import InMemoryEmitter

REQUESTS = 2_000
ROUNDS = 15

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Case = Callable[[web.Request], Awaitable[object]]

RULES = (
    SamplingRule("writes", 0, http_method="PUT", priority=1),
    SamplingRule("content", 0, url_path="/content/*", priority=2),
    SamplingRule("courses", 0, url_path="/courses/*", service_name="course*", priority=3),
)


class ForgetfulEmitter(InMemoryEmitter):
    """Keeps the spans of one request."""

    def __init__(self) -> None:
        super().__init__()
        self.emit = lambda spans: None  # type: ignore[method-assign]


def tracer(
    rate: float,
    *,
    rules: tuple[SamplingRule, ...] = (),
    emitter: Emitter | None = None,
    daemon: str | None = None,
    central: CentralRules | None = None,
) -> Tracer:
    return create_tracer(
        service="course_catalog",
        version="1",
        daemon_address=daemon,
        rules=SamplingRules(default_rate=rate, rules=rules),
        random=random.Random(1),
        emitter=emitter,
        central=central,
    )


def traced(made: Tracer) -> Case:
    """The middleware around a handler with two spans and the header of a call to others."""
    middleware = tracing_middleware(made)

    async def handler(request: web.Request) -> web.StreamResponse:
        with made.span("merge"):
            pass
        with made.span("DynamoDB.GetItem", kind="aws", attributes=CALL) as span:
            context = made.current()
            if context is not None:
                format_header(context)
            span.set_attribute("http.response.status_code", 200)
        return web.Response()

    async def case(request: web.Request) -> object:
        return await middleware(request, handler)

    return case


HEADERS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "of a gateway": {TRACE_HEADER: "Root=1-5759e988-bd862e3fe1be46a994272793"},
}
CALL = {"rpc.service": "DynamoDB", "aws.operation": "GetItem", "aws.region": "eu-central-1"}


async def untraced(request: web.Request) -> object:
    return web.Response()


async def cost(case: Case, request: web.Request) -> float:
    """Microseconds of CPU a request."""
    best = float("inf")
    with request_context(requestId="r-1", method="GET", route="/courses/{courseId}"):
        for _ in range(ROUNDS):
            started = time.thread_time()
            for _ in range(REQUESTS):
                # A new request has worked nothing out yet, such as its host.
                request._cache.clear()
                with request_context():
                    await case(request)
            best = min(best, time.thread_time() - started)
    return best / REQUESTS * 1e6


def cases(daemon: str) -> dict[str, Case]:
    central = CentralRules(service="course_catalog", random=random.Random(1))
    central.load_rules([*RULES, SamplingRule("Default", 0, priority=10_000)])
    forgetful = ForgetfulEmitter()
    return {
        "unsampled": traced(tracer(0, emitter=forgetful)),
        "unsampled, three rules": traced(tracer(0, rules=RULES, emitter=forgetful)),
        "unsampled, central rules": traced(tracer(0, emitter=forgetful, central=central)),
        "sampled, in memory": traced(tracer(1, emitter=forgetful)),
        "sampled, to X-Ray's daemon": traced(tracer(1, daemon=daemon)),
    }


async def measure(loop: str, daemon: str, sent: str, headers: Mapping[str, str]) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        bare = await cost(untraced, request)
        show(loop, sent, "no tracer", bare, bare)
        for name, case in cases(daemon).items():
            show(loop, sent, name, await cost(case, request), bare)
        return web.Response()

    app = web.Application()
    app.router.add_get("/courses/{courseId}", answer)
    async with (
        TestServer(app, host="127.0.0.1") as server,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as client,
        client.get(server.make_url("/courses/tides"), headers=headers) as response,
    ):
        response.raise_for_status()


def show(loop: str, sent: str, case: str, microseconds: float, bare: float) -> None:
    report = {
        "loop": loop,
        "header": sent,
        "case": case,
        "microseconds": round(microseconds, 2),
        "addedMicroseconds": round(microseconds - bare, 2),
        "ratio": round(microseconds / bare, 2),
    }
    sys.stdout.write(json.dumps(report) + "\n")


def main() -> None:
    gc.collect()
    gc.disable()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        # Nobody reads: what the buffer does not take is lost, as it is with a slow daemon.
        listening.bind(("127.0.0.1", 0))
        daemon = f"127.0.0.1:{listening.getsockname()[1]}"
        for loop, factory in (
            ("asyncio", asyncio.new_event_loop),
            ("uvloop", uvloop.new_event_loop),
        ):
            with asyncio.Runner(loop_factory=factory) as runner:
                for sent, headers in HEADERS.items():
                    runner.run(measure(loop, daemon, sent, headers))


if __name__ == "__main__":
    main()
