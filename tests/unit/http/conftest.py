"""Every asynchronous test here runs on the standard loop and on uvloop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from tests.unit.http.sample_app import Client, Sample, running


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Read by pytest-asyncio."""
    if item.path.name == "test_drain.py":
        # The loops under test are in processes of their own there.
        return {"asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture()
async def client() -> AsyncIterator[Client]:
    """A client of a running sample application."""
    async with running(Sample()) as found:
        yield found
