"""Bytes that are no HTTP request, and requests that fail before any layer sees them."""

import json

import pytest

from libs.logging.testing import captured_logs
from tests.unit.http.sample_app import Client


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /things/\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /things HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"GET /things HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
        b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"GET /things HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /things HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 2000 + b"\r\n",
    ],
)
async def test_what_is_no_request_gets_a_problem_and_one_line(client: Client, data: bytes) -> None:
    with captured_logs() as events:
        answer = await client.raw(data)
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.split(b"\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
    assert status_line.split(b" ")[1] == b"400"
    assert headers[b"content-type"].startswith(b"application/problem+json")
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (400, "malformed_request")
    assert problem["requestId"].encode() == headers[b"x-request-id"]
    assert "traceId" not in problem, "no layer has seen it, so there is no trace"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"server"] == b"lyceum"
    assert b"Traceback" not in body
    (line,) = (event for event in events if event["event"] == "request")
    assert (line["level"], line["status"], line["route"]) == ("warning", 400, "unmatched")
    assert "exception" not in line
    assert len(events) == 1


async def test_broken_chunks_are_the_clients_mistake(client: Client) -> None:
    answer = await client.raw(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\n"
        + f"Authorization: Bearer {client.token}\r\n\r\n".encode()
        + b"5\r\n[1,2]\r\nzz\r\n"
    )
    assert answer.split(b" ")[1] == b"400"
    assert b'"code": "malformed_request"' in answer


async def test_an_expectation_that_nobody_meets(client: Client) -> None:
    answer = await client.raw(
        b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\nConnection: close\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 417 ")
    assert b'"code": "expectation_failed"' in answer


async def test_a_token_as_long_as_tokens_may_be_is_read(client: Client) -> None:
    answer = await client.call("GET", "/me", token="a" * 8192)
    assert answer.status == 401


async def test_http_1_0_without_a_host(client: Client) -> None:
    answer = await client.raw(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK")


async def test_requests_in_a_pipeline_are_answered_in_order(client: Client) -> None:
    answer = await client.raw(
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert answer.index(b'{"status":"ok"}') < answer.index(b'"version":"1.2.3"')
