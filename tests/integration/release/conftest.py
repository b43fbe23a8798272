"""The embedded AWS with containers, one service on it, and an operator with no more rights than needed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local._apis import ensure_apis
from deploy.local._cluster import _definitions as definitions
from deploy.local._environment import (
    REPOSITORY_ROOT,
    embedded_aws_command,
    embedded_aws_python,
    embedded_aws_variables,
)
from deploy.local._operator import OPERATOR, ensure_users, variables_of_user
from deploy.local._provision import EmbeddedAws
from deploy.release import Aws, login_to, push_image, registry_named
from tests.backends._process import serving
from tests.containers.engine import DockerEngine, DockerError, docker_engine
from tests.integration.release.local_cluster import (
    BASE,
    CATALOG,
    Operator,
    TinyImage,
    client,
    running_service,
    tiny_image,
)


@pytest.fixture(scope="session")
def engine() -> DockerEngine:
    found = docker_engine("deployments on containers")
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not host.startswith("unix://"):
        pytest.skip(f"Docker is not on this machine: deployments on containers ({host})")
    with contextlib.suppress(DockerError):
        found.run("image", "inspect", BASE)
        return found
    subprocess.run(
        [sys.executable, "-m", "deploy.images.base.build"],
        cwd=REPOSITORY_ROOT,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY_ROOT)},
        check=True,
        timeout=300,
    )
    return found


@pytest.fixture(scope="session")
def images(
    engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, TinyImage]]:
    """By how they fare."""
    folder = tmp_path_factory.mktemp("images")
    made = {
        "old": tiny_image(engine, folder / "old", "0.1.0"),
        "new": tiny_image(engine, folder / "new", "0.1.1"),
        "sick": tiny_image(engine, folder / "sick", "0.1.2", SICK="1"),
        "crashing": tiny_image(engine, folder / "crashing", "0.1.3", CRASHES="1"),
        "wrong": tiny_image(engine, folder / "wrong", "0.1.4", SAYS="9.9.9"),
        # Another content of a version that is there.
        "other": tiny_image(engine, folder / "other", "0.1.1", OTHER="1"),
    }
    yield made
    for image in made.values():
        with contextlib.suppress(DockerError):
            engine.run("image", "rm", image.name)


@pytest.fixture(scope="session")
def operator(
    engine: DockerEngine,
    images: dict[str, TinyImage],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operator]:
    """Of a cluster that runs the image "old"."""
    state = tmp_path_factory.mktemp("platform")
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    command = embedded_aws_command(embedded_aws_python(), state=state / "aws", docker_host=host)
    with serving(command, embedded_aws_variables()) as server:
        endpoint = server.ready["endpoint"]
        key = json.loads(Path(server.ready["administrator"]).read_text(encoding="utf-8"))
        aws = EmbeddedAws(endpoint, "us-east-1", key["accessKeyId"], key["secretAccessKey"])
        variables = asyncio.run(operator_variables(aws))
        lines = "".join(f"{name}={value}\n" for name, value in variables.items())
        (state / "operator.env").write_text(lines, encoding="utf-8")
        role = client("iam", endpoint, key).create_role(
            RoleName="lyceum-course_catalog", AssumeRolePolicyDocument=_TASKS
        )["Role"]["Arn"]
        ecr = client("ecr", endpoint, key)
        made = ecr.create_repository(
            repositoryName=definitions.repository("course_catalog"), imageTagMutability="IMMUTABLE"
        )
        registry = made["repository"]["repositoryUri"].split("/")[0]
        login = login_to(registry_named(registry), Aws(lambda: variables), is_ecr=True)
        first = push_image(CATALOG, login, root=REPOSITORY_ROOT, image=images["old"].name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with running_service(endpoint, key, first.reference, port, role) as url:
            document = {
                "registry": registry,
                "cluster": definitions.CLUSTER,
                "services": {"course_catalog": url},
            }
            (state / "platform.json").write_text(json.dumps(document), encoding="utf-8")
            yield Operator(state, url, registry)


async def operator_variables(aws: EmbeddedAws) -> dict[str, str]:
    apis = {service: api.id for service, api in (await ensure_apis(aws)).items()}
    return variables_of_user(aws, (await ensure_users(aws, apis))[OPERATOR])


_TASKS = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)
