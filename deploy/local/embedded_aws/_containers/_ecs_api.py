"""The operations of ECS's API on services and tasks: requests checked, answers worded.

Of everything else (clusters, task definitions, tags) MiniStack's own implementation answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ._cluster import Cluster
from ._definition import TaskDefinition
from ._model import DeploymentRules, Service, TargetOfService, Task

Document = Mapping[str, Any]
Definitions = Callable[[str], Awaitable[TaskDefinition]]

_LAUNCH_TYPES = ("FARGATE", "EC2")
_NOT_SUPPORTED = frozenset({"serviceRegistries", "placementConstraints", "placementStrategy"})


class ApiError(Exception):
    """An error answer: ECS's code of it, and a text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Request:
    """A call, with what MiniStack knows that it needs.

    Args:
        body: the call's own parameters.
        clusters: the ARNs of the active clusters, by name.
        definition: the task definition that is named in the body, where one is.
    """

    operation: str
    body: Document
    clusters: Mapping[str, str]
    definition: TaskDefinition | None = None


class EcsApi:
    """The operations. To be called on the cluster's loop."""

    OPERATIONS = frozenset(
        {
            "CreateService",
            "DeleteService",
            "DescribeServices",
            "DescribeTasks",
            "ListServices",
            "ListTasks",
            "RunTask",
            "StopTask",
            "UpdateService",
        }
    )

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._operations: dict[str, Callable[[Request, str], dict[str, Any]]] = {
            "CreateService": self._create_service,
            "DeleteService": self._delete_service,
            "DescribeServices": self._describe_services,
            "DescribeTasks": self._describe_tasks,
            "ListServices": self._list_services,
            "ListTasks": self._list_tasks,
            "RunTask": self._run_task,
            "StopTask": self._stop_task,
            "UpdateService": self._update_service,
        }

    async def call(self, request: Request) -> dict[str, Any]:
        """The answer's document; raises ApiError."""
        cluster = last_part(request.body.get("cluster") or "default")
        if cluster not in request.clusters:
            raise ApiError("ClusterNotFoundException", "Cluster not found.")
        answer = self._operations[request.operation](request, cluster)
        await asyncio.sleep(0)  # what was begun gets its first step
        return answer

    def _create_service(self, request: Request, cluster: str) -> dict[str, Any]:
        body = request.body
        name = body.get("serviceName") or ""
        definition = request.definition
        if not name or definition is None:
            raise ApiError("InvalidParameterException", "serviceName and taskDefinition are needed")
        known = self._cluster.services.get((cluster, name))
        if known is not None and known.status != "INACTIVE":
            raise ApiError("InvalidParameterException", "Creation of service was not idempotent.")
        if unsupported := sorted(field for field in _NOT_SUPPORTED if body.get(field)):
            raise ApiError("UnsupportedFeatureException", f"not here: {', '.join(unsupported)}")
        if body.get("schedulingStrategy", "REPLICA") != "REPLICA" or (
            (body.get("deploymentController") or {}).get("type", "ECS") != "ECS"
        ):
            raise ApiError("UnsupportedFeatureException", "only replicas and rolling updates")
        service = Service(
            arn=self._cluster.names.arn("service", cluster, name),
            name=name,
            cluster_arn=request.clusters[cluster],
            desired=_count(body.get("desiredCount", 0), "desiredCount"),
            launch_type=_launch_type(body),
            rules=_rules(body.get("deploymentConfiguration") or {}),
            targets=self._targets(body, definition),
            grace_seconds=_count(
                body.get("healthCheckGracePeriodSeconds") or 0, "healthCheckGracePeriodSeconds"
            ),
            created_at=self._cluster.now(),
            network=dict(body.get("networkConfiguration") or {}),
        )
        self._cluster.add_service(cluster, service, definition)
        return {"service": service.document()}

    def _update_service(self, request: Request, cluster: str) -> dict[str, Any]:
        body = request.body
        service = self._service(cluster, body.get("service"))
        if service.status != "ACTIVE":
            raise ApiError("ServiceNotActiveException", "Service was not ACTIVE.")
        if "deploymentConfiguration" in body:
            service.rules = _rules(body["deploymentConfiguration"], service.rules)
        if "healthCheckGracePeriodSeconds" in body:
            service.grace_seconds = _count(
                body["healthCheckGracePeriodSeconds"], "healthCheckGracePeriodSeconds"
            )
        if "networkConfiguration" in body:
            service.network = dict(body["networkConfiguration"])
        if "loadBalancers" in body:
            raise ApiError(
                "UnsupportedFeatureException", "not here: loadBalancers of a running service"
            )
        desired = body.get("desiredCount")
        current = service.primary.definition
        definition = request.definition
        changed = definition is not None and definition.arn != current.arn
        if body.get("forceNewDeployment"):
            definition, changed = definition or current, True
        self._cluster.update_service(
            service,
            desired=None if desired is None else _count(desired, "desiredCount"),
            definition=definition if changed else None,
        )
        return {"service": service.document()}

    def _delete_service(self, request: Request, cluster: str) -> dict[str, Any]:
        service = self._service(cluster, request.body.get("service"))
        if service.desired and not request.body.get("force"):
            raise ApiError(
                "InvalidParameterException",
                "The service cannot be stopped while it is scaled above 0.",
            )
        self._cluster.delete_service(service)
        return {"service": service.document()}

    def _describe_services(self, request: Request, cluster: str) -> dict[str, Any]:
        found, failures = [], []
        for reference in request.body.get("services") or []:
            service = self._cluster.services.get((cluster, last_part(reference)))
            if service is None:
                arn = self._cluster.names.arn("service", cluster, last_part(reference))
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(service.document())
        return {"services": found, "failures": failures}

    def _list_services(self, _request: Request, cluster: str) -> dict[str, Any]:
        return {
            "serviceArns": [
                service.arn
                for (where, _), service in self._cluster.services.items()
                if where == cluster and service.status != "INACTIVE"
            ]
        }

    def _run_task(self, request: Request, cluster: str) -> dict[str, Any]:
        body = request.body
        if request.definition is None:
            raise ApiError("InvalidParameterException", "taskDefinition is needed")
        if any((body.get("overrides") or {}).values()):
            raise ApiError("UnsupportedFeatureException", "not here: overrides")
        count = _count(body.get("count", 1), "count")
        if not 1 <= count <= 10:
            raise ApiError("InvalidParameterException", "count must be between 1 and 10")
        tasks = [
            self._cluster.run_task(
                request.clusters[cluster],
                cluster,
                request.definition,
                group=body.get("group") or f"family:{request.definition.family}",
                started_by=body.get("startedBy") or "",
                launch_type=_launch_type(body),
            )
            for _ in range(count)
        ]
        return {"tasks": [task.document() for task in tasks], "failures": []}

    def _stop_task(self, request: Request, cluster: str) -> dict[str, Any]:
        task = self._task(cluster, request.body.get("task") or "")
        if task is None:
            raise ApiError("InvalidParameterException", "The referenced task was not found.")
        reason = request.body.get("reason") or "Task stopped by user"
        self._cluster.stop_task(task, reason, "UserInitiated")
        return {"task": task.document()}

    def _describe_tasks(self, request: Request, cluster: str) -> dict[str, Any]:
        found, failures = [], []
        for reference in request.body.get("tasks") or []:
            task = self._task(cluster, reference)
            if task is None:
                arn = self._cluster.names.arn("task", cluster, last_part(reference))
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(task.document())
        return {"tasks": found, "failures": failures}

    def _list_tasks(self, request: Request, cluster: str) -> dict[str, Any]:
        body = request.body
        wanted = {
            "desired_status": body.get("desiredStatus") or "RUNNING",
            "group": f"service:{last_part(body['serviceName'])}"
            if body.get("serviceName")
            else None,
            "started_by": body.get("startedBy"),
            "launch_type": body.get("launchType"),
        }
        family = body.get("family")
        return {
            "taskArns": [
                task.arn
                for task in self._cluster.tasks.values()
                if task.cluster_arn == request.clusters[cluster]
                and (family is None or task.definition.family == family)
                and all(
                    value is None or getattr(task, name) == value for name, value in wanted.items()
                )
            ]
        }

    def _service(self, cluster: str, reference: str | None) -> Service:
        service = self._cluster.services.get((cluster, last_part(reference or "")))
        if service is None:
            raise ApiError("ServiceNotFoundException", "Service not found.")
        return service

    def _task(self, cluster: str, reference: str) -> Task | None:
        return self._cluster.tasks.get(
            self._cluster.names.arn("task", cluster, last_part(reference))
        )

    def _targets(self, body: Document, definition: TaskDefinition) -> tuple[TargetOfService, ...]:
        targets = []
        names = {container.name for container in definition.containers}
        for one in body.get("loadBalancers") or []:
            group = one.get("targetGroupArn") or ""
            settings = self._cluster.groups.settings(group)
            if settings is None:
                raise ApiError(
                    "InvalidParameterException", f"The target group {group} does not exist."
                )
            if not settings.attached:
                raise ApiError(
                    "InvalidParameterException",
                    f"The target group with targetGroupArn {group} does not have an associated"
                    " load balancer.",
                )
            if one.get("containerName") not in names:
                raise ApiError(
                    "InvalidParameterException",
                    f"The container {one.get('containerName')} does not exist in the task"
                    " definition.",
                )
            targets.append(TargetOfService(group, one["containerName"], int(one["containerPort"])))
        return tuple(targets)


