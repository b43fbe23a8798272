"""The embedded AWS with containers, as the tests use it: clients, services of their own, load."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aioboto3
import aiohttp
from botocore.config import Config

from deploy.local.embedded_aws._state import platform_id
from tests.containers.engine import DockerEngine

CLUSTER = "lyceum"
_ports = itertools.count(8001)

# The SDK refuses health checks more often than every 5 s by itself; the platform's own do so too.
_CONFIG = Config(parameter_validation=False, retries={"max_attempts": 1}, read_timeout=30)


@dataclass(frozen=True)
class Aws:
    """Access to an embedded AWS that runs containers."""

    endpoint: str
    access_key: str
    secret_key: str
    state: Path
    engine: DockerEngine
    image: str  # local to the engine
    pid: int

    def client(self, service: str) -> Any:
        session = aioboto3.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )
        return session.client(service, endpoint_url=self.endpoint, config=_CONFIG)

    @property
    def registry(self) -> str:
        return self.endpoint.removeprefix("http://")

    def containers(self) -> list[str]:
        """Ids of the containers of this embedded AWS's tasks, in whatever state."""
        platform = self.engine.run(
            "ps", "--all", "--no-trunc", "--format", '{{.ID}} {{.Label "lyceum.platform"}}'
        )
        own = platform_id(self.state)
        return [line.split()[0] for line in platform.splitlines() if line.endswith(f" {own}")]


