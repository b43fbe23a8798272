"""The services as tasks of an ECS cluster, from their images, behind a load balancer.

Owns the order: images into the registry, cluster and load balancer, then for each ECS service its task
definition and its first roll-out. What each of these looks like stands in `_definitions.py`. Nothing of it
is kept: it is made at each start, and again when the embedded AWS was started again.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.local._cluster import _definitions as definitions
from deploy.local._cluster._definitions import CLUSTER, ECS_SERVICES, EcsService
from deploy.local._cluster._engine import Engine, EngineError
from deploy.local._cluster._images import Images
from deploy.local._cluster._leftovers import remember, remove_leftovers
from deploy.local._cluster._watch import log_of, watching
from deploy.local._errors import PlatformError
from deploy.local._ports import port_of
from deploy.local._provision import EmbeddedAws, Resources
from deploy.local._report import ClusterAddress, Console
from deploy.local._services import CONSUMING, SERVICES, ServiceSettings, variables_of
from deploy.local._state import StateFolder
from deploy.release import Aws, ReleaseError, login_to, registry_named

# On a busy machine many interpreters start at the same time.
_READY_WITHIN_SECONDS = 180.0
_LOOK_SECONDS = 0.2
# SIGTERM, SIGKILL, and what the engine takes to remove a container on a busy machine.
_STOPPED_WITHIN_SECONDS = definitions.STOP_TIMEOUT_SECONDS + 15.0


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
        engine: Engine,
        containers: Containers,
        folder: StateFolder,
        console: Console,
    ) -> None:
        self._ports = ports
        self._engine = engine
        self._images = Images(containers.images, engine, console)
        self._tasks = containers.tasks
        self._folder = folder
        self._console = console
        self._urls: asyncio.Future[Mapping[str, str]] = asyncio.get_running_loop().create_future()
        self._starting: dict[str, asyncio.Future[PlatformError]] = {}
        self._running = AsyncExitStack()
        self._is_clean = True
        self._is_stopping = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        ports: Mapping[str, socket.socket],
        containers: Containers,
        folder: StateFolder,
        console: Console,
    ) -> AsyncIterator[Cluster]:
        """The cluster of the platform on this folder; `ports` are those of the listeners."""
        async with Engine.open(containers.engine) as engine:
            remember(folder, containers.engine)
            try:
                yield cls(ports, engine, containers, folder, console)
            finally:
                # None, whatever became of the embedded AWS, which ends them when it is stopped.
                await remove_leftovers(folder, console)

    async def urls(self) -> Mapping[str, str]:
        """See `Runner.urls`: the load balancer's listeners."""
        return await asyncio.shield(self._urls)

    @property
    def address(self) -> ClusterAddress:
        """See `Runner.address`."""
        return ClusterAddress(self._registry, CLUSTER)

    async def prepare(self) -> None:
        """See `Runner.prepare`: the images."""
        with _told():
            await self._images.build()

    async def begin(
        self, aws: EmbeddedAws, resources: Resources, operator: Mapping[str, str]
    ) -> None:
        """See `Runner.begin`: images into the registry, cluster and load balancer."""
        self._aws, self._role_arns = aws, resources.role_arns
        with _told():
            self._registry = await self._make_repositories()
            login = await asyncio.to_thread(
                login_to, registry_named(self._registry), Aws(lambda: operator), is_ecr=True
            )
            self._pushed = await self._images.push(login)
            with self._console.step("cluster, load balancer"):
                async with self._client("elbv2") as elb:
                    host, self._target_groups = await self._balance(elb)
                self._ecs = await self._running.enter_async_context(self._client("ecs"))
                await self._ecs.create_cluster(clusterName=CLUSTER)
        if not self._urls.done():
            self._urls.set_result(
                {service: f"http://{host}:{port_of(self._ports[service])}" for service in SERVICES}
            )
        await self._running.enter_async_context(watching(self._ecs, self._folder.logs, self))

    async def _make_repositories(self) -> str:
        """Makes a repository a service; gives the registry they are in."""
        async with self._client("ecr") as ecr:
            for service in SERVICES:
                name = definitions.repository(service)
                made = await ecr.create_repository(
                    repositoryName=name, imageTagMutability="IMMUTABLE"
                )
                registry: str = made["repository"]["repositoryUri"].removesuffix(f"/{name}")
        return registry

    async def _balance(self, elb: Any) -> tuple[str, dict[str, str]]:
        """Makes the load balancer; gives its name and the target group of each service behind it."""
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
        return load_balancer["DNSName"], target_groups

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
        step = self._console.step(f"{name}, {count}")
        with step, _told(), self._first_death(name) as death:
            await self._create(ecs_service, variables)
            await self._until_ready(ecs_service, death)

    @contextmanager
    def _first_death(self, name: str) -> Iterator[asyncio.Future[PlatformError]]:
        """While it starts, a task of it that ends is its end, and not told of as one that ECS replaces."""
        death = self._starting[name] = asyncio.get_running_loop().create_future()
        try:
            yield death
        finally:
            del self._starting[name]

    async def _create(self, ecs_service: EcsService, variables: Mapping[str, str]) -> None:
        image = self._pushed[ecs_service.service]
        registered = await self._ecs.register_task_definition(
            **definitions.task_definition(
                ecs_service,
                image=image.reference,
                version=image.version,
                variables=variables,
                task_role_arn=self._role_arns[ecs_service.service],
            )
        )
        await self._ecs.create_service(
            **definitions.service(
                ecs_service,
                task_definition=registered["taskDefinition"]["taskDefinitionArn"],
                desired_count=self._tasks,
                target_group_arn=self._target_groups.get(ecs_service.name),
            )
        )

    async def _until_ready(
        self, ecs_service: EcsService, death: asyncio.Future[PlatformError]
    ) -> None:
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while True:
            (service,) = await self._described(ecs_service.name)
            if _is_steady(service) and await self._says_so(ecs_service):
                return
            is_late = time.monotonic() > deadline
            if _has_failed(service) or is_late:
                within = f" within {_READY_WITHIN_SECONDS:g} s" if is_late else ""
                events = [event["message"] for event in service["events"][:5]]
                raise PlatformError(f"{ecs_service.name} was not ready{within}", events)
            await asyncio.wait({death}, timeout=_LOOK_SECONDS)
            if death.done():
                raise death.result()

    async def _says_so(self, ecs_service: EcsService) -> bool:
        """Of what no load balancer looks at, ECS knows but that it runs; its tasks' logs know more."""
        if ecs_service.is_balanced:
            return True
        listed = await self._ecs.list_tasks(cluster=CLUSTER, serviceName=ecs_service.name)
        logs = [log_of(self._folder.logs, ecs_service.name, arn) for arn in listed["taskArns"]]
        return all(log.exists() and CONSUMING in log.read_text() for log in logs)

    async def _described(self, *names: str) -> list[Mapping[str, Any]]:
        answer = await self._ecs.describe_services(cluster=CLUSTER, services=list(names))
        found: list[Mapping[str, Any]] = answer["services"]
        return found

    async def stop(self) -> bool:
        """See `Runner.stop`: ECS stops its tasks; what it leaves, the embedded AWS removes at its end."""
        if not hasattr(self, "_ecs"):
            return True
        self._is_clean, self._is_stopping = True, True
        try:
            await self._stop_services()
        except (BotoCoreError, ClientError):
            # Another embedded AWS, which knows nothing of them and has removed their containers, has
            # taken the place of the one that started them.
            self._is_clean = False
        finally:
            await self._running.aclose()
            del self._ecs
            self._is_stopping = False
        return self._is_clean

    async def _stop_services(self) -> None:
        running = [
            service["serviceName"]
            for service in await self._described(*ECS_SERVICES)
            if service["status"] != "INACTIVE"
        ]
        if not running:
            return
        with self._console.step(f"stopping {', '.join(running)}"):
            async with self._client("elbv2") as elb:
                # The gateway has stopped: nothing is under way that a target would have to finish.
                for arn in self._target_groups.values():
                    await elb.modify_target_group_attributes(
                        **definitions.target_group_attributes(arn, deregistration_delay=0)
                    )
            for name in running:
                await self._ecs.delete_service(cluster=CLUSTER, service=name, force=True)
            deadline = time.monotonic() + _STOPPED_WITHIN_SECONDS
            while late := [
                service["serviceName"]
                for service in await self._described(*running)
                if service["status"] != "INACTIVE"
            ]:
                if time.monotonic() > deadline:
                    self._is_clean = False
                    for name in late:
                        self._console.killed(name, _STOPPED_WITHIN_SECONDS)
                    return
                await asyncio.sleep(_LOOK_SECONDS)

    async def kill(self) -> None:
        """See `Runner.kill`."""
        await remove_leftovers(self._folder, self._console)

    # What the watch tells.

    def task_died(self, name: str, task: str, how: str, last_lines: Sequence[str]) -> None:
        """See `deploy.local._cluster._watch.Listener.task_died`."""
        starting = self._starting.get(name)
        if self._is_stopping:
            return  # what dies before it is told to stop has nobody who would miss it
        if starting is None:
            self._console.task_died(name, task, how, last_lines)
        elif not starting.done():
            starting.set_result(PlatformError(f"{name} {how}", last_lines))

    def task_failed(self, name: str, task: str, reason: str, last_lines: Sequence[str]) -> None:
        """See `deploy.local._cluster._watch.Listener.task_failed`."""
        self._console.task_failed(name, task, reason, last_lines)

    def task_stopped_badly(self, name: str, task: str, how: str, last_lines: Sequence[str]) -> None:
        """See `deploy.local._cluster._watch.Listener.task_stopped_badly`."""
        self._is_clean = False
        self._console.stopped_badly(f"{name} (task {task})", how, last_lines)

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
    except (BotoCoreError, ClientError, EngineError, ReleaseError) as error:
        raise PlatformError(f"the cluster could not be made: {error}") from error
