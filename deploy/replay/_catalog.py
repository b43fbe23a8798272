"""The catalog's public API, as far as the replay reads it.

Owns pages, retries and the token's renewal. Knows nothing of events.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

PAGE = 100
_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_AGAIN = frozenset({429, 500, 502, 503, 504})
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_LARGEST_ANSWER = 4 * 1024 * 1024


class CatalogError(Exception):
    """The API did not give what was asked for; one line says what it said."""


@dataclass(frozen=True)
class Page:
    """Course ids in the order of the listing; `cursor` of the next page, None at the end."""

    course_ids: tuple[str, ...]
    cursor: str | None


class Catalog:
    """Reads courses with the right of whose token it is."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        gateway: str,
        read_token: Callable[[], str],
        *,
        random: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`random` gives at least 0, below 1; `sleep` takes seconds."""
        self._session = session
        self._gateway = gateway
        self._read_token = read_token
        self._token = read_token()
        self._random = random
        self._sleep = sleep

    async def page(self, *, status: str, updated_since: str | None, cursor: str | None) -> Page:
        """A page of the courses in `status`. Raises CatalogError."""
        query = {"limit": str(PAGE), "status": status}
        if updated_since is not None:
            query["updatedSince"] = updated_since
        if cursor is not None:
            query["cursor"] = cursor
        answer = await self._get("/courses", query)
        if answer is None:
            raise CatalogError("GET /courses: 404; is this the address of the gateway?")
        try:
            return Page(tuple(str(item["id"]) for item in answer["items"]), answer["nextCursor"])
        except (KeyError, TypeError):
            raise CatalogError("GET /courses: the answer is no page of courses") from None

    async def course(self, course_id: str) -> Mapping[str, Any] | None:
        """A course; None where it is there no more. Raises CatalogError."""
        return await self._get(f"/courses/{course_id}", {})

    async def _get(self, path: str, query: Mapping[str, str]) -> Mapping[str, Any] | None:
        route = "/courses" if path == "/courses" else "/courses/{courseId}"
        said = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                pause = _FIRST_PAUSE_SECONDS * 2.0**attempt
                await self._sleep(min(_LONGEST_PAUSE_SECONDS, pause) * (0.5 + self._random() / 2))
            try:
                status, answer = await self._once(path, query)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                said = type(error).__name__
                continue
            if status == 200:
                return answer
            if status == 404:
                return None
            said = f"{status} {answer.get('code', '')}".strip()
            if status == 401 and (fresh := self._read_token()) != self._token:
                self._token = fresh
            elif status not in _AGAIN:
                break
        raise CatalogError(f"GET {route}: {said}")

    async def _once(self, path: str, query: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        async with self._session.get(
            f"{self._gateway}{path}",
            params=query,
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=_TIMEOUT,
            allow_redirects=False,  # a token goes nowhere else
        ) as response:
            body = await response.content.read(_LARGEST_ANSWER + 1)
            while not response.content.at_eof() and len(body) <= _LARGEST_ANSWER:
                body += await response.content.read(_LARGEST_ANSWER + 1 - len(body))
            if len(body) > _LARGEST_ANSWER:
                raise ValueError("the answer is too large")
            answer = _json(body) if body else {}
            return response.status, answer


def _json(body: bytes) -> Mapping[str, Any]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found
