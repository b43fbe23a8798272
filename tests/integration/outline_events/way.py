"""Topic, queue, dead letters and table on an emulator, and the consumer as a process on them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from services.progress_tracking.storage.rows import outline_key, outline_row
from tests.backends import Backend
from tests.contract.progress_tracking.table import new_table
from tests.integration.service_process import DEADLINE_SECONDS, python_path

_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Way:
    """What stands between whoever publishes and the table."""

    backend: Backend
    sns: Any
    sqs: Any
    dynamodb: Any
    topic_arn: str
    queue_url: str
    parked_url: str
    table: str

    def variables(self, **changes: str) -> dict[str, str]:
        """The environment of a consumer on it."""
        return {
            **self.backend.variables,
            "PROGRESS_TABLE": self.table,
            "PROGRESS_OUTLINE_QUEUE_URL": self.queue_url,
            "PROGRESS_OUTLINE_VISIBILITY_SECONDS": "2",
            "PROGRESS_OUTLINE_WAIT_SECONDS": "1",
            "PROGRESS_OUTLINE_MAX_BACKOFF_SECONDS": "0.5",
            "PROGRESS_DRAIN_SECONDS": "20",
            # What the service's other process needs, and this one shares.
            "PROGRESS_AUTH_ISSUER": "https://issuer.example",
            "PROGRESS_AUTH_JWKS_URL": "https://issuer.example/jwks.json",
            "PROGRESS_AUTH_CLIENT_IDS": "client",
            "PROGRESS_CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
            **changes,
        }

    async def publish(self, body: str, **attributes: Any) -> None:
        """As the pipe publishes a record."""
        await self.sns.publish(TopicArn=self.topic_arn, Message=body, **attributes)

    async def versions(self, course_ids: Iterable[str]) -> dict[str, int]:
        """The version of each outline that is known."""
        found = {}
        for course_id in course_ids:
            answer = await self.dynamodb.get_item(
                TableName=self.table, Key=outline_key(course_id), ConsistentRead=True
            )
            if "Item" in answer:
                outline = outline_row(answer["Item"])
                # The items tell the version as well: no mixture of two outlines.
                assert len(outline.items) == outline.version
                found[course_id] = outline.version
        return found

    async def waiting(self, url: str) -> int:
        """Messages in a queue, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)


@asynccontextmanager
async def way(backend: Backend, *, max_receive_count: int) -> AsyncIterator[Way]:
    """A way of its own on this emulator."""
    name = f"outlines-{uuid4().hex[:8]}"
    async with (
        backend.client("sns") as sns,
        backend.client("sqs") as sqs,
        backend.client("dynamodb") as dynamodb,
    ):
        parked_url, parked_arn = await _queue(sqs, f"{name}-parked", {})
        redrive = {"deadLetterTargetArn": parked_arn, "maxReceiveCount": max_receive_count}
        queue_url, queue_arn = await _queue(sqs, name, {"RedrivePolicy": json.dumps(redrive)})
        topic_arn = (await sns.create_topic(Name=name))["TopicArn"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "sns.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue_arn,
                    "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
                }
            ],
        }
        await sqs.set_queue_attributes(
            QueueUrl=queue_url, Attributes={"Policy": json.dumps(policy)}
        )
        await sns.subscribe(
            TopicArn=topic_arn,
            Protocol="sqs",
            Endpoint=queue_arn,
            Attributes={"RawMessageDelivery": "true"},
        )
        table = await new_table(backend)
        yield Way(backend, sns, sqs, dynamodb, topic_arn, queue_url, parked_url, table)


async def _queue(sqs: Any, name: str, attributes: Mapping[str, str]) -> tuple[str, str]:
    url = (await sqs.create_queue(QueueName=name, Attributes=dict(attributes)))["QueueUrl"]
    found = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, found["Attributes"]["QueueArn"]


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Look until it is so; TimeoutError after the deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await true():
            await asyncio.sleep(0.05)


class ConsumerProcess:
    """A running consumer and the lines that it has written."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._consuming = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its lines as log events; ValueError if one of them is not JSON."""
        return [json.loads(line) for line in self.lines]

    async def consuming(self) -> None:
        """Wait until it says so; RuntimeError with what it wrote if it ends before."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._consuming.wait()
        if self._reading.done():
            raise RuntimeError("".join(self.lines))

    async def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.shield(self._reading)
            return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, if it has not ended yet."""
        self.signal(signal.SIGKILL)
        await self._process.wait()
        await self._reading

    def signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode())
            if b'"event":"consuming"' in line:
                self._consuming.set()
        self._consuming.set()


@asynccontextmanager
async def consumer_process(variables: Mapping[str, str]) -> AsyncIterator[ConsumerProcess]:
    """`python -m services.progress_tracking.consumer`, consuming; killed at the end if need be."""
    running = ConsumerProcess(
        await start("services.progress_tracking.consumer", variables, stdin=False)
    )
    try:
        await running.consuming()
        yield running
    finally:
        await running.kill()


async def start(
    module: str, variables: Mapping[str, str], *, stdin: bool
) -> asyncio.subprocess.Process:
    """A Python program with these settings and none of the machine's."""
    own = ("AWS_", "PROGRESS_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        env={**inherited, "PYTHONPATH": python_path(), **variables},
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LINE_BYTES,
    )
