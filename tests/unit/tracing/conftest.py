"""Every async test here runs on the standard loop and on uvloop: the X-Ray SDK's own context
worked on the one and hung on the other."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from libs.tracing import SamplingRules, Tracer, create_tracer
from libs.tracing.testing import UdpCollector


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture()
async def collector() -> AsyncIterator[UdpCollector]:
    async with UdpCollector() as collector:
        yield collector


@pytest.fixture()
async def tracer(collector: UdpCollector) -> AsyncIterator[Tracer]:
    """Samples everything and sends it to the collector."""
    tracer = create_tracer(
        service="catalog",
        version="1.2.3",
        daemon_address=collector.address,
        rules=SamplingRules(default_rate=1.0),
    )
    yield tracer
    tracer.close()
