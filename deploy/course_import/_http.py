"""Requests to the gateway and to the object store: repeated where that is safe, bounded, explained.

Everything that the importer sends may be sent again: reads, replacements with `If-Match`, and
creations under an `Idempotency-Key`. So what is refused for the moment (429, 503 and their like, a
connection that breaks) is tried again, after what `Retry-After` says or a growing time with jitter.
Knows no operation of the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from deploy.course_import._credentials import Credentials
from libs.api_access import AccessError

MAX_ATTEMPTS = 7
MAX_PAUSE_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 0.5
# A key is held for a while by a request whose client was killed before it was answered.
MAX_IN_PROGRESS_SECONDS = 90.0

_MAX_ANSWER_BYTES = 16 << 20
_TEMPORARY = frozenset((408, 425, 429, 500, 502, 503, 504))
# A request that is still being carried out (draft-ietf-httpapi-idempotency-key-header).
_IN_PROGRESS = "idempotency_in_progress"
_API_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=10)
# A part may take long; that nothing moves for a minute may not.
_STORE_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_read=60)


class ImportStoppedError(Exception):
    """The import can not go on; one line says why. Running it again goes on where it stopped."""


class RefusedError(ImportStoppedError):
    """An answer that says no: its status, the problem's stable `code` and its `errors`."""

    def __init__(self, what: str, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(problem.get("code", ""))
        self.errors = [one for one in problem.get("errors", ()) if isinstance(one, dict)]
        said = str(problem.get("detail") or problem.get("title") or "no reason was given")
        places = "; ".join(f"{one.get('pointer')} {one.get('message')}" for one in self.errors[:5])
        more = f" (and {len(self.errors) - 5} more)" if len(self.errors) > 5 else ""
        own = f" [request {problem['requestId']}]" if problem.get("requestId") else ""
        super().__init__(f"{what}: {status}, {said}{f': {places}{more}' if places else ''}{own}")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as a JSON object. Raises ImportStoppedError for anything else."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise ImportStoppedError(f"the gateway's answer ({self.status}) is no JSON object")
        return document


@dataclass(frozen=True)
class Stream:
    """A body that is sent piece by piece; `pieces` begins anew for every attempt."""

    size: int
    content_type: str | None
    pieces: Callable[[], AsyncIterator[bytes]]

    def __aiter__(self) -> AsyncIterator[bytes]:
        # aiohttp itself repeats a PUT whose connection was closed meanwhile: from the beginning.
        return self.pieces()


class Http:
    """One import's connections.

    Args:
        session: sends; it has no default headers, since the object store must not see the token.
        credentials: where the token is.
        sleep, random: for pauses between attempts.
        note: hears of pauses that a person would wonder about.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        credentials: Credentials,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Random,
        note: Callable[[str], None],
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._sleep = sleep
        self._random = random
        self._note = note
        self._token = credentials.read_token()

    async def api(
        self,
        method: str,
        path: str,
        *,
        accept: frozenset[int] = frozenset((200,)),
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        document: object = None,
        body: bytes | None = None,
    ) -> Answer:
        """Asks the gateway. Gives an answer whose status is accepted.

        Raises RefusedError for another one, ImportStoppedError when it can not be had.
        """
        sent = {"Accept": "application/json", **(headers or {})}
        if document is not None:
            body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
            sent.setdefault("Content-Type", "application/json")
        what = f"{method} {path}"
        is_refused = False
        used = ""

        async def attempt() -> Answer:
            nonlocal used
            used = self._token
            return await self._send(
                method,
                self._credentials.gateway + path,
                params=params,
                headers={**sent, "Authorization": f"Bearer {used}"},
                data=body,
                timeout=_API_TIMEOUT,
            )

        while True:
            answer = await self._patiently(what, attempt, accept)
            if answer.status in accept:
                return answer
            if answer.status == 401 and not is_refused:
                # It may have been renewed since: an import takes longer than a token lives.
                is_refused = True
                if self._renewed(used):
                    continue
            raise _refusal(what, answer)

    async def store(
        self, method: str, url: str, stream: Stream, *, accept: frozenset[int]
    ) -> Answer:
        """Sends a body to the object store, by a URL that was signed; no token goes with it.

        Gives the answer whatever it is, after the attempts that may help: only the caller knows
        whether a new signature would.
        """

        async def attempt() -> Answer:
            headers = {"Content-Length": str(stream.size)}
            if stream.content_type is not None:
                headers["Content-Type"] = stream.content_type
            return await self._send(
                method,
                url,
                headers=headers,
                data=stream,
                timeout=_STORE_TIMEOUT,
                skip_auto_headers=("Content-Type",),
            )

        return await self._patiently(f"{method} to the object store", attempt, accept)

    async def fetch(self, url: str, *, limit: int) -> bytes | None:
        """What a signed URL gives, None above `limit` bytes or when it gives nothing."""

        async def attempt() -> Answer:
            return await self._send("GET", url, timeout=_STORE_TIMEOUT, limit=limit)

        answer = await self._patiently("GET from the object store", attempt, frozenset((200,)))
        return answer.body if answer.status == 200 and len(answer.body) <= limit else None

    async def _patiently(
        self, what: str, attempt: Callable[[], Awaitable[Answer]], accept: frozenset[int]
    ) -> Answer:
        number = 0
        in_progress = 0.0
        while True:
            number += 1
            wanted: float | None = None
            try:
                answer = await attempt()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = f"{type(error).__name__}: {error}".rstrip(": ")
                if number == MAX_ATTEMPTS:
                    raise ImportStoppedError(
                        f"{what}: no answer after {number} attempts ({problem})"
                    ) from None
            else:
                if answer.status in accept:
                    return answer
                problem = f"status {answer.status}"
                wanted = _retry_after(answer)
                if _is_in_progress(answer) and in_progress < MAX_IN_PROGRESS_SECONDS:
                    # Not a failure: another request of the same is at it, or was, and has died.
                    number -= 1
                    in_progress += max(wanted or 0.0, 1.0)
                elif answer.status not in _TEMPORARY or number == MAX_ATTEMPTS:
                    return answer
            if wanted is not None and wanted > MAX_PAUSE_SECONDS:
                raise ImportStoppedError(f"{what}: {problem}, to be tried again in {wanted:.0f} s")
            pause = self._pause(number) if wanted is None else wanted + self._random.random()
            if number >= 3:
                self._note(f"{what}: {problem}; attempt {number + 1} in {pause:.1f} s")
            await self._sleep(pause)

    def _pause(self, number: int) -> float:
        """Exponential with full jitter (Brooker, "Exponential Backoff And Jitter")."""
        longest = min(FIRST_PAUSE_SECONDS * 2**number, MAX_PAUSE_SECONDS)
        return self._random.uniform(0, longest)

    def _renewed(self, used: str) -> bool:
        """Whether there is another token than the one that was refused."""
        if self._token == used:
            with contextlib.suppress(AccessError):
                self._token = self._credentials.read_token()
        return self._token != used

    async def _send(
        self,
        method: str,
        url: str,
        *,
        timeout: aiohttp.ClientTimeout,  # - aiohttp's own kind
        limit: int = _MAX_ANSWER_BYTES,
        **settings: Any,
    ) -> Answer:
        # A redirect would carry the token, or what is signed, to whom it is not meant for.
        async with self._session.request(
            method, url, timeout=timeout, allow_redirects=False, **settings
        ) as response:
            body = await _read(response, limit)
            return Answer(response.status, response.headers, body)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, and one byte more than `limit` at most."""
    parts = bytearray()
    async for chunk in response.content.iter_chunked(64 << 10):
        parts += chunk[: limit + 1 - len(parts)]
        if len(parts) > limit:
            break
    return bytes(parts)


def _is_in_progress(answer: Answer) -> bool:
    return answer.status == 409 and _problem(answer).get("code") == _IN_PROGRESS


def _retry_after(answer: Answer) -> float | None:
    """Seconds; the form with a date is not used by these APIs and counts as absent."""
    text = answer.headers.get("Retry-After", "").strip()
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _problem(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _refusal(what: str, answer: Answer) -> ImportStoppedError:
    if answer.status == 401:
        return ImportStoppedError(
            "the token is not accepted (401): it has expired or is another platform's;"
            " renew what --token-from names and run this again"
        )
    if answer.status == 403:
        return ImportStoppedError(
            "the token does not permit authoring (403): courses are written by authors and staff"
        )
    return RefusedError(what, answer.status, _problem(answer))
