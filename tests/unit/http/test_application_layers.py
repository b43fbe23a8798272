"""What every request gets: identity, ids, a trace, a log line, CORS, and the operations paths."""

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from libs.circuit_breaker import (
    BreakerPolicy,
    CircuitBreakerRegistry,
    CircuitOpenError,
    SlidingWindowType,
)
from libs.http import ServiceInfo, create_app, serve
from libs.http._cors import EXPOSED_HEADERS
from libs.http._negotiation import accepts
from libs.logging.testing import captured_logs
from libs.resilience import BulkheadPolicy, RetryBudgetPolicy, RetryPolicy
from libs.tracing.testing import recording_tracer
from tests.unit.http.sample_app import ISSUER, Client, Sample, lines, running

TRACE_ID = "1-67891233-abcdef012345678912345678"
TRACEPARENT = "00-67891233abcdef012345678912345678-53995c3f42cd8ad8-01"


async def test_a_request_without_a_token(client: Client) -> None:
    for headers in ({}, {"Authorization": "Basic bGVhcm5lcjph"}):
        answer = await client.call("GET", "/me", token=None, headers=headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await answer.json())["code"] == "authentication_required"


@pytest.mark.parametrize(
    ("authorization", "description"),
    [
        ("Bearer", "The token is not a signed JWT in compact form"),
        ("Bearer a.b.c", "The token is not a signed JWT in compact form"),
        (f"Bearer {ISSUER.token(exp=1)}", "The token has expired"),
        (f"Bearer {ISSUER.token(token_use='id')}", "The token is not an access token"),
    ],
)
async def test_a_request_with_a_token_that_is_not_accepted(
    client: Client, authorization: str, description: str
) -> None:
    answer = await client.call("GET", "/me", token=None, headers={"Authorization": authorization})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer error="invalid_token", error_description="{description}"'
    )
    assert (await answer.json())["code"] == "invalid_token"
    assert authorization.partition(" ")[2].encode() not in answer.body or not authorization[7:]


async def test_a_token_makes_the_principal(client: Client) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {ISSUER.token(sub='learner-b')}"}
        answer = await client.call("GET", "/me", token=None, headers=headers)
        assert await answer.json() == {"sub": "learner-b"}


async def test_two_tokens_are_none(client: Client) -> None:
    answer = await client.raw(
        b"GET /me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        + f"Authorization: Bearer {client.token}\r\n".encode() * 2
        + b"\r\n"
    )
    assert answer.split(b" ")[1] in (b"400", b"401")


async def test_a_permission_that_the_principal_has_not(client: Client) -> None:
    answer = await client.call("GET", "/admin")
    assert answer.status == 403
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
    assert (await answer.json())["code"] == "forbidden"
    author = ISSUER.token(groups=["authors"])
    assert (await client.call("GET", "/admin", token=author)).status == 200


@pytest.mark.parametrize("path", ["/me", "/things/a%2Fb", "/nothing", "/healthz/x", "/docs/"])
async def test_without_a_token_nothing_is_learnt_about_paths(client: Client, path: str) -> None:
    assert (await client.call("GET", path, token=None)).status == 401


async def test_the_operations_paths_need_no_token(client: Client) -> None:
    for path in ("/healthz", "/readyz", "/version", "/openapi.json", "/docs"):
        for method in ("GET", "HEAD"):
            assert (await client.call(method, path, token=None)).status == 200


async def test_liveness_readiness_and_version(client: Client) -> None:
    assert await (await client.call("GET", "/healthz", token=None)).json() == {"status": "ok"}
    assert await (await client.call("GET", "/readyz", token=None)).json() == {
        "status": "ready",
        "checks": {"configuration": "ready", "keys": "ready"},
        "breakers": {
            "things:read": {
                "state": "closed",
                "consecutiveFailures": 0,
                "rejectedCalls": 0,
                "slowCalls": 0,
                "retryAfterSeconds": 0,
            }
        },
        "bulkheads": {
            "things:read": {
                "running": 0,
                "maxConcurrentCalls": 50,
                "queued": 0,
                "maxQueuedCalls": 100,
                "rejectedCalls": 0,
            }
        },
    }
    assert await (await client.call("GET", "/version", token=None)).json() == {
        "service": "sample",
        "version": "1.2.3",
        "revision": "0a1b2c3",
        "imageHash": "sha256:beef",
    }


