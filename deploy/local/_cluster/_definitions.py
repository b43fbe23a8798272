"""What stands in ECS, and in front of it: task definitions, services, target groups, listeners.

Each function gives the parameters of one call of AWS's API. They are those of AWS but for `LOCAL` and for
three things that the embedded AWS does not have, or not well:

* `logConfiguration` with `awslogs`: the platform copies what containers write to its folder of logs;
* `secrets`: the keys of cursors and the token of the credential endpoint stand among the variables, and
  may be read by whoever may read task definitions. They are worth nothing but on this machine;
* `executionRoleArn`: images come from the embedded AWS's own registry.

Makes nothing; knows no address, no credential and no image but by argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.local._provision import PREFIXES
from deploy.local._services import CONSUMER, DRAIN_SECONDS, SERVICES, service_of

CLUSTER = "lyceum"
LOAD_BALANCER = "lyceum"

# Of task definitions.
VERSION_TAG = "lyceum:version"

# Where every service listens in its container, on all of the container's addresses.
CONTAINER_HOST, CONTAINER_PORT = "0.0.0.0", 8080  # noqa: S104 - the container's own, as on AWS

# Between SIGTERM and SIGKILL: what a drain may take, and some time to close connections.
STOP_TIMEOUT_SECONDS = DRAIN_SECONDS + 10

# An awsvpc task needs a network; the embedded AWS has but the machine's own.
_VPC, _SUBNETS = "vpc-00000000000000000", ("subnet-00000000000000000", "subnet-00000000000000001")
_SECURITY_GROUP = "sg-00000000000000000"


@dataclass(frozen=True)
class EcsService:
    """An ECS service. Its name is also its task definition's family and its container's name.

    Args:
        name: see above.
        service: the folder of the service whose image, role and variables its tasks have.
        command: in the place of the image's own.
        is_balanced: whether it stands behind the load balancer.
    """

    name: str
    service: str
    command: Sequence[str] = ()
    is_balanced: bool = True

    @property
    def target_group(self) -> str:
        """The name of its target group, which may have no underscores."""
        return self.name.replace("_", "-")


ECS_SERVICES: Mapping[str, EcsService] = {
    **{service: EcsService(service, service) for service in SERVICES},
    CONSUMER: EcsService(
        CONSUMER,
        service_of(CONSUMER),
        command=(f"services.{service_of(CONSUMER)}.consumer",),
        is_balanced=False,
    ),
}


@dataclass(frozen=True)
class Timing:
    """What is waited for, in seconds.

    Args:
        health_check_interval: between two looks of the load balancer at a target.
        health_check_timeout: how long a target may take to answer one.
        deregistration_delay: for how long a target that was taken out finishes what it has, before
            it is told to stop. Longer than the longest request: a service's own
            REQUEST_TIMEOUT_SECONDS (5), and what it takes to send the answer.
        health_check_grace: how long a task may take to start before failed checks count.
    """

    health_check_interval: int
    health_check_timeout: int
    deregistration_delay: int
    health_check_grace: int


# On AWS the interval is 5 s at least, and the delay is above the 29 s that API Gateway waits for an
# answer; here a roll is watched by a person.
LOCAL = Timing(
    health_check_interval=1,
    health_check_timeout=2,
    deregistration_delay=6,
    health_check_grace=60,
)


def repository(service: str) -> str:
    """The ECR repository of a service's image."""
    return f"{CLUSTER}/{service}"


