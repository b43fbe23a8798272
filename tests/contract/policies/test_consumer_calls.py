"""The consumer on a queue and a table, with all that it may have to do: what is learnt, what is not its, and
what can't be read and is parked. In this process, so that its calls can be heard (`recording.py`)."""

from __future__ import annotations

import asyncio

import pytest

from services.progress_tracking.config import Config
from services.progress_tracking.consumer.__main__ import consume
from tests.backends import Backend
from tests.integration.outline_events.way import eventually, way
from tests.unit.progress_tracking.simulated_queue import event

pytestmark = pytest.mark.timeout(120)


async def test_events_are_learnt_and_poison_is_parked(
    moto_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with way(moto_backend, max_receive_count=2) as on:
        variables = on.variables()
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        stop = asyncio.Event()
        consuming = asyncio.create_task(consume(Config.for_consumer(variables), stop))
        await on.publish("poison")
        await on.publish(event("tides", 1))

        async def parked() -> bool:
            return await on.waiting(on.parked_url) == 1

        await eventually(parked)
        assert await on.versions(["tides"]) == {"tides": 1}
        stop.set()
        await consuming
