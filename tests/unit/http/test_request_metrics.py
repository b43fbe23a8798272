"""What is counted of requests: by route template and method, and never by what a client invents."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from libs.circuit_breaker.testing import ManualClock
from libs.logging.testing import captured_logs
from libs.metrics import OTHER
from libs.metrics.testing import RecordedMetrics
from tests.unit.http.sample_app import Client, Sample, running
from tests.unit.metrics.emf import check_document

GET_THING = ("/things/{thingId}", "GET")


@pytest.fixture()
def metrics() -> RecordedMetrics:
    return RecordedMetrics("sample")


@pytest.fixture()
async def client(metrics: RecordedMetrics) -> AsyncIterator[Client]:
    sample = Sample()
    sample.metrics = metrics.metrics
    async with running(sample) as found:
        yield found


async def test_requests_errors_and_faults_are_counted_by_route_and_method(
    client: Client, metrics: RecordedMetrics
) -> None:
    for number in range(3):
        await client.call("GET", f"/things/t{number}")
    await client.call("HEAD", "/things/t1")
    await client.call("GET", "/things/t1", token=None)  # 401
    await client.call("GET", "/raise/bug")  # 500
    await client.call("GET", "/raise/open")  # 503
    metrics.flush()
    fails = ("/raise/{name}", "GET")
    head = ("/things/{thingId}", "HEAD")
    assert metrics.series("RequestCount") == {GET_THING: 4, head: 1, fails: 2}
    assert metrics.series("ErrorCount") == {GET_THING: 1, head: 0, fails: 0}
    assert metrics.series("FaultCount") == {GET_THING: 0, head: 0, fails: 2}
    assert metrics.series("AbandonedCount") == {GET_THING: 0, head: 0, fails: 0}
    assert metrics.series("Latency")[GET_THING]["Count"] == 4


async def test_every_figure_also_counts_for_the_service(
    client: Client, metrics: RecordedMetrics
) -> None:
    await client.call("GET", "/things/t1")
    metrics.flush()
    (document,) = metrics.documents
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["Service", "Route", "Method"], ["Service"]]
    assert document["Service"] == "sample"
    check_document(document)


async def test_latency_is_what_the_request_took(metrics: RecordedMetrics) -> None:
    sample, clock = Sample(), ManualClock()
    sample.metrics, sample.clock = metrics.metrics, clock
    async with running(sample) as client:
        held = asyncio.ensure_future(client.call("GET", "/hold"))
        await sample.held.wait()
        clock.advance(0.25)
        sample.release.set()
        assert (await held).status == 200
    metrics.flush()
    latency = metrics.series("Latency")[("/hold", "GET")]
    assert (latency["Max"], latency["Count"]) == (250, 1)


async def test_health_checks_are_not_counted(client: Client, metrics: RecordedMetrics) -> None:
    client.sample.ready = False
    for path in ("/healthz", "/readyz"):
        await client.call("GET", path, token=None)
    metrics.flush()
    assert metrics.documents == []


async def test_who_hangs_up_is_neither_error_nor_latency(
    client: Client, metrics: RecordedMetrics
) -> None:
    held = asyncio.ensure_future(client.call("GET", "/hold"))
    await client.sample.held.wait()
    held.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await held
    async with asyncio.timeout(10):
        while client.listener.in_flight:
            await asyncio.sleep(0.001)
    metrics.flush()
    route = ("/hold", "GET")
    assert metrics.series("AbandonedCount") == {route: 1}
    assert metrics.series("ErrorCount") == metrics.series("FaultCount") == {route: 0}
    assert metrics.series("Latency") == {}


async def test_what_is_no_request_is_counted_as_one(
    client: Client, metrics: RecordedMetrics
) -> None:
    assert b" 400 " in await client.raw(b"NONSENSE\r\n\r\n")
    answer = await client.raw(
        b"GET /me HTTP/1.1\r\nHost: x\r\nExpect: the-moon\r\nConnection: close\r\n\r\n"
    )
    assert b" 417 " in answer
    metrics.flush()
    unmatched = ("unmatched", OTHER)
    assert metrics.series("RequestCount") == {unmatched: 2}
    assert metrics.series("ErrorCount") == {unmatched: 2}
    assert metrics.series("Latency") == {}


async def test_a_thousand_ids_make_no_new_dimension(
    client: Client, metrics: RecordedMetrics
) -> None:
    """In paths that exist and that do not, in methods nobody knows, and in every header."""
    gate = asyncio.Semaphore(20)

    async def send(number: int) -> None:
        async with gate:
            hostile = {
                "User-Agent": f"agent-{number}",
                "X-Request-Id": f"id-{number}",
                "X-Forwarded-For": f"10.0.{number % 256}.1",
                "X-HTTP-Method-Override": f"METHOD{number}",
                "X-Amzn-Trace-Id": f"Root=1-5f000000-{number:024x}",
                "Origin": f"https://{number}.example",
                "Host": f"host-{number}.example",
            }
            path = (f"/things/t{number}", f"/nothing/{number}", f"/{number}%2F..;x=1")[number % 3]
            # Known to HTTP's parsers but to no route, known to nobody, and known.
            method = ("PROPFIND", "SUBSCRIBE", f"BREW{number}", "GET", "GET")[number % 5]
            await client.call(method, path, headers=hostile)

    with captured_logs():
        await asyncio.gather(*map(send, range(1000)))
    metrics.flush()
    counted = metrics.series("RequestCount")
    assert sum(counted.values()) == 1000
    assert set(counted) <= {
        (route, method) for route in ("/things/{thingId}", "unmatched") for method in ("GET", OTHER)
    }
    for document in metrics.documents:
        check_document(document)
        assert set(document) - {"_aws"} <= {
            "Service",
            "Route",
            "Method",
            "RequestCount",
            "ErrorCount",
            "FaultCount",
            "AbandonedCount",
            "Latency",
        }
