"""A client of the load: it asks one thing after the other at its pace, and each request is counted.

Owns pace, counting and what an answer means for a write that the history knows. Nothing is sent twice,
so whatever a user would notice is a failure here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from deploy.load.answer import Answer
from deploy.load.connection import Connection
from deploy.migration._demo._history import Facts, History, Write
from deploy.migration._demo._items import MODULES, Item

PATIENCE_SECONDS: Final = 35.0
"""Longer than a gateway waits for a service (29 s): who gets nothing until then never will."""

_KEPT_FAILURES: Final = 50


class StoppedError(Exception):
    """The load ends: nothing more is asked."""


@dataclass(frozen=True)
class Request:
    """One that was answered, or was not. Moments are monotonic."""

    module: str
    is_write: bool
    began: float
    seconds: float


@dataclass
class Counts:
    """Everything that was asked, by all devices."""

    requests: list[Request] = field(default_factory=list)
    asked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MODULES, 0))
    failed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MODULES, 0))
    failures: list[str] = field(default_factory=list)
    """The first ones, a line each."""

    def note(self, request: Request, failure: str | None) -> None:
        """One more."""
        self.requests.append(request)
        self.asked[request.module] += 1
        if failure is not None:
            self.failed[request.module] += 1
            if len(self.failures) < _KEPT_FAILURES:
                self.failures.append(failure)

    def seconds(
        self, module: str, *, since: float = 0.0, until: float = float("inf"), writes: bool = False
    ) -> list[float]:
        """How long the requests took that were under way between two moments, in order of size."""
        return sorted(
            one.seconds
            for one in self.requests
            if one.module == module
            and one.began <= until
            and one.began + one.seconds >= since
            and (one.is_write or not writes)
        )


class Tempo:
    """How often all devices together ask, at most."""

    def __init__(self, per_second: float, devices: int) -> None:
        self.per_second = per_second
        self._devices = devices

    @property
    def interval(self) -> float:
        """Seconds from one request of a device to its next."""
        return self._devices / self.per_second


class Pace:
    """When a device may ask again; ends it. `first`: after so many seconds it may ask."""

    def __init__(self, tempo: Tempo, *, first: float) -> None:
        self._tempo = tempo
        self._due = time.monotonic() + first
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Let nothing more be asked."""
        self._stop.set()

    async def turn(self) -> None:
        """Wait until it is time. Raises StoppedError."""
        wait = self._due - time.monotonic()
        if wait > 0:
            try:
                async with asyncio.timeout(wait):
                    await self._stop.wait()
            except TimeoutError:
                pass
        if self._stop.is_set():
            raise StoppedError
        # Who was held up does not make up for it: the pace is an upper bound.
        self._due = max(self._due + self._tempo.interval, time.monotonic())


class Device:
    """One connection to the gateway; `tokens` are by user."""

    def __init__(
        self,
        gateway: str,
        tokens: Callable[[str], str],
        history: History,
        counts: Counts,
        pace: Pace | None = None,
    ) -> None:
        self.history = history
        self._connection = Connection(gateway, patience_seconds=PATIENCE_SECONDS)
        self._tokens = tokens
        self._counts = counts
        self._pace = pace

    async def __aenter__(self) -> Device:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connection.close()

    async def ask(
        self,
        module: str,
        method: str,
        path: str,
        *,
        user: str = "staff",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        expected: Collection[int] = (200,),
    ) -> Answer:
        """One request; a failure where its answer is of another status. Raises StoppedError."""
        await self._turn()
        return await self._send(module, method, path, user, body, headers, expected)

    async def read(self, item: Item, *, is_last: bool = False) -> tuple[Answer, Facts]:
        """Read an item and have it judged. Raises StoppedError."""
        await self._turn()
        began = time.monotonic()
        answer = await self._send(item.module, "GET", item.path, "staff", None, None, (200, 404))
        facts = item.facts(answer)
        if facts is None:
            return answer, {}
        self.history.read(str(item), facts, began=began, ended=time.monotonic(), is_last=is_last)
        return answer, facts

    async def change(
        self,
        item: Item,
        changes: Mapping[str, str | None],
        method: str,
        path: str,
        *,
        user: str = "staff",
        body: object = None,
        headers: Mapping[str, str] | None = None,
        deletes: bool = False,
    ) -> Answer | None:
        """Send a write of an item; None where it is not known to be done. With `deletes` all facts
        go but those that are changed. Raises StoppedError."""
        await self._turn()
        began = time.monotonic()
        write: Write
        if deletes:
            kept = {fact: value for fact, value in changes.items() if value is not None}
            write = self.history.deleting(str(item), began=began, but=kept)
        else:
            write = self.history.writing(str(item), changes, began=began)
        answer = await self._send(item.module, method, path, user, body, headers, (200, 201, 204))
        if 200 <= answer.status < 300:
            now = time.monotonic()
            write.acknowledged(now)
            if answer.body:
                # Nobody else writes it: what the answer shows has this write in it.
                facts = item.facts_of(answer.json)
                self.history.read(str(item), facts, began=now, ended=now)
            return answer
        if 400 <= answer.status < 500:
            write.refused()
        return None

    async def _turn(self) -> None:
        if self._pace is not None:
            await self._pace.turn()

    async def _send(
        self,
        module: str,
        method: str,
        path: str,
        user: str,
        body: object,
        headers: Mapping[str, str] | None,
        expected: Collection[int],
    ) -> Answer:
        began = time.monotonic()
        sent = {"Authorization": f"Bearer {self._tokens(user)}", **(headers or {})}
        answer = await self._connection.ask(method, path, headers=sent, body=body)
        failure = None
        if answer.status not in expected:
            failure = (
                f"{method} {path.partition('?')[0]}: {answer.status or 'no answer'} after"
                f" {answer.seconds:.3f} s: {answer.body[:200].decode('utf-8', 'replace')}"
            )
        self._counts.note(Request(module, method != "GET", began, answer.seconds), failure)
        return answer