def task_definition(
    ecs_service: EcsService,
    *,
    image: str,
    version: str,
    variables: Mapping[str, str],
    task_role_arn: str,
) -> dict[str, Any]:
    """RegisterTaskDefinition.

    Args:
        ecs_service: whose tasks.
        image: by digest.
        version: of the image, for `deploy/release`, which does the same.
        variables: the environment, but for what the image holds.
        task_role_arn: what the service may do.
    """
    container: dict[str, Any] = {
        "name": ecs_service.name,
        "image": image,
        "essential": True,
        "user": "65532:65532",
        "readonlyRootFilesystem": True,
        "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
        "stopTimeout": STOP_TIMEOUT_SECONDS,
        "environment": [
            {"name": name, "value": value} for name, value in sorted(variables.items())
        ],
    }
    if ecs_service.command:
        container["command"] = list(ecs_service.command)
    if ecs_service.is_balanced:
        prefix = PREFIXES[ecs_service.service]
        # Whether it is alive: ECS looks at no check of the image. A consumer that hangs is seen by
        # the age of what waits in its queue.
        container["healthCheck"] = {
            "command": ["CMD", "/app/bin/python", "-I", "-m", "libs.health_check", prefix],
            "interval": 5,  # ECS's shortest: until the first one a task does not count as healthy
            "timeout": 5,
            "retries": 3,
            "startPeriod": 15,
        }
        container["portMappings"] = [{"containerPort": CONTAINER_PORT, "protocol": "tcp"}]
    return {
        "family": ecs_service.name,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        # Fargate's smallest.
        "cpu": "256",
        "memory": "512",
        "taskRoleArn": task_role_arn,
        "containerDefinitions": [container],
        "tags": [{"key": VERSION_TAG, "value": version}],
    }


def service(
    ecs_service: EcsService,
    *,
    task_definition: str,
    desired_count: int,
    target_group_arn: str | None,
    timing: Timing = LOCAL,
) -> dict[str, Any]:
    """CreateService: a roll starts what is new before it stops what is old, and goes back by itself
    where the new does not become healthy."""
    parameters: dict[str, Any] = {
        "cluster": CLUSTER,
        "serviceName": ecs_service.name,
        "taskDefinition": task_definition,
        "desiredCount": desired_count,
        "launchType": "FARGATE",
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": list(_SUBNETS),
                "securityGroups": [_SECURITY_GROUP],
                "assignPublicIp": "DISABLED",
            }
        },
        "deploymentConfiguration": {
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        },
    }
    if target_group_arn is not None:
        parameters["loadBalancers"] = [
            {
                "targetGroupArn": target_group_arn,
                "containerName": ecs_service.name,
                "containerPort": CONTAINER_PORT,
            }
        ]
        # ECS takes it with a load balancer alone.
        parameters["healthCheckGracePeriodSeconds"] = timing.health_check_grace
    return parameters


def load_balancer() -> dict[str, Any]:
    """CreateLoadBalancer: one for all services."""
    return {
        "Name": LOAD_BALANCER,
        "Type": "application",
        "Scheme": "internal",
        "Subnets": list(_SUBNETS),
        "SecurityGroups": [_SECURITY_GROUP],
    }


def target_group(ecs_service: EcsService, *, timing: Timing = LOCAL) -> dict[str, Any]:
    """CreateTargetGroup: asks /readyz, which says nothing of what a circuit breaker guards."""
    return {
        "Name": ecs_service.target_group,
        "TargetType": "ip",
        "Protocol": "HTTP",
        "Port": CONTAINER_PORT,
        "VpcId": _VPC,
        "HealthCheckProtocol": "HTTP",
        "HealthCheckPath": "/readyz",
        "HealthCheckIntervalSeconds": timing.health_check_interval,
        "HealthCheckTimeoutSeconds": timing.health_check_timeout,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 2,
        "Matcher": {"HttpCode": "200"},
    }


def target_group_attributes(
    arn: str, *, deregistration_delay: int = LOCAL.deregistration_delay
) -> dict[str, Any]:
    """ModifyTargetGroupAttributes."""
    attributes = {
        "deregistration_delay.timeout_seconds": str(deregistration_delay),
        "load_balancing.algorithm.type": "round_robin",
    }
    return {
        "TargetGroupArn": arn,
        "Attributes": [{"Key": key, "Value": value} for key, value in attributes.items()],
    }


def listener(load_balancer_arn: str, target_group_arn: str, *, port: int) -> dict[str, Any]:
    """CreateListener: a port a service; which path is whose is the gateway's business."""
    return {
        "LoadBalancerArn": load_balancer_arn,
        "Protocol": "HTTP",
        "Port": port,
        "DefaultActions": [{"Type": "forward", "TargetGroupArn": target_group_arn}],
    }
