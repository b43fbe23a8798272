"""The image that the containers run, and one embedded AWS with a container engine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from deploy.local._environment import (
    REPOSITORY_ROOT,
    embedded_aws_command,
    embedded_aws_python,
    embedded_aws_variables,
)
from tests.backends._process import serving
from tests.containers.engine import DockerEngine, DockerError, docker_engine
from tests.integration.embedded_containers.cluster import Aws, Service, service_of

_BASE = "lyceum/base:debian12"
_REPOSITORY = "lyceum-harness-test/payload"
_PAYLOAD = Path(__file__).parent / "payload.py"


@pytest.fixture(scope="session")
def engine() -> DockerEngine:
    return docker_engine("the embedded AWS's containers")


@pytest.fixture(scope="session")
def docker_host(engine: DockerEngine) -> str:
    """The engine's socket."""
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not host.startswith("unix://"):
        pytest.skip(f"Docker is not on this machine: the embedded AWS's containers ({host})")
    return host


@pytest.fixture(scope="session")
def image(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The payload on the base image, which is made where the engine has none."""
    reference = f"{_REPOSITORY}:{hashlib.sha256(_PAYLOAD.read_bytes()).hexdigest()[:12]}"
    with contextlib.suppress(DockerError):
        engine.run("image", "inspect", reference)
        return reference
    try:
        engine.run("image", "inspect", _BASE)
    except DockerError:
        subprocess.run(
            [sys.executable, "-m", "deploy.images.base.build"],
            cwd=REPOSITORY_ROOT,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY_ROOT)},
            check=True,
            timeout=300,
        )
    context = tmp_path_factory.mktemp("payload")
    (context / "payload.py").write_bytes(_PAYLOAD.read_bytes())
    (context / "Dockerfile").write_text(
        f"FROM {_BASE}\nCOPY payload.py /app/payload.py\nENV APP_HOST=0.0.0.0\n"
        'ENTRYPOINT ["/usr/bin/python3.11", "-I", "/app/payload.py"]\n'
    )
    engine.run("build", "--network=none", "--tag", reference, str(context), timeout=300)
    return reference


@pytest.fixture(scope="session")
def start_aws(
    engine: DockerEngine, docker_host: str, image: str
) -> Callable[[Path], contextlib.AbstractContextManager[Aws]]:
    """Runs an embedded AWS on a state folder."""

    @contextlib.contextmanager
    def start(state: Path) -> Iterator[Aws]:
        command = embedded_aws_command(embedded_aws_python(), state=state, docker_host=docker_host)
        with serving(command, embedded_aws_variables()) as server:
            key = json.loads(Path(server.ready["administrator"]).read_text(encoding="utf-8"))
            yield Aws(
                endpoint=server.ready["endpoint"],
                access_key=key["accessKeyId"],
                secret_key=key["secretAccessKey"],
                state=state,
                engine=engine,
                image=image,
                pid=server.process.pid,
            )

    return start


@pytest.fixture(scope="session")
def aws(
    start_aws: Callable[[Path], contextlib.AbstractContextManager[Aws]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Aws]:
    with start_aws(tmp_path_factory.mktemp("containers") / "aws") as running:
        yield running
    assert running.containers() == [], "a container outlived the embedded AWS"


@pytest.fixture()
async def service(aws: Aws, request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    """A service that is named after the test."""
    words = re.findall(r"[a-z0-9]+", request.node.name.removeprefix("test_"))
    name = f"{'-'.join(words)[:24].rstrip('-')}-{secrets.token_hex(3)}"
    async with service_of(aws, name) as made:
        yield made
