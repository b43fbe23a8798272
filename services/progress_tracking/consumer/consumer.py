"""Learns outlines from the queue: receives, has each event take effect, and only then deletes it.

Owns who holds which message for how long, what comes again when, and the way out. Delivery is at
least once and in any order; that the newest outline wins is the repository's business
(`learn_outline`), so doing an event twice does nothing.

A message is held from its receipt until it is deleted or given back, and its visibility is
extended meanwhile. Where the table is unwell the held ones are tried again with back-off and
nothing more is received: deliveries are counted by SQS, and an outage must not look like poison.
"""

from __future__ import annotations

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from libs.aws import DependencyError, RequestRejected
from libs.circuit_breaker import CircuitOpenError
from libs.logging import get_logger
from libs.metrics import Dimension, Metrics, QueueMetrics
from libs.resilience import BulkheadFullError, DeadlineExceededError
from libs.tracing import Tracer
from services.progress_tracking.consumer.events import (
    OutlineChanged,
    UnreadableEventError,
    read_event,
)
from services.progress_tracking.consumer.queue import MOST_PER_BATCH, Message, OutlineQueue
from services.progress_tracking.domain.outline import Outline

SEGMENT: Final = "process OutlineChanged"

# Each heart-beat may fail twice before a message is somebody else's.
_BEATS_PER_VISIBILITY: Final = 3
_FIRST_BACKOFF_SECONDS: Final = 0.5
# DynamoDB's word for an item that it will never take, whoever sends it and whenever.
_IMPOSSIBLE_ITEM: Final = "ValidationException"

# What a call ends with that did not do what it should, for whatever reason.
_NOT_DONE: Final = (
    DependencyError,
    RequestRejected,
    CircuitOpenError,
    BulkheadFullError,
    DeadlineExceededError,
)

_log = get_logger(__name__)


class OutlineLearner(Protocol):
    """The part of the progress repository that takes outlines."""

    async def learn_outline(self, outline: Outline) -> bool:
        """Keep the outline unless this or a later version is known. Whether it was kept."""


@dataclass(frozen=True, kw_only=True)
class ConsumerSettings:
    """concurrency: messages held at once. visibility_seconds: for how long the queue is told to
    keep a message to us, at the receipt and at each heart-beat. max_backoff_seconds: the longest
    pause before something that failed is tried again."""

    concurrency: int = 10
    visibility_seconds: int = 60
    max_backoff_seconds: float = 30.0


class ConsumerMetrics:
    """Lag and counts of the queue, and what came of the events."""

    def __init__(self, metrics: Metrics) -> None:
        self.queue = QueueMetrics(metrics)
        outcome = Dimension("Outcome", values=("learnt", "stale", "ignored"))
        self._events = metrics.counter("OutlineEvents", dimensions=[outcome])

    def event(self, outcome: str) -> None:
        """An event took effect, or had none to take."""
        self._events.add(1, outcome)


