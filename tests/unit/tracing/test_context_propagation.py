"""The current span in everything asyncio offers to run something else with."""

import asyncio
import contextvars
from collections.abc import AsyncIterator
from contextlib import suppress

from libs.tracing import Tracer
from libs.tracing.testing import UdpCollector


async def work(tracer: Tracer, name: str) -> str:
    """Two nested spans with the loop in between, so that other tasks interleave."""
    with tracer.span(name):
        await asyncio.sleep(0)
        with tracer.span(f"{name} inner"):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    return name


async def tree(collector: UdpCollector, number: int = 1) -> dict[str, str | None]:
    """Each entity's parent, by names; the segment goes by its operation."""
    await collector.wait_for(number)
    entities = collector.entities()
    names = {e["id"]: e.get("annotations", {}).get("operation", e["name"]) for e in entities}
    assert len(set(names.values())) == len(names), "names are unique in these tests"
    return {names[e["id"]]: names.get(e.get("parent_id", "")) for e in entities}


async def test_gather(tracer: Tracer, collector: UdpCollector) -> None:
    with tracer.segment("request"):
        await asyncio.gather(*(work(tracer, f"call {number}") for number in range(3)))
        assert tracer.current() is not None
    assert await tree(collector) == {
        "request": None,
        **{f"call {number}": "request" for number in range(3)},
        **{f"call {number} inner": f"call {number}" for number in range(3)},
    }


async def test_task_group(tracer: Tracer, collector: UdpCollector) -> None:
    with tracer.segment("request"), tracer.span("fan-out"):
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(work(tracer, f"call {number}"))
    assert await tree(collector) == {
        "request": None,
        "fan-out": "request",
        **{f"call {number}": "fan-out" for number in range(3)},
        **{f"call {number} inner": f"call {number}" for number in range(3)},
    }


async def test_wait_for(tracer: Tracer, collector: UdpCollector) -> None:
    with tracer.segment("request"):
        assert await asyncio.wait_for(work(tracer, "call"), timeout=5) == "call"
    assert await tree(collector) == {"request": None, "call": "request", "call inner": "call"}


async def test_a_timeout_ends_the_spans_that_it_cuts_off(
    tracer: Tracer, collector: UdpCollector
) -> None:
    with tracer.segment("request") as segment:
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                with tracer.span("slow"):
                    await asyncio.Event().wait()
        assert tracer.current() == segment.context
        with tracer.span("fallback"):
            pass
    assert await tree(collector) == {"request": None, "slow": "request", "fallback": "request"}
    assert not any(e.get("fault") or e.get("error") for e in collector.entities())


async def test_create_task_with_a_context_of_its_own(
    tracer: Tracer, collector: UdpCollector
) -> None:
    """What uvloop always passes, and what the SDK's task factory can't take."""
    before = contextvars.copy_context()
    with tracer.segment("request"):
        within = contextvars.copy_context()
        with tracer.span("elsewhere"):
            task = asyncio.create_task(work(tracer, "call"), context=within, name="call")
            outside = asyncio.create_task(work(tracer, "untraced"), context=before)
            await asyncio.gather(task, outside)
    assert await tree(collector) == {
        "request": None,
        "elsewhere": "request",
        "call": "request",
        "call inner": "call",
    }


async def test_to_thread(tracer: Tracer, collector: UdpCollector) -> None:
    def blocking(name: str) -> None:
        with tracer.span(name), tracer.span(f"{name} inner"):
            pass

    with tracer.segment("request"):
        await asyncio.gather(*(asyncio.to_thread(blocking, f"call {n}") for n in range(8)))
    assert await tree(collector) == {
        "request": None,
        **{f"call {number}": "request" for number in range(8)},
        **{f"call {number} inner": f"call {number}" for number in range(8)},
    }


async def test_a_child_task_leaves_its_parents_current_span_alone(tracer: Tracer) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def child() -> None:
        with tracer.span("child"):
            entered.set()
            await leave.wait()

    with tracer.segment("request") as segment:
        task = asyncio.create_task(child())
        await entered.wait()
        assert tracer.current() == segment.context
        leave.set()
        await task
        assert tracer.current() == segment.context
    assert tracer.current() is None


async def test_50_concurrent_requests_each_have_their_own_tree(
    tracer: Tracer, collector: UdpCollector
) -> None:
    async def request(number: int) -> None:
        with tracer.segment(f"request {number}"):
            await asyncio.gather(work(tracer, f"a {number}"), work(tracer, f"b {number}"))

    await asyncio.gather(*(request(number) for number in range(50)))
    found = await tree(collector, 50)
    assert len(found) == 250
    for number in range(50):
        assert found[f"request {number}"] is None
        for name in ("a", "b"):
            assert found[f"{name} {number}"] == f"request {number}"
            assert found[f"{name} {number} inner"] == f"{name} {number}"
    assert len({d["trace_id"] for d in collector.segments()}) == 50


async def test_an_async_generator(tracer: Tracer, collector: UdpCollector) -> None:
    async def pages() -> AsyncIterator[int]:
        for number in range(3):
            with tracer.span(f"page {number}"):
                await asyncio.sleep(0)
            yield number

    with tracer.segment("request"):
        assert [page async for page in pages()] == [0, 1, 2]
    assert await tree(collector) == {
        "request": None,
        **{f"page {number}": "request" for number in range(3)},
    }
