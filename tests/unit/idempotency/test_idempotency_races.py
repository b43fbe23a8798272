"""Requests with keys, interleaved at every await, crashing anywhere, while leases end.

A state machine drives coroutines by hand, one step at a time: a step ends before and after each
write, so that a request can stop, die or be overtaken with its write done or not done.
"""

from __future__ import annotations

import itertools
import types
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from libs.idempotency import (
    LEASE,
    Answer,
    Idempotency,
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    KeyedRequest,
    Record,
    Reservation,
)
from libs.idempotency.testing import InMemoryIdempotencyStore


@types.coroutine
def step() -> Generator[None, None, None]:
    """Let the state machine decide who goes on."""
    yield


class SteppedStore(InMemoryIdempotencyStore):
    """The store, with a pause before and after each of its writes."""

    async def insert(self, key: str, record: Record, *, now: datetime) -> Record | None:
        await step()
        found = await super().insert(key, record, now=now)
        await step()
        return found

    async def replace(self, key: str, record: Record, *, token: str) -> bool:
        await step()
        done = await super().replace(key, record, token=token)
        await step()
        return done


class NameTakenError(Exception):
    """The refusal: another thing holds the name, and nothing was created."""


class LostError(Exception):
    """The store of things failed; whether before or after its write is not known."""


@dataclass
class Running:
    """A request under way."""

    request: KeyedRequest
    coroutine: Coroutine[Any, Any, Answer]
    lose_before: bool = False
    lose_after: bool = False


class KeyedRequests(RuleBasedStateMachine):
    """Keyed requests for things, whose names may be somebody else's, as a course's slug may."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.ids = (f"id-{n}" for n in itertools.count(1))
        tokens = (f"token-{n}" for n in itertools.count(1))
        self.idempotency = Idempotency(
            SteppedStore(), now=lambda: self.now, new_token=lambda: next(tokens)
        )
        self.names_are_taken = False
        self.created: dict[tuple[str, str], set[str]] = {}
        self.running: list[Running] = []
        self.answers: dict[tuple[str, str], set[tuple[str, bytes]]] = {}

    @rule(
        key=st.sampled_from(["k1", "k2"]),
        principal=st.sampled_from(["ann", "bob"]),
        fingerprint=st.sampled_from(["red", "green"]),
    )
    def start(self, key: str, principal: str, fingerprint: str) -> None:
        request = KeyedRequest(key, principal, "create", fingerprint)
        running = Running(request, self.idempotency_once(request))
        self.running.append(running)
        self._advance(running)

    def idempotency_once(self, request: KeyedRequest) -> Coroutine[Any, Any, Answer]:
        async def create(reservation: Reservation) -> Answer:
            running = next(found for found in self.running if found.request is request)
            await step()
            if running.lose_before:
                raise LostError
            scope = (request.principal, request.key)
            exists = reservation.resource_id in self.created.get(scope, set())
            if self.names_are_taken and not exists:
                raise NameTakenError
            self.created.setdefault(scope, set()).add(reservation.resource_id)
            await step()
            if running.lose_after:
                raise LostError
            text = f"{scope} {request.fingerprint} {reservation.resource_id}"
            return Answer(201, {}, text.encode())

        return self.idempotency.once(
            request,
            new_id=lambda: next(self.ids),
            create=create,
            is_refusal=lambda error: isinstance(error, NameTakenError),
        )

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        self._advance(data.draw(st.sampled_from(self.running)))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        running = data.draw(st.sampled_from(self.running))
        while running in self.running:
            self._advance(running)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """The process is killed, or the client has hung up: the request ends where it is."""
        running = data.draw(st.sampled_from(self.running))
        self.running.remove(running)
        running.coroutine.close()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), after=st.booleans())
    def let_the_write_fail(self, data: st.DataObject, after: bool) -> None:
        running = data.draw(st.sampled_from(self.running))
        running.lose_after, running.lose_before = after, not after

    @rule()
    def somebody_takes_or_frees_the_names(self) -> None:
        self.names_are_taken = not self.names_are_taken

    # Forty of them are far from a key's whole life.
    @rule(share=st.sampled_from([0.3, 1.0, 2.0]))
    def time_passes(self, share: float) -> None:
        self.now += LEASE * share

    def _advance(self, running: Running) -> None:
        try:
            running.coroutine.send(None)
        except StopIteration as stopped:
            self.running.remove(running)
            answer: Answer = stopped.value
            scope = (running.request.principal, running.request.key)
            self.answers.setdefault(scope, set()).add((running.request.fingerprint, answer.body))
        except (IdempotencyInProgressError, IdempotencyKeyReusedError, NameTakenError, LostError):
            self.running.remove(running)

    @invariant()
    def a_key_has_created_at_most_one_thing(self) -> None:
        assert all(len(things) == 1 for things in self.created.values())

    @invariant()
    def a_key_has_one_answer_to_one_request_of_its_own_caller(self) -> None:
        for scope, answers in self.answers.items():
            ((fingerprint, body),) = answers
            (thing,) = self.created[scope]
            assert body == f"{scope} {fingerprint} {thing}".encode()

    def teardown(self) -> None:
        """Whoever asks once everything has settled gets an answer about the one thing there is."""
        for running in list(self.running):
            running.coroutine.close()
        self.running.clear()
        self.names_are_taken = False
        self.now += LEASE
        for scope, things in self.created.items():
            principal, key = scope
            for fingerprint in ("red", "green"):
                request = KeyedRequest(key, principal, "create", fingerprint)
                running = Running(request, self.idempotency_once(request))
                self.running.append(running)
                while running in self.running:
                    self._advance(running)
            assert len(self.answers[scope]) == 1
            assert self.created[scope] == things
        self.a_key_has_created_at_most_one_thing()
        self.a_key_has_one_answer_to_one_request_of_its_own_caller()


TestKeyedRequests = KeyedRequests.TestCase
TestKeyedRequests.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
