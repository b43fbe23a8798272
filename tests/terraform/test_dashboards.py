"""Every metric that a dashboard, an alarm or a scaling policy looks at is one that the code, or AWS,
really emits, under those dimensions.

What the code emits is heard from the code: each program is started with what its task definition gives
it, and every instrument that it declares is noted.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from libs.circuit_breaker import CircuitBreakerRegistry
from libs.metrics import Metrics
from libs.service._resilience_metrics import BreakerMetrics
from services.content_delivery.app import create_app as create_content
from services.content_delivery.config import Config as ContentConfig
from services.course_catalog.app import create_app as create_catalog
from services.course_catalog.config import Config as CatalogConfig
from services.progress_tracking.app import create_app as create_progress
from services.progress_tracking.config import Config as ProgressConfig
from services.progress_tracking.consumer.__main__ import consume
from tests.terraform.platform_on_moto import (
    CONSUMER,
    PREFIXES,
    SERVICES,
    Applied,
    program_environment,
)

pytestmark = pytest.mark.timeout(900)

Dimensions = frozenset[str]


@dataclass(frozen=True)
class Drawn:
    """A metric that is looked at: under dimensions, of which some have a fixed value."""

    where: str
    namespace: str
    name: str
    dimensions: Dimensions
    values: Mapping[str, str]


@dataclass
class Emitted:
    """By service and metric: the sets of dimensions it is published under; circuits by service."""

    metrics: dict[tuple[str, str], set[Dimensions]] = field(default_factory=dict)
    circuits: dict[str, set[str]] = field(default_factory=dict)


# What AWS's services publish, from their user guides.
OF_AWS: Mapping[tuple[str, Dimensions], frozenset[str]] = {
    ("AWS/ApiGateway", frozenset({"ApiName", "Stage"})): frozenset(
        {"Count", "4XXError", "5XXError", "Latency", "IntegrationLatency"}
    ),
    ("AWS/ApplicationELB", frozenset({"LoadBalancer", "TargetGroup"})): frozenset(
        {"HealthyHostCount", "UnHealthyHostCount"}
    ),
    ("AWS/DynamoDB", frozenset({"TableName"})): frozenset(
        {
            *("ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"),
            *("ReadThrottleEvents", "WriteThrottleEvents"),
        }
    ),
    ("AWS/ECS", frozenset({"ClusterName", "ServiceName"})): frozenset(
        {"CPUUtilization", "MemoryUtilization"}
    ),
    ("AWS/EventBridge/Pipes", frozenset({"PipeName"})): frozenset({"ExecutionFailed"}),
    ("AWS/SQS", frozenset({"QueueName"})): frozenset(
        {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}
    ),
    ("ECS/ContainerInsights", frozenset({"ClusterName", "ServiceName"})): frozenset(
        {"RunningTaskCount"}
    ),
}


@pytest.fixture(scope="module")
def emitted(applied: Applied) -> Emitted:
    """What the four programs declare from their start to their end."""
    found = Emitted()
    registries: list[tuple[str, CircuitBreakerRegistry]] = []
    declare, watch = Metrics._declaration, BreakerMetrics.watch

    def declaration(self: Metrics, *arguments: Any) -> Any:
        made = declare(self, *arguments)
        sets = {frozenset(one.name for one in made.dimensions), *map(frozenset, made.rollups)}
        service = self._common["Service"]
        found.metrics.setdefault((service, made.name), set()).update(
            one | {"Service"} for one in sets
        )
        return made

    def watched(self: BreakerMetrics, registry: CircuitBreakerRegistry) -> None:
        registries.append((self._metrics._common["Service"], registry))
        watch(self, registry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Metrics, "_declaration", declaration)
        patch.setattr(BreakerMetrics, "watch", watched)
        patch.setenv("AWS_ENDPOINT_URL", applied.backend.endpoint_url)
        patch.setenv("AWS_ACCESS_KEY_ID", applied.backend.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", applied.backend.secret_key)
        asyncio.run(_run_each_program(applied))
    for service, registry in registries:
        circuits = found.circuits.setdefault(service, set())
        circuits |= {snapshot.name for snapshot in registry.snapshots()}
    return found


async def _run_each_program(applied: Applied) -> None:
    def variables(family: str) -> dict[str, str]:
        prefix = PREFIXES[family.split("-")[0]]
        # Nothing listens there: keys are asked for, and not had, beside the start.
        unreachable = {f"{prefix}AUTH_JWKS_URL": "http://127.0.0.1:9/jwks.json"}
        return program_environment(applied, family) | unreachable

    await _started_and_stopped(
        create_catalog(CatalogConfig.from_environment(variables("course_catalog")))
    )
    await _started_and_stopped(
        create_content(ContentConfig.from_environment(variables("content_delivery")))
    )
    await _started_and_stopped(
        create_progress(ProgressConfig.from_environment(variables("progress_tracking")))
    )
    stop = asyncio.Event()
    stop.set()
    await consume(ProgressConfig.for_consumer(variables(CONSUMER)), stop)


async def _started_and_stopped(app: web.Application) -> None:
    runner = web.AppRunner(app)
    await runner.setup()
    await runner.cleanup()


_SEARCH = re.compile(
    r"""SEARCH\('\{(?P<schema>[\w,]+)\} MetricName="(?P<name>\w+)"(?: Service="(?P<service>\w+)")?',"""
)


def on_dashboards(applied: Applied) -> Iterator[Drawn]:
    for dashboard in applied.of_type("aws_cloudwatch_dashboard").values():
        for widget in json.loads(dashboard["dashboard_body"])["widgets"]:
            where = f"{dashboard['dashboard_name']}: {widget['properties']['title']}"
            for line in widget["properties"].get("metrics", ()):
                yield from _of_line(where, line)


def _of_line(where: str, line: list[Any]) -> Iterator[Drawn]:
    texts = [part for part in line if isinstance(part, str)]
    if texts:
        namespace, name, *pairs = texts
        values = dict(zip(pairs[::2], pairs[1::2], strict=True))
        yield Drawn(where, namespace, name, frozenset(values), values)
        return
    (settings,) = line
    found = _SEARCH.search(settings["expression"])
    if found is None:  # arithmetic on other lines
        assert "SEARCH" not in settings["expression"], where
        return
    namespace, *dimensions = found["schema"].split(",")
    values = {"Service": found["service"]} if found["service"] else {}
    yield Drawn(where, namespace, found["name"], frozenset(dimensions), values)


def of_alarms(applied: Applied) -> Iterator[Drawn]:
    for alarm in applied.of_type("aws_cloudwatch_metric_alarm").values():
        metrics = [query["metric"][0] for query in alarm["metric_query"] if query["metric"]]
        for one in metrics or [alarm]:
            values = one["dimensions"]
            yield Drawn(
                alarm["alarm_name"],
                one["namespace"],
                one["metric_name"],
                frozenset(values),
                values,
            )


def of_scaling(applied: Applied) -> Iterator[Drawn]:
    for address, policy in applied.of_type("aws_appautoscaling_policy").items():
        (tracking,) = policy["target_tracking_scaling_policy_configuration"]
        for specification in tracking["customized_metric_specification"]:
            for metric in specification["metrics"]:
                for stat in metric["metric_stat"]:
                    (one,) = stat["metric"]
                    values = {pair["name"]: pair["value"] for pair in one["dimensions"]}
                    yield Drawn(
                        address, one["namespace"], one["metric_name"], frozenset(values), values
                    )


def test_every_metric_that_is_looked_at_is_emitted(applied: Applied, emitted: Emitted) -> None:
    drawn = [*on_dashboards(applied), *of_alarms(applied), *of_scaling(applied)]
    assert len(drawn) > 150
    missing = [one for one in drawn if not _is_emitted(one, emitted)]
    assert missing == []


def _is_emitted(drawn: Drawn, emitted: Emitted) -> bool:
    if drawn.namespace != "Lyceum":
        return drawn.name in OF_AWS.get((drawn.namespace, drawn.dimensions), frozenset())
    asked = drawn.values.get("Service")
    services = [asked] if asked else [service for service, _ in emitted.metrics]
    if "Breaker" in drawn.values and drawn.values["Breaker"] not in emitted.circuits[str(asked)]:
        return False
    return any(
        drawn.dimensions in emitted.metrics.get((service, drawn.name), set())
        for service in services
    )


def test_every_metric_of_ours_is_on_the_dashboard_of_its_service(
    applied: Applied, emitted: Emitted
) -> None:
    """Else the dashboard would fall behind the code unnoticed."""
    shown = {
        (one.values["Service"], one.name)
        for one in on_dashboards(applied)
        if one.namespace == "Lyceum" and "Service" in one.values
    }
    # Calls that were slow are in the latency; the rest is in the name.
    left_out = {"SlowCalls"}
    assert {key for key in emitted.metrics if key[1] not in left_out} - shown == set()


def test_every_circuit_of_a_service_has_an_alarm(applied: Applied, emitted: Emitted) -> None:
    watched = {
        (one.values["Service"], one.values["Breaker"])
        for one in of_alarms(applied)
        if one.name == "BreakerState"
    }
    # The consumer's circuit for its queue polls again by itself, and late outlines have an alarm.
    there = {
        (service, circuit)
        for service, circuits in emitted.circuits.items()
        for circuit in circuits
        if not circuit.startswith("sqs:")
    }
    assert watched == there


def test_the_first_row_says_whether_it_is_up_which_service_and_which_dependency(
    applied: Applied,
) -> None:
    bodies = {
        one["dashboard_name"]: json.loads(one["dashboard_body"])
        for one in applied.of_type("aws_cloudwatch_dashboard").values()
    }
    assert set(bodies) == {"lyceum", *(f"lyceum-{name.replace('_', '-')}" for name in SERVICES)}
    first = [
        widget["properties"]["title"] for widget in bodies["lyceum"]["widgets"] if widget["y"] == 0
    ]
    assert [title.split(":")[0] for title in first] == [
        "Is it up",
        "Which service",
        "Which dependency",
    ]


@pytest.mark.parametrize(
    "name", ["lyceum", *(f"lyceum-{one.replace('_', '-')}" for one in SERVICES)]
)
def test_graphs_do_not_lie_on_each_other(applied: Applied, name: str) -> None:
    (body,) = (
        json.loads(one["dashboard_body"])
        for one in applied.of_type("aws_cloudwatch_dashboard").values()
        if one["dashboard_name"] == name
    )
    taken: set[tuple[int, int]] = set()
    for widget in body["widgets"]:
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24  # the width of a dashboard
        taken |= cells
