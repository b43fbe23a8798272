"""Applied on moto by the real provider: a second plan is empty, a release touches its service alone, what
deploy/release moves is no drift, and in the end nothing is left. None of it says what AWS would do."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from tests.terraform.platform_on_moto import DEV, SERVICES, Applied, digests
from tests.terraform.terraform import Resource

REGION = "eu-central-1"
ELSEWHERE = "elsewhere.example:8000"

pytestmark = pytest.mark.timeout(900)


def test_a_second_plan_is_empty(applied: Applied) -> None:
    assert applied.terraform.plan(DEV).changes == {}


def test_a_changed_digest_changes_that_service_alone(applied: Applied) -> None:
    """Both of its programs, as they are one image, and in place."""
    released = digests(progress_tracking="2")
    changes = applied.terraform.plan((DEV[0], released), refresh=False).changes
    modules = ('module.service["progress_tracking"]', "module.consumer")
    assert set(changes) == {
        f"{module}.{resource}.this"
        for module in modules
        for resource in ("aws_ecs_task_definition", "aws_ecs_service")
    }
    assert {changes[f"{module}.aws_ecs_service.this"] for module in modules} == {("update",)}


async def test_what_a_release_does_is_no_drift(applied: Applied) -> None:
    """A canary under way, tasks that were scaled, and a revision with another digest, registered by
    deploy/release: once the digest is in the variables, there is nothing left to do."""
    stage = _stage(applied, "course_catalog")
    await _update(
        applied,
        stage,
        ("replace", "/canarySettings/deploymentId", stage["deployment_id"]),
        ("replace", "/canarySettings/percentTraffic", "10"),
        ("replace", "/canarySettings/stageVariableOverrides/target", ELSEWHERE),
    )
    family = "content_delivery"
    async with applied.backend.client_in("ecs", REGION) as ecs:
        await ecs.update_service(cluster="lyceum", service="progress_tracking", desiredCount=2)
        found = await ecs.describe_task_definition(taskDefinition=family, include=["TAGS"])
        definition = found["taskDefinition"]
        program = next(one for one in definition["containerDefinitions"] if one["name"] == family)
        program["image"] = program["image"].replace("1" * 64, "3" * 64)
        copied = {
            key: definition[key]
            for key in (
                *("family", "containerDefinitions", "cpu", "memory", "networkMode", "taskRoleArn"),
                *("executionRoleArn", "requiresCompatibilities", "runtimePlatform"),
            )
        }
        registered = await ecs.register_task_definition(**copied, tags=found["tags"])
        arn = registered["taskDefinition"]["taskDefinitionArn"]
        await ecs.update_service(cluster="lyceum", service=family, taskDefinition=arn)
    assert applied.terraform.plan((DEV[0], digests(content_delivery="3"))).changes == {}


async def test_a_promotion_is_no_drift_but_is_told(applied: Applied) -> None:
    stage = _stage(applied, "course_catalog")
    await _update(
        applied,
        stage,
        ("replace", "/variables/target", ELSEWHERE),
        ("remove", "/canarySettings", None),
    )
    plan = applied.terraform.plan((DEV[0], digests(content_delivery="3")))
    assert plan.changes == {}
    told = [
        instance["problems"][0]["message"]
        for check in plan.document["checks"]
        for instance in check.get("instances", ())
        if instance["status"] == "fail"
    ]
    assert len(told) == 1
    assert ELSEWHERE in told[0]


def _stage(applied: Applied, service: str) -> Resource:
    return applied.of_type("aws_api_gateway_stage")[
        f'module.api["{service}"].aws_api_gateway_stage.this'
    ]


async def _update(applied: Applied, stage: Resource, *operations: tuple[str, str, object]) -> None:
    async with applied.backend.client_in("apigateway", REGION) as gateway:
        await gateway.update_stage(
            restApiId=stage["rest_api_id"],
            stageName=stage["stage_name"],
            patchOperations=[
                {"op": op, "path": path, **({} if value is None else {"value": value})}
                for op, path, value in operations
            ],
        )


def test_everything_that_can_have_tags_says_whose_it_is(applied: Applied) -> None:
    wanted = {"Project": "lyceum", "Environment": "dev", "CostCentre": "lyceum-dev"}
    tagged = {
        one["address"]: one["values"]["tags_all"]
        for one in applied.resources
        if "tags_all" in one["values"]
    }
    assert len(tagged) > 100
    assert [name for name, tags in tagged.items() if not wanted.items() <= tags.items()] == []
    of_services = {
        name: tags["Service"]
        for name, tags in tagged.items()
        if re.match(r'module\.(service|api|table)\["', name)
    }
    assert set(of_services.values()) == set(SERVICES)
    assert all(f'["{service}"]' in name for name, service in of_services.items())


def test_no_secret_is_in_the_state(applied: Applied) -> None:
    (secret, *_others) = applied.of_type("aws_secretsmanager_secret_version").values()
    assert secret["secret_string"] == ""
    assert secret["secret_string_wo"] is None


async def test_the_secret_itself_is_one_that_the_services_take(applied: Applied) -> None:
    async with applied.backend.client_in("secretsmanager", REGION) as manager:
        values = {
            (await manager.get_secret_value(SecretId=f"lyceum/{service}/cursor-secrets"))[
                "SecretString"
            ]
            for service in SERVICES
        }
    assert len(values) == len(SERVICES)
    assert all(re.fullmatch(r"[A-Za-z0-9]{64}", value) for value in values)


def test_destroying_leaves_nothing(destroyed: Mapping[str, Resource]) -> None:
    assert destroyed == {}
