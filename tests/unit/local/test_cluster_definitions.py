"""What is registered with ECS and the load balancer: hardened, rolled without a gap, and findable."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from deploy.local._cluster import _definitions as definitions
from deploy.local._cluster._definitions import ECS_SERVICES, LOCAL, EcsService
from deploy.local._iam import OPERATOR_POLICY
from deploy.local._services import CONSUMER, DRAIN_SECONDS, SERVICES, ServiceSettings, variables_of
from deploy.release import SERVICES as RELEASED
from deploy.release._ecs import ACTIONS
from deploy.release._task_definition import VERSION_TAG
from libs.http import DEFAULT_REQUEST_TIMEOUT_SECONDS

IMAGE = "127.0.0.1:4566/lyceum/course_catalog@sha256:" + "0" * 64
ALL = pytest.mark.parametrize("ecs_service", ECS_SERVICES.values(), ids=ECS_SERVICES)


def registered(ecs_service: EcsService, variables: dict[str, str] | None = None) -> dict[str, Any]:
    return definitions.task_definition(
        ecs_service,
        image=IMAGE,
        version="0.3.0",
        variables=variables or {"A": "1"},
        task_role_arn="arn:aws:iam::000000000000:role/lyceum-course-catalog",
    )


def test_the_release_tool_knows_the_same_services_by_the_same_names() -> None:
    assert tuple(RELEASED) == SERVICES
    for service in RELEASED.values():
        assert definitions.repository(service.name) == service.repository
        of_it = [one.name for one in ECS_SERVICES.values() if one.service == service.name]
        assert of_it == list(service.rollouts)
        assert ECS_SERVICES[service.listens].is_balanced
    assert definitions.VERSION_TAG == VERSION_TAG


@ALL
def test_a_task_can_do_nothing_but_its_work(ecs_service: EcsService) -> None:
    document = registered(ecs_service)
    assert (document["family"], document["networkMode"]) == (ecs_service.name, "awsvpc")
    (container,) = document["containerDefinitions"]
    assert container["name"] == ecs_service.name
    assert container["image"] == IMAGE
    assert container["user"].split(":")[0] not in ("", "0", "root")
    assert container["readonlyRootFilesystem"] is True
    assert container["linuxParameters"] == {"capabilities": {"drop": ["ALL"]}}
    assert container["essential"] is True
    assert "privileged" not in container
    assert int(document["memory"]) * 2**20 > 90_000_000 * 2  # what an idle service may take, twice
    assert document["tags"] == [{"key": "lyceum:version", "value": "0.3.0"}]


@ALL
def test_a_task_is_given_longer_to_stop_than_it_takes_to_drain(ecs_service: EcsService) -> None:
    (container,) = registered(ecs_service)["containerDefinitions"]
    assert DRAIN_SECONDS < container["stopTimeout"] <= 120  # Fargate's bound
    assert DEFAULT_REQUEST_TIMEOUT_SECONDS <= DRAIN_SECONDS
    assert LOCAL.deregistration_delay > DEFAULT_REQUEST_TIMEOUT_SECONDS


def test_the_environment_is_the_one_of_the_processes_but_for_where_they_listen() -> None:
    settings = ServiceSettings("s" * 48, ["http://127.0.0.1:8080"], "127.0.0.1:2000")
    provisioned = {"AWS_REGION": "us-east-1", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "t"}
    for name, ecs_service in ECS_SERVICES.items():
        local = variables_of(name, settings, provisioned, host="127.0.0.1", port=4711)
        there = variables_of(
            name,
            settings,
            provisioned,
            host=definitions.CONTAINER_HOST,
            port=definitions.CONTAINER_PORT,
        )
        (container,) = registered(ecs_service, there)["containerDefinitions"]
        given = {entry["name"]: entry["value"] for entry in container["environment"]}
        assert given == there
        assert given.keys() == local.keys()
        differing = {variable for variable in given if given[variable] != local[variable]}
        assert {re.sub("^[A-Z]+_", "", variable) for variable in differing} == (
            set() if name == CONSUMER else {"HOST", "PORT"}
        )
        # The image's own.
        assert not any(variable.endswith("_VERSION") for variable in given)
        assert not {"PATH", "HOME", "PYTHONPATH"} & given.keys()


def test_the_consumer_is_another_command_of_its_services_image() -> None:
    consumer = ECS_SERVICES[CONSUMER]
    (container,) = registered(consumer)["containerDefinitions"]
    assert container["command"] == ["services.progress_tracking.consumer"]
    # It listens nowhere.
    assert not {"portMappings", "healthCheck"} & container.keys()
    for service in SERVICES:
        (container,) = registered(ECS_SERVICES[service])["containerDefinitions"]
        assert "command" not in container
        assert container["portMappings"] == [{"containerPort": 8080, "protocol": "tcp"}]
        assert container["healthCheck"]["command"][:5] == [
            *("CMD", "/app/bin/python", "-I", "-m", "libs.health_check"),
        ]


@ALL
def test_a_roll_out_never_has_too_few_tasks_and_goes_back_by_itself(
    ecs_service: EcsService,
) -> None:
    group = "arn:aws:tg" if ecs_service.is_balanced else None
    document = definitions.service(
        ecs_service, task_definition="family:1", desired_count=2, target_group_arn=group
    )
    assert document["deploymentConfiguration"] == {
        "minimumHealthyPercent": 100,
        "maximumPercent": 200,
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
    }
    assert document["desiredCount"] == 2
    if ecs_service.is_balanced:
        (behind,) = document["loadBalancers"]
        assert behind["targetGroupArn"] == group
        assert behind["containerName"] == ecs_service.name
        assert document["healthCheckGracePeriodSeconds"] > 0
    else:
        assert not {"loadBalancers", "healthCheckGracePeriodSeconds"} & document.keys()


def test_target_groups_have_names_that_aws_takes_and_ask_for_readiness() -> None:
    for service in SERVICES:
        document = definitions.target_group(ECS_SERVICES[service])
        assert re.fullmatch(r"[a-zA-Z0-9-]{1,32}", document["Name"])
        assert document["Name"] == service.replace("_", "-")
        assert document["HealthCheckPath"] == "/readyz"
        assert (document["HealthyThresholdCount"], document["UnhealthyThresholdCount"]) == (2, 2)
        assert document["TargetType"] == "ip"


def test_the_operator_may_do_what_a_release_does_and_nothing_to_people_or_data() -> None:
    document = json.loads(OPERATOR_POLICY.read_text())
    allowed: set[str] = set()
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
    assert allowed >= ACTIONS
    assert not any("*" in action for action in allowed)
    assert {action.partition(":")[0] for action in allowed} == {
        *("apigateway", "cloudwatch", "ecr", "ecs", "elasticloadbalancing", "iam"),
    }
    assert {action for action in allowed if action.startswith("iam:")} == {"iam:PassRole"}
    # It changes services, and makes and ends none.
    assert not {"ecs:CreateService", "ecs:DeleteService", "ecs:RunTask"} & allowed
    for statement in document["Statement"]:
        if statement["Resource"] == "*" and "Condition" not in statement:
            actions = (
                {statement["Action"]}
                if isinstance(statement["Action"], str)
                else set(statement["Action"])
            )
            assert not actions & {"ecs:UpdateService", "ecr:PutImage", "iam:PassRole"}
