"""ECS, its load balancer and a registry in simulated time, for the deployments of the tests.

What ECS decides is decided by the scheduler of the embedded AWS itself, so that the tests' ECS can
not be kinder than the one that runs containers. Tasks are simulated: what becomes of one is told by
the image that it runs. Nothing here waits: `SimulatedTime.sleep` lets time pass at once.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError

from deploy.local.embedded_aws._containers._definition import ContainerDefinition, TaskDefinition
from deploy.local.embedded_aws._containers._model import (
    Deployment,
    DeploymentRules,
    Service,
    TargetOfService,
    Task,
    TaskStatus,
)
from deploy.local.embedded_aws._containers._scheduler import Scheduler, Start
from deploy.release._registry import StoredImage
from deploy.release._verify import Said

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
PREFIXES = {
    "course_catalog": "CATALOG_",
    "content_delivery": "CONTENT_",
    "progress_tracking": "PROGRESS_",
}
_STEP_SECONDS = 0.25
_ARN = "arn:aws:ecs:eu-west-1:123456789012"


@dataclass
class SimulatedTime:
    """A clock, and what happens while it goes on."""

    now: float = 1_000.0
    every_step: list[Callable[[], None]] = field(default_factory=list)
    at: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + _STEP_SECONDS, end)
            due = [one for one in self.at if one[0] <= self.now]
            self.at = [one for one in self.at if one[0] > self.now]
            for _, happens in due:
                happens()
            for step in self.every_step:
                step()

    def after(self, seconds: float, happens: Callable[[], object]) -> None:
        self.at.append((self.now + seconds, happens))


@dataclass(frozen=True)
class Image:
    """An image in the registry, and how a task of it fares.

    Args:
        starts_within: seconds from its start until it is healthy.
        crashes: it ends soon after it began.
        is_sick: it runs, but its health check fails.
        says: what it says to be, where that is not what it is.
    """

    service: str
    version: str
    starts_within: float = 2.0
    crashes: bool = False
    is_sick: bool = False
    says: str | None = None

    @functools.cached_property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def hash(self) -> str:
        return hashlib.sha256(f"content of {self!r}".encode()).hexdigest()

    @property
    def reference(self) -> str:
        return f"{HOST}/lyceum/{self.service}@{self.digest}"

    def stored(self) -> StoredImage:
        prefix = PREFIXES[self.service]
        return StoredImage(
            self.digest,
            labels={},
            environment={f"{prefix}VERSION": self.version, f"{prefix}IMAGE_HASH": self.hash},
            size=25_000_000,
        )


class SimulatedRegistry:
    """As `RegistryClient`."""

    def __init__(self, *images: Image) -> None:
        self.images = list(images)

    def image(self, repository: str, reference: str) -> StoredImage | None:
        for one in self.images:
            if repository == f"lyceum/{one.service}" and reference in (one.digest, one.version):
                return one.stored()
        return None


class SimulatedCloud:
    """The APIs that are called, and what they do.

    Args:
        time: its clock.
        registry: whose images the tasks run.
        breaker: whether services have ECS's circuit breaker.
        rolls_back: and whether that goes back by itself.
    """

    def __init__(
        self,
        time: SimulatedTime,
        registry: SimulatedRegistry,
        *,
        breaker: bool = True,
        rolls_back: bool = True,
    ) -> None:
        self.time = time
        self.registry = registry
        self.calls: list[str] = []
        self.alarms: dict[str, str] = {}
        self.faults: list[Callable[[str], None]] = []
        self.renewals = 0
        self.definitions: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.inactive: set[str] = set()
        self.services: dict[str, Service] = {}
        self._rules = DeploymentRules(breaker=breaker, rollback=rolls_back)
        self._numbers = itertools.count(1)
        self._scheduler = Scheduler(
            now=lambda: 1_700_000_000 + time.now, clock=time.clock, new_id=self._new_id
        )
        self._born: dict[str, float] = {}
        self._stopped: list[Task] = []
        self.duplicate_events = False
        self.stale_until = 0.0
        self._stale: dict[str, Any] | None = None
        self._asked = 0
        time.every_step.append(self.step)

    # Set-up.

    def run(self, name: str, image: Image, *, desired: int = 2, **extra: Any) -> str:
        """A service that has long been running an image; gives its task definition's ARN."""
        arn = self._register(
            {
                "family": name,
                "networkMode": "awsvpc",
                "cpu": "256",
                "memory": "512",
                "taskRoleArn": f"arn:aws:iam::123456789012:role/{name}",
                "containerDefinitions": [
                    {
                        "name": name,
                        "image": image.reference,
                        "essential": True,
                        "environment": [{"name": "TABLE", "value": "Courses"}],
                        "stopTimeout": 45,
                    },
                    {"name": "collector", "image": "public.example/collector@sha256:0"},
                ],
                **extra,
            },
            [{"key": "cost-centre", "value": "learning"}],
        )
        listens = not name.endswith("-consumer")
        service = Service(
            arn=f"{_ARN}:service/lyceum/{name}",
            name=name,
            cluster_arn=f"{_ARN}:cluster/lyceum",
            desired=desired,
            launch_type="FARGATE",
            rules=self._rules,
            targets=(
                (TargetOfService(f"arn:targets/{name.replace('_', '-')}", name, 8080),)
                if listens
                else ()
            ),
            grace_seconds=0,
            created_at=self.time.now,
        )
        self.services[name] = service
        self._deploy(service, arn)
        self.time.sleep(10)
        assert service.primary.rollout == "COMPLETED"
        return arn

    def clients(self) -> SimulatedAws:
        return SimulatedAws(self)

    def image_of(self, name: str) -> str:
        """The image of the deployment that a service is to run."""
        arn = self.services[name].primary.definition.arn
        image: str = self.definitions[arn]["containerDefinitions"][0]["image"]
        return image

    def running_images(self, name: str) -> set[str]:
        return {
            task.definition.containers[0].image
            for task in self.services[name].tasks
            if task.running
        }

    def ask(self, name: str) -> Callable[[], Said]:
        """What `/version` says through the load balancer."""

        def asked() -> Said:
            healthy = [task for task in self.services[name].tasks if task.running and task.healthy]
            if not healthy:
                return Said(trouble="503")
            self._asked += 1
            image = self._image(healthy[self._asked % len(healthy)])
            return Said(image.says or image.version, image.hash)

        return asked

    def deploy_by_somebody_else(self, name: str, image: Image) -> str:
        """A deployment that is not the tool's."""
        document = dict(self.definitions[self.services[name].primary.definition.arn])
        first, *rest = document["containerDefinitions"]
        arn = self._register(
            {**document, "containerDefinitions": [{**first, "image": image.reference}, *rest]}, []
        )
        self._deploy(self.services[name], arn)
        return arn

    # What goes on.

    def step(self) -> None:
        for service in self.services.values():
            for task in service.tasks:
                self._live(task)
            for action in self._scheduler.step(service):
                if isinstance(action, Start):
                    for _ in range(action.count):
                        self._start(service, action.deployment)
                else:
                    self._stop(action.task, action.reason)

    def _live(self, task: Task) -> None:
        age = self.time.now - self._born[task.arn]
        if task.desired_status == "STOPPED":
            if task.status is not TaskStatus.STOPPED:
                task.status = TaskStatus.STOPPED
                task.healthy = False
                self._stopped.append(task)
            return
        image = self._image(task)
        if age >= 1 and task.starting:
            task.status = TaskStatus.RUNNING
        if not task.running:
            return
        if image.crashes and age >= 1.5:
            task.stop_code, task.stopped_reason = (
                "EssentialContainerExited",
                "Essential container exited",
            )
            task.containers = []
            task.desired_status = "STOPPED"
        elif image.is_sick:
            task.verdict = "Task failed ELB health checks" if age >= 4 else None
        else:
            task.healthy = age >= 1 + image.starts_within

    def _start(self, service: Service, deployment: Deployment) -> None:
        number = self._new_id()
        task = Task(
            arn=f"{_ARN}:task/lyceum/{number}",
            cluster_arn=service.cluster_arn,
            definition=deployment.definition,
            group=f"service:{service.name}",
            started_by=deployment.id,
            launch_type="FARGATE",
            created_at=self.time.now,
            deployment_id=deployment.id,
            address=f"10.0.0.{int(number, 16) % 250}",
        )
        self._born[task.arn] = self.time.now
        service.tasks.append(task)

    def _stop(self, task: Task, reason: str) -> None:
        task.desired_status = "STOPPED"
        task.stopped_reason = task.stopped_reason or reason
        task.stop_code = task.stop_code or "ServiceSchedulerInitiated"

    def _image(self, task: Task) -> Image:
        reference = task.definition.containers[0].image
        return next(one for one in self.registry.images if one.reference == reference)

    def _deploy(self, service: Service, arn: str) -> None:
        document = self.definitions[arn]
        definition = TaskDefinition(
            arn=arn,
            family=document["family"],
            revision=int(arn.rpartition(":")[2]),
            containers=tuple(
                ContainerDefinition(name=one["name"], image=one["image"])
                for one in document["containerDefinitions"]
            ),
        )
        now = 1_700_000_000 + self.time.now
        self._scheduler.deploy(
            service,
            Deployment(f"ecs-svc/{self._new_id()}", definition, service.desired, now, now),
        )
        self.step()

    def _register(self, document: Mapping[str, Any], tags: Sequence[Mapping[str, str]]) -> str:
        family = document["family"]
        revision = 1 + sum(
            arn.rpartition("/")[2].rpartition(":")[0] == family for arn in self.definitions
        )
        arn = f"{_ARN}:task-definition/{family}:{revision}"
        self.definitions[arn] = dict(document)
        self.tags[arn] = [dict(tag) for tag in tags]
        return arn

    def _new_id(self) -> str:
        return f"{next(self._numbers):032x}"

    # The APIs.

    def call(self, service: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append(f"{service}:{operation}")
        for fault in list(self.faults):
            fault(operation)
        answer: dict[str, Any] = getattr(self, f"_{operation}")(**parameters)
        return answer

    def _describe_services(self, cluster: str, services: Sequence[str]) -> dict[str, Any]:
        if cluster != "lyceum":
            raise refused("ClusterNotFoundException")
        if self.time.now < self.stale_until and self._stale is not None:
            return self._stale
        found = [self.services[name].document() for name in services if name in self.services]
        if self.duplicate_events:
            shuffled = random.Random(7)
            for one in found:
                one["events"] = [*one["events"], *one["events"][:3]]
                shuffled.shuffle(one["events"])
        self._stale = {"services": found, "failures": []}
        return self._stale

    def _update_service(self, **given: Any) -> dict[str, Any]:
        found = self.services[given["service"]]
        found.desired = given.get("desiredCount", found.desired)
        arn = given.get("taskDefinition", found.primary.definition.arn)
        if arn in self.inactive:
            raise refused("ClientException", "TaskDefinition is inactive")
        if found.primary.definition.arn != arn:
            self._deploy(found, arn)
        return {"service": found.document()}

    def _describe_task_definition(self, **given: Any) -> dict[str, Any]:
        arn = next(
            (
                one
                for one in self.definitions
                if one.rpartition("/")[2] == given["taskDefinition"].rpartition("/")[2]
            ),
            None,
        )
        if arn is None:
            raise refused("ClientException", "Unable to describe task definition.")
        family, _, revision = arn.rpartition("/")[2].rpartition(":")
        return {
            "taskDefinition": {
                "volumes": [],
                "placementConstraints": [],
                **self.definitions[arn],
                "taskDefinitionArn": arn,
                "family": family,
                "revision": int(revision),
                "status": "INACTIVE" if arn in self.inactive else "ACTIVE",
                "requiresAttributes": [{"name": "ecs.capability.execution-role-awslogs"}],
                "compatibilities": ["EC2", "FARGATE"],
                "registeredAt": 1_700_000_000.0,
            },
            "tags": self.tags[arn],
        }

    def _register_task_definition(
        self, tags: Sequence[Mapping[str, str]] = (), **document: Any
    ) -> dict[str, Any]:
        arn = self._register(document, tags)
        return self._describe_task_definition(taskDefinition=arn)

    def _list_task_definitions(self, **given: Any) -> dict[str, Any]:
        found = [
            arn
            for arn in self.definitions
            if arn.rpartition("/")[2].startswith(given["familyPrefix"]) and arn not in self.inactive
        ]
        return {"taskDefinitionArns": list(reversed(found))[: given["maxResults"]]}

    def _list_tasks(self, **given: Any) -> dict[str, Any]:
        return {
            "taskArns": [
                task.arn
                for task in self._stopped
                if task.group == "service:" + given["serviceName"]
            ][: given["maxResults"]]
        }

    def _describe_tasks(self, cluster: str, tasks: Sequence[str]) -> dict[str, Any]:
        return {
            "tasks": [
                {**task.document(), "containers": [{"name": "main", "exitCode": 1}]}
                for task in self._stopped
                if task.arn in tasks
            ]
        }

    def _describe_target_health(self, **given: Any) -> dict[str, Any]:
        return {
            "TargetHealthDescriptions": [
                {
                    "Target": {"Id": task.address, "Port": 8080},
                    "TargetHealth": {"State": "healthy"}
                    if task.healthy
                    else {"State": "unhealthy", "Description": "Health checks failed"},
                }
                for service in self.services.values()
                for task in service.tasks
                if task.running
                and any(one.group_arn == given["TargetGroupArn"] for one in service.targets)
            ]
        }

    def _describe_alarms(self, **given: Any) -> dict[str, Any]:
        return {
            "MetricAlarms": [
                {
                    "AlarmName": name,
                    "StateValue": self.alarms[name],
                    "StateReason": "too many errors",
                }
                for name in given["AlarmNames"]
                if name in self.alarms
            ]
        }


class SimulatedAws:
    """As `deploy.release._credentials.Aws`."""

    def __init__(self, cloud: SimulatedCloud) -> None:
        self._cloud = cloud

    def client(self, service: str) -> Any:
        return _Client(self._cloud, service)

    def renew(self) -> None:
        self._cloud.renewals += 1


class _Client:
    def __init__(self, cloud: SimulatedCloud, service: str) -> None:
        self._cloud = cloud
        self._service = service

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        return lambda **parameters: self._cloud.call(self._service, operation, parameters)


def refused(code: str, message: str = "no", *, status: int = 400) -> ClientError:
    """An error answer of AWS."""
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "Operation")


def unreachable() -> EndpointConnectionError:
    """No answer of AWS."""
    return EndpointConnectionError(endpoint_url="https://ecs.eu-west-1.amazonaws.com")
