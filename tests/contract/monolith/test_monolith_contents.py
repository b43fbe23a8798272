"""What every `ContentRepository` promises, of the monolith's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.content_delivery.domain.repository import ContentRepository
from tests.contract.content_delivery.repository_suite import ContentRepositorySuite
from tests.contract.monolith.tables import KINDS, table_of
from tests.monolith.content import LegacyContents


class TestMonolithContents(ContentRepositorySuite):
    @pytest.fixture(params=KINDS)
    async def repository(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[ContentRepository]:
        async with table_of(request, monkeypatch) as table:
            yield LegacyContents(table)
