"""The same journey where the services are containers, two tasks each; and what those containers may.

Whatever `test_journey.py` says of the platform holds here as well: its tests are these.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import ClientError

from tests.containers.engine import DockerEngine, docker_engine
from tests.containers.releasable import releasable_images
from tests.system.container_tasks import TaskContainer, container_ids, task_containers
from tests.system.exchange import ask
from tests.system.platform_process import RunningPlatform, run_up
from tests.system.test_journey import *  # noqa: F403

pytestmark = pytest.mark.timeout(900)

TASKS = 2
FAMILIES = ("course_catalog", "content_delivery", "progress_tracking", "progress_tracking-consumer")


@pytest.fixture(scope="module")
def engine() -> DockerEngine:
    return docker_engine("the journey on containers is not run")


@pytest.fixture(scope="module")
def platform_arguments(engine: DockerEngine, platform_directory: Path) -> Iterator[Sequence[str]]:
    with releasable_images(engine) as images:
        given = [("--image", f"{service}={image}") for service, image in images.items()]
        yield ("--containers", "--tasks", str(TASKS), *(word for pair in given for word in pair))
        # The platform was stopped in order.
        state = platform_directory / "state"
        assert container_ids(engine, state) == []
        for name in ("platform.json", "operator.env", "containers.json"):
            assert not (state / name).exists()


@pytest.fixture(scope="module")
def containers(engine: DockerEngine, platform: RunningPlatform) -> list[TaskContainer]:
    return task_containers(engine, platform.state)


def test_there_are_as_many_tasks_of_each_as_were_asked_for(
    containers: list[TaskContainer],
) -> None:
    assert Counter(container.family for container in containers) == dict.fromkeys(FAMILIES, TASKS)
    # An address of the machine's own for each: nothing listens where others could reach it.
    addresses = [
        value
        for container in containers
        for name, value in container.environment.items()
        if name.endswith("_HOST")
    ]
    assert all(address.startswith("127.") for address in addresses)
    assert len(set(addresses)) == len(containers)


def test_a_container_can_write_nowhere_and_is_nobody(
    engine: DockerEngine, containers: list[TaskContainer]
) -> None:
    for container in containers:
        host = container.inspected["HostConfig"]
        assert host["ReadonlyRootfs"] is True
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert host["Privileged"] is False
        assert container.inspected["Config"]["User"].split(":")[0] == "65532"
        assert "@sha256:" in container.inspected["Config"]["Image"]
        # And as the kernel has it, of the process that runs.
        status = (Path("/proc") / str(container.inspected["State"]["Pid"]) / "status").read_text()
        fields = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
        assert fields["Uid"].split() == ["65532"] * 4
        assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
        assert fields["NoNewPrivs"] == "1"
    probe = (
        "import os\n"
        "for folder in ('/', '/tmp', '/app', '/home/nonroot', '/var', '/dev/shm'):\n"
        "    try:\n"
        "        open(os.path.join(folder, 'x'), 'w').close()\n"
        "        print(folder)\n"
        "    except OSError:\n"
        "        pass\n"
    )
    written = engine.run("exec", containers[0].id, "/app/bin/python", "-I", "-c", probe)
    # Memory that ends with the container, which every container has.
    assert written.split() in ([], ["/dev/shm"])


def test_each_task_has_the_variables_of_its_service_and_none_of_the_platforms(
    containers: list[TaskContainer],
) -> None:
    prefixes = {"course": "CATALOG_", "content": "CONTENT_", "progress": "PROGRESS_"}
    for container in containers:
        prefix = prefixes[re.split("[_-]", container.family)[0]]
        environment = container.environment
        assert environment[f"{prefix}VERSION"]
        assert "AWS_SECRET_ACCESS_KEY" not in environment
        assert environment["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("http://127.0.0.1:")
        for other in set(prefixes.values()) - {prefix}:
            assert not any(name.startswith(other) for name in environment)


def test_tasks_share_the_load(platform: RunningPlatform, containers: list[TaskContainer]) -> None:
    for _ in range(10):
        assert platform.request("/courses?limit=1").status == 200
    for container in containers:
        if container.family == "course_catalog":
            log = platform.state / "logs" / f"course_catalog-{container.task}.log"
            lines = log.read_text().splitlines()
            served = [json.loads(line) for line in lines if '"/courses"' in line]
            assert len(served) >= 3, container.task


def test_a_service_says_which_content_it_is(platform: RunningPlatform) -> None:
    for service, url in platform.document["services"].items():
        version = ask(f"{url}/version").json
        assert version["service"] == service
        assert re.fullmatch("[0-9a-f]{64}", version["imageHash"])
        assert version["revision"] == "of-a-test"


def test_traces_come_from_the_containers(platform: RunningPlatform) -> None:
    assert platform.request("/progress/me").status == 200
    shown = run_up(
        *("traces", "--json", "--last", "50", "--state", str(platform.state)),
        directory=platform.directory,
    )
    assert shown.returncode == 0, shown.stderr
    assert '"progress_tracking"' in shown.stdout


def operator(platform: RunningPlatform, service: str) -> Any:
    """A client of AWS with the operator's own key."""
    path = platform.state / "operator.env"
    assert path.stat().st_mode & 0o777 == 0o600
    variables = dict(line.split("=", 1) for line in path.read_text().splitlines())
    return aioboto3.Session(
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
    ).client(service, endpoint_url=variables["AWS_ENDPOINT_URL"])


def test_the_operator_sees_what_runs_and_may_not_touch_data_or_end_it(
    platform: RunningPlatform,
) -> None:
    cluster = platform.document["cluster"]

    async def look() -> tuple[list[Any], list[Any], list[str]]:
        async with operator(platform, "ecs") as ecs, operator(platform, "dynamodb") as dynamodb:
            described = await ecs.describe_services(cluster=cluster, services=list(FAMILIES))
            arns = {service["taskDefinition"] for service in described["services"]}
            listed = await ecs.list_tasks(cluster=cluster, serviceName="course_catalog")
            tasks = await ecs.describe_tasks(cluster=cluster, tasks=listed["taskArns"])
            for arn in arns:
                await ecs.describe_task_definition(taskDefinition=arn)
            refused = []
            for call in (
                ecs.delete_service(cluster=cluster, service="course_catalog", force=True),
                ecs.stop_task(cluster=cluster, task=listed["taskArns"][0]),
                ecs.run_task(cluster=cluster, taskDefinition=next(iter(arns))),
                dynamodb.scan(TableName="Progress"),
            ):
                with pytest.raises(ClientError) as caught:
                    await call
                refused.append(caught.value.response["Error"]["Code"])
            return described["services"], tasks["tasks"], refused

    services, tasks, refused = asyncio.run(look())
    assert {service["serviceName"] for service in services} == set(FAMILIES)
    for service in services:
        assert (service["runningCount"], service["desiredCount"]) == (TASKS, TASKS)
        rules = service["deploymentConfiguration"]
        assert (rules["minimumHealthyPercent"], rules["maximumPercent"]) == (100, 200)
        breaker = rules["deploymentCircuitBreaker"]
        assert (breaker["enable"], breaker["rollback"]) == (True, True)
    assert len(tasks) == TASKS
    assert set(refused) == {"AccessDeniedException"}
