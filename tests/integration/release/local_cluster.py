"""A cluster of the embedded AWS with one service of tiny images, and the tool as an operator has it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

from deploy.local._cluster import _definitions as definitions
from deploy.local._environment import REPOSITORY_ROOT
from deploy.release import SERVICES, Aws, login_to, push_image, registry_named
from tests.containers.engine import DockerEngine

BASE = "lyceum/base:debian12"
CATALOG = SERVICES["course_catalog"]
_LOCAL_NAME = "lyceum-release-test/payload"
_PAYLOAD = Path(__file__).parent / "payload.py"
_SECONDS = 400


@dataclass(frozen=True)
class TinyImage:
    """An image in the engine: of a version, with variables that say how it fares."""

    version: str
    name: str


def tiny_image(engine: DockerEngine, folder: Path, version: str, **variables: str) -> TinyImage:
    """Builds an image that says to be the course catalog's of a version."""
    payload = _PAYLOAD.read_text(encoding="utf-8")
    content = f"{payload} {version} {sorted(variables.items())}"
    image_hash = hashlib.sha256(content.encode()).hexdigest()
    name = f"{_LOCAL_NAME}:{image_hash[:12]}"
    every = {
        "CATALOG_VERSION": version,
        "CATALOG_IMAGE_HASH": image_hash,
        "CATALOG_HOST": "0.0.0.0",
        "CATALOG_PORT": "8080",
        **variables,
    }
    folder.mkdir(exist_ok=True)
    (folder / "payload.py").write_text(payload, encoding="utf-8")
    (folder / "Dockerfile").write_text(
        f"FROM {BASE}\nCOPY payload.py /payload.py\n"
        f"ENV {' '.join(f'{key}={value}' for key, value in every.items())}\n"
        'ENTRYPOINT ["/usr/bin/python3.11", "-I", "/payload.py"]\n',
        encoding="utf-8",
    )
    engine.run("build", "--tag", name, str(folder), timeout=300)
    return TinyImage(version, name)


@dataclass(frozen=True)
class Operator:
    """Who has the tool, and the state folder of a platform that says where everything is."""

    state: Path
    url: str
    registry: str

    def run(
        self, *arguments: str, variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command of the tool, on its platform."""
        return subprocess.run(
            self.command(*arguments),
            cwd=REPOSITORY_ROOT,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY_ROOT), **(variables or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )

    def command(self, *arguments: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "deploy.release.release",
            *arguments,
            "--local",
            str(self.state),
        ]

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        """The same as a process that goes on."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=REPOSITORY_ROOT,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY_ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def push(self, image: TinyImage) -> str:
        """Sends an image; gives its digest."""
        variables = dict(
            line.split("=", 1)
            for line in (self.state / "operator.env").read_text(encoding="utf-8").splitlines()
        )
        login = login_to(registry_named(self.registry), Aws(lambda: variables), is_ecr=True)
        return push_image(CATALOG, login, root=REPOSITORY_ROOT, image=image.name).digest


def told(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The events of a run with `--json`."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def client(service: str, endpoint: str, key: Mapping[str, str]) -> Any:
    """A client with the administrator's key."""
    return botocore.session.Session().create_client(
        service,
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=key["accessKeyId"],
        aws_secret_access_key=key["secretAccessKey"],
        config=Config(parameter_validation=False),
    )


@contextmanager
def running_service(
    endpoint: str, key: Mapping[str, str], image: str, port: int, role: str
) -> Iterator[str]:
    """The course catalog with two tasks behind the load balancer, as the platform makes it; gives its
    address."""
    ecs, elb = (client(name, endpoint, key) for name in ("ecs", "elbv2"))
    one = definitions.ECS_SERVICES["course_catalog"]
    ecs.create_cluster(clusterName=definitions.CLUSTER)
    balancer = elb.create_load_balancer(**definitions.load_balancer())["LoadBalancers"][0]
    group = elb.create_target_group(**definitions.target_group(one))["TargetGroups"][0]
    arn = group["TargetGroupArn"]
    elb.modify_target_group_attributes(
        **definitions.target_group_attributes(arn, deregistration_delay=1)
    )
    elb.create_listener(**definitions.listener(balancer["LoadBalancerArn"], arn, port=port))
    definition = definitions.task_definition(
        one,
        image=image,
        version="0.1.0",
        variables={"CATALOG_HOST": "0.0.0.0"},
        task_role_arn=role,
    )
    for container in definition["containerDefinitions"]:
        container.pop("healthCheck", None)  # a program that these images do not have
    registered = ecs.register_task_definition(**definition)
    ecs.create_service(
        **{
            **definitions.service(
                one,
                task_definition=registered["taskDefinition"]["taskDefinitionArn"],
                desired_count=2,
                target_group_arn=arn,
            ),
            "healthCheckGracePeriodSeconds": 15,
        }
    )
    deadline = time.monotonic() + 90
    while not is_steady(ecs):
        assert time.monotonic() < deadline, ended_tasks(ecs)
        time.sleep(0.2)
    try:
        yield f"http://{balancer['DNSName']}:{port}"
    finally:
        ecs.delete_service(cluster=definitions.CLUSTER, service=one.name, force=True)


def is_steady(ecs: Any) -> bool:
    answer = ecs.describe_services(cluster=definitions.CLUSTER, services=["course_catalog"])
    (service,) = answer["services"]
    (first, *others) = service["deployments"]
    return first["rolloutState"] == "COMPLETED" and not others


def ended_tasks(ecs: Any) -> list[str]:
    """Why tasks ended."""
    arns = ecs.list_tasks(cluster=definitions.CLUSTER, desiredStatus="STOPPED")["taskArns"]
    if not arns:
        return []
    tasks = ecs.describe_tasks(cluster=definitions.CLUSTER, tasks=arns)["tasks"]
    return [f"{task.get('stoppedReason')}: {task['containers']}" for task in tasks]


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Ctrl-C; gives the exit code and what was told."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors
