"""aiohttp and aioboto3, as their documentation shows; the comparison starts it as a program."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import uvloop
from aiohttp import web

from tests.bench.peers import work

WORK = web.AppKey("work", work.Work)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def logged(request: web.Request, handler: Handler) -> web.StreamResponse:
    began = time.perf_counter()
    request_id = request.headers.get("X-Request-Id") or work.new_request_id()
    response = await handler(request)
    response.headers["X-Request-Id"] = request_id
    resource = request.match_info.route.resource
    work.log_request(
        request_id=request_id,
        method=request.method,
        route="unmatched" if resource is None else resource.canonical,
        sub=request.get("sub"),
        status=response.status,
        began=began,
    )
    return response


@web.middleware
async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path != "/readyz":
        try:
            request["sub"] = request.app[WORK].subject(request.headers.get("Authorization"))
        except work.UnauthorizedError:
            return web.json_response({"code": "invalid_token"}, status=401)
    return await handler(request)


async def ready(request: web.Request) -> web.Response:
    return web.json_response({"status": "ready"})


async def course(request: web.Request) -> web.Response:
    found = await request.app[WORK].course(request.match_info["courseId"])
    if found is None:
        return web.json_response({"code": "course_not_found"}, status=404)
    return web.json_response(found)


async def content(request: web.Request) -> web.Response:
    found = await request.app[WORK].content(request.match_info["contentId"])
    if found is None:
        return web.json_response({"code": "content_not_found"}, status=404)
    return web.json_response(found)


async def page(request: web.Request) -> web.Response:
    return web.json_response(await request.app[WORK].page(request["sub"]))


async def record(request: web.Request) -> web.Response:
    update = await request.json()
    try:
        resume = update["resume"]
        valid = isinstance(update["occurredAt"], str) and isinstance(update["deviceId"], str)
        valid = valid and isinstance(resume["contentId"], str) and resume["positionSeconds"] >= 0
    except (KeyError, TypeError):
        valid = False
    if not valid:
        return web.json_response({"code": "invalid_body"}, status=400)
    found = await request.app[WORK].record(request["sub"], request.match_info["courseId"], update)
    return web.json_response(found)


async def lifespan(app: web.Application) -> AsyncIterator[None]:
    async with work.opened() as opened:
        app[WORK] = opened
        yield


def main() -> None:
    app = web.Application(middlewares=[logged, authenticated])
    app.cleanup_ctx.append(lifespan)
    app.add_routes(
        [
            web.get("/readyz", ready),
            web.get("/courses/{courseId}", course),
            web.get("/content/{contentId}", content),
            web.get("/progress/{userId}", page),
            web.put("/progress/{userId}/{courseId}", record),
        ]
    )
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    web.run_app(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=lambda _: None
    )


if __name__ == "__main__":
    main()