@dataclass
class Load:
    """Requests that go on until it is left, and what came of them."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Service:
    """A service with its own target group and listener."""

    def __init__(
        self, aws: Aws, clients: Mapping[str, Any], name: str, url: str, group: str
    ) -> None:
        self.aws = aws
        self.ecs, self.elb = clients["ecs"], clients["elbv2"]
        self.name = name
        self.url = url
        self.group = group

    async def define(self, **environment: str) -> str:
        """A new revision of the task definition; gives its ARN."""
        return await define(self.ecs, self.name, self.aws.image, environment)

    async def create(self, definition: str, *, count: int = 2, **more: Any) -> None:
        await self.ecs.create_service(
            **{
                "cluster": CLUSTER,
                "serviceName": self.name,
                "taskDefinition": definition,
                "desiredCount": count,
                "launchType": "FARGATE",
                "healthCheckGracePeriodSeconds": 60,  # of a busy machine
                "loadBalancers": [
                    {
                        "targetGroupArn": self.group,
                        "containerName": self.name,
                        "containerPort": 8080,
                    }
                ],
                "deploymentConfiguration": {
                    "minimumHealthyPercent": 100,
                    "maximumPercent": 200,
                    "deploymentCircuitBreaker": {"enable": True, "rollback": True},
                },
                **more,
            }
        )
        await self.settled()

    async def deploy(self, definition: str, **more: Any) -> dict[str, Any]:
        """Rolls it out and waits for the end; gives the deployment as it was shown last."""
        answer = await self.ecs.update_service(
            cluster=CLUSTER, service=self.name, taskDefinition=definition, **more
        )
        number = answer["service"]["deployments"][0]["id"]
        last: dict[str, Any] = answer["service"]["deployments"][0]

        async def ended() -> bool:
            nonlocal last
            shown = await self.describe()
            last = next((one for one in shown["deployments"] if one["id"] == number), last)
            return _is_settled(shown)

        await until(ended, "the deployment has ended")
        return last

    async def describe(self) -> dict[str, Any]:
        answer = await self.ecs.describe_services(cluster=CLUSTER, services=[self.name])
        service: dict[str, Any] = answer["services"][0]
        return service

    async def settled(self) -> dict[str, Any]:
        """Waits until it has reached a steady state."""

        async def settled() -> bool:
            return _is_settled(await self.describe())

        await until(settled, f"{self.name} is steady")
        return await self.describe()

    async def tasks(self, status: str = "RUNNING") -> list[dict[str, Any]]:
        listed = await self.ecs.list_tasks(
            cluster=CLUSTER, serviceName=self.name, desiredStatus=status
        )
        if not listed["taskArns"]:
            return []
        answer = await self.ecs.describe_tasks(cluster=CLUSTER, tasks=listed["taskArns"])
        tasks: list[dict[str, Any]] = answer["tasks"]
        return tasks

    async def messages(self) -> list[str]:
        """The events, the oldest first."""
        return [event["message"] for event in reversed((await self.describe())["events"])]

    @contextlib.asynccontextmanager
    async def under_load(self, path: str = "/slow/0.02", clients: int = 6) -> AsyncIterator[Load]:
        """Requests from several clients, one after the other each, until the block ends."""
        load = Load()
        over = asyncio.Event()

        async def ask(http: aiohttp.ClientSession) -> None:
            while not over.is_set():
                try:
                    async with http.get(self.url + path) as answer:
                        body = await answer.text()
                        if answer.status == 200:
                            load.answers[body] += 1
                        else:
                            load.failures.append(f"{answer.status} {body[:60]}")
                except aiohttp.ClientError as error:
                    load.failures.append(repr(error))

        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(ask(http))
            try:
                yield load
            finally:
                over.set()

    async def remove(self) -> None:
        await self.ecs.delete_service(cluster=CLUSTER, service=self.name, force=True)

        async def gone() -> bool:
            return bool((await self.describe())["status"] == "INACTIVE")

        await until(gone, f"{self.name} is gone")


async def define(
    ecs: Any, name: str, image: str, environment: Mapping[str, str], **container: Any
) -> str:
    """Registers a task definition of one container; gives its ARN."""
    variables = {"APP_HOST": "0.0.0.0", **environment}
    answer = await ecs.register_task_definition(
        family=name,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="128",
        containerDefinitions=[
            {
                "name": name,
                "image": image,
                "essential": True,
                "readonlyRootFilesystem": True,
                "user": "65532",
                "stopTimeout": 5,
                "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
                "portMappings": [{"containerPort": 8080}],
                "environment": [{"name": k, "value": v} for k, v in variables.items()],
                **container,
            }
        ],
    )
    arn: str = answer["taskDefinition"]["taskDefinitionArn"]
    return arn


@contextlib.asynccontextmanager
async def service_of(aws: Aws, name: str, *, delay: int = 1) -> AsyncIterator[Service]:
    """A target group and a listener for a service; all of it is removed after the block."""
    async with aws.client("ecs") as ecs, aws.client("elbv2") as elb:
        await ecs.create_cluster(clusterName=CLUSTER)
        balancer = await load_balancer(elb)
        made = await elb.create_target_group(
            Name=name,
            Protocol="HTTP",
            Port=8080,
            VpcId="vpc-1",
            TargetType="ip",
            HealthCheckPath="/readyz",
            HealthCheckIntervalSeconds=1,
            HealthCheckTimeoutSeconds=2,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
        )
        group = made["TargetGroups"][0]["TargetGroupArn"]
        await elb.modify_target_group_attributes(
            TargetGroupArn=group,
            Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": str(delay)}],
        )
        port = next(_ports)
        await elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=port,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        )
        url = f"http://{balancer['DNSName']}:{port}"
        service = Service(aws, {"ecs": ecs, "elbv2": elb}, name, url, group)
        try:
            yield service
        finally:
            with contextlib.suppress(ecs.exceptions.ServiceNotFoundException):
                await service.remove()


async def load_balancer(elb: Any) -> dict[str, Any]:
    """The one that the tests share."""
    known = await elb.describe_load_balancers()
    if not known["LoadBalancers"]:
        known = await elb.create_load_balancer(Name="lyceum", Subnets=["subnet-1"])
    balancer: dict[str, Any] = known["LoadBalancers"][0]
    return balancer


async def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Asks again and again until it holds; fails loudly where it never does."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.1)


def _is_settled(service: Mapping[str, Any]) -> bool:
    # What the SDK's waiter services_stable asks for, and that the last deployment has an end.
    return bool(
        len(service["deployments"]) == 1
        and service["runningCount"] == service["desiredCount"]
        and service["deployments"][0]["rolloutState"] != "IN_PROGRESS"
    )
