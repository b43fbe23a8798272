"""The repository in memory passes the suite that the real ones pass."""

from __future__ import annotations

import pytest

from services.content_delivery.domain.repository import ContentRepository
from services.content_delivery.storage.memory import MemoryContentRepository
from tests.contract.content_delivery.repository_suite import ContentRepositorySuite


class TestMemoryContentRepository(ContentRepositorySuite):
    @pytest.fixture()
    def repository(self) -> ContentRepository:
        return MemoryContentRepository()
