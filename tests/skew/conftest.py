"""The previous release and this one, running side by side for all tests of the folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.release._services import SERVICES
from tests.containers.engine import DockerEngine, docker_engine
from tests.containers.packaged import packaged_image
from tests.skew.contracts import Contracts
from tests.skew.deployment import NEW, OLD, Deployment, both_versions
from tests.skew.previous import NoHistoryError, PreviousImage, previous_images


@pytest.fixture(scope="session")
def engine() -> DockerEngine:
    return docker_engine("the previous release beside this one")


@pytest.fixture(scope="session")
def previous(engine: DockerEngine) -> Iterator[Mapping[str, PreviousImage]]:
    try:
        with previous_images(engine, list(SERVICES.values())) as found:
            yield found
    except NoHistoryError as missing:
        pytest.skip(f"The previous release was not run beside this one: {missing}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deployment(
    engine: DockerEngine,
    previous: Mapping[str, PreviousImage],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Deployment]:
    images = {
        OLD: {service: found.image for service, found in previous.items()},
        NEW: {service: packaged_image(engine, service) for service in SERVICES},
    }
    async with both_versions(engine, images, tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture(scope="session")
def contracts(
    previous: Mapping[str, PreviousImage], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Contracts]:
    """By version. Services may be of different commits: each brings its own."""
    here = Contracts.of(Path(), tmp_path_factory.mktemp("new"), list(SERVICES))
    before = [
        Contracts.of(found.files, tmp_path_factory.mktemp("old"), [service])
        for service, found in previous.items()
    ]
    return {
        NEW: here,
        OLD: Contracts(
            pacts=tuple(
                pact for one in before for pact in one.pacts if pact.provider in one.documents
            ),
            documents={
                service: document for one in before for service, document in one.documents.items()
            },
        ),
    }
