"""One effect and one answer for one key, whatever happens in between."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from libs.idempotency import (
    LEASE,
    LIFE,
    MAX_ANSWER_BYTES,
    Answer,
    Idempotency,
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    KeyedRequest,
    Record,
    Reservation,
)
from libs.idempotency.testing import InMemoryIdempotencyStore

REQUEST = KeyedRequest("key", "user-1", "createThing", "fingerprint")


class RefusedError(Exception):
    """Nothing was created."""


class LostError(Exception):
    """Something may have been created."""


class World:
    """Things that are created under ids, a clock, and keyed requests over both."""

    def __init__(self, store: InMemoryIdempotencyStore | None = None) -> None:
        self.store = store or InMemoryIdempotencyStore()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.things: set[str] = set()
        self.calls: list[Reservation] = []
        self.ids = (f"id-{n}" for n in itertools.count(1))
        tokens = (f"token-{n}" for n in itertools.count(1))
        self.idempotency = Idempotency(
            self.store, now=lambda: self.now, new_token=lambda: next(tokens)
        )

    async def create(self, reservation: Reservation) -> Answer:
        self.calls.append(reservation)
        self.things.add(reservation.resource_id)
        return Answer(201, {"Location": f"/things/{reservation.resource_id}"}, b"{}")

    async def send(
        self,
        request: KeyedRequest = REQUEST,
        create: Callable[[Reservation], Awaitable[Answer]] | None = None,
    ) -> Answer:
        return await self.idempotency.once(
            request,
            new_id=lambda: next(self.ids),
            create=create or self.create,
            is_refusal=lambda error: isinstance(error, RefusedError),
        )


async def test_a_repetition_gets_the_answer_and_has_no_effect() -> None:
    world = World()
    first = await world.send()
    assert (first.status, first.replayed) == (201, False)
    world.now += LIFE - timedelta(seconds=1)
    assert await world.send() == replace(first, replayed=True)
    assert world.calls == [Reservation("id-1", resumed=False)]


async def test_another_request_under_the_key_is_refused() -> None:
    world = World()
    await world.send()
    with pytest.raises(IdempotencyKeyReusedError):
        await world.send(replace(REQUEST, fingerprint="another"))
    assert len(world.calls) == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, principal="user-2"),
        replace(REQUEST, operation="createOther"),
        replace(REQUEST, key="other"),
        # However the parts are cut: none of them is ever part of another.
        replace(REQUEST, principal="user-1\0createThing", operation="key", key=""),
    ],
)
async def test_the_key_of_another_scope_is_another_key(other: KeyedRequest) -> None:
    world = World()
    await world.send()
    answer = await world.send(other)
    assert not answer.replayed
    assert len(world.things) == 2


async def test_while_it_is_carried_out_the_same_request_is_told_to_wait() -> None:
    world = World()
    running, finish = asyncio.Event(), asyncio.Event()

    async def slow(reservation: Reservation) -> Answer:
        running.set()
        await finish.wait()
        return await world.create(reservation)

    first = asyncio.create_task(world.send(create=slow))
    await running.wait()
    with pytest.raises(IdempotencyInProgressError):
        await world.send()
    with pytest.raises(IdempotencyKeyReusedError):
        await world.send(replace(REQUEST, fingerprint="another"))
    finish.set()
    answer = await first
    assert await world.send() == replace(answer, replayed=True)


async def test_after_a_refusal_the_key_is_free_for_any_request() -> None:
    world = World()

    async def refuse(_: Reservation) -> Answer:
        raise RefusedError

    with pytest.raises(RefusedError):
        await world.send(create=refuse)
    answer = await world.send(replace(REQUEST, fingerprint="corrected"))
    assert not answer.replayed
    assert world.calls == [Reservation("id-2", resumed=False)]


async def test_after_a_failure_a_repetition_carries_on_at_once_under_the_same_id() -> None:
    world = World()

    async def lose(reservation: Reservation) -> Answer:
        await world.create(reservation)
        raise LostError

    with pytest.raises(LostError):
        await world.send(create=lose)
    with pytest.raises(IdempotencyKeyReusedError):
        await world.send(replace(REQUEST, fingerprint="another"))
    answer = await world.send()
    assert not answer.replayed
    assert world.calls == [Reservation("id-1", False), Reservation("id-1", True)]
    assert world.things == {"id-1"}
    assert (await world.send()).replayed


async def test_who_was_cut_off_holds_the_key_until_its_lease_ends() -> None:
    world = World()
    running = asyncio.Event()

    async def hang(reservation: Reservation) -> Answer:
        await world.create(reservation)
        running.set()
        await asyncio.Event().wait()
        raise AssertionError

    dead = asyncio.create_task(world.send(create=hang))
    await running.wait()
    dead.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dead
    world.now += LEASE - timedelta(milliseconds=1)
    with pytest.raises(IdempotencyInProgressError):
        await world.send()
    world.now += timedelta(milliseconds=1)
    assert (await world.send()).headers["Location"] == "/things/id-1"
    assert world.things == {"id-1"}


async def test_who_was_overtaken_changes_nothing_any_more() -> None:
    """Its lease ended while it was still at work; what it answers is about the same thing."""
    world = World()
    running, finish = asyncio.Event(), asyncio.Event()

    async def slow(reservation: Reservation) -> Answer:
        running.set()
        await finish.wait()
        raise RefusedError

    overtaken = asyncio.create_task(world.send(create=slow))
    await running.wait()
    world.now += LEASE
    answer = await world.send()
    finish.set()
    with pytest.raises(RefusedError):
        await overtaken
    assert await world.send() == replace(answer, replayed=True)


async def test_a_refusal_after_a_takeover_keeps_the_id_for_what_may_still_arrive() -> None:
    world = World()

    async def lose(_: Reservation) -> Answer:
        raise LostError

    async def refuse(_: Reservation) -> Answer:
        raise RefusedError

    with pytest.raises(LostError):
        await world.send(create=lose)
    with pytest.raises(RefusedError):
        await world.send(create=refuse)
    await world.send()
    assert world.calls == [Reservation("id-1", resumed=True)]


async def test_an_expired_key_is_a_new_key() -> None:
    world = World()
    await world.send()
    world.now += LIFE
    assert not (await world.send(replace(REQUEST, fingerprint="another"))).replayed
    assert world.things == {"id-1", "id-2"}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(201, {}, b"{}", storable=False),
        Answer(201, {}, b"x" * (MAX_ANSWER_BYTES + 1)),
        Answer(201, {"Link": "x" * MAX_ANSWER_BYTES}, b"{}"),
    ],
    ids=["secret", "large body", "large headers"],
)
async def test_an_answer_that_is_not_kept_is_made_anew_from_the_same_thing(answer: Answer) -> None:
    world = World()

    async def create(reservation: Reservation) -> Answer:
        await world.create(reservation)
        return answer

    assert await world.send(create=create) == answer
    assert [record.answer for record in world.store.records.values()] == [None]
    assert await world.send(create=create) == answer
    assert world.calls == [Reservation("id-1", False), Reservation("id-1", True)]


class BrokenStore(InMemoryIdempotencyStore):
    """A store that takes claims and then fails."""

    async def replace(self, key: str, record: Record, *, token: str) -> bool:
        raise ConnectionError("the store fails")


async def test_an_answer_that_could_not_be_kept_is_given_all_the_same() -> None:
    world = World(BrokenStore())
    assert (await world.send()).status == 201
    with pytest.raises(IdempotencyInProgressError):
        await world.send()


async def test_the_clients_hear_of_their_own_failure_not_of_the_stores() -> None:
    world = World(BrokenStore())

    async def lose(_: Reservation) -> Answer:
        raise LostError

    with pytest.raises(LostError):
        await world.send(create=lose)


async def test_without_the_store_nothing_is_created() -> None:
    class NoStore(InMemoryIdempotencyStore):
        async def insert(self, key: str, record: Record, *, now: datetime) -> Record | None:
            raise ConnectionError("the store fails")

    world = World(NoStore())
    with pytest.raises(ConnectionError):
        await world.send()
    assert world.things == set()


def test_no_answer_is_shown_by_repr() -> None:
    assert "secret" not in repr(Answer(201, {}, b"secret"))
