"""What runs: services, deployments, task definitions, targets and alarms, as values of our own.

The only module that knows how ECS, the load balancer and CloudWatch say it. `ACTIONS` is all that an
operator needs to be allowed; a test holds the calls that are really made against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from deploy.release._calls import Calls
from deploy.release._errors import ReleaseError

ACTIONS = frozenset({
    "ecs:DescribeServices",
    "ecs:UpdateService",
    "ecs:DescribeTaskDefinition",
    "ecs:RegisterTaskDefinition",
    "ecs:ListTaskDefinitions",
    "ecs:TagResource",
    "ecs:ListTasks",
    "ecs:DescribeTasks",
    "elasticloadbalancing:DescribeTargetHealth",
    "cloudwatch:DescribeAlarms",
    "iam:PassRole",
})  # fmt: skip

REGISTRY_ACTIONS = frozenset({
    "ecr:GetAuthorizationToken",
    # What the registry asks for behind the distribution API: looking, then sending.
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchCheckLayerAvailability",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:PutImage",
})  # fmt: skip
"""What the registry needs besides, where it is ECR."""

IN_PROGRESS, COMPLETED, FAILED = "IN_PROGRESS", "COMPLETED", "FAILED"

# What a task definition says and can be registered with; the rest is ECS's own account of it.
_REGISTERED = (
    "family", "taskRoleArn", "executionRoleArn", "networkMode", "containerDefinitions", "volumes",
    "placementConstraints", "requiresCompatibilities", "cpu", "memory", "pidMode", "ipcMode",
    "proxyConfiguration", "inferenceAccelerators", "ephemeralStorage", "runtimePlatform",
    "enableFaultInjection",
)  # fmt: skip


@dataclass(frozen=True)
class Deployment:
    """A deployment of a service.

    Args:
        id: ECS's.
        status: PRIMARY, ACTIVE (being replaced) or INACTIVE.
        state: IN_PROGRESS, COMPLETED or FAILED; "" where ECS does not say.
        reason: why it is in that state.
        failed: tasks that did not start.
        began: when.
        changed: when it was changed last.
    """

    id: str
    status: str
    task_definition: str
    desired: int
    running: int
    pending: int
    failed: int
    state: str
    reason: str
    began: datetime
    changed: datetime


@dataclass(frozen=True)
class Event:
    """What ECS tells of a service."""

    id: str
    at: datetime
    message: str


@dataclass(frozen=True)
class CircuitBreaker:
    """Whether ECS gives a deployment up by itself, and whether it then goes back."""

    enabled: bool
    rolls_back: bool

    def __str__(self) -> str:
        if not self.enabled:
            return "off"
        return "on, rolls back" if self.rolls_back else "on, does not roll back"


@dataclass(frozen=True)
class Snapshot:
    """A service of ECS at one moment."""

    name: str
    status: str
    controller: str
    desired: int
    deployments: tuple[Deployment, ...]
    events: tuple[Event, ...] = field(repr=False)
    target_groups: tuple[str, ...]
    breaker: CircuitBreaker

    @property
    def primary(self) -> Deployment:
        """The deployment that is to be."""
        return next(
            (one for one in self.deployments if one.status == "PRIMARY"), self.deployments[0]
        )

    @property
    def is_rolling(self) -> bool:
        """Whether a roll-out is in progress."""
        return self.primary.state == IN_PROGRESS


@dataclass(frozen=True)
class TaskDefinition:
    """A revision of a task definition. `document`: what it can be registered with again."""

    arn: str
    family: str
    revision: int
    is_active: bool
    document: Mapping[str, Any] = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.family}:{self.revision}"


@dataclass(frozen=True)
class Target:
    """A target of a load balancer, and what its health check says."""

    address: str
    state: str
    detail: str


@dataclass(frozen=True)
class StoppedTask:
    """A task that ended, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Ecs:
    """One cluster."""

    calls: Calls
    cluster: str

    def services(self, names: Sequence[str]) -> list[Snapshot]:
        """The services, in this order. Raises ReleaseError where one is missing, AwsError."""
        answer = self.calls("ecs", "describe_services", cluster=self.cluster, services=list(names))
        found = {one["serviceName"]: _snapshot(one) for one in answer.get("services", ())}
        missing = [
            f"there is no ECS service {name} in the cluster {self.cluster}"
            for name in names
            if name not in found
        ]
        if missing:
            raise ReleaseError(*missing)
        return [found[name] for name in names]

    def update(self, service: str, task_definition: str) -> Snapshot:
        """Rolls a service to a task definition. Raises AwsError."""
        answer = self.calls(
            "ecs",
            "update_service",
            cluster=self.cluster,
            service=service,
            taskDefinition=task_definition,
        )
        return _snapshot(answer["service"])

    def scale(self, service: str, desired: int) -> Snapshot:
        """Gives a service so many tasks. Raises AwsError."""
        answer = self.calls(
            "ecs",
            "update_service",
            cluster=self.cluster,
            service=service,
            desiredCount=desired,
        )
        return _snapshot(answer["service"])

    def task_definition(self, name: str) -> TaskDefinition:
        """By ARN, or `family:revision`. Raises AwsError."""
        answer = self.calls(
            "ecs", "describe_task_definition", taskDefinition=name, include=["TAGS"]
        )
        return _task_definition(answer["taskDefinition"], answer.get("tags") or ())

    def register(self, document: Mapping[str, Any], tags: Mapping[str, str]) -> TaskDefinition:
        """A new revision. Raises AwsError."""
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        answer = self.calls(
            "ecs",
            "register_task_definition",
            **document,
            **({"tags": listed} if listed else {}),
        )
        return _task_definition(answer["taskDefinition"], listed)

    def revisions(self, family: str) -> list[str]:
        """The ARNs of a family's revisions that can be used, the newest first. Raises AwsError."""
        answer = self.calls(
            "ecs",
            "list_task_definitions",
            familyPrefix=family,
            status="ACTIVE",
            sort="DESC",
            maxResults=100,
        )
        arns = [str(arn) for arn in answer.get("taskDefinitionArns", ())]
        mine = [arn for arn in arns if family_of(arn) == family]
        return sorted(mine, key=revision_of, reverse=True)

    def targets(self, groups: Iterable[str]) -> list[Target]:
        """The targets of these target groups. Raises AwsError."""
        return [
            _target(one)
            for group in groups
            for one in self.calls("elbv2", "describe_target_health", TargetGroupArn=group).get(
                "TargetHealthDescriptions", ()
            )
        ]

    def stopped_tasks(self, service: str, task_definition: str) -> list[StoppedTask]:
        """The tasks of a task definition that ended lately. Raises AwsError."""
        arns = self.calls(
            "ecs",
            "list_tasks",
            cluster=self.cluster,
            serviceName=service,
            desiredStatus="STOPPED",
            maxResults=100,
        ).get("taskArns", ())
        if not arns:
            return []
        answer = self.calls("ecs", "describe_tasks", cluster=self.cluster, tasks=list(arns))
        return [
            StoppedTask(one["taskArn"].rsplit("/", 1)[-1], _reason_of(one))
            for one in answer.get("tasks", ())
            if one.get("taskDefinitionArn") == task_definition
        ]

    def alarms(self, names: Sequence[str]) -> dict[str, tuple[str, str]]:
        """State and reason of CloudWatch alarms, by their names. Raises AwsError."""
        if not names:
            return {}
        answer = self.calls(
            "cloudwatch",
            "describe_alarms",
            AlarmNames=list(names),
            AlarmTypes=["MetricAlarm", "CompositeAlarm"],
        )
        found = [*answer.get("MetricAlarms", ()), *answer.get("CompositeAlarms", ())]
        return {
            one["AlarmName"]: (one["StateValue"], str(one.get("StateReason") or ""))
            for one in found
        }