def last_part(reference: str) -> str:
    """The name in an ARN, or the name itself."""
    return reference.rpartition("/")[2]


def _launch_type(body: Document) -> str:
    if body.get("capacityProviderStrategy"):
        raise ApiError("UnsupportedFeatureException", "not here: capacityProviderStrategy")
    launch_type = body.get("launchType") or "EC2"
    if launch_type not in _LAUNCH_TYPES:
        raise ApiError("InvalidParameterException", f"launchType: {' or '.join(_LAUNCH_TYPES)}")
    return str(launch_type)


def _rules(document: Document, before: DeploymentRules | None = None) -> DeploymentRules:
    before = before or DeploymentRules()
    if (document.get("alarms") or {}).get("enable"):
        raise ApiError("UnsupportedFeatureException", "not here: alarms of a deployment")
    breaker = document.get("deploymentCircuitBreaker")
    rules = DeploymentRules(
        minimum_percent=_count(
            document.get("minimumHealthyPercent", before.minimum_percent), "minimumHealthyPercent"
        ),
        maximum_percent=_count(
            document.get("maximumPercent", before.maximum_percent), "maximumPercent"
        ),
        breaker=bool(breaker["enable"]) if breaker else before.breaker,
        rollback=bool(breaker["rollback"]) if breaker else before.rollback,
    )
    if not 0 <= rules.minimum_percent <= 100 <= rules.maximum_percent <= 200:
        raise ApiError(
            "InvalidParameterException",
            "minimumHealthyPercent is 0 to 100, maximumPercent 100 to 200",
        )
    return rules


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ApiError("InvalidParameterException", f"{name} must be a number, 0 or more")
    return value
