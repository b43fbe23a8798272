"""FastAPI, uvicorn and aioboto3, as their documentation shows; the comparison starts it as a program."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn  # pants: no-infer-dep
from fastapi import Depends, FastAPI, HTTPException, Request  # pants: no-infer-dep
from pydantic import BaseModel, Field

from tests.bench.peers import work

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    async with work.opened() as opened:
        app.state.work = opened
        yield


class Logged:
    """The access log, as a pure ASGI middleware: the cheapest kind."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"").decode() or work.new_request_id()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            route = scope.get("route")
            work.log_request(
                request_id=request_id,
                method=scope["method"],
                route=getattr(route, "path", "unmatched"),
                sub=scope.get("state", {}).get("sub"),
                status=status,
                began=began,
            )


def subject(request: Request) -> str:
    try:
        found = work_of(request).subject(request.headers.get("Authorization"))
    except work.UnauthorizedError:
        raise HTTPException(status_code=401, detail="invalid_token") from None
    request.state.sub = found
    return str(found)


def work_of(request: Request) -> work.Work:
    opened: work.Work = request.app.state.work
    return opened


async def authenticated(request: Request) -> str:
    # A coroutine: a plain function would be run in a thread.
    return subject(request)


Subject = Annotated[str, Depends(authenticated)]


class Resume(BaseModel):
    contentId: str = Field(min_length=1, max_length=64)  # noqa: N815 - the contract's name
    positionSeconds: float = Field(ge=0)  # noqa: N815


class Update(BaseModel):
    occurredAt: str  # noqa: N815
    deviceId: str = Field(min_length=1, max_length=64)  # noqa: N815
    resume: Resume


async def ready() -> dict[str, str]:
    return {"status": "ready"}


async def course(request: Request, course_id: str, sub: Subject) -> dict[str, Any]:
    found = await work_of(request).course(course_id)
    if found is None:
        raise HTTPException(status_code=404)
    return found


async def content(request: Request, content_id: str, sub: Subject) -> dict[str, Any]:
    found = await work_of(request).content(content_id)
    if found is None:
        raise HTTPException(status_code=404)
    return found


async def page(request: Request, user_id: str, sub: Subject) -> dict[str, Any]:
    return await work_of(request).page(sub)


async def record(
    request: Request, user_id: str, course_id: str, update: Update, sub: Subject
) -> dict[str, Any]:
    return await work_of(request).record(sub, course_id, update.model_dump())


def application() -> Any:
    app = FastAPI(lifespan=lifespan)
    app.add_middleware(Logged)
    app.add_api_route("/readyz", ready)
    app.add_api_route("/courses/{course_id}", course)
    app.add_api_route("/content/{content_id}", content)
    app.add_api_route("/progress/{user_id}", page)
    app.add_api_route("/progress/{user_id}/{course_id}", record, methods=["PUT"])
    return app


if __name__ == "__main__":
    uvicorn.run(
        application(),
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