class OutlineConsumer:
    """Consumes one queue. `run` once."""

    def __init__(
        self,
        queue: OutlineQueue,
        learner: OutlineLearner,
        *,
        tracer: Tracer,
        metrics: ConsumerMetrics,
        settings: ConsumerSettings,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        """`sleep` takes seconds; `random` gives at least 0, below 1."""
        self._queue = queue
        self._learner = learner
        self._tracer = tracer
        self._metrics = metrics
        self._settings = settings
        self._sleep = sleep
        self._random = random
        self._stop = asyncio.Event()
        self._news = asyncio.Event()
        self._held: dict[str, Message] = {}
        self._waiting_for_table: set[str] = set()
        self._done: asyncio.Queue[Message] = asyncio.Queue()
        self._max_receive_count: int | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set, then finish or give back what is held.

        A poll that is under way is waited for: what it brings is given back at once instead of
        staying invisible. Cancelled, it leaves all it holds to the visibility time-out.
        """
        self._stop = stop
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._keep_held()),
                group.create_task(self._delete_done()),
                group.create_task(self._wake_at_stop()),
            ]
            await self._receive(group)
            await self._until(lambda: not self._held)
            for task in beside:
                task.cancel()

    async def _receive(self, group: asyncio.TaskGroup) -> None:
        failures = 0
        while True:
            await self._until(lambda: self._stop.is_set() or self._may_receive())
            if self._stop.is_set():
                return
            room = self._settings.concurrency - len(self._held)
            try:
                messages = await self._queue.receive(min(MOST_PER_BATCH, room))
            except _NOT_DONE as error:
                _log.warning("receive_failed", queue=self._queue.name, error=str(error))
                await self._pause(self._backoff(failures, error))
                failures += 1
                continue
            failures = 0
            for message in messages:
                self._metrics.queue.received(self._queue.name, message.sent_timestamp)
                self._held[message.receipt_handle] = message
                group.create_task(self._process(message))

    def _may_receive(self) -> bool:
        return len(self._held) < self._settings.concurrency and not self._waiting_for_table

    async def _process(self, message: Message) -> None:
        if self._stop.is_set():
            await self._give_back(message, 0)
            return
        try:
            event = read_event(message.body)
            outcome = "ignored" if event is None else await self._learn(message, event)
        except UnreadableEventError as error:
            with self._tracer.message_segment(SEGMENT, message.raw) as segment:
                segment.record_error(error, fault=True)
            # Not worth waiting for: the sooner it is among the dead letters, the sooner it is seen.
            await self._fail(message, 0, "event_unreadable", rule=error.rule)
        except Exception as error:
            _log.exception("event_failed", messageId=message.message_id, exc_info=error)
            seconds = int(self._backoff_ceiling(message.receive_count))
            await self._fail(message, seconds, "event_failed", error=type(error).__name__)
        else:
            if outcome is None:
                await self._give_back(message, 0)
            else:
                self._metrics.event(outcome)
                self._done.put_nowait(message)

    async def _learn(self, message: Message, event: OutlineChanged) -> str | None:
        """What came of the event; None where the process stops before it could take effect."""
        failures = 0
        try:
            while True:
                try:
                    with self._tracer.message_segment(
                        SEGMENT,
                        _with_trace(message, event),
                        attributes={"lyceum.course": event.outline.course_id},
                    ):
                        kept = await self._learner.learn_outline(event.outline)
                except _NOT_DONE as error:
                    if isinstance(error, RequestRejected) and error.code == _IMPOSSIBLE_ITEM:
                        raise UnreadableEventError("the table takes the outline") from error
                    # Everything else that is refused, a missing right or table, is the
                    # deployment's fault and not the message's.
                    self._waiting_for_table.add(message.receipt_handle)
                    self._metrics.queue.failed(self._queue.name)
                    _log.warning("learn_failed", messageId=message.message_id, error=str(error))
                    if await self._pause(self._backoff(failures, error)):
                        return None
                    failures += 1
                else:
                    return "learnt" if kept else "stale"
        finally:
            self._waiting_for_table.discard(message.receipt_handle)
            self._news.set()

    async def _fail(self, message: Message, seconds: int, event: str, **why: str) -> None:
        """Give a message back that this process can't deal with; the queue parks it in the end."""
        self._metrics.queue.failed(self._queue.name)
        limit = await self._limit()
        parked = limit is not None and message.receive_count >= limit
        if parked:
            self._metrics.queue.parked(self._queue.name)
        _log.error(
            "message_parked" if parked else event,
            queue=self._queue.name,
            messageId=message.message_id,
            receiveCount=message.receive_count,
            **why,
        )
        await self._give_back(message, seconds)

    async def _limit(self) -> int | None:
        if self._max_receive_count is None:
            try:
                self._max_receive_count = await self._queue.max_receive_count()
            except _NOT_DONE as error:
                _log.warning("redrive_policy_unknown", error=str(error))
        return self._max_receive_count

    async def _give_back(self, message: Message, seconds: int) -> None:
        self._forget([message])
        # Where that fails it comes again all the same, after its visibility time-out.
        await self._tell_visibility([message], seconds)

    async def _keep_held(self) -> None:
        while True:
            await self._sleep(self._settings.visibility_seconds / _BEATS_PER_VISIBILITY)
            for batch in _batches(list(self._held.values())):
                await self._tell_visibility(batch, self._settings.visibility_seconds)

    async def _tell_visibility(self, messages: Sequence[Message], seconds: int) -> None:
        try:
            refused = await self._queue.set_visibility(messages, seconds)
        except _NOT_DONE as error:
            _log.warning("visibility_failed", queue=self._queue.name, error=str(error))
            return
        for message in refused:
            # Deleted meanwhile, or with somebody else: whoever does it, it is done once.
            _log.info("visibility_refused", messageId=message.message_id)

    async def _delete_done(self) -> None:
        failures = 0
        while True:
            batch = [await self._done.get()]
            while len(batch) < MOST_PER_BATCH and not self._done.empty():
                batch.append(self._done.get_nowait())
            try:
                again = await self._queue.delete(batch)
            except _NOT_DONE as error:
                _log.warning("delete_failed", queue=self._queue.name, error=str(error))
                again = batch
            self._forget(message for message in batch if message not in again)
            for message in again:
                self._done.put_nowait(message)
            if again:
                await self._sleep(self._backoff(failures, None))
            failures = failures + 1 if again else 0

    def _forget(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._held.pop(message.receipt_handle, None)
        self._news.set()

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._news.clear()
            await self._news.wait()

    async def _wake_at_stop(self) -> None:
        await self._stop.wait()
        self._news.set()

    async def _pause(self, seconds: float) -> bool:
        """Wait so long, or until the process is to stop; whether it is."""
        waits = [
            asyncio.ensure_future(self._sleep(seconds)),
            asyncio.ensure_future(self._stop.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self._stop.is_set()

    def _backoff(self, failures: int, error: Exception | None) -> float:
        """Full jitter, after what the dependency itself asks for."""
        asked = getattr(error, "retry_after_seconds", None) or 0.0
        return float(asked) + self._random() * self._backoff_ceiling(failures)

    def _backoff_ceiling(self, failures: int) -> float:
        # The exponent is bounded: 2.0**1100 is no float any more.
        growing = _FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, 60)
        return min(self._settings.max_backoff_seconds, growing)


def _with_trace(message: Message, event: OutlineChanged) -> dict[str, object]:
    """The message, with the trace of who made the change unless it carries one itself."""
    attributes = dict(message.raw.get("Attributes", {}))
    if event.trace_header is not None:
        attributes.setdefault("AWSTraceHeader", event.trace_header)
    return {**message.raw, "Attributes": attributes}


def _batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for start in range(0, len(messages), MOST_PER_BATCH):
        yield messages[start : start + MOST_PER_BATCH]
