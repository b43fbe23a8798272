"""What a task is: the container that its definition says, no more than that, on an address of its own."""

import json
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError

from tests.integration.embedded_containers.cluster import (
    CLUSTER,
    Aws,
    Service,
    define,
    until,
)


async def whoami(service: Service) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"{service.url}/whoami") as answer:
        facts: dict[str, Any] = json.loads(await answer.text())
        return facts


async def test_a_task_is_what_its_definition_says(service: Service) -> None:
    definition = await define(
        service.ecs,
        service.name,
        service.aws.image,
        {"APP_VERSION": "1", "OTHER_HOST": "127.0.0.1", "NOT_A_HOST_NAME": "0.0.0.0"},
        command=["one", "two"],
    )
    await service.create(definition, count=1)
    facts = await whoami(service)
    (task,) = await service.tasks()
    address = task["attachments"][0]["details"][0]["value"]
    port = int(service.aws.endpoint.rpartition(":")[2])
    assert address.startswith(f"127.{port >> 8}.{port & 255}.")
    assert facts["environment"]["APP_HOST"] == address
    assert facts["environment"]["OTHER_HOST"] == "127.0.0.1"
    assert facts["environment"]["NOT_A_HOST_NAME"] == "0.0.0.0"
    assert facts["arguments"] == ["one", "two"]
    assert facts["uid"] == 65532
    assert facts["root"] == "read-only"
    assert int(facts["capabilities"], 16) == 0
    assert facts["noNewPrivileges"] == "1"
    assert not any(mount.startswith(str(service.aws.state)) for mount in facts["mounts"])
    # Credentials and endpoints come from the definition alone.
    assert not any(name.startswith(("AWS_", "ECS_")) for name in facts["environment"])
    # What the process can not see of itself, as the engine has it.
    (container,) = json.loads(service.aws.engine.run("inspect", task["containers"][0]["runtimeId"]))
    host = container["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 128 * 2**20
    assert host["CapDrop"] == ["ALL"]
    assert host["Privileged"] is False
    assert host["Binds"] is None
    assert container["Mounts"] == []
    assert host["RestartPolicy"]["Name"] == "no"


async def test_the_variable_of_an_image_does_not_listen_everywhere_either(
    service: Service,
) -> None:
    """The image says APP_HOST=0.0.0.0; here the definition does not name it."""
    made = await service.ecs.register_task_definition(
        family=service.name,
        memory="128",
        containerDefinitions=[{"name": service.name, "image": service.aws.image}],
    )
    await service.create(made["taskDefinition"]["taskDefinitionArn"], count=1)
    facts = await whoami(service)
    assert facts["environment"]["APP_HOST"].startswith("127.")


REFUSED: dict[str, dict[str, Any]] = {
    "privileged": {"privileged": True},
    "more capabilities": {"linuxParameters": {"capabilities": {"add": ["SYS_ADMIN"]}}},
    "a device": {"linuxParameters": {"devices": [{"hostPath": "/dev/mem"}]}},
    "secrets that are not resolved": {"secrets": [{"name": "A", "valueFrom": "arn:b"}]},
    "a stop time-out beyond Fargate's": {"stopTimeout": 121},
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_definition_that_can_not_be_run_as_it_says_is_refused(aws: Aws, what: str) -> None:
    async with aws.client("ecs") as ecs:
        with pytest.raises(ClientError, match="ClientException"):
            await define(ecs, "refused", aws.image, {}, **REFUSED[what])


async def test_a_host_mount_and_the_hosts_processes_are_refused(aws: Aws) -> None:
    container = {"name": "refused", "image": aws.image, "essential": True}
    async with aws.client("ecs") as ecs:
        for more in (
            {"volumes": [{"name": "root", "host": {"sourcePath": "/"}}]},
            {"pidMode": "host"},
            {"networkMode": "bridge"},
        ):
            with pytest.raises(ClientError, match="ClientException"):
                await ecs.register_task_definition(
                    family="refused", containerDefinitions=[container], **more
                )


@pytest.mark.parametrize(
    "reference", ["registry.example/library/anything:1", "no-such-image-of-anybody:1"]
)
async def test_nothing_is_pulled_from_elsewhere(aws: Aws, reference: str) -> None:
    async with aws.client("ecs") as ecs:
        await ecs.create_cluster(clusterName=CLUSTER)
        started = await ecs.run_task(
            cluster=CLUSTER, taskDefinition=await define(ecs, "elsewhere", reference, {})
        )
        stopped = await ended(ecs, started["tasks"][0]["taskArn"])
    assert stopped["stopCode"] == "TaskFailedToStart"
    assert "CannotPullContainerError" in stopped["stoppedReason"]
    assert "images are pulled from" in stopped["stoppedReason"]


async def test_a_container_health_check_decides_where_there_is_one(service: Service) -> None:
    """The target group finds the task well; its own check does not."""
    await service.create(await service.define(), count=1)
    await service.elb.modify_target_group(TargetGroupArn=service.group, UnhealthyThresholdCount=10)
    sick = await define(
        service.ecs,
        service.name,
        service.aws.image,
        {"APP_VERSION": "sick"},
        healthCheck={
            "command": ["CMD", "/usr/bin/python3.11", "-c", "raise SystemExit(1)"],
            "interval": 1,
            "timeout": 5,
            "retries": 1,
        },
    )
    failed = await service.deploy(sick, healthCheckGracePeriodSeconds=0)
    assert failed["rolloutState"] == "FAILED"
    reasons = {task["stoppedReason"] for task in await service.tasks("STOPPED")}
    assert "Task failed container health checks" in reasons


async def test_a_task_without_a_service_runs_and_is_stopped(aws: Aws) -> None:
    async with aws.client("ecs") as ecs:
        await ecs.create_cluster(clusterName=CLUSTER)
        definition = await define(ecs, "alone", aws.image, {})
        started = await ecs.run_task(cluster=CLUSTER, taskDefinition=definition)
        arn = started["tasks"][0]["taskArn"]

        async def running() -> bool:
            shown = await ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])
            return bool(shown["tasks"][0]["lastStatus"] == "RUNNING")

        await until(running, "the task runs")
        log = aws.state / "task-logs" / f"alone-{arn.rpartition('/')[2]}.log"

        async def listens() -> bool:
            return "starting" in log.read_text()

        await until(listens, "the task has begun")
        await ecs.stop_task(cluster=CLUSTER, task=arn, reason="enough of it")
        stopped = await ended(ecs, arn)
        assert stopped["stopCode"] == "UserInitiated"
        assert stopped["stoppedReason"] == "enough of it"
        assert log.stat().st_mode & 0o777 == 0o600
        await ecs.deregister_task_definition(taskDefinition=definition)
        with pytest.raises(ClientError, match="inactive"):
            await ecs.run_task(cluster=CLUSTER, taskDefinition=definition)


async def ended(ecs: Any, arn: str) -> dict[str, Any]:
    shown: dict[str, Any] = {}

    async def stopped() -> bool:
        nonlocal shown
        shown = (await ecs.describe_tasks(cluster=CLUSTER, tasks=[arn]))["tasks"][0]
        return bool(shown["lastStatus"] == "STOPPED")

    await until(stopped, "the task has ended")
    return shown
