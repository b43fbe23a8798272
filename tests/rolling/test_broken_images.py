"""Images that are broken in one way each are rolled back by themselves, and nobody notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from tests.load.steady import SteadyLoad
from tests.rolling.cluster import Released, RunningCluster
from tests.rolling.conftest import TASKS, Digests
from tests.rolling.variants import (
    BASE,
    CRASHING,
    DEAF,
    LATE,
    LATE_SECONDS,
    MISNAMED,
    PUNCTUAL,
    PUNCTUAL_SECONDS,
    SICK,
    Variant,
)

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

CATALOG = "course_catalog"
# A start on a busy machine takes some of it; the shorter, the sooner a broken image is given up.
SHORT_GRACE_SECONDS = 10
LONG_GRACE_SECONDS = 60


@pytest_asyncio.fixture(loop_scope="session")
async def _short_grace(cluster: RunningCluster) -> AsyncIterator[None]:
    before = await cluster.allow_grace(CATALOG, SHORT_GRACE_SECONDS)
    yield
    await cluster.allow_grace(CATALOG, before)


@asynccontextmanager
async def nothing_dropped(load: SteadyLoad) -> AsyncIterator[None]:
    async with load.running():
        yield
        # Also of what is still on its way when the release is over.
        await load.more_requests(4 * load.plan.devices)
    assert [str(failure) for failure in load.failures] == []
    assert await load.lost_writes() == []


def assert_rolled_back(released: Released, reason: str) -> None:
    assert released.exit_code == 1, released
    assert released.outcome["event"] == "rolledBack", released
    assert released.outcome["version"] == BASE
    assert reason in released.outcome["reason"], released


@pytest.mark.usefixtures("_short_grace")
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(SICK, "failed to start", id="fails its health checks"),
        pytest.param(CRASHING, "failed to start", id="crashes"),
        pytest.param(LATE, "failed to start", id="listens after its grace"),
    ],
)
async def test_what_never_gets_well_never_serves(
    cluster: RunningCluster, digests: Digests, load: SteadyLoad, broken: Variant, reason: str
) -> None:
    assert LATE_SECONDS > SHORT_GRACE_SECONDS
    before = await cluster.tasks(CATALOG)
    async with nothing_dropped(load):
        released = await cluster.deploy(CATALOG, digests[CATALOG, broken.version])
    assert_rolled_back(released, reason)
    # Those that served before have served all the time.
    assert await cluster.tasks(CATALOG) == before


async def test_what_says_it_is_another_version_is_taken_back(
    cluster: RunningCluster, digests: Digests, load: SteadyLoad
) -> None:
    async with nothing_dropped(load):
        released = await cluster.deploy(CATALOG, digests[CATALOG, MISNAMED.version])
    assert_rolled_back(released, "9.9.9")
    tasks = await cluster.tasks(CATALOG)
    assert [task.digest for task in tasks.values()] == [digests[CATALOG, BASE]] * TASKS


async def test_what_listens_late_within_its_grace_is_well(
    cluster: RunningCluster, digests: Digests, load: SteadyLoad
) -> None:
    before = await cluster.allow_grace(CATALOG, LONG_GRACE_SECONDS)
    assert PUNCTUAL_SECONDS < LONG_GRACE_SECONDS
    async with nothing_dropped(load):
        released = await cluster.deploy(CATALOG, digests[CATALOG, PUNCTUAL.version])
        assert released.exit_code == 0, released
        back = await cluster.release("rollback", CATALOG)
        assert back.exit_code == 0, back
    await cluster.allow_grace(CATALOG, before)


async def test_what_hears_no_sigterm_is_killed_and_drops_nothing(
    cluster: RunningCluster, digests: Digests, load: SteadyLoad
) -> None:
    async with nothing_dropped(load):
        released = await cluster.deploy(CATALOG, digests[CATALOG, DEAF.version])
        assert released.exit_code == 0, released
        deaf = await cluster.tasks(CATALOG)
        back = await cluster.release("rollback", CATALOG)
        assert back.exit_code == 0, back
    for task_id in deaf:
        (container,) = (await cluster.ended(task_id))["containers"]
        assert container["exitCode"] == 137  # SIGKILL, after stopTimeout
