"""The services' REST APIs and their stages in the embedded AWS, which lead the gateway.

As Terraform makes them: a REST API a service, a stage `live`, the variable `target`, and beside it
`target_<name>` for each place that its traffic can be led to. Where it is led is kept from one start of
the platform to the next, though ports change; moving it is `deploy/release`'s (or anybody's with the
right), as on AWS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.local._gateway import TARGET
from deploy.local._provision import EmbeddedAws
from deploy.local._services import SERVICES

STAGE = "live"
SERVICE_TARGET, CANARY_TARGET = "service", "canary"


def api_name(service: str) -> str:
    """The name of a service's REST API."""
    return f"lyceum-{service.replace('_', '-')}"


@dataclass(frozen=True)
class Api:
    """A service's REST API."""

    id: str
    name: str


async def ensure_apis(aws: EmbeddedAws) -> dict[str, Api]:
    """The services' REST APIs, made where they are missing; without stages at first."""
    async with aws.client("apigateway") as gateway:
        found = (await gateway.get_rest_apis(limit=500))["items"]
        ids = {one["name"]: one["id"] for one in found}
        apis = {}
        for service in SERVICES:
            name = api_name(service)
            if name not in ids:
                ids[name] = (await gateway.create_rest_api(name=name))["id"]
            apis[service] = Api(ids[name], name)
    return apis


@dataclass(frozen=True)
class Leading:
    """Where a service's traffic can be led.

    Args:
        targets: host and port by name.
        begins_with: the target of a new stage.
        canary_percent: leads that share to `CANARY_TARGET`; None leaves a canary as it is, where its
            target is still one.
    """

    targets: Mapping[str, str]
    begins_with: str = SERVICE_TARGET
    canary_percent: float | None = None

    @property
    def addresses(self) -> dict[str, str]:
        """The targets as variables of the stage."""
        return {f"{TARGET}_{name}": address for name, address in self.targets.items()}


async def ensure_stages(
    aws: EmbeddedAws, apis: Mapping[str, Api], leading: Mapping[str, Leading]
) -> None:
    """Makes the services' stages, or brings them in line with where their targets are now."""
    async with aws.client("apigateway") as gateway:
        for service, where in leading.items():
            await _ensure_stage(gateway, apis[service].id, where)


async def _ensure_stage(gateway: Any, api: str, where: Leading) -> None:
    stages = (await gateway.get_stages(restApiId=api))["item"]
    old = next((one for one in stages if one["stageName"] == STAGE), None)
    if old is None:
        deployment = await gateway.create_deployment(restApiId=api)
        old = await gateway.create_stage(
            restApiId=api,
            stageName=STAGE,
            deploymentId=deployment["id"],
            variables={TARGET: where.targets[where.begins_with], **where.addresses},
        )
    if operations := _in_line(old, where):
        await gateway.update_stage(restApiId=api, stageName=STAGE, patchOperations=operations)


def _in_line(stage: Mapping[str, Any], where: Leading) -> list[dict[str, str]]:
    """The changes of a stage whose targets may have other addresses than it says."""
    addresses, canary_percent = where.addresses, where.canary_percent
    variables: Mapping[str, str] = stage.get("variables") or {}
    canary: Mapping[str, Any] | None = stage.get("canarySettings") or None
    names = {address: name for name, address in variables.items() if name.startswith(f"{TARGET}_")}

    def now(address: str | None) -> str | None:
        return addresses.get(names.get(address or "", ""))

    target = now(variables.get(TARGET)) or addresses[f"{TARGET}_{where.begins_with}"]
    wanted = {TARGET: target, **addresses}
    operations = [
        {"op": "replace", "path": f"/variables/{name}", "value": value}
        for name, value in wanted.items()
        if variables.get(name) != value
    ] + [
        {"op": "remove", "path": f"/variables/{name}"}
        for name in names.values()
        if name not in addresses
    ]
    settings = "/canarySettings"
    if canary_percent is not None:
        operations += [
            {"op": "replace", "path": f"{settings}/deploymentId", "value": stage["deploymentId"]},
            {"op": "replace", "path": f"{settings}/percentTraffic", "value": f"{canary_percent:g}"},
            {
                "op": "replace",
                "path": f"{settings}/stageVariableOverrides/{TARGET}",
                "value": addresses[f"{TARGET}_{CANARY_TARGET}"],
            },
        ]
    elif canary is not None:
        before = (canary.get("stageVariableOverrides") or {}).get(TARGET)
        after = now(before)
        if after is None:
            operations.append({"op": "remove", "path": settings})
        elif after != before:
            operations.append(
                {
                    "op": "replace",
                    "path": f"{settings}/stageVariableOverrides/{TARGET}",
                    "value": after,
                }
            )
    return operations
