"""No request takes longer than its time, whatever its client and its handler do."""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping

import pytest

from libs.auth.testing import TokenIssuer
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import ServiceInfo, create_app
from libs.http._deadline import GRACE_SECONDS
from libs.logging.testing import captured_logs
from libs.tracing.testing import recording_tracer
from tests.unit.http.sample_app import Client, Sample, lines, running

SHORT = {"X-Request-Timeout-Ms": "50"}
# Far more than any answer here takes, far less than what a request that was not cut would take.
SOON = 4.0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.001)


def access_lines(events: Iterable[Mapping[str, object]]) -> list[tuple[object, object]]:
    return [(line["status"], line.get("code")) for line in events if line["event"] == "request"]


async def test_a_request_whose_time_has_passed_is_answered_and_its_handler_cancelled() -> None:
    tracer, emitter = recording_tracer()
    sample = Sample()
    async with running(sample, tracer) as client:
        with captured_logs() as events:
            answer = await client.call(
                "GET",
                "/hold",
                headers={**SHORT, "Origin": "https://app.example", "X-Request-Id": "r-1"},
            )
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (503, "deadline_exceeded")
        assert answer.content_type == "application/problem+json"
        assert problem["requestId"] == answer.headers["X-Request-Id"] == "r-1"
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert sample.events[-1] == "cancelled"
        assert client.listener.in_flight == 0
        assert access_lines(events) == [(503, "deadline_exceeded")]
        span = emitter.named("GET /hold")
        assert span.fault
        # The connection is as good as new.
        assert (await client.call("GET", "/me")).status == 200


async def test_the_applications_own_limit_holds_and_no_client_lengthens_it() -> None:
    sample = Sample()
    sample.request_timeout_seconds = 0.5
    async with running(sample) as client:
        async with asyncio.timeout(SOON):
            asked = await client.call("GET", "/hold", headers={"X-Request-Timeout-Ms": "60000"})
            silent = await client.call("GET", "/hold")
    assert (asked.status, silent.status) == (503, 503)


@pytest.mark.parametrize(
    "sent",
    ["", "0", "00", "01", "-1", "+1", "1.5", "1e3", "1s", " ", "5000000000", "٣", "5,5", "abc"],
)
@pytest.mark.parametrize("path", ["/me", "/healthz"])
async def test_a_malformed_header_is_refused(client: Client, sent: str, path: str) -> None:
    request = (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\n"
        f"X-Request-Timeout-Ms: {sent}\r\nConnection: close\r\n\r\n"
    )
    answer = await client.raw(request.encode())
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code": "invalid_header"' in answer
    assert b"X-Request-Timeout-Ms must be one whole number" in answer


async def test_a_header_that_is_given_twice_is_refused(client: Client) -> None:
    answer = await client.raw(
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Timeout-Ms: 5000\r\n"
        b"X-Request-Timeout-Ms: 5000\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(("sent", "most"), [(None, 5.0), ("2000", 2.0), ("999999999", 5.0)])
async def test_handlers_see_the_deadline(client: Client, sent: str | None, most: float) -> None:
    headers = {} if sent is None else {"X-Request-Timeout-Ms": sent}
    body = await (await client.call("GET", "/remaining", headers=headers)).json()
    seconds = body["seconds"]
    assert isinstance(seconds, float)
    assert most - 1 < seconds <= most


async def test_a_handler_that_does_not_end_holds_up_no_answer() -> None:
    tracer, emitter = recording_tracer()
    sample = Sample()
    async with running(sample, tracer) as client:
        with captured_logs() as events:
            async with asyncio.timeout(SOON):
                answer = await client.raw(
                    b"GET /stubborn HTTP/1.1\r\nHost: x\r\nX-Request-Timeout-Ms: 50\r\n"
                    + f"X-Request-Id: r-1\r\nAuthorization: Bearer {client.token}\r\n\r\n".encode()
                )
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503")
            assert b"\r\nX-Request-Id: r-1" in head
            assert b"\r\nRetry-After: 1" in head
            assert b"\r\nConnection: close" in head
            assert b'"code": "deadline_exceeded"' in body
            assert access_lines(lines(events)) == [(503, "deadline_exceeded")]
            # It is still at it, and counts; whatever it answers now goes to nobody.
            assert client.listener.in_flight == 1
            sample.release.set()
            await until(lambda: client.listener.in_flight == 0)
        assert sample.events[-1] == "stubborn ends"
        assert [line["event"] for line in lines(events)] == ["request", "abandoned_handler_ended"]
        assert emitter.named("GET /stubborn").attributes["http.response.status_code"] == 503
        assert (await client.call("GET", "/me")).status == 200


async def test_a_drain_does_not_wait_for_a_handler_that_does_not_end() -> None:
    sample = Sample()
    async with running(sample) as client:
        answer = await client.call("GET", "/stubborn", headers=SHORT)
        assert answer.status == 503
        assert await client.listener.drain(drain_seconds=0.01) is False
        sample.release.set()


async def test_a_client_that_hangs_up_before_its_deadline_is_not_answered(client: Client) -> None:
    with captured_logs() as events:
        _, writer = await asyncio.open_connection("127.0.0.1", client.listener.port)
        writer.write(
            b"GET /hold HTTP/1.1\r\nHost: x\r\nX-Request-Timeout-Ms: 60\r\n"
            + f"Authorization: Bearer {client.token}\r\n\r\n".encode()
        )
        await client.sample.held.wait()
        writer.close()
        await until(lambda: lines(events))
        await asyncio.sleep(0.06 + GRACE_SECONDS)
    assert access_lines(lines(events)) == [(499, None)]


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_body_that_comes_too_slowly_is_the_clients_doing(
    client: Client, framing: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.listener.port)
    try:
        with captured_logs() as events:
            writer.write(
                b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + f"X-Request-Timeout-Ms: 100\r\nAuthorization: Bearer {client.token}\r\n".encode()
                + f"{framing}\r\n\r\n".encode()
            )

            async def dribble() -> None:
                while True:
                    writer.write(b"1\r\n[\r\n" if "chunked" in framing else b"[")
                    await asyncio.sleep(0.01)

            dribbling = asyncio.ensure_future(dribble())
            async with asyncio.timeout(SOON):
                answer = await reader.readuntil(b"}")
            dribbling.cancel()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"code": "request_timeout"' in answer
        assert re.search(rb"\r\nConnection: close\r\n", answer)
        assert access_lines(lines(events)) == [(408, "request_timeout")]
    finally:
        writer.close()


async def test_a_handler_that_is_slow_after_its_body_is_not(client: Client) -> None:
    answer = await client.call("GET", "/hold", headers=SHORT, data=b"[1]")
    assert answer.status == 503


@pytest.mark.parametrize("seconds", [0, 0.4, 28.1, float("nan")])
def test_the_limit_has_bounds(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"0\.5 to 28 seconds"):
        create_app(
            service=ServiceInfo("sample", "1", "r", "i"),
            routes=[],
            openapi=dict,
            verifier=TokenIssuer().verifier(),
            tracer=recording_tracer()[0],
            breakers=CircuitBreakerRegistry(),
            problems={},
            request_timeout_seconds=seconds,
        )
