"""What single parts of a request cost: CPU time a call, as one JSON object.

The comparison starts it as a process of its own; `python -m tests.bench.comparison.parts` shows it
alone. Each part takes its turn in every round; the median of the rounds is what is told, with the
least and the most. What surrounds a part in the measuring loop is measured too, and taken off.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import uvloop
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from libs.auth import JwksKeySource, TokenVerifier
from libs.auth._jwks import parse_jwks
from libs.auth.testing import TokenIssuer
from libs.aws import S3Endpoint, Signer, presign
from libs.circuit_breaker import BreakerPolicy, CircuitBreaker
from libs.http._tracing import tracing_middleware
from libs.logging import configure, get_logger, request_context
from libs.tracing import SamplingRules, create_tracer

ROUNDS = int(os.environ.get("ROUNDS", "9"))
CALLS = int(os.environ.get("CALLS", "1000"))
NEW_TOKENS = CALLS

Case = Callable[[], Awaitable[object]]


async def cost(case: Case) -> float:
    """Microseconds of CPU a call."""
    started = time.thread_time()
    for _ in range(CALLS):
        await case()
    return (time.thread_time() - started) / CALLS * 1e6


async def nothing() -> None:
    return None


def presigning() -> Case:
    signer = Signer("AKIABENCH", "b" * 40, "t" * 400, None)
    endpoint = S3Endpoint("https://s3.eu-central-1.amazonaws.com", "eu-central-1")
    now = datetime(2026, 3, 4, 5, 5, tzinfo=UTC)
    params = {
        "Bucket": "content",
        "Key": "content/c-1/mangrove-master.mp4",
        "ResponseContentType": "video/mp4",
        "ResponseContentDisposition": 'inline; filename="Mangroves at low tide.mp4"',
        "ResponseCacheControl": "private, max-age=1200, immutable",
    }

    async def case() -> str:
        return presign(
            "get_object", params, expires_seconds=1_200, endpoint=endpoint, signer=signer, now=now
        )

    return case


async def tokens() -> tuple[Case, Case, Case]:
    """A token seen before, one after another that was not, and the RSA verification alone."""
    issuer = TokenIssuer()
    document = json.dumps(issuer.jwks()).encode()

    async def fetched() -> bytes:
        return document

    keys = JwksKeySource(fetched)
    seen = TokenVerifier(issuer.settings, keys)
    known = issuer.token(sub="learner-0")
    await seen.verify(known)
    others = [issuer.token(sub=f"learner-{number}") for number in range(200)]
    turn = 0
    # Remembers none: every token is new to it.
    forgetful = TokenVerifier(issuer.settings, keys, cache_size=0)
    key = next(iter(parse_jwks(document).values()))
    signed, _, signature = known.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))

    async def new() -> object:
        nonlocal turn
        turn = (turn + 1) % len(others)
        return await forgetful.verify(others[turn])

    async def alone() -> bool:
        return key.verifies(signed.encode(), raw)

    return (lambda: seen.verify(known)), new, alone


async def tracing() -> tuple[Case, Case]:
    """A request that is not sampled, through the middleware, and without it."""
    tracer = create_tracer(
        service="bench",
        version="1",
        daemon_address=None,
        rules=SamplingRules(default_rate=0.0),
        random=random.Random(1),
    )
    middleware = tracing_middleware(tracer)
    answer = web.Response()

    async def bare(request: web.Request) -> web.StreamResponse:
        return answer

    app = web.Application()
    app.router.add_get("/courses/{courseId}", bare)
    request = make_mocked_request("GET", "/courses/tides", headers={"Host": "127.0.0.1"}, app=app)
    request._match_info = await app.router.resolve(request)

    async def spanned(request: web.Request) -> web.StreamResponse:
        with tracer.span("DynamoDB.GetItem", kind="aws") as span:
            span.set_attribute("http.response.status_code", 200)
        return answer

    async def traced() -> object:
        # A new request has worked nothing out yet, such as its host.
        request._cache.clear()
        return await middleware(request, spanned)

    async def untraced() -> object:
        request._cache.clear()
        return await bare(request)

    return traced, untraced


def breaker() -> Case:
    made = CircuitBreaker("bench", BreakerPolicy())
    return lambda: made.call(nothing)


def log_line() -> Case:
    log = get_logger("libs.http._access_log")

    async def case() -> None:
        log.info("request", status=200, durationMs=1.234)

    return case


async def measure() -> dict[str, dict[str, float]]:
    seen, new, alone = await tokens()
    traced, untraced = await tracing()
    cases: dict[str, tuple[Case, Case]] = {
        "presign": (presigning(), nothing),
        "token.seen": (seen, nothing),
        "token.new": (new, nothing),
        "token.rsa": (alone, nothing),
        "trace.unsampled": (traced, untraced),
        "breaker.closed": (breaker(), nothing),
        "log.line": (log_line(), nothing),
    }
    found: dict[str, list[float]] = {name: [] for name in cases}
    gc.collect()
    gc.freeze()
    with request_context(
        requestId="0af7651916cd43dd8448eb211c80319c",
        method="GET",
        route="/courses/{courseId}",
        sub="learner-0",
        traceId="1-5759e988-bd862e3fe1be46a994272793",
    ):
        for number in range(ROUNDS + 1):
            for name, (case, around) in cases.items():
                microseconds = await cost(case) - await cost(around)
                if number:  # the first round warms up
                    found[name].append(microseconds)
    return {
        name: {
            "median": round(statistics.median(values), 2),
            "least": round(min(values), 2),
            "most": round(max(values), 2),
        }
        for name, values in found.items()
    }


def main() -> None:
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        configure(service="bench", version="1", stream=nowhere, pretty=False)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(measure())
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