async def test_readiness_shows_what_a_breaker_and_a_bulkhead_hold(client: Client) -> None:
    window = BreakerPolicy(
        sliding_window_type=SlidingWindowType.COUNT_BASED,
        sliding_window_size=4,
        minimum_number_of_calls=4,
    )
    parts = client.sample.pipelines.pipeline(
        "things:write",
        breaker=window,
        bulkhead=BulkheadPolicy(2, 3, 1),
        retry=RetryPolicy(),
        budget=RetryBudgetPolicy(),
    )

    async def fail() -> None:
        raise LookupError

    assert parts.bulkhead.try_acquire()
    for _ in range(4):
        with pytest.raises(LookupError):
            await parts.breaker.call(fail)
    with pytest.raises(CircuitOpenError):
        await parts.breaker.call(fail)
    body = await (await client.call("GET", "/readyz", token=None)).json()
    breaker = body["breakers"]["things:write"]  # type: ignore[index]
    assert 0 < breaker.pop("retryAfterSeconds") <= 5
    assert breaker == {
        "state": "open",
        "consecutiveFailures": 0,
        "rejectedCalls": 1,
        "slowCalls": 0,
        "window": {"calls": 4, "failureRate": 100.0, "slowCallRate": 0.0},
    }
    assert body["bulkheads"]["things:write"] == {  # type: ignore[index]
        "running": 1,
        "maxConcurrentCalls": 2,
        "queued": 0,
        "maxQueuedCalls": 3,
        "rejectedCalls": 0,
    }


async def test_a_process_that_is_not_ready_is_still_alive(client: Client) -> None:
    client.sample.ready = False
    answer = await client.call("GET", "/readyz", token=None)
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (503, "not_ready")
    assert problem["errors"] == [{"pointer": "/checks/keys", "message": "is not ready"}]
    assert (await client.call("GET", "/healthz", token=None)).status == 200


async def test_the_contract_is_read_once_when_somebody_asks_and_by_nobody_before() -> None:
    read: list[int] = []

    def openapi() -> Mapping[str, object]:
        read.append(threading.get_ident())
        if len(read) == 1:
            raise OSError("the disk is away")
        return {"openapi": "3.0.3", "info": {"title": "Things"}, "paths": {}}

    app = create_app(
        service=ServiceInfo("sample", "1", "r", "i"),
        routes=[],
        openapi=openapi,
        verifier=ISSUER.verifier(),
        tracer=recording_tracer()[0],
        breakers=CircuitBreakerRegistry(),
        problems={},
    )
    async with (
        serve(app, host="127.0.0.1", port=0) as listener,
        aiohttp.ClientSession(f"http://127.0.0.1:{listener.port}") as session,
    ):

        async def status(path: str) -> int:
            async with session.get(path) as answer:
                return answer.status

        assert await status("/readyz") == 200
        assert read == []
        assert await status("/openapi.json") == 500
        paths = ["/openapi.json", "/docs"] * 4
        assert await asyncio.gather(*map(status, paths)) == [200] * 8
    assert len(read) == 2
    assert threading.get_ident() not in read  # nobody else waited for it


