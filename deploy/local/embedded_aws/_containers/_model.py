"""Services, deployments and tasks, and how ECS's API shows them.

Holds state and its wording. Who changes what and when is the scheduler's and the cluster's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ._definition import TaskDefinition

_KEPT_EVENTS = 100  # as DescribeServices gives


class TaskStatus(StrEnum):
    """A task's life ("Amazon ECS task lifecycle" in the developer guide)."""

    PROVISIONING = "PROVISIONING"
    PENDING = "PENDING"
    ACTIVATING = "ACTIVATING"
    RUNNING = "RUNNING"
    DEACTIVATING = "DEACTIVATING"
    STOPPING = "STOPPING"
    DEPROVISIONING = "DEPROVISIONING"
    STOPPED = "STOPPED"


_STARTING = frozenset({TaskStatus.PROVISIONING, TaskStatus.PENDING, TaskStatus.ACTIVATING})


class Rollout(StrEnum):
    """How far a deployment is."""

    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


@dataclass
class Container:
    """A container of a task."""

    arn: str
    name: str
    image: str
    status: str = "PENDING"
    digest: str | None = None
    engine_id: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    health: str = "UNKNOWN"


@dataclass(eq=False)
class Task:
    """A task, from its request to its end.

    Args:
        verdict: why the scheduler has to replace it although it runs.
        was_healthy: it has been in service at some time.
    """

    arn: str
    cluster_arn: str
    definition: TaskDefinition
    group: str
    started_by: str
    launch_type: str
    created_at: float
    deployment_id: str | None = None
    containers: list[Container] = field(default_factory=list)
    status: TaskStatus = TaskStatus.PROVISIONING
    desired_status: str = "RUNNING"
    address: str | None = None
    healthy: bool = False
    was_healthy: bool = False
    failure_counted: bool = False
    verdict: str | None = None
    started_at: float | None = None
    stopping_at: float | None = None
    stopped_at: float | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None
    version: int = 1

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def starting(self) -> bool:
        return self.status in _STARTING and self.desired_status == "RUNNING"

    @property
    def running(self) -> bool:
        return self.status is TaskStatus.RUNNING and self.desired_status == "RUNNING"

    @property
    def active(self) -> bool:
        """It counts against a deployment's maximumPercent: it runs or is going to."""
        return self.starting or self.running

    @property
    def ended(self) -> bool:
        return self.status is TaskStatus.STOPPED

    def document(self) -> dict[str, Any]:
        """As DescribeTasks shows it."""
        attachment = {
            "id": self.id,
            "type": "ElasticNetworkInterface",
            "status": "ATTACHED",
            "details": [{"name": "privateIPv4Address", "value": self.address}],
        }
        return _without_none(
            {
                "taskArn": self.arn,
                "clusterArn": self.cluster_arn,
                "taskDefinitionArn": self.definition.arn,
                "group": self.group,
                "startedBy": self.started_by,
                "launchType": self.launch_type,
                "lastStatus": self.status.value,
                "desiredStatus": self.desired_status,
                "healthStatus": self._health_status(),
                "connectivity": "CONNECTED",
                "cpu": self.definition.cpu,
                "memory": self.definition.memory,
                "createdAt": self.created_at,
                "startedAt": self.started_at,
                "stoppingAt": self.stopping_at,
                "stoppedAt": self.stopped_at,
                "executionStoppedAt": self.stopped_at,
                "stopCode": self.stop_code,
                "stoppedReason": self.stopped_reason,
                "version": self.version,
                "attachments": [attachment] if self.address else [],
                "containers": [self._container_document(one) for one in self.containers],
                "overrides": {"containerOverrides": []},
                "tags": [],
            }
        )

    def _health_status(self) -> str:
        known = {one.health for one in self.containers if one.health != "UNKNOWN"}
        if not known:
            return "UNKNOWN"
        return "UNHEALTHY" if "UNHEALTHY" in known else "HEALTHY"

    def _container_document(self, one: Container) -> dict[str, Any]:
        return _without_none(
            {
                "containerArn": one.arn,
                "taskArn": self.arn,
                "name": one.name,
                "image": one.image,
                "imageDigest": one.digest,
                "runtimeId": one.engine_id,
                "lastStatus": one.status,
                "exitCode": one.exit_code,
                "reason": one.reason,
                "healthStatus": one.health,
                "networkInterfaces": (
                    [{"attachmentId": self.id, "privateIpv4Address": self.address}]
                    if self.address
                    else []
                ),
                "networkBindings": [],
            }
        )


