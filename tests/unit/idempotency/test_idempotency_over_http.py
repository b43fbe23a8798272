"""`Idempotency-Key` as a client meets it: a small application, served over a real socket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from libs.auth.testing import TokenIssuer
from libs.circuit_breaker import CircuitBreakerRegistry
from libs.http import (
    Problem,
    ServiceInfo,
    create_app,
    encode_json,
    read_json,
    serve,
    unavailable,
)
from libs.idempotency import Answer, Idempotency, Reservation, answer_once
from libs.idempotency.testing import InMemoryIdempotencyStore
from libs.tracing.testing import recording_tracer

KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}


class TakenError(Exception):
    """Nothing was created."""


class Things:
    """An application that creates things, and a client of it."""

    def __init__(self) -> None:
        self.issuer = TokenIssuer()
        self.created: dict[str, object] = {}
        self.failure: Exception | None = None
        self.wait: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.session: aiohttp.ClientSession
        self.url = ""
        self._idempotency = Idempotency(InMemoryIdempotencyStore())
        self._ids = (f"id-{n}" for n in itertools.count(1))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await read_json(request)

        async def create(reservation: Reservation) -> Answer:
            self.entered.set()
            if self.wait is not None:
                await self.wait.wait()
            if self.failure is not None:
                failure, self.failure = self.failure, None
                raise failure
            self.created[reservation.resource_id] = body
            return Answer(
                201,
                {"Location": f"/things/{reservation.resource_id}", "ETag": '"v1"'},
                encode_json({"id": reservation.resource_id}),
            )

        return await answer_once(
            request,
            self._idempotency,
            operation="createThing",
            body=body,
            new_id=lambda: next(self._ids),
            create=create,
            refusals=(TakenError,),
        )

    async def post(
        self,
        headers: Mapping[str, str],
        *,
        body: bytes = b'{"a":1,"b":[2]}',
        subject: str = "ann",
        path: str = "/things/x",
    ) -> tuple[int, Mapping[str, str], object]:
        token = self.issuer.token(sub=subject)
        sent = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
        async with self.session.post(self.url + path, data=body, headers=sent) as response:
            return response.status, response.headers, await response.json(content_type=None)


@asynccontextmanager
async def running_things() -> AsyncIterator[Things]:
    things = Things()
    tracer, _ = recording_tracer()
    app = create_app(
        service=ServiceInfo("things", "1.0.0", "unknown", "unknown"),
        routes=[web.post("/things/{thingId}", things.handle)],
        openapi=dict,
        verifier=things.issuer.verifier(),
        tracer=tracer,
        breakers=CircuitBreakerRegistry(),
        problems={TakenError: lambda _: Problem(409, "taken", "It is taken.")},
    )
    async with (
        serve(app, host="127.0.0.1", port=0) as listener,
        aiohttp.ClientSession() as things.session,
    ):
        things.url = f"http://127.0.0.1:{listener.port}"
        yield things


def code(body: object) -> str:
    assert isinstance(body, dict)
    return str(body["code"])


async def test_the_same_request_is_answered_with_the_same_answer() -> None:
    async with running_things() as things:
        status, headers, body = await things.post(KEY)
        again = await things.post(KEY, body=b'{ "b": [2.0], "a": 1 }')
    assert (status, headers["Location"], body) == (201, "/things/id-1", {"id": "id-1"})
    assert "Idempotent-Replayed" not in headers
    assert (again[0], again[2]) == (status, body)
    assert again[1]["Idempotent-Replayed"] == "true"
    for name in ("Location", "ETag", "Content-Type"):
        assert again[1][name] == headers[name]
    assert len(things.created) == 1


async def test_quoted_and_bare_are_one_key() -> None:
    async with running_things() as things:
        await things.post({"Idempotency-Key": "a1"})
        _, headers, _ = await things.post({"Idempotency-Key": '"a1"'})
    assert headers["Idempotent-Replayed"] == "true"


async def test_without_a_key_each_request_creates() -> None:
    async with running_things() as things:
        for _ in range(2):
            await things.post({})
    assert len(things.created) == 2


async def test_nobody_elses_key_is_ever_met() -> None:
    async with running_things() as things:
        await things.post(KEY, subject="ann")
        _, headers, body = await things.post(KEY, subject="bob")
    assert "Idempotent-Replayed" not in headers
    assert body == {"id": "id-2"}


@pytest.mark.parametrize(
    "other", [{"body": b'{"a":2,"b":[2]}'}, {"body": b"[]"}, {"path": "/things/y"}]
)
async def test_another_request_under_the_key_is_422(other: Mapping[str, bytes]) -> None:
    async with running_things() as things:
        await things.post(KEY)
        status, _, body = await things.post(KEY, **other)  # type: ignore[arg-type]
    assert (status, code(body)) == (422, "idempotency_key_reused")
    assert len(things.created) == 1


async def test_a_concurrent_repetition_is_409_and_told_when_to_come_back() -> None:
    async with running_things() as things:
        things.wait = asyncio.Event()
        first = asyncio.create_task(things.post(KEY))
        await things.entered.wait()
        status, headers, body = await things.post(KEY)
        assert (status, code(body)) == (409, "idempotency_in_progress")
        assert headers["Retry-After"] == "1"
        things.wait.set()
        assert (await first)[0] == 201
    assert len(things.created) == 1


@pytest.mark.parametrize("value", ["", '"', "a b", "a;b", "x" * 256, "é", '"a", "b"'])
async def test_a_malformed_key_is_400_and_nothing_is_created(value: str) -> None:
    async with running_things() as things:
        status, _, body = await things.post({"Idempotency-Key": value})
    assert (status, code(body)) == (400, "invalid_header")
    assert things.created == {}


async def test_two_keys_are_400() -> None:
    async with running_things() as things:
        token = things.issuer.token()
        headers = [
            ("Authorization", f"Bearer {token}"),
            ("Idempotency-Key", "a"),
            ("Idempotency-Key", "b"),
        ]
        async with things.session.post(
            f"{things.url}/things/x", json={}, headers=headers
        ) as response:
            assert response.status == 400
    assert things.created == {}


@pytest.mark.parametrize(
    "refusal", [TakenError(), Problem(422, "invalid_body", "No.")], ids=["own", "problem"]
)
async def test_a_refusal_frees_the_key(refusal: Exception) -> None:
    async with running_things() as things:
        things.failure = refusal
        status, _, _ = await things.post(KEY)
        assert status in (409, 422)
        status, _, body = await things.post(KEY, body=b'{"corrected":true}')
    assert (status, body) == (201, {"id": "id-2"})


@pytest.mark.parametrize(
    "failure", [unavailable("down"), TimeoutError(), RuntimeError("a bug")], ids=str
)
async def test_after_a_failure_the_same_request_carries_on(failure: Exception) -> None:
    async with running_things() as things:
        things.failure = failure
        status, _, _ = await things.post(KEY)
        assert status >= 500
        status, _, body = await things.post(KEY, body=b"[]")
        assert (status, code(body)) == (422, "idempotency_key_reused")
        status, _, body = await things.post(KEY)
    assert (status, body) == (201, {"id": "id-1"})