async def test_the_contract_is_served_and_revalidated(client: Client) -> None:
    answer = await client.call("GET", "/openapi.json", token=None)
    assert (await answer.json())["openapi"] == "3.0.3"
    again = await client.call(
        "GET", "/openapi.json", token=None, headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status == 304


@pytest.mark.parametrize("sent", ["a", "A-1._z", "x" * 128])
async def test_a_request_id_is_echoed(client: Client, sent: str) -> None:
    answer = await client.call("GET", "/me", headers={"X-Request-Id": sent})
    assert answer.headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", [None, "", "x" * 129, "a b", "a/b", "ü", "a\tb", "<script>"])
async def test_a_request_id_is_made(client: Client, sent: str | None) -> None:
    headers = {} if sent is None else {"X-Request-Id": sent}
    answer = await client.call("GET", "/me", headers=headers)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


async def test_the_callers_trace_is_continued() -> None:
    tracer, emitter = recording_tracer()
    async with running(Sample(), tracer) as client:
        amazon = {"X-Amzn-Trace-Id": f"Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1"}
        foreign = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
        answer = await client.call("GET", "/me", headers={**amazon, **foreign})
        span = emitter.named("GET /me")
        assert (span.trace_id, span.parent_id) == (TRACE_ID, "53995c3f42cd8ad8")
        assert answer.headers["X-Amzn-Trace-Id"] == (
            f"Root={TRACE_ID};Parent={span.span_id};Sampled=1"
        )
        answer = await client.call("GET", "/things/t1", headers={"traceparent": TRACEPARENT})
        assert answer.headers["X-Amzn-Trace-Id"].startswith(f"Root={TRACE_ID};")


async def test_a_request_is_one_segment_with_its_route_and_user() -> None:
    tracer, emitter = recording_tracer()
    async with running(Sample(), tracer) as client:
        await client.call("GET", "/things/t1?limit=3")
        await client.call("GET", "/healthz")
    (span,) = emitter.spans
    assert span.name == "GET /things/{thingId}"
    assert span.attributes["http.route"] == "/things/{thingId}"
    assert span.attributes["http.response.status_code"] == 200
    # By SHA-256, as anybody can work it out who knows the user's id.
    assert span.attributes["enduser.pseudo.id"] == "64c72cbd49c71203"
    assert "t1" not in repr(span.attributes)


async def test_unknown_methods_make_no_new_operations() -> None:
    tracer, emitter = recording_tracer()
    async with running(Sample(), tracer) as client:
        await client.call("PROPFIND", "/nothing")
    assert [span.name for span in emitter.spans] == ["_OTHER unmatched"]


async def test_one_access_line_a_request_without_the_raw_path(client: Client) -> None:
    with captured_logs() as events:
        await client.call("GET", "/things/t1?q=private", headers={"X-Request-Id": "r-1"})
    (line,) = lines(events)
    assert {
        name: line[name]
        for name in ("event", "level", "method", "route", "status", "requestId", "sub")
    } == {
        "event": "request",
        "level": "warning" if line["status"] != 200 else "info",
        "method": "GET",
        "route": "/things/{thingId}",
        "status": 200,
        "requestId": "r-1",
        "sub": "learner-a",
    }
    assert isinstance(line["durationMs"], float)
    assert str(line["traceId"]).startswith("1-")
    assert "private" not in repr(line)
    assert "t1" not in repr({**line, "traceId": "", "timestamp": ""})


async def test_one_request_leaves_nothing_in_the_next_ones_line(client: Client) -> None:
    with captured_logs() as events:
        await client.call("GET", "/me")
        await client.call("GET", "/version", token=None)
    first, second = lines(events)
    assert first["sub"] == "learner-a"
    assert "sub" not in second


async def test_health_checks_are_logged_quietly(client: Client) -> None:
    with captured_logs() as events:
        await client.call("GET", "/healthz")
        client.sample.ready = False
        await client.call("GET", "/readyz")
    assert [
        (event["event"], event["level"]) for event in events if event["event"] == "request"
    ] == [
        ("request", "debug"),
        ("request", "info"),
    ]


async def test_concurrent_requests_keep_apart(client: Client) -> None:
    async def ask(number: int) -> None:
        answer = await client.call(
            "GET",
            "/me",
            token=ISSUER.token(sub=f"user-{number}"),
            headers={"X-Request-Id": f"r-{number}"},
        )
        assert answer.headers["X-Request-Id"] == f"r-{number}"
        assert await answer.json() == {"sub": f"user-{number}"}

    with captured_logs() as events:
        await asyncio.gather(*(ask(number) for number in range(50)))
    assert {(event["requestId"], event["sub"]) for event in lines(events)} == {
        (f"r-{number}", f"user-{number}") for number in range(50)
    }


async def test_a_client_that_hangs_up_is_one_quiet_line() -> None:
    tracer, emitter = recording_tracer()
    sample = Sample()
    async with running(sample, tracer) as client:
        with captured_logs() as events:
            _, writer = await asyncio.open_connection("127.0.0.1", client.listener.port)
            writer.write(
                f"GET /hold HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\n\r\n".encode()
            )
            await sample.held.wait()
            writer.close()
            async with asyncio.timeout(5):
                while not any(event["event"] == "request" for event in events):
                    await asyncio.sleep(0.001)
    assert "cancelled" in sample.events
    (line,) = lines(events)
    assert (line["status"], line["level"], line["route"]) == (499, "info", "/hold")
    span = emitter.named("GET /hold")
    assert (span.error, span.fault) == (False, False)


async def test_a_client_that_hangs_up_in_its_body_is_one_quiet_line(client: Client) -> None:
    with captured_logs() as events:
        _, writer = await asyncio.open_connection("127.0.0.1", client.listener.port)
        writer.write(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {client.token}\r\nContent-Length: 10\r\n\r\n[1,".encode()
        )
        await writer.drain()
        # The request is being read once the server has it in flight.
        async with asyncio.timeout(5):
            while not client.listener.in_flight:
                await asyncio.sleep(0.001)
        writer.close()
        async with asyncio.timeout(5):
            while not lines(events):
                await asyncio.sleep(0.001)
    assert [(event["event"], event["status"]) for event in lines(events)] == [("request", 499)]


@pytest.mark.parametrize("origin", ["https://app.example", "http://localhost:3000"])
async def test_an_origin_on_the_list(client: Client, origin: str) -> None:
    answer = await client.call("GET", "/me", headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Expose-Headers"] == ", ".join(EXPOSED_HEADERS)
    assert answer.headers["Vary"] == "Authorization, Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://APP.example",
        "null",
        "*",
    ],
)
async def test_any_other_origin(client: Client, origin: str) -> None:
    preflight = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization",
    }
    for method, headers in (("GET", {"Origin": origin}), ("OPTIONS", preflight)):
        answer = await client.call(method, "/things/t1", headers=headers)
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert "Origin" in answer.headers["Vary"]


