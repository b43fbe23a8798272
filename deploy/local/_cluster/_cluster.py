"""The services as tasks of an ECS cluster, from their images, behind a load balancer.

Owns the order: images into the registry, cluster and load balancer, then for each ECS service its secrets,
task definition and roll-out; and that no container is left. What each of these looks like stands in
`_definitions.py`. Nothing of it is kept: it is made at each start, and again when the embedded AWS was.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.local._cluster import _definitions as definitions
from deploy.local._cluster._definitions import CLUSTER, ECS_SERVICES, EcsService
from deploy.local._cluster._engine import Container, Engine, EngineError
from deploy.local._cluster._images import Images
from deploy.local._cluster._watch import PLATFORM_LABEL, task_name, watching
from deploy.local._errors import PlatformError
from deploy.local._ports import local_url, port_of
from deploy.local._provision import EmbeddedAws, Resources
from deploy.local._report import Console
from deploy.local._services import SERVICES, ServiceSettings, variables_of

_READY_WITHIN_SECONDS = 120.0
_LOOK_SECONDS = 0.2
# Asked of ECS: out of the load balancer, then SIGTERM, then SIGKILL; and what that takes by itself.
_STOPPED_WITHIN_SECONDS = (
    definitions.LOCAL.deregistration_delay + definitions.STOP_TIMEOUT_SECONDS + 10.0
)


@dataclass(frozen=True)
class Containers:
    """What the caller may choose.

    Args:
        engine: the Docker engine, `unix:///…`.
        tasks: how many a service.
        images: for a service, an image of the engine in the place of one that is built.
    """

    engine: str
    tasks: int
    images: Mapping[str, str]


class Cluster:
    """A `Runner`: N tasks a service, each service behind its listener of the load balancer."""

    def __init__(
        self,
        ports: Mapping[str, socket.socket],
        platform: str,
        engine: Engine,
        images: Images,
        tasks: int,
        console: Console,
        logs: Path,
    ) -> None:
        self._ports = ports
        self._label = f"{PLATFORM_LABEL}={platform}"
        self._engine = engine
        self._images = images
        self._tasks = tasks
        self._console = console
        self._logs = logs
        self._starting: dict[str, asyncio.Future[PlatformError]] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        ports: Mapping[str, socket.socket],
        platform: str,
        containers: Containers,
        console: Console,
        logs: Path,
    ) -> AsyncIterator[Cluster]:
        """The cluster of the platform of this id, whose containers' output is kept in `logs`."""
        async with Engine.open(containers.engine) as engine, AsyncExitStack() as stack:
            images = Images(containers.images, engine, console)
            cluster = cls(ports, platform, engine, images, containers.tasks, console, logs)
            await stack.enter_async_context(watching(engine, platform, logs, cluster))
            yield cluster

    @property
    def urls(self) -> Mapping[str, str]:
        """See `Runner.urls`: the load balancer's listeners."""
        return {service: local_url(self._ports[service]) for service in SERVICES}

    async def prepare(self) -> None:
        """See `Runner.prepare`: the images."""
        await self._images.prepare()

    async def begin(self, aws: EmbeddedAws, resources: Resources) -> None:
        """See `Runner.begin`: images into the registry, the cluster, the load balancer."""
        self._aws, self._role_arns = aws, resources.role_arns
        with _told():
            self._references = await self._images.push(aws)
            with self._console.step("cluster, load balancer"):
                async with self._client("ecs") as ecs, self._client("elbv2") as elb:
                    await ecs.create_cluster(clusterName=CLUSTER)
                    self._target_groups = await self._balance(elb)

    async def _balance(self, elb: Any) -> dict[str, str]:
        """Makes the load balancer; gives the target group of each service behind it."""
        made = await elb.create_load_balancer(**definitions.load_balancer())
        (load_balancer,) = made["LoadBalancers"]
        target_groups = {}
        for name, ecs_service in ECS_SERVICES.items():
            if not ecs_service.is_balanced:
                continue
            made = await elb.create_target_group(**definitions.target_group(ecs_service))
            target_groups[name] = arn = made["TargetGroups"][0]["TargetGroupArn"]
            await elb.modify_target_group_attributes(**definitions.target_group_attributes(arn))
            await elb.create_listener(
                **definitions.listener(
                    load_balancer["LoadBalancerArn"], arn, port=port_of(self._ports[name])
                )
            )
        return target_groups

    async def start(
        self, name: str, settings: ServiceSettings, provisioned: Mapping[str, str]
    ) -> None:
        """See `Runner.start`: a first task that ends is an error, and not tried again."""
        variables = variables_of(
            name,
            settings,
            provisioned,
            host=definitions.CONTAINER_HOST,
            port=definitions.CONTAINER_PORT,
        )
        ecs_service = ECS_SERVICES[name]
        count = f"{self._tasks} task{'s' if self._tasks > 1 else ''}"
        with self._console.step(f"{name}, {count}"), _told():
            async with self._client("ecs") as ecs:
                with self._first_death(name) as death:
                    await self._create(ecs, ecs_service, variables)
                    await self._until_steady(ecs, ecs_service, death)

    @contextmanager
    def _first_death(self, name: str) -> Iterator[asyncio.Future[PlatformError]]:
        """While it starts, a task of it that ends is its end, and not told of as one that ECS replaces."""
        death = self._starting[name] = asyncio.get_running_loop().create_future()
        try:
            yield death
        finally:
            del self._starting[name]

    async def _create(
        self, ecs: Any, ecs_service: EcsService, variables: Mapping[str, str]
    ) -> None:
        registered = await ecs.register_task_definition(
            **definitions.task_definition(
                ecs_service,
                image=self._references[ecs_service.service],
                variables=variables,
                task_role_arn=self._role_arns[ecs_service.service],
            )
        )
        await ecs.create_service(
            **definitions.service(
                ecs_service,
                task_definition=registered["taskDefinition"]["taskDefinitionArn"],
                desired_count=self._tasks,
                target_group_arn=self._target_groups.get(ecs_service.name),
            )
        )

    async def _until_steady(
        self, ecs: Any, ecs_service: EcsService, death: asyncio.Future[PlatformError]
    ) -> None:
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while True:
            answer = await ecs.describe_services(cluster=CLUSTER, services=[ecs_service.name])
            (service,) = answer["services"]
            if _is_steady(service):
                return
            is_late = time.monotonic() > deadline
            if _has_failed(service) or is_late:
                within = f" within {_READY_WITHIN_SECONDS:g} s" if is_late else ""
                events = [event["message"] for event in service["events"][:5]]
                raise PlatformError(f"{ecs_service.name} was not ready{within}", events)
            await asyncio.wait({death}, timeout=_LOOK_SECONDS)
            if death.done():
                raise death.result()

    async def stop(self) -> bool:
        """See `Runner.stop`: ECS takes the tasks out of the load balancer and stops them."""
        containers = await self._containers()
        if not containers:
            return True
        running = f"{len(containers)} container{'s' if len(containers) > 1 else ''}"
        with self._console.step(f"stopping {running}"):
            if await self._told_to_stop():
                deadline = time.monotonic() + _STOPPED_WITHIN_SECONDS
                while (containers := await self._containers()) and time.monotonic() < deadline:
                    await asyncio.sleep(_LOOK_SECONDS)
                if containers:
                    self._console.warn(
                        f"{', '.join(map(task_name, containers))} did not stop within"
                        f" {_STOPPED_WITHIN_SECONDS:g} s, and is stopped without ECS"
                    )
                    await self._stop_without_ecs(containers)
                    return False
            # Another embedded AWS has taken the place of the one that started them.
            await self._stop_without_ecs(await self._containers())
        return True

    async def _told_to_stop(self) -> bool:
        """Deletes the services; whether ECS had any."""
        found = False
        try:
            async with self._client("ecs") as ecs:
                for name in ECS_SERVICES:
                    with suppress(
                        ecs.exceptions.ServiceNotFoundException,
                        ecs.exceptions.ClusterNotFoundException,
                    ):
                        await ecs.delete_service(cluster=CLUSTER, service=name, force=True)
                        found = True
        except (AttributeError, BotoCoreError, ClientError):
            return False
        return found

    async def _stop_without_ecs(self, containers: Sequence[Container]) -> None:
        async def end(container: Container) -> None:
            await self._engine.stop(container.id, definitions.STOP_TIMEOUT_SECONDS)
            await self._engine.remove(container.id)

        with suppress(EngineError):  # it is gone, and its containers with it, or is told of as that
            await asyncio.gather(*map(end, containers))

    async def _containers(self) -> list[Container]:
        try:
            return await self._engine.containers(self._label)
        except EngineError as error:
            self._console.warn(str(error))
            return []

    async def kill(self) -> None:
        """See `Runner.kill`."""
        for container in await self._containers():
            with suppress(EngineError):
                await self._engine.remove(container.id)

    # What the watch tells.

    def task_died(self, name: str, how: str, last_lines: Sequence[str]) -> None:
        """See `deploy.local._cluster._watch.Listener.task_died`."""
        starting = self._starting.get(name.rpartition("-")[0])
        if starting is None:
            self._console.task_died(name, how, last_lines)
        elif not starting.done():
            starting.set_result(PlatformError(f"{name} {how}", last_lines))

    def task_stopped_badly(self, name: str, how: str, last_lines: Sequence[str]) -> None:
        """See `deploy.local._cluster._watch.Listener.task_stopped_badly`."""
        self._console.stopped_badly(name, how, last_lines)

    def unwatched(self, reason: str) -> None:
        """See `deploy.local._cluster._watch.Listener.unwatched`."""
        self._console.warn(f"What the tasks do is not seen until it answers: {reason}")

    def _client(self, service: str) -> Any:
        # botocore would refuse an interval of health checks below AWS's own.
        return self._aws.client(service, Config(parameter_validation=False))


def _is_steady(service: Mapping[str, Any]) -> bool:
    """Whether all of its tasks run, are healthy, and nothing else of it does."""
    deployments = service["deployments"]
    return (
        len(deployments) == 1
        and deployments[0].get("rolloutState") == "COMPLETED"
        and service["runningCount"] == service["desiredCount"]
    )


def _has_failed(service: Mapping[str, Any]) -> bool:
    return any(found.get("rolloutState") == "FAILED" for found in service["deployments"])


@contextmanager
def _told() -> Iterator[None]:
    """What AWS or the engine refuses ends the start, in words."""
    try:
        yield
    except (BotoCoreError, ClientError, EngineError) as error:
        raise PlatformError(f"the cluster could not be made: {error}") from error
