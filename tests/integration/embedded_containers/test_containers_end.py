"""No container outlives its embedded AWS, whatever ends it, and none of another one is touched."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from deploy.local._environment import (
    embedded_aws_command,
    embedded_aws_python,
    embedded_aws_variables,
)
from tests.backends import running_ministack
from tests.backends._process import NotStartedError, serving
from tests.containers.engine import DockerError
from tests.integration.embedded_containers.cluster import (
    CLUSTER,
    Aws,
    define,
    service_of,
    until,
)
from tests.integration.embedded_containers.registry import logged_in, password, tagged

Start = Callable[[Path], contextlib.AbstractContextManager[Aws]]


async def test_what_a_kill_left_is_removed_by_the_next_start_and_only_that(
    start_aws: Start, aws: Aws, tmp_path: Path
) -> None:
    async with service_of(aws, "beside") as beside:
        await beside.create(await beside.define(APP_VERSION="beside"), count=1)
        state = tmp_path / "aws"
        with start_aws(state) as killed:
            # Left without its teardown: nobody is there any more to be asked.
            async with contextlib.AsyncExitStack() as stack:
                service = await stack.enter_async_context(service_of(killed, "left"))
                await service.create(await service.define(), count=2)
                url = service.url
                os.kill(killed.pid, signal.SIGKILL)
                stack.pop_all()
            left = killed.containers()
            assert len(left) == 2
            # The load balancer is gone with it.
            async with aiohttp.ClientSession() as http:
                with pytest.raises(aiohttp.ClientConnectorError):
                    await http.get(url)
        with start_aws(state) as again:
            assert again.containers() == []
            async with again.client("ecs") as ecs, again.client("elbv2") as elb:
                assert (await ecs.list_clusters())["clusterArns"] == []
                assert (await elb.describe_load_balancers())["LoadBalancers"] == []
        async with aiohttp.ClientSession() as http, http.get(f"{beside.url}/version") as answer:
            assert await answer.text() == "beside"


async def test_a_stop_ends_its_containers_and_forgets_them(
    start_aws: Start, tmp_path: Path
) -> None:
    state = tmp_path / "aws"
    with start_aws(state) as first:
        async with first.client("sqs") as sqs:
            await sqs.create_queue(QueueName="kept")
        async with contextlib.AsyncExitStack() as stack:
            service = await stack.enter_async_context(service_of(first, "ended", delay=300))
            await service.create(await service.define(), count=2)
            stack.pop_all()
        containers = first.containers()
        assert len(containers) == 2
        image = await pushed_and_run(first, tmp_path / "docker")
        logs = {path.name for path in (state / "task-logs").glob("ended-*.log")}
    assert first.containers() == []
    # The name in a registry that is gone goes from the engine as well.
    with pytest.raises(DockerError, match="No such image"):
        first.engine.run("image", "inspect", image)
    for log in logs:
        # They were told, and ended by themselves, though a drain takes five minutes here.
        assert (state / "task-logs" / log).read_text().endswith("told to stop\nstopped\n")
    with start_aws(state) as again:
        async with again.client("ecs") as ecs, again.client("ecr") as ecr:
            assert (await ecs.list_task_definitions())["taskDefinitionArns"] == []
            assert (await ecr.describe_repositories())["repositories"] == []
            with pytest.raises(ClientError, match="ClusterNotFoundException"):
                await ecs.describe_services(cluster=CLUSTER, services=["ended"])
        async with again.client("sqs") as sqs:
            assert len((await sqs.list_queues())["QueueUrls"]) == 1
        kept = {path.name for path in (state / "task-logs").glob("ended-*")}
        assert kept == {f"{log}.1" for log in logs}


async def pushed_and_run(aws: Aws, folder: Path) -> str:
    """Has a task run from the registry; gives the image's name there, by digest."""
    async with aws.client("ecr") as ecr, aws.client("ecs") as ecs:
        made = await ecr.create_repository(repositoryName="lyceum/ended")
        reference = f"{made['repository']['repositoryUri']}:1"
        with logged_in(aws, await password(ecr), folder), tagged(aws, reference):
            aws.engine.run("push", reference)
        definition = await define(ecs, "pushed", reference, {})
        started = await ecs.run_task(cluster=CLUSTER, taskDefinition=definition)
        arn = started["tasks"][0]["taskArn"]
        task: dict[str, Any] = {}

        async def running() -> bool:
            nonlocal task
            task = (await ecs.describe_tasks(cluster=CLUSTER, tasks=[arn]))["tasks"][0]
            return bool(task["lastStatus"] == "RUNNING")

        await until(running, "the task runs")
    return f"{made['repository']['repositoryUri']}@{task['containers'][0]['imageDigest']}"


async def test_without_an_engine_all_of_it_stays_closed(tmp_path: Path) -> None:
    with running_ministack(tmp_path / "aws") as backend:
        # For the Query protocol the SDK can not read the guard's answer, and shows it.
        for service, operation in (
            ("ecs", "list_clusters"),
            ("ecr", "get_authorization_token"),
            ("elbv2", "describe_load_balancers"),
        ):
            async with backend.client(service) as client:
                with pytest.raises((ClientError, ResponseParserError), match="not available here"):
                    await getattr(client, operation)()
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{backend.endpoint_url}/v2/") as answer,
        ):
            assert answer.status == 403


def test_an_engine_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    where = tmp_path / "nobody.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where))  # and does not listen
        command = embedded_aws_command(
            embedded_aws_python(), state=tmp_path / "aws", docker_host=f"unix://{where}"
        )
        with (
            pytest.raises(NotStartedError) as raised,
            serving(command, embedded_aws_variables()),
        ):
            pass
    assert raised.value.exit_code == 2
    (line,) = raised.value.errors.strip().splitlines()
    assert f"no container engine answers at unix://{where}" in line
