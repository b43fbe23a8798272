"""The floor: aiohttp with a constant, with a page's bytes, and with one bare POST to DynamoDB.

No token, no log, no trace: less than this is not to be had with aiohttp. The comparison starts it as
a program.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import web

CONSTANT = b'{"text":"%s"}' % (b"x" * 607)
SESSION = web.AppKey("session", aiohttp.ClientSession)
PAGE = web.AppKey("page", bytes)
_BODY = b'{"TableName": "Content", "Key": {"contentId": {"S": "content-1"}}}'
_HEADERS = {
    "X-Amz-Target": "DynamoDB_20120810.GetItem",
    "Content-Type": "application/x-amz-json-1.0",
}


async def ready(request: web.Request) -> web.Response:
    return web.Response(body=b"{}", content_type="application/json")


async def constant(request: web.Request) -> web.Response:
    return web.Response(body=CONSTANT, content_type="application/json")


async def page(request: web.Request) -> web.Response:
    return web.Response(body=request.app[PAGE], content_type="application/json")


async def post(request: web.Request) -> web.Response:
    url = os.environ["AWS_ENDPOINT_URL"]
    async with request.app[SESSION].post(url, data=_BODY, headers=_HEADERS) as response:
        await response.read()
    return web.Response(body=CONSTANT, content_type="application/json")


async def session(app: web.Application) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as opened:
        app[SESSION] = opened
        yield


def main() -> None:
    app = web.Application()
    app[PAGE] = b"x" * int(os.environ["PAGE_BYTES"])
    app.cleanup_ctx.append(session)
    app.add_routes(
        [
            web.get("/readyz", ready),
            web.get("/constant", constant),
            web.get("/page", page),
            web.get("/post", post),
        ]
    )
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    web.run_app(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=lambda _: None
    )


if __name__ == "__main__":
    main()
