"""The issuer is asked rarely, by one task at a time, and may be down."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from libs.auth import (
    InvalidTokenError,
    JwksFetchError,
    JwksKeySource,
    KeysUnavailableError,
    TokenVerifier,
    http_fetch,
)
from libs.auth.testing import TokenIssuer
from libs.logging import request_context
from libs.logging.testing import captured_logs

NOW = 1_767_323_045.0
OLD = TokenIssuer(kid="old", now=lambda: NOW)
NEW = TokenIssuer(kid="new", now=lambda: NOW)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Issuer:
    """An issuer under the test's control: what it publishes, whether it is up, how often asked."""

    def __init__(self, *published: TokenIssuer) -> None:
        self.published = list(published)
        self.up = True
        self.asked = 0
        self.answering = asyncio.Event()
        self.answering.set()

    async def fetch(self) -> bytes:
        self.asked += 1
        await self.answering.wait()
        if not self.up:
            raise ConnectionError("issuer is down")
        return json.dumps({"keys": [issuer.jwk() for issuer in self.published]}).encode()


async def settle(condition: Callable[[], bool]) -> None:
    """Let tasks run until the condition holds."""
    for _ in range(1_000):
        if condition():
            break
        await asyncio.sleep(0)
    assert condition(), "the condition never held"


async def test_keys_are_fetched_once_and_then_held() -> None:
    issuer = Issuer(OLD)
    keys = JwksKeySource(issuer.fetch, clock=Clock())
    ready = [keys.ready]
    for _ in range(10):
        assert (await keys.get("old")).kid == "old"
        ready.append(keys.ready)
    assert ready == [False] + [True] * 10
    assert issuer.asked == 1


async def test_unknown_kids_cause_one_fetch_a_minute() -> None:
    issuer, clock = Issuer(OLD), Clock()
    keys = JwksKeySource(issuer.fetch, clock=clock)
    await keys.refresh()
    for second in range(180):
        clock.seconds = 1000 + second
        for attempt in range(10):
            with pytest.raises(InvalidTokenError, match="unknown_key"):
                await keys.get(f"guess-{second}-{attempt}")
    assert issuer.asked == 3  # at the start, after one minute, after two


async def test_a_new_key_is_found_when_a_fetch_is_due() -> None:
    issuer, clock = Issuer(OLD), Clock()
    keys = JwksKeySource(issuer.fetch, clock=clock)
    await keys.refresh()
    issuer.published = [OLD, NEW]
    clock.seconds += 60
    generation = keys.generation
    assert (await keys.get("new")).kid == "new"
    assert keys.generation != generation


async def test_an_unchanged_key_set_is_no_rotation() -> None:
    issuer = Issuer(OLD)
    keys = JwksKeySource(issuer.fetch, clock=Clock())
    await keys.refresh()
    generation = keys.generation
    await keys.refresh()
    assert issuer.asked == 2
    assert keys.generation == generation


async def test_a_hundred_verifications_at_once_cause_one_fetch() -> None:
    issuer = Issuer(OLD)
    issuer.answering.clear()
    verifier = TokenVerifier(OLD.settings, JwksKeySource(issuer.fetch), now=lambda: NOW)
    tokens = [OLD.token(sub=f"user-{number}") for number in range(100)]
    tasks = [asyncio.create_task(verifier.verify(token)) for token in tokens]
    await settle(lambda: issuer.asked == 1)
    issuer.answering.set()
    principals = await asyncio.gather(*tasks)
    assert [p.subject for p in principals] == [f"user-{number}" for number in range(100)]
    assert issuer.asked == 1


async def test_a_hundred_unknown_kids_at_once_cause_one_fetch() -> None:
    issuer, clock = Issuer(OLD), Clock()
    keys = JwksKeySource(issuer.fetch, clock=clock)
    await keys.refresh()
    clock.seconds += 60
    results = await asyncio.gather(
        *(keys.get(f"guess-{number}") for number in range(100)), return_exceptions=True
    )
    assert all(isinstance(result, InvalidTokenError) for result in results)
    assert issuer.asked == 2


