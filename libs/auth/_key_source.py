"""Holds the issuer's keys: fetched rarely, by one task at a time, and kept while the issuer is down."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Mapping

from libs.auth._errors import InvalidTokenError, KeysUnavailableError
from libs.auth._jwks import VerificationKey, parse_jwks
from libs.logging import get_logger

_log = get_logger(__name__)


class JwksKeySource:
    """The issuer's verification keys by kid.

    A fetch is shared by all who wait for it; cancelling one of them leaves it running for the
    others. Keys once read serve for as long as no newer ones can be read.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        clock: Callable[[], float] = time.monotonic,
        minimum_refresh_seconds: float = 60,
        maximum_age_seconds: float = 3600,
    ) -> None:
        """``fetch`` gives the JWKS document; ``clock`` gives seconds that never go back.

        Unknown kids cause at most one fetch in ``minimum_refresh_seconds``; keys older than
        ``maximum_age_seconds`` are fetched again in the background while they still serve.
        """
        self._fetch = fetch
        self._clock = clock
        self._minimum_refresh = minimum_refresh_seconds
        self._maximum_age = maximum_age_seconds
        self._keys: Mapping[str, VerificationKey] = {}
        self._fetched_at: float | None = None
        self._attempted_at: float | None = None
        self._failures = 0
        self._refreshing: asyncio.Task[None] | None = None
        self._generation = 0

    @property
    def ready(self) -> bool:
        """Whether keys have ever been read."""
        return bool(self._keys)

    @property
    def generation(self) -> int:
        """Changes whenever the set of keys does; what an older generation verified may not hold."""
        return self._generation

    async def get(self, kid: str) -> VerificationKey:
        """The key of that id, after a fetch if it is unknown and one is due.

        Raises InvalidTokenError (``unknown_key``) when the issuer has no such key as far as is
        known, KeysUnavailableError when no keys could be read yet.
        """
        self.refresh_when_old()
        key = self._keys.get(kid)
        if key is not None:
            return key
        if self._under_way() is not None or self._seconds_to_wait() <= 0:
            await self._refreshed()
            key = self._keys.get(kid)
        if key is not None:
            return key
        if not self._keys:
            raise KeysUnavailableError(max(1.0, self._seconds_to_wait()))
        raise InvalidTokenError("unknown_key")

    async def refresh(self) -> None:
        """Fetch the keys now, or join the fetch under way, however recent the last one is.

        A failure leaves the keys that are there. Raises KeysUnavailableError when there are none.
        """
        await self._refreshed()
        if not self._keys:
            raise KeysUnavailableError(max(1.0, self._seconds_to_wait()))

    def refresh_when_old(self) -> None:
        """Start a fetch in the background if the keys are past their age and one is due."""
        if (
            self._fetched_at is not None
            and self._under_way() is None
            and self._clock() - self._fetched_at >= self._maximum_age
            and self._seconds_to_wait() <= 0
        ):
            self._start()

    async def keep_fresh(
        self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Fetch the keys whenever it is time, until cancelled.

        Run this beside the server: while there are no keys the service is not ready, so no request
        comes that would cause the next attempt.
        """
        while True:
            await self._refreshed()
            await sleep(max(1.0, self._seconds_to_next_fetch()))

    async def close(self) -> None:
        """End a fetch that is under way."""
        task = self._under_way()
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _seconds_to_wait(self) -> float:
        """Seconds until the issuer may be asked again."""
        if self._attempted_at is None:
            return 0.0
        pause = self._minimum_refresh
        if not self._keys:
            # Nothing can be served without keys, so the first ones are asked for sooner: after
            # 1, 2, 4 ... seconds, up to the common pause.
            pause = min(pause, 2.0 ** min(self._failures - 1, 16))
        return self._attempted_at + pause - self._clock()

    def _seconds_to_next_fetch(self) -> float:
        if self._fetched_at is None:
            return self._seconds_to_wait()
        return max(self._fetched_at + self._maximum_age - self._clock(), self._seconds_to_wait())

    async def _refreshed(self) -> None:
        # asyncio.wait neither cancels the task with its waiter nor raises what the task raises.
        await asyncio.wait({self._under_way() or self._start()})

    def _under_way(self) -> asyncio.Task[None] | None:
        task = self._refreshing
        return None if task is None or task.done() else task

    def _start(self) -> asyncio.Task[None]:
        self._attempted_at = self._clock()
        # In an empty context: the fetch outlives the request that happened to start it, and must
        # not carry its log context or trace.
        task = asyncio.create_task(self._refresh(), context=contextvars.Context())
        self._refreshing = task
        return task

    async def _refresh(self) -> None:
        try:
            keys = parse_jwks(await self._fetch())
        except Exception as error:
            self._failures += 1
            _log.warning("jwks_refresh_failed", error=error, failures=self._failures)
            return
        self._failures = 0
        self._fetched_at = self._clock()
        if _fingerprints(keys) != _fingerprints(self._keys):
            self._keys = keys
            self._generation += 1
            _log.info("jwks_changed", kids=sorted(keys))


def _fingerprints(keys: Mapping[str, VerificationKey]) -> dict[str, bytes]:
    return {kid: key.fingerprint for kid, key in keys.items()}
