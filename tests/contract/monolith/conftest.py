"""The contract suites of this folder are played on the monolith, in two states: before a migration, and
after the module was switched to its service's table."""

from __future__ import annotations

import pytest

from tests.contract.content_delivery import service as content_suite
from tests.contract.course_catalog import running as catalog_suite
from tests.contract.monolith.stage import OWNERS, CatalogStage, ContentStage, ProgressStage
from tests.contract.progress_tracking import service as progress_suite


@pytest.fixture(params=OWNERS)
def on_the_monolith(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every suite's stage is the monolith, owned by the source or by the target."""
    monkeypatch.setattr(catalog_suite, "STAGE", CatalogStage(request.param))
    monkeypatch.setattr(content_suite, "STAGE", ContentStage(request.param))
    monkeypatch.setattr(progress_suite, "STAGE", ProgressStage(request.param))
