"""Applied on moto by the real provider: a second plan is empty, a release touches its service alone, what
deploy/release moves is no drift, and in the end nothing is left. None of it says what AWS would do."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from deploy.release._calls import Calls
from deploy.release._credentials import Aws
from deploy.release._services import SERVICES as SERVICES_RELEASED
from deploy.release._stages import Canary, Stage, Stages
from tests.terraform.platform_on_moto import DEV, SERVICES, STEP_THREE, Applied, digests
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
    stages, stage = _stage_of_release(applied)
    led = stages.lead(stage, 10, ELSEWHERE, "canary: 10 % elsewhere")
    assert led.canary == Canary(10, ELSEWHERE)
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


def test_a_promotion_is_no_drift_but_is_told(applied: Applied) -> None:
    """By the very calls of deploy/release, which finds the stage by its API's name."""
    stages, stage = _stage_of_release(applied)
    assert stage.canary is not None  # of the test before
    promoted = stages.promote(stage, ELSEWHERE, "canary: all elsewhere, promoted")
    assert (promoted.address, promoted.canary) == (ELSEWHERE, None)
    assert promoted.description == "canary: all elsewhere, promoted"
    assert promoted.deployment == stage.deployment
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


def _stage_of_release(applied: Applied, service: str = "course_catalog") -> tuple[Stages, Stage]:
    """A service's stage, as deploy/release finds it."""
    variables = {**applied.backend.variables, "AWS_REGION": REGION}
    stages = Stages(Calls(Aws(lambda: variables), sleep=lambda _: None, chance=lambda: 0.0))
    return stages, stages.find(SERVICES_RELEASED[service])


def test_a_stage_says_where_its_traffic_may_be_led(applied: Applied) -> None:
    _, stage = _stage_of_release(applied)
    assert set(stage.targets) == {"service"}
    assert re.fullmatch(r"[a-z0-9.-]+:8001", stage.targets["service"])


def test_a_candidate_stands_beside_its_service_and_touches_nothing_of_it(applied: Applied) -> None:
    candidate = f'-var=candidates={{"course_catalog":"sha256:{"4" * 64}"}}'
    plan = applied.terraform.plan((*DEV, candidate), refresh=False)
    others = {
        address: actions
        for address, actions in plan.changes.items()
        if not address.startswith('module.candidate["course_catalog"].')
    }
    stage = 'module.api["course_catalog"].aws_api_gateway_stage.this'
    assert others == {stage: ("update",)}
    planned = {one["address"]: one["values"] for one in plan.resources}
    assert planned[stage]["variables"]["target_candidate"].endswith(":8101")
    service = planned['module.candidate["course_catalog"].aws_ecs_service.this']
    assert (service["name"], service["desired_count"]) == ("course_catalog-candidate", 1)
    assert all(
        actions == ("create",)
        for address, actions in plan.changes.items()
        if address.startswith("module.candidate")
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


def test_step_3_is_a_variable_and_step_8_no_drift(step_three: Applied) -> None:
    """All to the monolith, then each service's requests to the service, by a canary and for good."""
    for service in SERVICES:
        stages, stage = _stage_of_release(step_three, service)
        assert (stage.target, set(stage.targets)) == ("monolith", {"monolith", "service"})
        assert stage.address.endswith(":8000")
    assert step_three.terraform.plan(STEP_THREE).changes == {}
    own = stage.targets["service"]
    led = stages.lead(stage, 50, own, "canary: 50 % to service")
    assert (led.target, led.canary_target) == ("monolith", "service")
    assert step_three.terraform.plan(STEP_THREE).changes == {}
    assert stages.promote(led, own, "canary: all to service, promoted").target == "service"
    assert step_three.terraform.plan(STEP_THREE).changes == {}
