"""An answered request is gone at once: no cycle leaves it to the garbage collector, which would look
for it in all that the process holds."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.unit.http.sample_app import Sample, running


class Watching(Sample):
    """Keeps a weak reference to each request of `/me`."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[weakref.ref[web.Request]] = []

    async def me(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(weakref.ref(request))
        return await super().me(request)


@pytest.fixture()
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
async def test_an_answered_request_is_gone_without_the_collector() -> None:
    sample = Watching()
    async with running(sample) as client:
        for _ in range(3):
            assert (await client.call("GET", "/me")).status == 200
        # The connection's task knows the last one until the next.
        assert [seen() for seen in sample.seen[:-1]] == [None, None]
