"""The instruments of whoever consumes a queue: how far behind it is, what came, what failed."""

from __future__ import annotations

from datetime import UTC, datetime

from libs.metrics._dimensions import Dimension
from libs.metrics._registry import Metrics
from libs.timestamps import Clock, utc_now

# SQS keeps a message for 14 days at most: what claims to be older was dated by a wrong clock.
_RETENTION_MILLISECONDS = 14 * 86_400_000


class QueueMetrics:
    """`QueueLag`, `MessagesReceived`, `MessagesFailed` and `MessagesParked` by `Queue`, of one
    consumer process."""

    def __init__(
        self, metrics: Metrics, *, clock: Clock = utc_now, maximum_queues: int = 16
    ) -> None:
        queue = Dimension("Queue", maximum=maximum_queues)
        self._clock = clock
        self._lag = metrics.distribution("QueueLag", dimensions=[queue])
        self._received = metrics.counter("MessagesReceived", dimensions=[queue])
        self._failed = metrics.counter("MessagesFailed", dimensions=[queue])
        self._parked = metrics.counter("MessagesParked", dimensions=[queue])

    def received(self, queue: str, sent_timestamp: str | int | None) -> None:
        """A message was taken from the queue of this name (not its URL).

        ``sent_timestamp`` is SQS's attribute `SentTimestamp`, milliseconds since 1970. The lag is
        what has passed since: 0 where the sender's clock is ahead of ours, and none where the
        attribute is missing, malformed or further back than a queue keeps anything.
        """
        self._received.add(1, queue)
        self._failed.add(0, queue)
        self._parked.add(0, queue)
        lag = self._lag_of(sent_timestamp)
        if lag is not None:
            self._lag.record(lag, queue)

    def failed(self, queue: str) -> None:
        """A message could not be dealt with, and comes again or goes to the dead letters."""
        self._failed.add(1, queue)

    def parked(self, queue: str) -> None:
        """A message that failed was received as often as its queue allows: it goes to the dead
        letters next. Counted besides `failed`."""
        self._parked.add(1, queue)

    def _lag_of(self, sent_timestamp: str | int | None) -> float | None:
        try:
            sent = int(sent_timestamp or "")
        except ValueError:
            return None
        now = (self._clock() - _EPOCH).total_seconds() * 1000
        lag = max(0.0, now - sent)
        return lag if lag <= _RETENTION_MILLISECONDS else None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