async def test_a_preflight_needs_no_token(client: Client) -> None:
    answer = await client.call(
        "OPTIONS",
        "/things/t1",
        token=None,
        headers={
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": "authorization,if-match",
        },
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, PATCH, PUT"
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "if-match", "idempotency-key", "x-request-timeout-ms"} <= set(allowed)
    assert answer.headers["Access-Control-Max-Age"] == "600"


async def test_options_that_is_no_preflight(client: Client) -> None:
    answer = await client.call("OPTIONS", "/things")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD,POST")


@pytest.mark.parametrize(
    ("accept", "media_type", "expected"),
    [
        ("*/*", "application/json", True),
        ("application/*", "application/json", True),
        ("APPLICATION/JSON", "application/json", True),
        ("text/html, application/json;q=0.1", "application/json", True),
        ("text/html", "application/json", False),
        ("application/json;q=0", "application/json", False),
        ("application/json;q=0, */*", "application/json", False),
        ("application/json, application/*;q=0, */*;q=0", "application/json", True),
        ("*/*;q=0", "application/json", False),
        ("application/problem+json", "application/json", False),
        ("nonsense", "application/json", True),
        ("application/json;q=x", "application/json", True),
        ("text/html;q=2, text/plain", "application/json", False),
        ("text/*", "text/html", True),
    ],
)
def test_what_accept_excludes(accept: str, media_type: str, expected: bool) -> None:
    assert accepts(accept, media_type) is expected


async def test_what_the_client_could_not_read_is_not_done(client: Client) -> None:
    answer = await client.call(
        "PUT", "/things/t1", headers={"Accept": "text/html", "If-Match": '"v1"'}
    )
    assert (answer.status, (await answer.json())["code"]) == (406, "not_acceptable")
    assert client.sample.version == 1
    html = {"Accept": "text/html"}
    assert (await client.call("GET", "/docs", token=None, headers=html)).status == 200
    assert (await client.call("GET", "/nothing", headers=html)).status == 404


