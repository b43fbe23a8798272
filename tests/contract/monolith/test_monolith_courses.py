"""What every `CourseRepository` promises, of the monolith's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.course_catalog.domain.repository import CourseRepository
from tests.contract.course_catalog.test_course_repository import *  # noqa: F403 - the suite
from tests.contract.monolith.tables import KINDS, table_of
from tests.monolith.catalog import LegacyCourses


@pytest.fixture(params=KINDS)
async def repository(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CourseRepository]:
    """An empty repository on each kind of table."""
    async with table_of(request, monkeypatch) as table:
        yield LegacyCourses(table)