@dataclass(eq=False)
class Deployment:
    """One revision of a service on its way in, in place or on its way out."""

    id: str
    definition: TaskDefinition
    desired: int
    created_at: float
    updated_at: float
    primary: bool = True
    rollout: Rollout = Rollout.IN_PROGRESS
    rollout_reason: str = ""
    failed_tasks: int = 0
    # A tag means one image throughout a deployment, whatever is pushed meanwhile.
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TargetOfService:
    """A target group that a service registers its tasks in."""

    group_arn: str
    container_name: str
    port: int


@dataclass(frozen=True)
class DeploymentRules:
    """A service's deploymentConfiguration."""

    minimum_percent: int = 100
    maximum_percent: int = 200
    breaker: bool = False
    rollback: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "minimumHealthyPercent": self.minimum_percent,
            "maximumPercent": self.maximum_percent,
            "deploymentCircuitBreaker": {"enable": self.breaker, "rollback": self.rollback},
        }


@dataclass(eq=False)
class Service:
    """A service: what is wanted, its deployments, its tasks and what happened.

    Args:
        deployments: the primary one first.
        last_completed: what a failed deployment goes back to.
        failures: tasks in a row, over deployments, that ended before they were healthy.
    """

    arn: str
    name: str
    cluster_arn: str
    desired: int
    launch_type: str
    rules: DeploymentRules
    targets: tuple[TargetOfService, ...]
    grace_seconds: int
    created_at: float
    deployments: list[Deployment] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    status: str = "ACTIVE"
    network: dict[str, Any] = field(default_factory=dict)
    last_completed: Deployment | None = None
    failures: int = 0
    not_before: float = 0.0  # no task is started earlier
    settled_after: float = 0.0  # nor is a steady state reached
    steady: bool = False

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    def tasks_of(self, deployment: Deployment) -> list[Task]:
        return [task for task in self.tasks if task.deployment_id == deployment.id]

    def event(self, text: str, now: float, number: str) -> None:
        """Adds `(service NAME) TEXT` to the events, the newest first."""
        event = {"id": number, "createdAt": now, "message": f"(service {self.name}) {text}"}
        self.events.insert(0, event)
        del self.events[_KEPT_EVENTS:]

    def document(self) -> dict[str, Any]:
        """As DescribeServices shows it."""
        shown = [task for task in self.tasks if not task.ended]
        return {
            "serviceArn": self.arn,
            "serviceName": self.name,
            "clusterArn": self.cluster_arn,
            "status": self.status,
            "desiredCount": self.desired,
            "runningCount": sum(task.status is TaskStatus.RUNNING for task in shown),
            "pendingCount": sum(task.starting for task in shown),
            "launchType": self.launch_type,
            "schedulingStrategy": "REPLICA",
            "taskDefinition": self.primary.definition.arn,
            "deploymentController": {"type": "ECS"},
            "deploymentConfiguration": self.rules.document(),
            "deployments": [self._deployment_document(one) for one in self.deployments],
            "events": list(self.events),
            "loadBalancers": [
                {
                    "targetGroupArn": target.group_arn,
                    "containerName": target.container_name,
                    "containerPort": target.port,
                }
                for target in self.targets
            ],
            "healthCheckGracePeriodSeconds": self.grace_seconds,
            "networkConfiguration": self.network,
            "createdAt": self.created_at,
            "enableExecuteCommand": False,
        }

    def _deployment_document(self, one: Deployment) -> dict[str, Any]:
        tasks = self.tasks_of(one)
        return {
            "id": one.id,
            "status": "PRIMARY" if one.primary else "ACTIVE",
            "taskDefinition": one.definition.arn,
            "desiredCount": one.desired,
            "runningCount": sum(task.status is TaskStatus.RUNNING for task in tasks),
            "pendingCount": sum(task.starting for task in tasks),
            "failedTasks": one.failed_tasks,
            "createdAt": one.created_at,
            "updatedAt": one.updated_at,
            "launchType": self.launch_type,
            "rolloutState": one.rollout.value,
            "rolloutStateReason": one.rollout_reason,
            "networkConfiguration": self.network,
        }


def _without_none(document: dict[str, Any]) -> dict[str, Any]:
    # AWS leaves out what it has no value for.
    return {name: value for name, value in document.items() if value is not None}
