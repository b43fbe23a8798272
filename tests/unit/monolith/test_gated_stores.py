"""Each step goes to the store that the gate says, waits where the gate waits, and no longer than it lets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from deploy.migration._control import SOURCE, TARGET
from libs.aws import DependencyUnavailable
from services.content_delivery.domain.content import Content
from services.content_delivery.domain.repository import ContentRepository
from services.content_delivery.storage.memory import MemoryContentRepository
from services.course_catalog.domain.course import Status
from services.course_catalog.domain.errors import CatalogUnavailableError
from services.course_catalog.domain.repository import CourseRepository
from services.course_catalog.storage.memory import InMemoryCourseRepository
from tests.monolith.catalog import LegacyCourses
from tests.monolith.content import LegacyContents
from tests.monolith.gated import CATALOG, CONTENT, GatedContents, GatedCourses, Owned
from tests.monolith.memory_table import MemoryTable
from tests.unit.content_delivery.samples import pending
from tests.unit.course_catalog.courses import draft, instant


class ToldGate:
    """A gate of one module that a test opens, closes and hands over."""

    def __init__(self) -> None:
        self.owner = SOURCE
        self.open = asyncio.Event()
        self.open.set()
        self.inside = 0
        self.longest: float | None = None

    @asynccontextmanager
    async def enter(self, module: str) -> AsyncIterator[str]:
        assert module in (CATALOG, CONTENT)
        await self.open.wait()
        self.inside += 1
        try:
            async with asyncio.timeout(self.longest):
                yield self.owner
        finally:
            self.inside -= 1


class Stores:
    """A module's two stores, and the gate in front of them."""

    def __init__(self) -> None:
        self.gate = ToldGate()
        self.source = LegacyContents(MemoryTable())
        self.target = MemoryContentRepository()
        self.contents = GatedContents(
            Owned[ContentRepository](self.gate, CONTENT, {SOURCE: self.source, TARGET: self.target})
        )


async def test_a_step_goes_to_the_owner() -> None:
    stores = Stores()
    await stores.contents.create_pending(pending("before"))
    stores.gate.owner = TARGET
    await stores.contents.create_pending(pending("after"))
    assert await stores.source.get("before") is not None
    assert await stores.source.get("after") is None
    assert await stores.target.get("after") is not None
    assert await stores.contents.get("before") is None


async def test_a_step_waits_while_the_gate_is_closed_and_then_goes_to_the_new_owner() -> None:
    stores = Stores()
    stores.gate.open.clear()
    writing = asyncio.create_task(stores.contents.create_pending(pending("waiting")))
    reading = asyncio.create_task(stores.contents.get("waiting"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not writing.done()
    assert not reading.done()
    stores.gate.owner = TARGET
    stores.gate.open.set()
    await writing
    await reading
    assert await stores.target.get("waiting") is not None
    assert await stores.source.get("waiting") is None


class Slow(LegacyContents):
    """Its answers never come."""

    async def get(self, content_id: str) -> Content | None:
        await asyncio.Event().wait()
        return None


async def test_a_step_that_takes_longer_than_the_gate_lets_it_is_given_up() -> None:
    gate = ToldGate()
    gate.longest = 0.01
    contents = GatedContents(Owned[ContentRepository](gate, CONTENT, {SOURCE: Slow(MemoryTable())}))
    with pytest.raises(DependencyUnavailable):
        await contents.get("c-1")
    assert gate.inside == 0


async def test_a_listing_during_which_the_courses_change_hands_is_to_be_begun_anew() -> None:
    gate = ToldGate()
    source, target = LegacyCourses(MemoryTable()), InMemoryCourseRepository()
    courses = GatedCourses(Owned[CourseRepository](gate, CATALOG, {SOURCE: source, TARGET: target}))
    await courses.create(draft(1))
    seen: list[str] = []

    async def list_while_it_is_switched() -> None:
        async for batch in courses.listing(Status.DRAFT):
            seen.extend(course.id for course in batch)
            # A listing holds up no switch.
            assert gate.inside == 0
            gate.owner = TARGET

    with pytest.raises(CatalogUnavailableError, match="changed hands"):
        await list_while_it_is_switched()
    assert seen == ["crs-1"]
    await courses.create(draft(2))
    batches = [batch async for batch in courses.changes(instant(-1))]
    assert [change.id for batch in batches for change in batch] == ["crs-2"]
