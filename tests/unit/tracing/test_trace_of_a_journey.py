"""One request through two real aiohttp services, captured from real UDP: one tree."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler

from libs.tracing import (
    TRACE_HEADER,
    SamplingRules,
    Tracer,
    client_trace_config,
    create_tracer,
    format_header,
    parse_header,
)
from libs.tracing.testing import Document, UdpCollector

TRACE = "1-5759e988-bd862e3fe1be46a994272793"


def tracing(tracer: Tracer) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unknown"
        with tracer.segment(
            f"{request.method} {route}",
            header=parse_header(request.headers.get(TRACE_HEADER, "")),
            attributes={"http.request.method": request.method, "http.route": route},
        ) as span:
            response = await handler(request)
            span.set_attribute("http.response.status_code", response.status)
            return response

    return middleware


async def dynamodb(tracer: Tracer, operation: str) -> None:
    with tracer.span(
        "DynamoDB", kind="aws", attributes={"aws.operation": operation, "aws.region": "eu-west-1"}
    ):
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    async with TestServer(app, host="127.0.0.1") as server:
        yield f"http://127.0.0.1:{server.port}"


@asynccontextmanager
async def two_services(collector: UdpCollector) -> AsyncIterator[str]:
    """A front service that calls DynamoDB three times at once and a back service twice."""
    front, back = (
        create_tracer(
            service=service,
            version="1",
            daemon_address=collector.address,
            rules=SamplingRules(default_rate=1),
        )
        for service in ("front", "back")
    )

    async def item(request: web.Request) -> web.Response:
        await dynamodb(back, "Query")
        return web.Response(status=404 if request.match_info["id"] == "none" else 200)

    async def page(request: web.Request) -> web.Response:
        async with asyncio.TaskGroup() as group:
            for operation in ("GetItem", "Query", "BatchGetItem"):
                group.create_task(dynamodb(front, operation))
        statuses = []
        for name in ("one", "none"):
            async with client.get(f"{back_url}/items/{name}?token=pa55") as response:
                statuses.append(response.status)
        return web.json_response(statuses)

    back_app = web.Application(middlewares=[tracing(back)])
    back_app.router.add_get("/items/{id}", item)
    front_app = web.Application(middlewares=[tracing(front)])
    front_app.router.add_get("/page", page)
    async with (
        aiohttp.ClientSession(trace_configs=[client_trace_config(front)]) as client,
        serving(back_app) as back_url,
        serving(front_app) as front_url,
    ):
        yield front_url
    front.close()
    back.close()


def children(entities: list[Document], parent: Document) -> list[Document]:
    return [entity for entity in entities if entity.get("parent_id") == parent["id"]]


async def test_a_journey_through_two_services_is_one_tree(collector: UdpCollector) -> None:
    async with two_services(collector) as url, aiohttp.ClientSession() as browser:
        header = f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=1"
        async with browser.get(f"{url}/page", headers={TRACE_HEADER: header}) as response:
            assert await response.json() == [200, 404]
        await collector.wait_for(3)
    entities = collector.entities()
    assert {entity["trace_id"] for entity in entities} == {TRACE}
    assert len({entity["id"] for entity in entities}) == len(entities) == 10
    (front,) = (entity for entity in entities if entity["parent_id"] == "53995c3f42cd8ad8")
    assert front["name"] == "front"
    assert front["annotations"]["route"] == "/page"
    below = children(entities, front)
    calls = [entity for entity in below if entity["namespace"] == "aws"]
    assert {entity["aws"]["operation"] for entity in calls} == {"GetItem", "Query", "BatchGetItem"}
    requests = [entity for entity in below if entity["namespace"] == "remote"]
    assert [entity["http"]["response"]["status"] for entity in requests] == [200, 404]
    assert [entity.get("error", False) for entity in requests] == [False, True]
    assert not any(entity.get("fault") for entity in entities)
    for request in requests:
        assert "pa55" not in str(request)
        (back,) = children(entities, request)
        assert back["name"] == "back"
        assert back["annotations"]["route"] == "/items/{id}"
        (query,) = children(entities, back)
        assert query["aws"]["operation"] == "Query"


async def test_50_concurrent_requests_make_50_trees(collector: UdpCollector) -> None:
    async with two_services(collector) as url, aiohttp.ClientSession() as browser:

        async def request(number: int) -> int:
            header = f"Root=1-5759e988-{number:024x};Sampled=1"
            async with browser.get(f"{url}/page", headers={TRACE_HEADER: header}) as response:
                return response.status

        assert await asyncio.gather(*(request(number) for number in range(50))) == [200] * 50
        await collector.wait_for(150)
    entities = collector.entities()
    by_trace: dict[str, list[Document]] = {}
    for entity in entities:
        by_trace.setdefault(entity["trace_id"], []).append(entity)
    assert len(by_trace) == 50
    for trace in by_trace.values():
        ids = {entity["id"] for entity in trace}
        assert len(ids) == len(trace) == 10
        roots = [entity for entity in trace if entity.get("parent_id") not in ids]
        assert [root["name"] for root in roots] == ["front"]


async def test_an_unsampled_journey_sends_nothing_and_tells_the_next_service(
    collector: UdpCollector,
) -> None:
    async with two_services(collector) as url, aiohttp.ClientSession() as browser:
        for decision in ("0", "1"):
            header = f"Root={TRACE};Sampled={decision}"
            async with browser.get(f"{url}/page", headers={TRACE_HEADER: header}) as response:
                assert response.status == 200
        # UDP on the loopback keeps the order: had the first request sent any, it would be here.
        await collector.wait_for(3)
    assert len(collector.entities()) == 10


async def test_a_request_without_host_is_answered(collector: UdpCollector) -> None:
    """HTTP/1.0, as old load balancers check health: the SDK's middleware answered 500."""
    async with two_services(collector) as url:
        _, _, port = url.rpartition(":")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(b"GET /page HTTP/1.0\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"200"
        writer.close()
        await writer.wait_closed()


async def echo(request: web.Request) -> web.Response:
    return web.Response(text=request.headers.get(TRACE_HEADER, "none"))


async def test_the_header_goes_out_within_a_segment_only(tracer: Tracer) -> None:
    app = web.Application()
    app.router.add_get("/", echo)
    async with (
        serving(app) as url,
        aiohttp.ClientSession(trace_configs=[client_trace_config(tracer)]) as client,
    ):

        async def sent(**headers: str) -> str:
            async with client.get(url, headers=headers) as response:
                return await response.text()

        assert await sent() == "none"
        with tracer.segment("GET /courses") as segment:
            header = parse_header(await sent())
            assert header is not None
            assert (header.trace_id, header.sampled) == (segment.trace_id, True)
            assert segment.context is not None
            assert header.parent_id not in (None, segment.context.parent_id), "the call's own span"
            assert await sent(**{TRACE_HEADER: "the caller's"}) == "the caller's"
        with tracer.segment("GET /healthz", attributes={"http.route": "/healthz"}) as segment:
            assert segment.context is not None
            assert await sent() == format_header(segment.context)
            assert not segment.sampled


async def test_a_request_that_fails_is_a_fault_and_one_that_is_cancelled_is_not(
    tracer: Tracer, collector: UdpCollector, unused_tcp_port: int
) -> None:
    waiting = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        waiting.set()
        await asyncio.Event().wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/hang", hang)
    async with (
        serving(app) as url,
        aiohttp.ClientSession(trace_configs=[client_trace_config(tracer)]) as client,
    ):
        with tracer.segment("GET /courses"):
            request = asyncio.create_task(client.get(f"{url}/hang"))
            await waiting.wait()
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
            with pytest.raises(aiohttp.ClientConnectionError):
                await client.get(f"http://127.0.0.1:{unused_tcp_port}/refused")
    (document,) = await collector.wait_for(1)
    cancelled, refused = document["subsegments"]
    assert not cancelled.get("fault")
    assert not cancelled.get("error")
    assert refused["fault"] is True
    assert refused["cause"]["exceptions"][0]["type"] == "ClientConnectorError"
    assert refused["cause"]["exceptions"][0]["remote"] is True


async def test_a_redirect_is_one_span(tracer: Tracer, collector: UdpCollector) -> None:
    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPFound("/")

    app = web.Application()
    app.router.add_get("/", echo)
    app.router.add_get("/moved", moved)
    async with (
        serving(app) as url,
        aiohttp.ClientSession(trace_configs=[client_trace_config(tracer)]) as client,
    ):
        with tracer.segment("GET /courses"):
            async with client.get(f"{url}/moved") as response:
                assert response.status == 200
    (document,) = await collector.wait_for(1)
    (subsegment,) = document["subsegments"]
    assert subsegment["http"]["response"]["status"] == 200
