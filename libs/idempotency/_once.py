"""One effect for one key: who may carry a request out, who waits, who gets the answer again.

Owns claims, leases, takeovers and expiry. Knows neither HTTP nor what is created. Whoever is cut
between any two awaits leaves a claim behind that another takes over once its lease has ended; it
finds the id that was reserved, and with it whatever was created under it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from libs.idempotency._errors import IdempotencyInProgressError, IdempotencyKeyReusedError
from libs.idempotency._store import MAX_ANSWER_BYTES, Answer, IdempotencyStore, Record
from libs.logging import bind, get_logger
from libs.timestamps import Clock, utc_now

LIFE = timedelta(hours=24)
# Three times the longest request. Ending too early is safe, only wasteful: the id is the same.
LEASE = timedelta(seconds=15)
# Each attempt fails only when another request has moved on in between.
_ATTEMPTS = 3

_log = get_logger(__name__)


@dataclass(frozen=True)
class KeyedRequest:
    """A request with a key. `principal` and `operation` are the key's scope: under another, the
    same key is another key."""

    key: str
    principal: str
    operation: str
    fingerprint: str

    @property
    def digest(self) -> str:
        """What the store knows the key by: of fixed length, and without anybody's name in it."""
        parts = (self.principal, self.operation, self.key)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Reservation:
    """The id to create under. `resumed`: an earlier attempt may have created it already."""

    resource_id: str
    resumed: bool


@dataclass(frozen=True)
class _Claim:
    record: Record
    resumed: bool


class Idempotency:
    """Carries keyed requests out once over `store`.

    `new_token` gives what tells claims apart; `lease` is how long a claim keeps others waiting,
    `life` how long a key is known after it was last worked on.
    """

    def __init__(
        self,
        store: IdempotencyStore,
        *,
        now: Clock = utc_now,
        new_token: Callable[[], str] = lambda: secrets.token_hex(16),
        lease: timedelta = LEASE,
        life: timedelta = LIFE,
    ) -> None:
        self._store = store
        self._now = now
        self._new_token = new_token
        self._lease = lease
        self._life = life

    async def once(
        self,
        request: KeyedRequest,
        *,
        new_id: Callable[[], str],
        create: Callable[[Reservation], Awaitable[Answer]],
        is_refusal: Callable[[Exception], bool],
    ) -> Answer:
        """The answer of `create`, which is called unless it has answered this request before.

        `create` must be safe to repeat under one id: a second call finds the first one's effect.
        `is_refusal` tells an exception that promises that nothing was created; the key is then
        free again. After any other the key stays with this request, and a repetition carries on.
        Raises IdempotencyKeyReusedError, IdempotencyInProgressError, and what `create` and the
        store raise.
        """
        claim = await self._claim(request, new_id)
        if isinstance(claim, Answer):
            bind(idempotency="replayed")
            return claim
        bind(idempotency="resumed" if claim.resumed else "first")
        try:
            answer = await create(Reservation(claim.record.resource_id, claim.resumed))
        except Exception as error:
            # Under a key that was taken over an earlier attempt's write may still be on its way,
            # so its id is not let go even though this attempt was refused.
            await self._let_go(request, claim, free=is_refusal(error) and not claim.resumed)
            raise
        await self._keep(request, claim, answer)
        return answer

    async def _claim(self, request: KeyedRequest, new_id: Callable[[], str]) -> _Claim | Answer:
        now = self._now()
        mine = Record(
            fingerprint=request.fingerprint,
            resource_id=new_id(),
            token=self._new_token(),
            lease_until=now + self._lease,
            expires_at=now + self._life,
        )
        for _ in range(_ATTEMPTS):
            found = await self._store.insert(request.digest, mine, now=now)
            if found is None or found.token == mine.token:
                return _Claim(mine, resumed=False)
            if found.fingerprint != mine.fingerprint:
                raise IdempotencyKeyReusedError
            if found.answer is not None:
                return replace(found.answer, replayed=True)
            if found.lease_until > now:
                raise IdempotencyInProgressError
            taken = replace(mine, resource_id=found.resource_id)
            if await self._store.replace(request.digest, taken, token=found.token):
                return _Claim(taken, resumed=True)
        raise IdempotencyInProgressError

    async def _keep(self, request: KeyedRequest, claim: _Claim, answer: Answer) -> None:
        """Keep the answer; where it may not or can't be kept, a repetition makes it anew."""
        now = self._now()
        kept = answer if answer.storable and _size(answer) <= MAX_ANSWER_BYTES else None
        ended = replace(claim.record, lease_until=now, expires_at=now + self._life, answer=kept)
        await self._write(request, ended)

    async def _let_go(self, request: KeyedRequest, claim: _Claim, *, free: bool) -> None:
        now = self._now()
        ended = replace(claim.record, lease_until=now)
        await self._write(request, replace(ended, expires_at=now) if free else ended)

    async def _write(self, request: KeyedRequest, ended: Record) -> None:
        # What happened has happened, and is what the client must hear of: without this write the
        # lease ends by itself. False means that somebody has taken over and answers for the key.
        try:
            await self._store.replace(request.digest, ended, token=ended.token)
        except Exception as error:
            _log.warning("idempotency_record_not_written", error=error)


def _size(answer: Answer) -> int:
    return len(answer.body) + sum(len(name) + len(text) for name, text in answer.headers.items())
