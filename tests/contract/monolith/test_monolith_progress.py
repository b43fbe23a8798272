"""What every `ProgressRepository` promises, of the monolith's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.monolith.outlines import ProgressWithOutlines
from tests.contract.monolith.tables import KINDS, table_of
from tests.contract.progress_tracking.test_progress_repository import *  # noqa: F403 - the suite


@pytest.fixture(params=KINDS)
async def repository(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ProgressWithOutlines]:
    """An empty repository on each kind of table."""
    async with table_of(request, monkeypatch) as table:
        yield ProgressWithOutlines(table)
