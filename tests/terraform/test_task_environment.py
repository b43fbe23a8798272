"""Each program starts with what its task definition gives it: its own configuration takes it whole."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

import pytest
import yaml

from libs.http import DEFAULT_REQUEST_TIMEOUT_SECONDS
from services.content_delivery.config import Config as ContentConfig
from services.course_catalog.config import Config as CatalogConfig
from services.progress_tracking.config import Config as ProgressConfig
from tests.terraform.platform_on_moto import (
    CONSUMER,
    PREFIXES,
    SERVICES,
    Applied,
    containers,
    program_environment,
    task_definitions,
)
from tests.terraform.terraform import Resource

pytestmark = pytest.mark.timeout(900)

READERS: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    "course_catalog": CatalogConfig.from_environment,
    "content_delivery": ContentConfig.from_environment,
    "progress_tracking": ProgressConfig.from_environment,
    CONSUMER: ProgressConfig.for_consumer,
}


@pytest.mark.parametrize("family", READERS)
def test_the_configuration_takes_what_the_task_is_given(applied: Applied, family: str) -> None:
    config = READERS[family](program_environment(applied, family))
    assert dataclasses.is_dataclass(config)
    settings = vars(config)
    assert (settings["host"], settings["port"]) == ("0.0.0.0", 8080)
    assert settings["tracing_daemon"] == ("127.0.0.1:2000")
    assert settings["tracing_central_sampling"] is True
    assert settings["region"] == "eu-central-1"
    assert settings["cors_origins"] == ("https://app.dev.lyceum.example",)


def test_the_consumer_is_the_same_image_with_the_same_variables(applied: Applied) -> None:
    service, consumer = (
        containers(task_definitions(applied.resources)[family])[family]
        for family in ("progress_tracking", CONSUMER)
    )
    assert service["image"] == consumer["image"]
    of_the_balancer = {"PROGRESS_READINESS_NOTICE_SECONDS", "PROGRESS_DRAIN_SECONDS"}
    alike = [
        [one for one in program["environment"] if one["name"] not in of_the_balancer]
        for program in (service, consumer)
    ]
    assert alike[0] == alike[1]
    assert service["secrets"] == consumer["secrets"]
    assert "command" not in service
    assert consumer["command"] == ["services.progress_tracking.consumer"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_health_check_is_the_image_s(applied: Applied, service: str) -> None:
    program = containers(task_definitions(applied.resources)[service])[service]
    assert program["healthCheck"]["command"] == [
        *("CMD", "/app/bin/python", "-I", "-m", "libs.health_check", PREFIXES[service]),
    ]
    assert program["portMappings"] == [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}]


@pytest.mark.parametrize("family", READERS)
def test_the_collector_takes_segments_where_the_program_sends_them(
    applied: Applied, family: str
) -> None:
    collector = containers(task_definitions(applied.resources)[family])["collector"]
    variables = {one["name"]: one["value"] for one in collector["environment"]}
    configuration = yaml.safe_load(variables["COLLECTOR_CONFIGURATION"])
    receiver = configuration["receivers"]["awsxray"]
    assert (
        receiver["endpoint"]
        == program_environment(applied, family)[f"{PREFIXES[family.split('-')[0]]}TRACING_DAEMON"]
    )
    # Central sampling asks over TCP at the same address.
    assert receiver["proxy_server"]["endpoint"] == receiver["endpoint"]
    (pipeline,) = configuration["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        assert set(pipeline[kind]) == set(configuration[kind])
    # A service that is not traced still serves.
    assert collector["essential"] is False


@pytest.mark.parametrize("family", READERS)
def test_every_container_is_hardened_and_ends_in_time(applied: Applied, family: str) -> None:
    found = containers(task_definitions(applied.resources)[family])
    assert set(found) == {family, "collector"}
    drain = program_environment(applied, family)[f"{PREFIXES[family.split('-')[0]]}DRAIN_SECONDS"]
    for container in found.values():
        assert container["readonlyRootFilesystem"]
        assert not container["privileged"]
        assert container["user"] == "65532:65532"
        assert container["linuxParameters"]["capabilities"] == {"add": [], "drop": ["ALL"]}
        assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"])
        assert container["stopTimeout"] > int(drain)
        assert container["logConfiguration"]["options"]["mode"] == "non-blocking"


def _seconds(program: Resource, name: str) -> float | None:
    values = {one["name"]: one["value"] for one in program["environment"]}
    return float(values[name]) if name in values else None


@pytest.mark.parametrize("service", SERVICES)
def test_on_spot_requests_are_taken_until_the_balancer_must_know(
    applied: Applied, service: str
) -> None:
    """By health checks alone, as ADR 100 has it."""
    program = containers(task_definitions(applied.resources)[service])[service]
    notice = _seconds(program, f"{PREFIXES[service]}READINESS_NOTICE_SECONDS")
    drain = _seconds(program, f"{PREFIXES[service]}DRAIN_SECONDS")
    group = f'module.service["{service}"].aws_lb_target_group.this[0]'
    (check,) = applied.of_type("aws_lb_target_group")[group]["health_check"]
    assert notice is not None
    assert notice > check["interval"] * check["unhealthy_threshold"]
    assert drain is not None
    assert notice + DEFAULT_REQUEST_TIMEOUT_SECONDS < drain < program["stopTimeout"] <= 120


def test_where_ecs_tells_the_balancer_or_there_is_none_nothing_waits(step_three: Applied) -> None:
    definitions = task_definitions(step_three.resources)
    monolith = containers(definitions["monolith"])["monolith"]
    assert _seconds(monolith, "MONOLITH_DRAIN_SECONDS") == 20
    assert _seconds(monolith, "MONOLITH_READINESS_NOTICE_SECONDS") is None


def test_the_consumer_has_no_balancer(applied: Applied) -> None:
    consumer = containers(task_definitions(applied.resources)[CONSUMER])[CONSUMER]
    assert _seconds(consumer, "PROGRESS_READINESS_NOTICE_SECONDS") is None
