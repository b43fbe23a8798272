"""A queue as SQS is, and time, both as a test drives them. No socket and no real second."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from libs.aws import marshal
from services.progress_tracking.consumer.queue import Message
from services.progress_tracking.domain.outline import Outline, OutlineItem

# Turns of the loop after which whatever can happen at one instant has happened.
_TURNS = 30


class SimulatedTime:
    """Seconds that pass only in `run_for`, from one sleeper to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleeps: list[float] = []
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), woken))
        await woken

    async def run_for(self, seconds: float) -> None:
        until = self.now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            when, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self.now = max(self.now, when)
                woken.set_result(None)
                await self.settle()
        self.now = until

    @staticmethod
    async def settle() -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)


@dataclass
class Kept:
    """A message in the queue."""

    message_id: str
    body: str
    sent_at: float
    visible_at: float = 0.0
    receive_count: int = 0
    receipt: str = ""


@dataclass
class SimulatedQueue:
    """`OutlineQueue` with visibility, receive counts and dead letters.

    `before` and `after` are called with each operation's name, before and after its effect; what
    they raise, the operation raises.
    """

    time: SimulatedTime
    visibility_seconds: int = 60
    wait_seconds: int = 10
    limit: int = 5
    before: Callable[[str], None] = lambda _: None
    after: Callable[[str], None] = lambda _: None
    kept: list[Kept] = field(default_factory=list)
    dead: list[Kept] = field(default_factory=list)
    batches: list[tuple[str, int]] = field(default_factory=list)
    most_held: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def name(self) -> str:
        return "outlines"

    def send(self, body: str) -> str:
        message_id = f"message-{next(self._numbers)}"
        self.kept.append(Kept(message_id, body, self.time.now, self.time.now))
        return message_id

    async def receive(self, most: int) -> Sequence[Message]:
        assert 1 <= most <= 10
        self.before("receive")
        for _ in range(self.wait_seconds):
            if self._visible():
                break
            await self.time.sleep(1)
        received = [self._deliver(one) for one in self._visible()[:most]]
        held = sum(one.visible_at > self.time.now for one in self.kept)
        self.most_held = max(self.most_held, held)
        self.after("receive")
        return received

    async def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        self.before("delete")
        self.batches.append(("delete", len(messages)))
        receipts = {message.receipt_handle for message in messages}
        self.kept = [one for one in self.kept if one.receipt not in receipts or not one.receipt]
        self.after("delete")
        return []

    async def set_visibility(self, messages: Sequence[Message], seconds: int) -> Sequence[Message]:
        self.before("set_visibility")
        self.batches.append(("set_visibility", len(messages)))
        refused = []
        for message in messages:
            found = [one for one in self.kept if one.receipt == message.receipt_handle]
            if found and found[0].visible_at > self.time.now:
                found[0].visible_at = self.time.now + seconds
            else:
                refused.append(message)
        self.after("set_visibility")
        return refused

    async def max_receive_count(self) -> int | None:
        self.before("max_receive_count")
        return self.limit

    def _visible(self) -> list[Kept]:
        found = [one for one in self.kept if one.visible_at <= self.time.now]
        gone = [one for one in found if one.receive_count >= self.limit]
        for one in gone:
            self.kept.remove(one)
            self.dead.append(one)
        return [one for one in found if one not in gone]

    def _deliver(self, one: Kept) -> Message:
        one.receive_count += 1
        one.receipt = f"{one.message_id}/{one.receive_count}/{next(self._numbers)}"
        one.visible_at = self.time.now + self.visibility_seconds
        attributes = {
            "ApproximateReceiveCount": str(one.receive_count),
            "SentTimestamp": str(int(one.sent_at * 1000)),
        }
        return Message(
            one.message_id,
            one.receipt,
            one.body,
            one.receive_count,
            attributes["SentTimestamp"],
            {"MessageId": one.message_id, "Body": one.body, "Attributes": attributes},
        )


class SimulatedTable:
    """Learns outlines as the repository does, and fails where a test says so."""

    def __init__(self) -> None:
        self.outlines: dict[str, Outline] = {}
        self.calls = 0
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self.work: Callable[[], asyncio.Future[None] | None] = lambda: None

    async def learn_outline(self, outline: Outline) -> bool:
        self.calls += 1
        await asyncio.sleep(0)
        self.before()
        if (waiting := self.work()) is not None:
            await waiting
        known = self.outlines.get(outline.course_id)
        kept = known is None or known.version < outline.version
        if kept:
            self.outlines[outline.course_id] = outline
        self.after()
        return kept


def outline(course_id: str, version: int) -> Outline:
    """An outline that tells its version by its items."""
    items = tuple(OutlineItem(f"c-{number}", True, 1.0) for number in range(version))
    return Outline(course_id, version, items)


def event(course_id: str, version: int, *, trace_header: str | None = None) -> str:
    """The message of a change."""
    key = {"courseId": f"outline#{course_id}"}
    image: dict[str, object] = {
        **key,
        "outlineVersion": version,
        "updatedAt": "2026-03-01T10:00:00.000Z",
        "items": [
            {"contentId": item.content_id, "required": item.required, "weight": item.weight}
            for item in outline(course_id, version).items
        ],
    }
    if trace_header is not None:
        image["traceHeader"] = trace_header
    return json.dumps(
        {
            "eventName": "MODIFY",
            "eventSource": "aws:dynamodb",
            "dynamodb": {"Keys": marshal(key), "NewImage": marshal(image)},
        }
    )


def course_row(course_id: str) -> str:
    """A record of another row of the catalog's table."""
    key = marshal({"courseId": course_id})
    return json.dumps(
        {
            "eventName": "MODIFY",
            "eventSource": "aws:dynamodb",
            "dynamodb": {"Keys": key, "NewImage": {**key, "title": {"S": "Tides"}}},
        }
    )