def family_of(arn: str) -> str:
    """The family of a task definition, by its ARN or `family:revision`."""
    return arn.rsplit("/", 1)[-1].rpartition(":")[0]


def revision_of(arn: str) -> int:
    """Its revision; 0 where it names none."""
    number = arn.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def short_name(arn: str) -> str:
    """`family:revision` of an ARN."""
    return arn.rsplit("/", 1)[-1]


def _snapshot(one: Mapping[str, Any]) -> Snapshot:
    configuration = one.get("deploymentConfiguration") or {}
    breaker = configuration.get("deploymentCircuitBreaker") or {}
    return Snapshot(
        name=one["serviceName"],
        status=one.get("status", ""),
        controller=(one.get("deploymentController") or {}).get("type", "ECS"),
        desired=int(one.get("desiredCount", 0)),
        deployments=tuple(_deployment(each) for each in one.get("deployments", ())),
        events=tuple(
            Event(each["id"], _time(each["createdAt"]), each["message"])
            for each in one.get("events", ())
        ),
        target_groups=tuple(
            each["targetGroupArn"]
            for each in one.get("loadBalancers", ())
            if each.get("targetGroupArn")
        ),
        breaker=CircuitBreaker(
            enabled=bool(breaker.get("enable")), rolls_back=bool(breaker.get("rollback"))
        ),
    )


def _deployment(one: Mapping[str, Any]) -> Deployment:
    return Deployment(
        id=one["id"],
        status=one["status"],
        task_definition=one["taskDefinition"],
        desired=int(one.get("desiredCount", 0)),
        running=int(one.get("runningCount", 0)),
        pending=int(one.get("pendingCount", 0)),
        failed=int(one.get("failedTasks", 0)),
        state=one.get("rolloutState") or "",
        reason=one.get("rolloutStateReason") or "",
        began=_time(one.get("createdAt")),
        changed=_time(one.get("updatedAt") or one.get("createdAt")),
    )


def _task_definition(one: Mapping[str, Any], tags: Iterable[Mapping[str, str]]) -> TaskDefinition:
    return TaskDefinition(
        arn=one["taskDefinitionArn"],
        family=one["family"],
        revision=int(one["revision"]),
        is_active=one.get("status", "ACTIVE") == "ACTIVE",
        # What is empty was not given; given again, ECS refuses it.
        document={key: one[key] for key in _REGISTERED if one.get(key) not in (None, "", [], {})},
        tags={tag["key"]: tag["value"] for tag in tags},
    )


def _target(one: Mapping[str, Any]) -> Target:
    target, health = one["Target"], one.get("TargetHealth") or {}
    detail = health.get("Description") or health.get("Reason") or ""
    return Target(f"{target['Id']}:{target.get('Port', '')}", health.get("State", ""), detail)


def _reason_of(task: Mapping[str, Any]) -> str:
    codes = [
        f"{one.get('name')} exited {one['exitCode']}"
        for one in task.get("containers", ())
        if one.get("exitCode") is not None
    ]
    said = [str(one["reason"]) for one in task.get("containers", ()) if one.get("reason")]
    return "; ".join([task.get("stoppedReason") or "stopped", *codes, *said])


def _time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.fromtimestamp(float(value or 0), UTC)
