"""The pages' HTTP: which path answers what. Files are `_assets`', safety is `_guard`'s."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp import ETag, hdrs, web
from yarl import URL

from deploy.local._errors import PlatformError
from deploy.local._pages._assets import PAGES, WORKER, Asset, asset, asset_names, page
from deploy.local._pages._board import Board
from deploy.local._pages._guard import guard_middleware, problem
from deploy.local._pages._telemetry import Telemetry
from deploy.local._provision import DEMO_USERS, AccessToken
from deploy.local._state import StateFolder

_LARGEST_BODY: Final = 4096

Token = Callable[[StateFolder, str], Awaitable[AccessToken]]


class Pages:
    """The application over one state folder.

    Args:
        token: makes a demo user's access token.
        faults: where faults are switched; None where that can not be done.
        session: asks there.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        folder: StateFolder,
        *,
        token: Token,
        faults: URL | None,
        session: aiohttp.ClientSession,
        now: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._token = token
        self._faults_url = faults
        self._http = session
        self._now = now
        self._figures = Board()
        self._telemetry = Telemetry(folder.traces, folder.logs, self._figures)
        # Cognito's keys are made to sign, not to be signed with by a crowd of tabs at once.
        self._signing_in = asyncio.Semaphore(2)

    def app(self) -> web.Application:
        """To be served on 127.0.0.1, behind the gateway."""
        application = web.Application(
            middlewares=[guard_middleware(self._storage)], client_max_size=_LARGEST_BODY
        )
        for path in PAGES:
            application.router.add_get(path, self._page)
        application.router.add_get("/-/assets/{file}", self._asset)
        application.router.add_get("/-/files", self._files)
        application.router.add_get("/-/worker.js", self._worker)
        application.router.add_get("/-/session", self._session)
        application.router.add_post("/-/users/{user}/token", self._access_token)
        application.router.add_get("/-/traces", self._traces)
        application.router.add_get("/-/traces/{trace}", self._trace)
        application.router.add_get("/-/board", self._board)
        application.router.add_get("/-/faults", self._faults)
        application.router.add_put("/-/faults/{dependency}", self._switch)
        return application

    async def _page(self, request: web.Request) -> web.StreamResponse:
        name = PAGES[request.path]
        response = _conditional(request, page(name))
        # Another program may listen here later: its pages are not ours (site/worker.js).
        response.headers["Lyceum-Page"] = name
        return response

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        found = asset(request.match_info["file"])
        if found is None:
            return problem(request, HTTPStatus.NOT_FOUND, "not_found", "There is no such file.")
        return _conditional(request, found)

    async def _files(self, request: web.Request) -> web.StreamResponse:
        names = asset_names()
        etags = [page(name).etag for name in PAGES.values()]
        etags += [found.etag for found in map(asset, names) if found is not None]
        return _json(
            {
                "version": hashlib.sha256(" ".join(etags).encode()).hexdigest()[:16],
                "files": [*PAGES, *(f"/-/assets/{name}" for name in names)],
            }
        )

    async def _worker(self, request: web.Request) -> web.StreamResponse:
        found = asset(WORKER)
        assert found is not None
        response = _conditional(request, found)
        # It stands before the pages, which lie above it.
        response.headers["Service-Worker-Allowed"] = "/"
        return response

    async def _session(self, request: web.Request) -> web.StreamResponse:
        platform = self._platform()
        if platform is None:
            return _starting(request)
        users = platform["users"]
        assert isinstance(users, dict)
        return _json(
            {
                "users": [
                    {"name": name, "sub": users[name]["sub"], "groups": list(groups)}
                    for name, groups in DEMO_USERS.items()
                    if name in users
                ]
            }
        )

    async def _access_token(self, request: web.Request) -> web.StreamResponse:
        user = request.match_info["user"]
        if user not in DEMO_USERS:
            return problem(request, HTTPStatus.NOT_FOUND, "user_not_found", "No such demo user.")
        if self._platform() is None:
            return _starting(request)
        try:
            async with self._signing_in:
                token = await self._token(self._folder, user)
        except PlatformError as error:
            return _unavailable(request, str(error))
        return _json({"accessToken": token.token, "expiresInSeconds": token.expires_in_seconds})

    async def _traces(self, request: web.Request) -> web.StreamResponse:
        after = request.query.get("after", "0")
        if not after.isascii() or not after.isdecimal() or len(after) > 15:
            return problem(
                request, HTTPStatus.BAD_REQUEST, "invalid_query", "`after` is a `change` of before."
            )
        self._telemetry.read()
        change, traces = self._telemetry.summaries(int(after))
        return _json({"change": change, "traces": traces})

    async def _trace(self, request: web.Request) -> web.StreamResponse:
        self._telemetry.read()
        found = self._telemetry.detail(request.match_info["trace"])
        if found is None:
            return problem(
                request,
                HTTPStatus.NOT_FOUND,
                "trace_not_found",
                "This trace is not among the last that are kept, or nothing of it has come yet.",
            )
        return _json(found)

    async def _board(self, request: web.Request) -> web.StreamResponse:
        self._telemetry.read()
        return _json(self._figures.document(self._now()))

    async def _faults(self, request: web.Request) -> web.StreamResponse:
        if self._faults_url is None:
            return _json({"faults": [], "dependencies": {}})
        return await self._ask_faults(request, "GET", self._faults_url)

    async def _switch(self, request: web.Request) -> web.StreamResponse:
        if self._faults_url is None:
            return problem(
                request, HTTPStatus.NOT_FOUND, "no_faults", "Services in containers have no faults."
            )
        url = self._faults_url / request.match_info["dependency"]
        return await self._ask_faults(request, "PUT", url)

    async def _ask_faults(self, request: web.Request, method: str, url: URL) -> web.StreamResponse:
        body = await request.read() if request.body_exists else None
        try:
            async with self._http.request(method, url, data=body) as answer:
                if answer.status != HTTPStatus.OK:
                    return problem(
                        request,
                        HTTPStatus(answer.status),
                        "invalid_fault",
                        "There is no such fault.",
                    )
                return _json(await answer.json())
        except (aiohttp.ClientError, TimeoutError):
            return _unavailable(request, "The process that makes faults does not answer.")

    def _storage(self) -> str | None:
        platform = self._platform()
        return str(platform["s3"]) if platform else None

    def _platform(self) -> dict[str, object] | None:
        """What the platform published; None while it starts."""
        try:
            document = json.loads(self._folder.platform.read_text())
        except (OSError, ValueError):
            return None
        return document if isinstance(document, dict) else None


def _conditional(request: web.Request, found: Asset) -> web.StreamResponse:
    """The file, or 304 where the browser has it (RFC 9110, section 13.1.2)."""
    known = request.if_none_match or ()
    is_known = any(tag.value in (found.etag, "*") for tag in known)
    response = web.Response(
        status=HTTPStatus.NOT_MODIFIED if is_known else HTTPStatus.OK,
        body=None if is_known else found.body,
        headers={hdrs.CACHE_CONTROL: "no-cache"},
    )
    if not is_known:
        response.content_type = found.content_type
        response.charset = "utf-8"
    response.etag = ETag(found.etag)
    return response


def _json(document: object) -> web.Response:
    return web.json_response(document, headers={hdrs.CACHE_CONTROL: "no-store"})


def _starting(request: web.Request) -> web.Response:
    return _unavailable(request, "The platform is still starting.")


def _unavailable(request: web.Request, detail: str) -> web.Response:
    return problem(
        request, HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", detail, {hdrs.RETRY_AFTER: "1"}
    )