async def test_what_starts_first_stops_last() -> None:
    sample = Sample()
    async with running(sample):
        assert sample.events == ["first starts", "second starts"]
    assert sample.events[2:] == ["second stops", "first stops"]


async def test_a_failed_start_leaves_what_had_started() -> None:
    sample = Sample()

    @asynccontextmanager
    async def broken(app: web.Application) -> AsyncIterator[None]:
        if not sample.release.is_set():
            raise RuntimeError("no table")
        yield

    app = create_app(
        service=ServiceInfo("sample", "1", "r", "i"),
        routes=[],
        openapi=dict,
        verifier=ISSUER.verifier(),
        tracer=recording_tracer()[0],
        breakers=CircuitBreakerRegistry(),
        problems={},
        lifespan=[sample.first, broken, sample.second],
    )
    with pytest.raises(RuntimeError, match="no table"):
        async with serve(app, host="127.0.0.1", port=0):
            pass
    assert sample.events == ["first starts", "first stops"]


def test_a_list_of_origins_that_allows_all_is_refused() -> None:
    with pytest.raises(ValueError, match="one by one"):
        create_app(
            service=ServiceInfo("sample", "1", "r", "i"),
            routes=[],
            openapi=dict,
            verifier=ISSUER.verifier(),
            tracer=recording_tracer()[0],
            breakers=CircuitBreakerRegistry(),
            problems={},
            cors_origins=["*"],
        )


async def test_a_taken_port_is_an_error_of_the_system() -> None:
    sample = Sample()
    async with running(sample) as client:
        with pytest.raises(OSError, match="address already in use"):
            async with serve(Sample().application(), host="127.0.0.1", port=client.listener.port):
                pass


async def test_idle_connections_close_and_busy_ones_finish_when_draining() -> None:
    sample = Sample()
    async with running(sample) as client:
        held = asyncio.ensure_future(client.call("GET", "/hold"))
        await sample.held.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", client.listener.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        draining = asyncio.ensure_future(client.listener.drain(drain_seconds=30))
        # The idle connection is closed while the busy one is left alone.
        assert not (await reader.read()).startswith(b"HTTP")
        with pytest.raises(aiohttp.ClientConnectorError):
            async with aiohttp.ClientSession() as session:
                await session.get(f"{client.url}/healthz")
        assert not held.done()
        sample.release.set()
        answer = await held
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert await draining is True
        writer.close()
    assert "cancelled" not in sample.events


async def test_a_body_that_is_under_way_is_read_to_its_end_when_draining(client: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.listener.port)
    writer.write(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {client.token}\r\nContent-Length: 5\r\n\r\n[1,".encode()
    )
    async with asyncio.timeout(5):
        while not client.listener.in_flight:
            await asyncio.sleep(0.001)
    draining = asyncio.ensure_future(client.listener.drain(drain_seconds=30))
    await asyncio.sleep(0)
    writer.write(b"2]")
    assert b'{"value":[1,2]}' in await reader.read()
    assert await draining is True
    writer.close()


async def test_what_outlives_the_bound_is_cancelled() -> None:
    sample = Sample()
    async with running(sample) as client:
        held = asyncio.ensure_future(client.call("GET", "/hold"))
        await sample.held.wait()
        assert await client.listener.drain(drain_seconds=0.01) is False
        with pytest.raises(aiohttp.ClientError):
            await held
    assert sample.events[2] == "cancelled"


async def test_hurry_ends_the_waits() -> None:
    sample = Sample()
    async with running(sample) as client:
        held = asyncio.ensure_future(client.call("GET", "/hold"))
        await sample.held.wait()
        hurry = asyncio.Event()
        draining = asyncio.ensure_future(
            client.listener.drain(drain_seconds=300, readiness_notice_seconds=300, hurry=hurry)
        )
        async with asyncio.timeout(5):
            while (await client.call("GET", "/readyz", token=None)).status != 503:
                await asyncio.sleep(0)
        hurry.set()
        assert await draining is False
        with contextlib.suppress(aiohttp.ClientError):
            await held
