"""One cluster for all tests of the folder, with every image that they release in its registry.

Each test leaves each service on its first image, with all tasks in service.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import pytest
import pytest_asyncio

from deploy.release import SERVICES
from tests.containers.engine import DockerEngine, docker_engine
from tests.load.steady import Plan, SteadyLoad
from tests.rolling.cluster import RunningCluster, running_cluster
from tests.rolling.variants import (
    BASE,
    CRASHING,
    DEAF,
    LATE,
    MISNAMED,
    NEXT,
    PUNCTUAL,
    SICK,
    SPOT,
    Variant,
    built,
)

TASKS = 2

Digests = Mapping[tuple[str, str], str]


@pytest.fixture(scope="session")
def engine() -> DockerEngine:
    return docker_engine("releases on a cluster of containers")


@pytest.fixture(scope="session")
def images(engine: DockerEngine) -> Iterator[Mapping[tuple[str, str], str]]:
    every = [Variant(BASE), Variant(NEXT)]
    broken = [SICK, CRASHING, MISNAMED, LATE, PUNCTUAL, DEAF, SPOT]
    wanted = {service: list(every) for service in SERVICES}
    wanted["course_catalog"] += broken
    with built(engine, wanted) as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(
    engine: DockerEngine,
    images: Mapping[tuple[str, str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningCluster]:
    state = tmp_path_factory.mktemp("platform") / "state"
    first = {service: images[service, BASE] for service in SERVICES}
    async with running_cluster(engine, state, first, tasks=TASKS) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def digests(cluster: RunningCluster, images: Mapping[tuple[str, str], str]) -> Digests:
    """By service and version, once all are pushed."""
    pushed = await asyncio.gather(
        *(cluster.push(service, name) for (service, _), name in images.items())
    )
    return dict(zip(images, pushed, strict=True))


@pytest.fixture()
def load(cluster: RunningCluster) -> SteadyLoad:
    """Not running yet."""
    plan = Plan(devices=4, requests_per_second=4.0, most_requests=5000)
    return SteadyLoad([cluster.bases], cluster.tokens, plan=plan)
