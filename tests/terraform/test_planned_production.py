"""What the emulator drops in silence or can not show, read from the plan for production instead."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pytest

from deploy.local._environment import REPOSITORY_ROOT
from tests.terraform.platform_on_moto import (
    CONSUMER,
    SERVICES,
    of_type,
    task_definitions,
)
from tests.terraform.terraform import Plan, Resource

ANSWERING = (*SERVICES, "monolith")


def services_by_name(plan: Plan) -> dict[str, Resource]:
    return {one["name"]: one for one in of_type(plan.resources, "aws_ecs_service").values()}


def test_a_roll_out_never_has_too_few_tasks_and_rolls_back_by_itself(production: Plan) -> None:
    services = services_by_name(production)
    assert set(services) == {*ANSWERING, CONSUMER}
    for name, service in services.items():
        assert service["deployment_minimum_healthy_percent"] == 100
        assert service["deployment_maximum_percent"] == 200
        assert service["deployment_circuit_breaker"] == [{"enable": True, "rollback": True}]
        assert service["availability_zone_rebalancing"] == "ENABLED"
        assert not service["enable_execute_command"]
        if name == CONSUMER:
            continue
        assert service["health_check_grace_period_seconds"] == 60
        (alarms,) = service["alarms"]
        assert alarms["enable"]
        assert alarms["rollback"]
        dashed = name.replace("_", "-")
        assert set(alarms["alarm_names"]) == {f"lyceum-{dashed}-faults", f"lyceum-{dashed}-latency"}


def test_names_are_those_that_deploy_release_knows(production: Plan) -> None:
    assert set(task_definitions(production.resources)) == set(services_by_name(production))
    groups = {one["name"] for one in of_type(production.resources, "aws_lb_target_group").values()}
    assert groups == {name.replace("_", "-") for name in ANSWERING}
    (cluster,) = of_type(production.resources, "aws_ecs_cluster").values()
    (balancer,) = of_type(production.resources, "aws_lb").values()
    assert (cluster["name"], balancer["name"]) == ("lyceum", "lyceum")
    repositories = of_type(production.resources, "aws_ecr_repository").values()
    assert {one["name"] for one in repositories} == {
        f"lyceum/{name}" for name in (*ANSWERING, "collector")
    }
    assert {one["image_tag_mutability"] for one in repositories} == {"IMMUTABLE"}


def test_the_drain_fits_between_the_load_balancer_and_the_end(production: Plan) -> None:
    for group in of_type(production.resources, "aws_lb_target_group").values():
        # A request takes at most 28 s; the balancer lets it end.
        assert int(group["deregistration_delay"]) >= 28
        (check,) = group["health_check"]
        assert check["path"] == "/readyz"
        assert check["unhealthy_threshold"] * check["interval"] <= 30


def test_tables_buckets_and_users_can_be_brought_back(production: Plan) -> None:
    for table in of_type(production.resources, "aws_dynamodb_table").values():
        assert table["point_in_time_recovery"][0]["enabled"]
        assert table["deletion_protection_enabled"]
    (versioning,) = of_type(production.resources, "aws_s3_bucket_versioning").values()
    assert versioning["versioning_configuration"][0]["status"] == "Enabled"
    (bucket,) = of_type(production.resources, "aws_s3_bucket").values()
    assert not bucket["force_destroy"]
    (pool,) = of_type(production.resources, "aws_cognito_user_pool").values()
    assert pool["deletion_protection"] == "ACTIVE"
    (balancer,) = of_type(production.resources, "aws_lb").values()
    assert balancer["enable_deletion_protection"]


def test_the_bucket_forgets_abandoned_uploads_and_former_versions(production: Plan) -> None:
    (lifecycle,) = of_type(production.resources, "aws_s3_bucket_lifecycle_configuration").values()
    rules = {rule["id"]: rule for rule in lifecycle["rule"]}
    abandoned = rules["abandoned-uploads"]
    assert abandoned["filter"][0]["prefix"] == "content/"
    assert abandoned["abort_incomplete_multipart_upload"][0]["days_after_initiation"] == 7
    former = rules["former-versions"]
    assert former["noncurrent_version_expiration"][0]["noncurrent_days"] == 30
    # Nothing that is current ever expires.
    assert all(
        not rule["expiration"] or not rule["expiration"][0]["days"] for rule in rules.values()
    )


def test_outlines_leave_the_table_as_their_contract_says(production: Plan) -> None:
    (pipe,) = of_type(production.resources, "aws_pipes_pipe").values()
    (parameters,) = pipe["source_parameters"]
    (filtered,) = parameters["filter_criteria"][0]["filter"]
    text = (REPOSITORY_ROOT / "services/course_catalog/events.yaml").read_text(encoding="utf-8")
    (said,) = re.findall(r'filter keeps them away: `(\{"dynamodb".*\})`', text)
    assert json.loads(filtered["pattern"]) == json.loads(said)
    (stream,) = parameters["dynamodb_stream_parameters"]
    assert stream["batch_size"] == 1
    assert stream["starting_position"] == "TRIM_HORIZON"
    assert 0 < stream["maximum_retry_attempts"] <= 1000
    assert 0 < stream["maximum_record_age_in_seconds"] <= 86_400  # as long as a stream keeps it


def test_each_service_scales_on_its_own_signal(production: Plan) -> None:
    targets = of_type(production.resources, "aws_appautoscaling_target").values()
    assert {one["resource_id"] for one in targets} == {
        f"service/lyceum/{name}" for name in (*ANSWERING, CONSUMER)
    }
    signals = {
        address.removesuffix("[0]").rpartition(".aws_appautoscaling_policy.")[::2]
        for address in of_type(production.resources, "aws_appautoscaling_policy")
    }
    assert signals == {
        ('module.service["course_catalog"]', "requests"),
        ('module.service["content_delivery"]', "cpu"),
        ('module.service["progress_tracking"]', "requests"),
        ("module.consumer", "backlog"),
        ("module.monolith[0]", "cpu"),
    }


def test_the_first_two_tasks_are_never_on_spot(production: Plan) -> None:
    for service in services_by_name(production).values():
        strategy = {one["capacity_provider"]: one for one in service["capacity_provider_strategy"]}
        assert strategy["FARGATE"]["base"] == 2
        assert strategy.keys() <= {"FARGATE", "FARGATE_SPOT"}


def test_every_alarm_tells_somebody_and_says_what_to_do(production: Plan) -> None:
    alarms = of_type(production.resources, "aws_cloudwatch_metric_alarm")
    assert len(alarms) >= 20
    for address, alarm in alarms.items():
        (link,) = re.findall(r"Runbook: (\S+\.md)$", alarm["alarm_description"])
        assert (REPOSITORY_ROOT / link).is_file(), (address, link)
        assert "actions_enabled" in alarm
        assert alarm["actions_enabled"]
    (subscription,) = (
        one
        for one in of_type(production.resources, "aws_sns_topic_subscription").values()
        if one["protocol"] == "email"
    )
    assert subscription["endpoint"] == "on-call@lyceum.example"
    linked = {
        re.findall(r"/([\w-]+\.md)$", alarm["alarm_description"])[0] for alarm in alarms.values()
    }
    there = {path.name for path in (REPOSITORY_ROOT / "docs" / "runbooks").glob("*.md")}
    assert linked == there - {"README.md"}


def test_x_ray_samples_each_service_and_no_health_check(production: Plan) -> None:
    rules = {
        one["rule_name"]: one
        for one in of_type(production.resources, "aws_xray_sampling_rule").values()
    }
    for path in ("/healthz", "/readyz"):
        rule = rules[f"lyceum-{path[1:]}"]
        assert (rule["url_path"], rule["fixed_rate"], rule["reservoir_size"]) == (path, 0, 0)
    unsampled = max(rules[name]["priority"] for name in ("lyceum-healthz", "lyceum-readyz"))
    for service in SERVICES:
        rule = rules[f"lyceum-{service.replace('_', '-')}"]
        assert rule["service_name"] == service
        assert rule["priority"] > unsampled
    groups = of_type(production.resources, "aws_xray_group").values()
    assert {one["filter_expression"] for one in groups} == {
        f'service("{service}")' for service in SERVICES
    }


def test_apis_are_throttled_logged_and_traced(production: Plan) -> None:
    settings = of_type(production.resources, "aws_api_gateway_method_settings").values()
    assert len(settings) == len(SERVICES)
    for one in settings:
        (setting,) = one["settings"]
        assert (setting["throttling_rate_limit"], setting["throttling_burst_limit"]) == (2000, 4000)
        assert setting["metrics_enabled"]
        assert setting["data_trace_enabled"] is False  # bodies and tokens stay out of logs
    for stage in of_type(production.resources, "aws_api_gateway_stage").values():
        assert stage["xray_tracing_enabled"]
        logged = json.loads(stage["access_log_settings"][0]["format"])
        assert logged["traceId"] == "$context.xrayTraceId"
        assert not any(
            "path" in str(value).lower().replace("resourcepath", "") for value in logged.values()
        )


def test_logs_are_kept_as_long_as_production_says(production: Plan) -> None:
    groups = of_type(production.resources, "aws_cloudwatch_log_group").values()
    assert len(groups) == 1 + len(SERVICES) + len((*ANSWERING, CONSUMER))
    assert {one["retention_in_days"] for one in groups} == {365}


@pytest.mark.parametrize("service", SERVICES)
def test_step_three_leads_each_api_to_the_monolith(production: Plan, service: str) -> None:
    """By a variable: which of the two addresses a stage begins with, the same for all three."""
    stage = production.document["configuration"]["root_module"]["module_calls"]["api"]["module"]
    (configured,) = (
        one for one in stage["resources"] if one["address"] == "aws_api_gateway_stage.this"
    )
    assert "var.target" in str(configured["expressions"]["variables"])
    variables: Mapping[str, Mapping[str, object]] = production.document["variables"]
    routes = variables["routes"]["value"]
    assert routes == dict.fromkeys(SERVICES, "monolith")
    monolith = of_type(production.resources, "aws_ecs_service")[
        "module.monolith[0].aws_ecs_service.this"
    ]
    assert monolith["load_balancer"][0]["container_name"] == "monolith"
