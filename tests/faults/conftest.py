"""One platform for all fault tests, on production's defaults, and a report for each module.

Tests and platform share one event loop: proxies and clients live in it. Each test leaves the platform
as it found it, but for courses that have been read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local._faults import Fault
from tests.faults.harness import Platform, running_platform
from tests.faults.report import FOLDER_VARIABLE, Report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with running_platform(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def _faults_end(platform: Platform) -> AsyncIterator[None]:
    """A test that fails leaves no fault to the next."""
    yield
    for proxy in (platform.dynamodb, platform.s3, platform.keys):
        await proxy.switch(Fault.NONE)
    platform.move_clock(0)
    platform.dynamodb_dialect.says_when = True
    platform.answers.clear()


@pytest.fixture(scope="module")
def report(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Report]:
    made = Report()
    yield made
    sys.stdout.write(f"\n{made}\n")
    folder = os.environ.get(FOLDER_VARIABLE) or tmp_path_factory.mktemp("report")
    made.write(Path(folder) / f"{request.node.path.stem}.json")
