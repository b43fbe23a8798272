"""The queue of outlines: what the consumer asks of it, and SQS behind that.

Owns the shape of SQS's batches. Decides nothing: what is deleted, kept or given back is the
consumer's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from libs.aws import SQS
from libs.tracing import TRACE_HEADER

MOST_PER_BATCH: Final = 10
"""Messages in one batch of any of SQS's operations."""


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message.

    receive_count: deliveries so far, this one included. sent_timestamp: milliseconds since 1970 as
    SQS gives it. raw: as ReceiveMessage gives it, for the trace that it carries.
    """

    message_id: str
    receipt_handle: str
    body: str
    receive_count: int
    sent_timestamp: str | None
    raw: Mapping[str, Any] = field(repr=False)


class OutlineQueue(Protocol):
    """Every method raises what `libs.aws.SQS` raises."""

    @property
    def name(self) -> str:
        """How metrics and logs call it."""

    async def receive(self, most: int) -> Sequence[Message]:
        """Up to `most` (1 to 10) messages; none after some time in which there were none."""

    async def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Delete up to 10 messages; those that have to be tried again."""

    async def set_visibility(self, messages: Sequence[Message], seconds: int) -> Sequence[Message]:
        """Keep up to 10 messages to ourselves for so long from now, or give them back with 0; those
        of which the queue did not take it."""

    async def max_receive_count(self) -> int | None:
        """Deliveries after which a message goes to the dead letters; None where it never does."""


class SQSOutlineQueue:
    """`OutlineQueue` on one queue of SQS."""

    def __init__(self, sqs: SQS, url: str, *, wait_seconds: int, visibility_seconds: int) -> None:
        self._sqs = sqs
        self._url = url
        self._wait_seconds = wait_seconds
        self._visibility_seconds = visibility_seconds

    @property
    def name(self) -> str:
        """As `OutlineQueue.name`."""
        return self._url.rpartition("/")[2]

    async def receive(self, most: int) -> Sequence[Message]:
        """As `OutlineQueue.receive`."""
        answer = await self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=self._wait_seconds,
            VisibilityTimeout=self._visibility_seconds,
            MessageSystemAttributeNames=[
                "ApproximateReceiveCount",
                "AWSTraceHeader",
                "SentTimestamp",
            ],
            MessageAttributeNames=[TRACE_HEADER],
        )
        return [_message(raw) for raw in answer.get("Messages", [])]

    async def delete(self, messages: Sequence[Message]) -> Sequence[Message]:
        """As `OutlineQueue.delete`. One that the queue refuses for our own fault (its receipt has
        expired) is not tried again: it is with somebody else by now."""
        answer = await self._sqs.delete_message_batch(
            QueueUrl=self._url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": message.receipt_handle}
                for number, message in enumerate(messages)
            ],
        )
        return [
            messages[int(failed["Id"])]
            for failed in answer.get("Failed", [])
            if not failed.get("SenderFault")
        ]

    async def set_visibility(self, messages: Sequence[Message], seconds: int) -> Sequence[Message]:
        """As `OutlineQueue.set_visibility`."""
        answer = await self._sqs.change_message_visibility_batch(
            QueueUrl=self._url,
            Entries=[
                {
                    "Id": str(number),
                    "ReceiptHandle": message.receipt_handle,
                    "VisibilityTimeout": seconds,
                }
                for number, message in enumerate(messages)
            ],
        )
        return [messages[int(failed["Id"])] for failed in answer.get("Failed", [])]

    async def max_receive_count(self) -> int | None:
        """As `OutlineQueue.max_receive_count`."""
        answer = await self._sqs.get_queue_attributes(
            QueueUrl=self._url, AttributeNames=["RedrivePolicy"]
        )
        policy = answer.get("Attributes", {}).get("RedrivePolicy")
        return None if policy is None else int(json.loads(policy)["maxReceiveCount"])


def _message(raw: Mapping[str, Any]) -> Message:
    attributes = raw.get("Attributes", {})
    return Message(
        message_id=raw["MessageId"],
        receipt_handle=raw["ReceiptHandle"],
        body=raw["Body"],
        receive_count=int(attributes.get("ApproximateReceiveCount", 1)),
        sent_timestamp=attributes.get("SentTimestamp"),
        raw=raw,
    )
