"""The gateway follows the stages of the embedded AWS's API Gateway, and CloudWatch has what it answered."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from botocore.exceptions import ClientError

from deploy.local._apis import (
    CANARY_TARGET,
    SERVICE_TARGET,
    STAGE,
    Api,
    Leading,
    ensure_apis,
    ensure_stages,
)
from deploy.local._operator import GATEWAY, OPERATOR, ensure_users
from deploy.local._provision import EmbeddedAws
from tests.backends import Backend
from tests.integration.gateway.conftest import Bench, leading_to
from tests.integration.gateway.gateway_process import configure, running

SERVICE = "course_catalog"


def embedded(backend: Backend) -> EmbeddedAws:
    return EmbeddedAws(backend.endpoint_url, backend.region, backend.access_key, backend.secret_key)


async def fresh_api(aws: EmbeddedAws) -> Api:
    """The service's API, without the stage of an earlier test."""
    api = (await ensure_apis(aws))[SERVICE]
    async with aws.client("apigateway") as gateway:
        stages = await gateway.get_stages(restApiId=api.id)
        for stage in stages["item"]:
            await gateway.delete_stage(restApiId=api.id, stageName=stage["stageName"])
    return api


async def lead(
    aws: EmbeddedAws, api: Api, targets: dict[str, str], canary_percent: float | None = None
) -> None:
    """What the platform does at its start."""
    await ensure_stages(
        aws, {SERVICE: api}, {SERVICE: Leading(targets, canary_percent=canary_percent)}
    )


async def stage_of(aws: EmbeddedAws, api: Api) -> dict[str, Any]:
    async with aws.client("apigateway") as gateway:
        found: dict[str, Any] = await gateway.get_stage(restApiId=api.id, stageName=STAGE)
    return found


async def patch(aws: EmbeddedAws, api: Api, **values: str | None) -> None:
    """Puts values at paths (`__` for a slash); None removes."""
    operations = [
        {"op": "remove", "path": f"/{name.replace('__', '/')}"}
        if value is None
        else {"op": "replace", "path": f"/{name.replace('__', '/')}", "value": value}
        for name, value in values.items()
    ]
    async with aws.client("apigateway") as gateway:
        await gateway.update_stage(restApiId=api.id, stageName=STAGE, patchOperations=operations)


async def service(bench: Bench, name: str, status: int = 200) -> str:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(text=name, status=status)

    return (await bench.service(handler)).removeprefix("http://")


async def control_plane(aws: EmbeddedAws, api: Api, path: Path) -> Path:
    key = (await ensure_users(aws, {SERVICE: api.id}))[GATEWAY]
    path.write_text(
        json.dumps(
            {
                "endpoint": aws.endpoint_url,
                "region": aws.region,
                "stage": STAGE,
                "accessKeyId": key.id,
                "secretAccessKey": key.secret,
                "apis": {SERVICE: {"id": api.id, "name": api.name}},
            }
        )
    )
    return path


