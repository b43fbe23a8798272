"""The pages' HTTP: which path answers what. Files are `_assets`', safety is `_guard`'s."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import ETag, hdrs, web

from deploy.local._errors import PlatformError
from deploy.local._pages._assets import Asset, asset, page
from deploy.local._pages._guard import guard_middleware, problem
from deploy.local._provision import DEMO_USERS, AccessToken
from deploy.local._state import StateFolder

PAGES: Final = {"/": "learn", "/traces": "traces", "/board": "board"}

Token = Callable[[StateFolder, str], Awaitable[AccessToken]]


class Pages:
    """The application over one state folder.

    Args:
        token: makes a demo user's access token.
    """

    def __init__(self, folder: StateFolder, *, token: Token) -> None:
        self._folder = folder
        self._token = token
        # Cognito's keys are made to sign, not to be signed with by a crowd of tabs at once.
        self._signing_in = asyncio.Semaphore(2)

    def app(self) -> web.Application:
        """To be served on 127.0.0.1, behind the gateway."""
        application = web.Application(middlewares=[guard_middleware(self._storage)])
        for path in PAGES:
            application.router.add_get(path, self._page)
        application.router.add_get("/-/assets/{file}", self._asset)
        application.router.add_get("/-/session", self._session)
        application.router.add_post("/-/users/{user}/token", self._access_token)
        return application

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return _conditional(request, page(PAGES[request.path]))

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        found = asset(request.match_info["file"])
        if found is None:
            return problem(request, HTTPStatus.NOT_FOUND, "not_found", "There is no such file.")
        return _conditional(request, found)

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

    def _storage(self) -> str | None:
        platform = self._platform()
        return str(platform["aws"]) if platform else None

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