async def test_a_cancelled_waiter_leaves_the_fetch_to_the_others() -> None:
    issuer = Issuer(OLD)
    issuer.answering.clear()
    keys = JwksKeySource(issuer.fetch)
    first, *others = (asyncio.create_task(keys.get("old")) for _ in range(10))
    await settle(lambda: issuer.asked == 1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    issuer.answering.set()
    assert {key.kid for key in await asyncio.gather(*others)} == {"old"}
    assert issuer.asked == 1


async def test_a_fetch_whose_waiters_are_all_cancelled_still_serves_later_ones() -> None:
    issuer = Issuer(OLD)
    issuer.answering.clear()
    keys = JwksKeySource(issuer.fetch)
    waiter = asyncio.create_task(keys.get("old"))
    await settle(lambda: issuer.asked == 1)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    issuer.answering.set()
    await settle(lambda: keys.ready)
    assert (await keys.get("old")).kid == "old"
    assert issuer.asked == 1


async def test_an_outer_time_out_stays_a_time_out() -> None:
    issuer = Issuer(OLD)
    issuer.answering.clear()
    keys = JwksKeySource(issuer.fetch)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await keys.get("old")
    await keys.close()


async def test_stale_keys_serve_while_the_issuer_is_down() -> None:
    issuer, clock = Issuer(OLD), Clock()
    keys = JwksKeySource(issuer.fetch, clock=clock)
    verifier = TokenVerifier(OLD.settings, keys, now=lambda: NOW)
    await keys.refresh()
    issuer.up = False
    with captured_logs() as events:
        for hour in range(1, 25):
            clock.seconds = 1000 + 3600 * hour
            principal = await verifier.verify(OLD.token(sub=f"hour-{hour}"))
            assert principal.subject == f"hour-{hour}"
            failures = hour
            await settle(lambda: len(events) >= failures)  # noqa: B023 - awaited in this round
    assert issuer.asked == 25
    assert {event["event"] for event in events} == {"jwks_refresh_failed"}
    assert keys.ready


async def test_while_the_issuer_is_down_unknown_kids_do_not_hammer_it() -> None:
    issuer, clock = Issuer(OLD), Clock()
    keys = JwksKeySource(issuer.fetch, clock=clock)
    await keys.refresh()
    issuer.up = False
    for second in range(120):
        clock.seconds = 1000 + second
        with pytest.raises(InvalidTokenError, match="unknown_key"):
            await keys.get(f"guess-{second}")
    assert issuer.asked == 2


async def test_old_keys_are_fetched_anew_in_the_background() -> None:
    issuer, clock = Issuer(OLD), Clock()
    keys = JwksKeySource(issuer.fetch, clock=clock, maximum_age_seconds=3600)
    await keys.refresh()
    issuer.answering.clear()
    clock.seconds += 3600
    assert (await keys.get("old")).kid == "old"  # without waiting for the issuer
    await settle(lambda: issuer.asked == 2)
    issuer.published = [NEW]
    issuer.answering.set()
    await settle(lambda: keys.generation == 2)
    with pytest.raises(InvalidTokenError, match="unknown_key"):
        await keys.get("old")


async def test_remembered_tokens_do_not_keep_old_keys_from_being_fetched_anew() -> None:
    issuer, clock = Issuer(OLD), Clock()
    keys = JwksKeySource(issuer.fetch, clock=clock)
    verifier = TokenVerifier(OLD.settings, keys, now=lambda: NOW)
    token = OLD.token()
    await verifier.verify(token)
    issuer.published = [NEW]
    clock.seconds += 3600
    await verifier.verify(token)
    await settle(lambda: keys.generation == 2)
    with pytest.raises(InvalidTokenError, match="unknown_key"):
        await verifier.verify(token)


async def test_without_keys_the_issuer_is_asked_at_growing_intervals() -> None:
    issuer, clock = Issuer(OLD), Clock()
    issuer.up = False
    keys = JwksKeySource(issuer.fetch, clock=clock)
    asked_at = []
    for second in range(200):
        clock.seconds = 1000 + second
        before = issuer.asked
        with pytest.raises(KeysUnavailableError) as unavailable:
            await keys.get("old")
        assert 1 <= unavailable.value.retry_after_seconds <= 60
        if issuer.asked > before:
            asked_at.append(second)
    assert asked_at == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    issuer.up = True
    clock.seconds = 1000 + 243
    assert (await keys.get("old")).kid == "old"


@pytest.mark.parametrize("document", [b"", b"<html>", b'{"keys": []}', b"x" * 300_000])
async def test_a_bad_document_leaves_the_keys_that_are_there(document: bytes) -> None:
    documents = [await OLD.fetch(), document]

    async def fetch() -> bytes:
        return documents.pop(0)

    keys = JwksKeySource(fetch, clock=Clock())
    await keys.refresh()
    await keys.refresh()
    assert documents == []
    assert (await keys.get("old")).kid == "old"


async def test_refreshing_without_an_issuer_says_so() -> None:
    issuer = Issuer()
    issuer.up = False
    with pytest.raises(KeysUnavailableError):
        await JwksKeySource(issuer.fetch).refresh()


async def test_keys_are_kept_fresh_beside_the_server() -> None:
    """Without requests, so that a service that is not ready yet becomes so by itself."""
    issuer, clock = Issuer(OLD), Clock()
    issuer.up = False
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.seconds += seconds
        if len(slept) == 3:
            issuer.up = True
        if len(slept) == 6:
            raise asyncio.CancelledError

    keys = JwksKeySource(issuer.fetch, clock=clock)
    with pytest.raises(asyncio.CancelledError):
        await keys.keep_fresh(sleep=sleep)
    assert keys.ready
    assert slept == [1, 2, 4, 3600, 3600, 3600]


async def test_closing_ends_a_fetch_under_way() -> None:
    issuer = Issuer(OLD)
    issuer.answering.clear()
    keys = JwksKeySource(issuer.fetch)
    waiter = asyncio.create_task(keys.get("old"))
    await settle(lambda: issuer.asked == 1)
    await keys.close()
    with pytest.raises(KeysUnavailableError):
        await waiter
    await keys.close()


async def test_a_fetch_does_not_carry_the_context_of_the_request_that_started_it() -> None:
    issuer = Issuer(OLD)
    issuer.up = False
    with (
        captured_logs() as events,
        request_context(requestId="r-1"),
        pytest.raises(KeysUnavailableError),
    ):
        await JwksKeySource(issuer.fetch).get("old")
    assert events[0]["event"] == "jwks_refresh_failed"
    assert "requestId" not in events[0]


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as session:
        yield session, str(server.make_url("/jwks.json"))


async def test_keys_are_read_over_http() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept"] == "application/json"
        return web.json_response(OLD.jwks())

    async with served(answer) as (session, url):
        keys = JwksKeySource(http_fetch(session, url, timeout_seconds=5, max_bytes=65_536))
        verifier = TokenVerifier(OLD.settings, keys, now=lambda: NOW)
        assert (await verifier.verify(OLD.token())).subject == "learner-a"


@pytest.mark.parametrize("status", [204, 302, 307, 404, 500])
async def test_only_200_is_an_answer_and_redirects_are_not_followed(status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/jwks.json"
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with served(answer) as (session, url):
        with pytest.raises(JwksFetchError, match=str(status)):
            await http_fetch(session, url, timeout_seconds=5, max_bytes=65_536)()


async def test_an_endless_document_is_cut_off() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None:
            await response.write(b" " * 4096)
        return response

    async with served(answer) as (session, url):
        with pytest.raises(JwksFetchError, match="more than 65536 bytes"):
            await http_fetch(session, url, timeout_seconds=5, max_bytes=65_536)()


async def test_a_compressed_document_is_refused() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return web.Response(
            body=gzip.compress(b" " * 10_000_000), headers={"Content-Encoding": "gzip"}
        )

    async with served(answer) as (session, url):
        with pytest.raises(JwksFetchError, match="compressed"):
            await http_fetch(session, url, timeout_seconds=5, max_bytes=65_536)()


async def test_an_issuer_that_never_answers_times_out() -> None:
    released = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    async with served(answer) as (session, url):
        with pytest.raises(TimeoutError):
            await http_fetch(session, url, timeout_seconds=0.05, max_bytes=65_536)()
        released.set()


async def test_an_issuer_that_cannot_be_reached_leaves_the_service_unready(
    unused_tcp_port: int,
) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{unused_tcp_port}/jwks.json"
        keys = JwksKeySource(http_fetch(session, url, timeout_seconds=5, max_bytes=65_536))
        with captured_logs() as events, pytest.raises(KeysUnavailableError):
            await keys.get("old")
    assert not keys.ready
    error = events[0]["error"]
    assert isinstance(error, dict)
    assert error["type"] == "aiohttp.client_exceptions.ClientConnectorError"