async def test_calls_of_the_api_lead_it_and_what_it_answered_is_counted_apart(
    ministack_backend: Backend, bench: Bench, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    aws = embedded(ministack_backend)
    api = await fresh_api(aws)
    stable, bad = await service(bench, "stable"), await service(bench, "canary", 503)
    await lead(aws, api, {SERVICE_TARGET: stable, "other": bad})
    configuration = configure(
        tmp_path / "gateway.json", leading_to("http://127.0.0.1:9"), service=SERVICE
    )
    began = datetime.now(UTC) - timedelta(seconds=1)
    file = tmp_path / "control-plane.json"
    answers: Counter[str] = Counter()
    async with running(configuration, "--control-plane", str(file), "--seed", "5") as gateway:

        async def ask(times: int) -> None:
            for _ in range(times):
                async with client.get(gateway.url + "/things/1") as answer:
                    answers[await answer.text()] += 1

        await control_plane(aws, api, file)  # it comes later than the gateway
        await gateway.until_said("stage_followed", stable)
        await ask(20)
        assert answers == {"stable": 20}
        await patch(
            aws,
            api,
            canarySettings__percentTraffic="25",
            canarySettings__stageVariableOverrides__target=bad,
        )
        await gateway.until_said("stage_followed", bad, "25")
        await ask(200)
        assert 25 <= answers["canary"] <= 75
        await patch(aws, api, canarySettings=None, variables__target=bad)
        await gateway.until_said("stage_followed", f'"target":"{bad}"')
        before = answers.copy()
        await ask(5)
        assert answers - before == {"canary": 5}
        gateway.process.terminate()  # what it has not told yet, it tells at its end
        assert await gateway.process.wait() == 0
    promoted = 5
    assert await sums(aws, api, STAGE, began) == {
        "requests": answers["stable"] + promoted,
        "5XXError": promoted,
        "4XXError": 0,
        "latencies": answers["stable"] + promoted,
    }
    of_canary = answers["canary"] - promoted
    assert await sums(aws, api, f"{STAGE}/Canary", began) == {
        "requests": of_canary,
        "5XXError": of_canary,
        "4XXError": 0,
        "latencies": of_canary,
    }


async def sums(aws: EmbeddedAws, api: Api, stage: str, since: datetime) -> dict[str, float]:
    statistics = {
        "requests": ("Count", "SampleCount"),
        "5XXError": ("5XXError", "Sum"),
        "4XXError": ("4XXError", "Sum"),
        "latencies": ("Latency", "SampleCount"),
    }
    queries = [
        {
            "Id": f"q{number}",
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/ApiGateway",
                    "MetricName": metric,
                    "Dimensions": [
                        {"Name": "ApiName", "Value": api.name},
                        {"Name": "Stage", "Value": stage},
                    ],
                },
                "Period": 60,
                "Stat": statistic,
            },
        }
        for number, (metric, statistic) in enumerate(statistics.values())
    ]
    async with aws.client("cloudwatch") as cloudwatch:
        found = await cloudwatch.get_metric_data(
            MetricDataQueries=queries,
            StartTime=since,
            EndTime=datetime.now(UTC) + timedelta(seconds=5),
        )
    results = {one["Id"]: sum(one["Values"]) for one in found["MetricDataResults"]}
    return {name: results[f"q{number}"] for number, name in enumerate(statistics)}


