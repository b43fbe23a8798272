"""What a call of ECS's is checked against in policies: its resources and condition keys.

As the service authorization reference has them ("Actions, resources, and condition keys for Amazon
Elastic Container Service"), where MiniStack takes the cluster for the resource of everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PASSED_TO = "ecs-tasks.amazonaws.com"


def resources(
    operation: str, document: Mapping[str, Any], *, region: str, account: str
) -> list[str]:
    """The ARNs that the caller must be allowed the operation on, all of them; `*` for none."""

    def arn(kind: str, *parts: str) -> str:
        return f"arn:aws:ecs:{region}:{account}:{kind}/{'/'.join(parts)}"

    cluster = _name(document.get("cluster") or "default")
    match operation:
        case "CreateService":
            return [arn("service", cluster, _name(document.get("serviceName")))]
        case "UpdateService" | "DeleteService":
            return [arn("service", cluster, _name(document.get("service")))]
        case "DescribeServices":
            services = _several(document.get("services"))
            return [arn("service", cluster, _name(one)) for one in services] or ["*"]
        case "DescribeTasks":
            tasks = _several(document.get("tasks"))
            return [arn("task", cluster, _name(one)) for one in tasks] or ["*"]
        case "StopTask":
            return [arn("task", cluster, _name(document.get("task")))]
        case "RunTask":
            return [arn("task-definition", _name(document.get("taskDefinition")))]
        case "DeleteCluster":
            return [arn("cluster", cluster)]
        case "DescribeClusters":
            clusters = _several(document.get("clusters"))
            return [arn("cluster", _name(one)) for one in clusters] or ["*"]
        case "TagResource" | "UntagResource" | "ListTagsForResource":
            return [str(document.get("resourceArn") or "*")]
    return ["*"]


def conditions(
    document: Mapping[str, Any], *, region: str, account: str
) -> dict[str, list[str] | str]:
    """The condition keys of a call, besides those that MiniStack knows."""
    if "cluster" not in document:
        return {}
    cluster = _name(document["cluster"])
    return {"ecs:cluster": f"arn:aws:ecs:{region}:{account}:cluster/{cluster}"}


def passed_roles(operation: str, document: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """The roles that the caller hands on, for which it needs `iam:PassRole`, and the condition keys."""
    if operation != "RegisterTaskDefinition":
        return []
    roles = [document.get(field) for field in ("taskRoleArn", "executionRoleArn")]
    return [(role, {"iam:PassedToService": _PASSED_TO}) for role in roles if isinstance(role, str)]


def _name(reference: object) -> str:
    return str(reference or "").rpartition("/")[2]


def _several(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []
