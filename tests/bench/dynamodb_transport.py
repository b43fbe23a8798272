"""What a call to DynamoDB costs on each transport, and on the way there: one JSON line a case.

    ./pantsw run tests/bench/dynamodb_transport.py
    ./pantsw run tests/bench/dynamodb_transport.py -- --profile "Query of 50, direct"

CPU time of this process, in microseconds a call, on uvloop; a server in a process of its own answers
canned bytes. The contestants take turns within each round, and each keeps its least: other work on
the machine only ever adds. Compare the ratios, which hold on a busy machine too.

    sdk, as it comes    aioboto3's client without any configuration
    sdk                 the client as `libs.aws` configures it, all else botocore's
    event               the same with our transport on `before-call`, prepared by botocore
    direct              the same, and item operations past botocore's preparation
    … guarded           through `libs.aws.DynamoDB`: pipeline, span, classification, observer
    floor               a bare POST of the same bytes with aiohttp, whose answer is read and dropped
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import multiprocessing
import os
import pstats
import random
import sys
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, ClassVar, cast

import aioboto3
import aiohttp
import uvloop

from libs.aws import AwsSettings, DynamoDB, Transport, open_clients
from libs.resilience import PipelineRegistry
from libs.tracing import SamplingRules, create_tracer

CALLS = 150
ROUNDS = 8
WARM_UP = 10
REGION = "eu-central-1"

Call = Callable[[], Awaitable[Any]]


def row(number: int) -> dict[str, Any]:
    """An item as the services keep them: some 400 bytes."""
    return {
        "userId": {"S": f"user-{number:04}"},
        "courseId": {"S": f"course-{number:05}"},
        "title": {"S": f"An introduction to the tides of the sea, part {number}"},
        "position": {"N": str(number * 37)},
        "fraction": {"N": "0.4375"},
        "completed": {"BOOL": False},
        "updatedAt": {"S": "2026-03-04T05:06:07.123Z"},
        "devices": {"SS": ["phone", "tablet"]},
        "progress": {"M": {"done": {"N": "12"}, "items": {"L": [{"S": "x"}, {"N": "1"}]}}},
        "version": {"N": "7"},
    }


CONSUMED = {"TableName": "Progress", "CapacityUnits": 0.5, "Table": {"CapacityUnits": 0.5}}
KEY = {"userId": {"S": "user-0001"}, "courseId": {"S": "course-00001"}}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "GetItem": (
        "get_item",
        {"TableName": "Progress", "Key": KEY},
        {"Item": row(1), "ConsumedCapacity": CONSUMED},
    ),
    "Query of 50": (
        "query",
        {
            "TableName": "Progress",
            "KeyConditionExpression": "#u = :u",
            "ExpressionAttributeNames": {"#u": "userId"},
            "ExpressionAttributeValues": {":u": {"S": "user-0001"}},
            "Limit": 50,
        },
        {
            "Items": [row(number) for number in range(50)],
            "Count": 50,
            "ScannedCount": 50,
            "ConsumedCapacity": CONSUMED,
        },
    ),
    "UpdateItem": (
        "update_item",
        {
            "TableName": "Progress",
            "Key": KEY,
            "UpdateExpression": "SET #p = :p, #s = :s",
            "ConditionExpression": "#v = :v",
            "ExpressionAttributeNames": {"#p": "position", "#s": "seenAt", "#v": "version"},
            "ExpressionAttributeValues": {
                ":p": {"N": "15"},
                ":s": {"S": "2026-03-04T05:06:07Z"},
                ":v": {"N": "12"},
            },
        },
        {"ConsumedCapacity": CONSUMED},
    ),
    "PutItem": (
        "put_item",
        {"TableName": "Progress", "Item": row(1)},
        {"ConsumedCapacity": CONSUMED},
    ),
}


def _whole_answer(body: dict[str, Any]) -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    head = (
        "HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Wed, 04 Mar 2026 05:06:07 GMT\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(content)}\r\n"
        "Connection: keep-alive\r\n"
        "x-amzn-RequestId: Q5M2H5J6R7S8T9U0V1W2X3Y4Z5VV4KQNSO5AEMVJF66Q9ASUAAJG\r\n"
        f"x-amz-crc32: {zlib.crc32(content)}\r\n\r\n"
    )
    return head.encode() + content


class _Canned(asyncio.Protocol):
    """Answers each request by its operation as soon as it is there, one at a time a connection."""

    answers: ClassVar = {
        f"DynamoDB_20120810.{name.split()[0]}\r\n".encode(): _whole_answer(answer)
        for name, (_, _, answer) in CASES.items()
    }

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is no subclass of it.
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        _, _, length = head.partition(b"Content-Length: ")
        if not separator or len(body) < int(length.split(b"\r\n")[0]):
            return
        self._received = b""
        for target, answer in self.answers.items():
            if target in head:
                self._transport.write(answer)
                return
        self._transport.abort()


def _serve(ready: Connection) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Canned, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


@asynccontextmanager
async def contestants(url: str) -> AsyncIterator[dict[str, Call]]:
    """Every case with every contestant, by its name."""
    tracer = create_tracer(
        service="bench",
        version="0",
        daemon_address=None,
        rules=SamplingRules(default_rate=0.0),
        random=random.Random(0),
    )
    async with AsyncExitStack() as stack:

        async def opened(transport: Transport) -> DynamoDB:
            settings = AwsSettings(region=REGION, dynamodb_transport=transport)
            clients = await stack.enter_async_context(
                open_clients(settings, registry=PipelineRegistry(), tracer=tracer)
            )
            return clients.dynamodb

        plain = await stack.enter_async_context(
            aioboto3.Session(region_name=REGION).client("dynamodb")
        )
        sdk, direct, event = await opened("sdk"), await opened("direct"), await opened("direct")
        # The class's own method: nothing goes past botocore's preparation.
        event._client._make_api_call = partial(type(event._client)._make_api_call, event._client)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)
        )

        def floor(name: str, params: dict[str, Any]) -> Call:
            body = json.dumps(params).encode()
            headers = {
                "X-Amz-Target": f"DynamoDB_20120810.{name.split()[0]}",
                "Content-Type": "application/x-amz-json-1.0",
            }

            async def post() -> bytes:
                async with session.post(url, data=body, headers=headers) as response:
                    return await response.read()

            return post

        def calling(client: Any, method: str, params: dict[str, Any]) -> Call:
            function = getattr(client, method)
            return lambda: function(**params)

        calls: dict[str, Call] = {}
        for name, (method, params, _) in CASES.items():
            calls[f"{name}, sdk, as it comes"] = calling(plain, method, params)
            calls[f"{name}, sdk"] = calling(sdk._client, method, params)
            calls[f"{name}, event"] = calling(event._client, method, params)
            calls[f"{name}, direct"] = calling(direct._client, method, params)
            calls[f"{name}, sdk guarded"] = calling(sdk, method, params)
            calls[f"{name}, direct guarded"] = calling(direct, method, params)
            calls[f"{name}, floor"] = floor(name, params)
        yield calls


async def cost(call: Call, calls: int = CALLS) -> float:
    """Seconds of CPU a call."""
    for _ in range(WARM_UP):
        await call()
    started = time.process_time()
    for _ in range(calls):
        await call()
    return (time.process_time() - started) / calls


async def measure(url: str) -> None:
    async with contestants(url) as calls:
        gc.collect()
        gc.freeze()
        least = dict.fromkeys(calls, float("inf"))
        for _ in range(ROUNDS):
            for name, call in calls.items():
                least[name] = min(least[name], await cost(call))
    for name, seconds in least.items():
        case = name.split(",")[0]
        report = {
            "case": name,
            "microseconds": round(seconds * 1e6, 1),
            "ratioToSdk": round(seconds / least[f"{case}, sdk"], 2),
            "ratioToFloor": round(seconds / least[f"{case}, floor"], 2),
        }
        sys.stdout.write(json.dumps(report) + "\n")


async def profile(url: str, name: str) -> None:
    async with contestants(url) as calls:
        await cost(calls[name])
        profiler = cProfile.Profile(time.process_time)
        profiler.enable()
        await cost(calls[name], 2_000)
        profiler.disable()
    pstats.Stats(profiler, stream=sys.stdout).sort_stats("tottime").print_stats(40)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", metavar="CASE", help="where the time of one case goes")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    server = context.Process(target=_serve, args=(sending,), daemon=True)
    server.start()
    try:
        url = f"http://127.0.0.1:{receiving.recv()}"
        os.environ |= {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "AKIABENCH",
            "AWS_SECRET_ACCESS_KEY": "bench",
        }
        uvloop.run(profile(url, options.profile) if options.profile else measure(url))
    finally:
        server.kill()
        server.join()


if __name__ == "__main__":
    main()