async def test_while_the_api_is_gone_it_leads_as_it_did(
    ministack_backend: Backend, bench: Bench, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    aws = embedded(ministack_backend)
    api = await fresh_api(aws)
    stable = await service(bench, "stable")
    await lead(aws, api, {SERVICE_TARGET: stable})
    configuration = configure(
        tmp_path / "gateway.json", leading_to("http://127.0.0.1:9"), service=SERVICE
    )
    file = await control_plane(aws, api, tmp_path / "control-plane.json")
    async with running(configuration, "--control-plane", str(file)) as gateway:
        await gateway.until_said("stage_followed", stable)
        content = json.loads(file.read_text())
        file.write_text(json.dumps({**content, "endpoint": "http://127.0.0.1:9"}))
        await gateway.until_said("stage_not_followed")
        async with client.get(gateway.url + "/things/1") as answer:
            assert await answer.text() == "stable"
        file.write_text("{")
        await gateway.until_said("control_plane_refused")
        async with client.get(gateway.url + "/things/1") as answer:
            assert await answer.text() == "stable"
        gateway.process.terminate()
        assert await gateway.process.wait() == 0


async def test_the_gateway_may_look_and_tell_and_move_nothing(ministack_backend: Backend) -> None:
    aws = embedded(ministack_backend)
    apis = await ensure_apis(aws)
    api = await fresh_api(aws)
    await lead(aws, api, {SERVICE_TARGET: "127.0.0.1:1"})
    key = (await ensure_users(aws, {SERVICE: api.id}))[GATEWAY]
    gateway = EmbeddedAws(aws.endpoint_url, aws.region, key.id, key.secret)
    assert (await stage_of(gateway, api))["stageName"] == STAGE
    with pytest.raises(ClientError, match="AccessDenied"):
        await patch(gateway, api, variables__target="127.0.0.1:2")
    with pytest.raises(ClientError, match="AccessDenied"):
        await stage_of(gateway, apis["content_delivery"])


async def test_the_operator_moves_the_services_stages_and_nothing_else_of_an_api(
    ministack_backend: Backend,
) -> None:
    aws = embedded(ministack_backend)
    apis = await ensure_apis(aws)
    api = await fresh_api(aws)
    await lead(aws, api, {SERVICE_TARGET: "127.0.0.1:1"})
    async with aws.client("apigateway") as gateway:
        foreign = (await gateway.create_rest_api(name="somebody-elses"))["id"]
        deployment = await gateway.create_deployment(restApiId=foreign)
        await gateway.create_stage(
            restApiId=foreign, stageName=STAGE, deploymentId=deployment["id"]
        )
    key = (await ensure_users(aws, {name: one.id for name, one in apis.items()}))[OPERATOR]
    operator = EmbeddedAws(aws.endpoint_url, aws.region, key.id, key.secret)
    await patch(operator, api, canarySettings__percentTraffic="1", description="tried")
    assert (await stage_of(operator, api))["description"] == "tried"
    async with operator.client("apigateway") as gateway:
        assert api.name in {one["name"] for one in (await gateway.get_rest_apis())["items"]}
        for refused in (
            gateway.delete_stage(restApiId=api.id, stageName=STAGE),
            gateway.create_deployment(restApiId=api.id),
            gateway.delete_rest_api(restApiId=api.id),
            gateway.get_stage(restApiId=foreign, stageName=STAGE),
            gateway.update_stage(restApiId=foreign, stageName=STAGE, patchOperations=[]),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                await refused


async def test_where_a_stage_leads_is_kept_though_ports_change(ministack_backend: Backend) -> None:
    aws = embedded(ministack_backend)
    api = await fresh_api(aws)
    await lead(aws, api, {SERVICE_TARGET: "127.0.0.1:1", "monolith": "127.0.0.1:2"})
    await patch(
        aws,
        api,
        variables__target="127.0.0.1:2",
        canarySettings__percentTraffic="10",
        canarySettings__stageVariableOverrides__target="127.0.0.1:1",
    )
    await lead(aws, api, {SERVICE_TARGET: "127.0.0.1:3", "monolith": "127.0.0.1:4"})
    stage = await stage_of(aws, api)
    assert stage["variables"] == {
        "target": "127.0.0.1:4",
        "target_service": "127.0.0.1:3",
        "target_monolith": "127.0.0.1:4",
    }
    assert stage["canarySettings"]["stageVariableOverrides"] == {"target": "127.0.0.1:3"}
    # A target that is no more: its traffic goes where a new stage's would, and there is no canary.
    await patch(aws, api, canarySettings__stageVariableOverrides__target="127.0.0.1:4")
    await lead(aws, api, {SERVICE_TARGET: "127.0.0.1:3"})
    stage = await stage_of(aws, api)
    assert stage["variables"] == {"target": "127.0.0.1:3", "target_service": "127.0.0.1:3"}
    assert not stage.get("canarySettings")


async def test_a_platform_that_is_told_of_a_canary_begins_with_it(
    ministack_backend: Backend,
) -> None:
    aws = embedded(ministack_backend)
    api = await fresh_api(aws)
    for _ in range(2):  # whatever was before
        targets = {SERVICE_TARGET: "127.0.0.1:1", CANARY_TARGET: "127.0.0.1:2"}
        await lead(aws, api, targets, canary_percent=12.5)
    stage = await stage_of(aws, api)
    assert float(stage["canarySettings"]["percentTraffic"]) == 12.5
    assert stage["canarySettings"]["stageVariableOverrides"] == {"target": "127.0.0.1:2"}
    assert stage["canarySettings"]["deploymentId"] == stage["deploymentId"]
