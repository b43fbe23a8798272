"""One provisioned embedded AWS for the tests of this folder."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local._provision import EmbeddedAws, Resources, provision
from tests.backends import running_ministack

PLAYER_ORIGIN = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Provisioned:
    aws: EmbeddedAws
    resources: Resources
    state: Path


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provisioned]:
    state = tmp_path_factory.mktemp("provisioned")
    with running_ministack(state / "aws") as backend:
        aws = EmbeddedAws(
            backend.endpoint_url, backend.region, backend.access_key, backend.secret_key
        )
        resources = asyncio.run(provision(aws, state=state, cors_origins=[PLAYER_ORIGIN]))
        yield Provisioned(aws, resources, state)
