"""Runs the consumer: `python -m services.progress_tracking.consumer`, in the service's image.

Its composition root. A process of its own: it scales with the authors' changes and not with the
learners' requests, and neither can hold the other up.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from contextlib import AsyncExitStack

if __name__ == "__main__":
    gc.disable()  # `work` switches it on again.

from libs.aws import open_clients
from libs.logging import get_logger
from libs.service import work, worker_parts
from services.progress_tracking.config import Config
from services.progress_tracking.consumer.consumer import ConsumerMetrics, OutlineConsumer
from services.progress_tracking.consumer.queue import SQSOutlineQueue
from services.progress_tracking.storage.dynamodb import DynamoDBProgressRepository

_log = get_logger(__name__)


async def consume(config: Config, stop: asyncio.Event) -> None:
    """Consume the queue of `config` until `stop` is set and what was begun is finished."""
    parts = worker_parts(config)
    async with AsyncExitStack() as stack:
        for start in parts.background:
            await stack.enter_async_context(start())
        clients = await stack.enter_async_context(
            open_clients(
                config.aws(),
                registry=parts.pipelines,
                tracer=parts.tracer,
                observer=parts.observer,
                services=("dynamodb", "sqs"),
            )
        )
        queue = SQSOutlineQueue(
            clients.sqs,
            config.outline_queue_url,
            # A poll is waited for at the end, and must leave time for what it brings.
            wait_seconds=max(1, min(config.outline_wait_seconds, int(config.drain_seconds / 2))),
            visibility_seconds=config.consumer.visibility_seconds,
        )
        consumer = OutlineConsumer(
            queue,
            DynamoDBProgressRepository(clients.dynamodb, table=config.table),
            tracer=parts.tracer,
            metrics=ConsumerMetrics(parts.metrics),
            settings=config.consumer,
        )
        _log.info("consuming", queue=queue.name)
        await consumer.run(stop)


if __name__ == "__main__":
    sys.exit(work(Config.for_consumer, consume))
