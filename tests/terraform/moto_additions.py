"""What moto lacks for this repository's Terraform to be applied on it, added inside moto's server.

Each addition is a function that changes moto when it is called, and says which call of the provider
needs it; `test_moto_additions.py` shows on a plain moto that each is still lacking, and fails when moto
has learnt it. Nothing here imitates what AWS decides: additions remember what they were told and say it
again, for the provider compares that with its configuration.
"""

from __future__ import annotations

import functools
import inspect
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import moto.apigateway.models as gateway_models
import moto.applicationautoscaling.responses as scaling_responses
import moto.cognitoidp.responses as cognito_responses
import moto.ec2.models.security_groups as security_groups
import moto.ecs.responses as ecs_responses
import moto.sqs.models as sqs_models
import moto.xray.responses as xray_responses
import moto.xray.urls as xray_urls

ACCOUNT = "123456789012"

Document = dict[str, Any]


def stages_keep_their_canary() -> None:
    """UpdateStage of `/canarySettings`, which deploy/release calls and the provider reads back."""
    stage_to_json, apply = (
        gateway_models.Stage.to_json,
        gateway_models.Stage.apply_operations,
    )

    def to_json(self: Any) -> Document:
        canary = getattr(self, "canary", None)
        return {**stage_to_json(self), **({"canarySettings": canary} if canary else {})}

    def apply_operations(self: Any, operations: list[Document]) -> Any:
        canary: Document = getattr(self, "canary", None) or {}
        others = []
        for operation in operations:
            _, *path = operation["path"].split("/")
            match operation["op"], path:
                case "remove", ["canarySettings"]:
                    canary = {}
                case "remove", ["canarySettings", "stageVariableOverrides", name]:
                    canary.get("stageVariableOverrides", {}).pop(name, None)
                case _, ["canarySettings", "stageVariableOverrides", name]:
                    canary.setdefault("stageVariableOverrides", {})[name] = operation["value"]
                case _, ["canarySettings", "percentTraffic"]:
                    canary["percentTraffic"] = float(operation["value"])
                case _, ["canarySettings", "deploymentId"]:
                    canary["deploymentId"] = operation["value"]
                case "copy", ["deploymentId"]:
                    self.deployment_id = canary["deploymentId"]
                case "copy", ["variables"]:
                    self.variables = {
                        **self.variables,
                        **canary.get("stageVariableOverrides", {}),
                    }
                case _:
                    others.append(operation)
        self.canary = canary or None
        return apply(self, others)

    _replace(gateway_models.Stage, to_json=to_json, apply_operations=apply_operations)


def scalable_targets_have_tags() -> None:
    """ListTagsForResource, TagResource and UntagResource of Application Auto Scaling."""
    response = scaling_responses.ApplicationAutoScalingResponse
    register = response.register_scalable_target
    tags: dict[str, dict[str, str]] = {}

    def register_scalable_target(self: Any) -> str:
        answer: str = register(self)
        if given := self._get_param("Tags"):
            tags.setdefault(json.loads(answer)["ScalableTargetARN"], {}).update(given)
        return answer

    def list_tags_for_resource(self: Any) -> str:
        return json.dumps({"Tags": tags.get(self._get_param("ResourceARN"), {})})

    def tag_resource(self: Any) -> str:
        tags.setdefault(self._get_param("ResourceARN"), {}).update(self._get_param("Tags"))
        return "{}"

    def untag_resource(self: Any) -> str:
        for key in self._get_param("TagKeys"):
            tags.get(self._get_param("ResourceARN"), {}).pop(key, None)
        return "{}"

    _replace(
        response,
        register_scalable_target=register_scalable_target,
        list_tags_for_resource=list_tags_for_resource,
        tag_resource=tag_resource,
        untag_resource=untag_resource,
    )


def services_say_how_they_are_deployed() -> None:
    """CreateService forgets the health check's grace, the capacity providers and more."""
    response = ecs_responses.EC2ContainerServiceResponse
    create: Any = response.create_service

    @functools.wraps(create)
    def create_service(self: Any) -> Any:
        answer = create(self)
        service = answer.result["service"]
        service.health_check_grace_period_seconds = self._get_param("healthCheckGracePeriodSeconds")
        service.availability_zone_rebalancing = self._get_param("availabilityZoneRebalancing")
        service.deployment_configuration = self._get_param("deploymentConfiguration")
        service.capacity_provider_strategy = self._get_param("capacityProviderStrategy")
        service.enable_ecs_managed_tags = self._get_param("enableECSManagedTags")
        return answer

    _replace(response, create_service=create_service)


def rules_of_groups_keep_their_descriptions() -> None:
    """Of a security group's rule for another group or a prefix list moto forgets the description."""
    rule = security_groups.SecurityGroupRule
    make = rule.__init__

    def make_with_description(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        given = inspect.signature(make).bind(self, *arguments, **options).arguments
        self.kept_description = (given.get("prefix_list_id") or {}).get("Description")

    def description(self: Any) -> str | None:
        of_group: str | None = self.source_group.get("Description")
        return self.ip_range.get("Description") or of_group or self.kept_description

    _replace(rule, __init__=make_with_description, description=property(description))


def policies_of_queues_are_compact() -> None:
    """SQS says a redrive policy as it was put; moto with other spaces, and the provider waits for it."""

    class Compact:
        def __getattr__(self, name: str) -> Any:
            return getattr(json, name)

        @staticmethod
        def dumps(document: object, **options: Any) -> str:
            return json.dumps(document, separators=(",", ":"), **options)

    _replace(sqs_models, json=Compact())


def queues_say_who_may_park_in_them() -> None:
    """`RedriveAllowPolicy`, which moto takes and keeps to itself."""

    def keep(self: Any, value: str | None) -> None:
        # Put as nothing it is no attribute any more, which the provider waits for.
        self.kept_redrive_allow_policy = value or None

    kept = property(lambda self: getattr(self, "kept_redrive_allow_policy", None), keep)
    _replace(sqs_models.Queue, redrive_allow_policy=kept)
    sqs_models.Queue.BASE_ATTRIBUTES.append("RedriveAllowPolicy")


def resource_servers_can_be_deleted() -> None:
    """DeleteResourceServer of Cognito, which moto does not have."""

    def delete_resource_server(self: Any) -> str:
        pool = self.backend.describe_user_pool(self._get_param("UserPoolId"))
        del pool.resource_servers[self._get_param("Identifier")]
        return "{}"

    _replace(cognito_responses.CognitoIdpResponse, delete_resource_server=delete_resource_server)


def x_ray_has_groups_and_rules() -> None:
    """Sampling rules and groups, of which moto has none."""
    rules: dict[str, Document] = {}
    groups: dict[str, Document] = {}
    tags: dict[str, list[Document]] = {}

    def record(rule: Document) -> Document:
        return {"SamplingRuleRecord": {"SamplingRule": rule, "CreatedAt": time.time()}}

    def create_sampling_rule(body: Document) -> Document:
        rule = dict(body["SamplingRule"])
        rule["RuleARN"] = f"arn:aws:xray:us-east-1:{ACCOUNT}:sampling-rule/{rule['RuleName']}"
        rules[rule["RuleName"]] = rule
        tags[rule["RuleARN"]] = body.get("Tags", [])
        return record(rule)

    def update_sampling_rule(body: Document) -> Document:
        update = body["SamplingRuleUpdate"]
        rules[update["RuleName"]].update(update)
        return record(rules[update["RuleName"]])

    def create_group(body: Document) -> Document:
        name = body["GroupName"]
        group = {
            "GroupName": name,
            "GroupARN": f"arn:aws:xray:us-east-1:{ACCOUNT}:group/{name}/{name.upper()}",
            "FilterExpression": body.get("FilterExpression"),
            "InsightsConfiguration": body.get("InsightsConfiguration"),
        }
        groups[group["GroupARN"]] = group
        tags[group["GroupARN"]] = body.get("Tags", [])
        return {"Group": group}

    def update_group(body: Document) -> Document:
        group = groups[body["GroupARN"]]
        group.update({key: body[key] for key in ("FilterExpression", "InsightsConfiguration")})
        return {"Group": group}

    def delete_group(body: Document) -> Document:
        del groups[body["GroupARN"]]
        return {}

    def list_tags_for_resource(body: Document) -> Document:
        return {"Tags": tags.get(body["ResourceARN"], [])}

    operations: Mapping[str, Callable[[Document], Document]] = {
        "CreateSamplingRule": create_sampling_rule,
        "GetSamplingRules": lambda body: {
            "SamplingRuleRecords": [record(rule)["SamplingRuleRecord"] for rule in rules.values()]
        },
        "UpdateSamplingRule": update_sampling_rule,
        "DeleteSamplingRule": lambda body: record(rules.pop(body["RuleName"])),
        "CreateGroup": create_group,
        "GetGroup": lambda body: {"Group": groups[body["GroupARN"]]},
        "GetGroups": lambda body: {"Groups": list(groups.values())},
        "UpdateGroup": update_group,
        "DeleteGroup": delete_group,
        "ListTagsForResource": list_tags_for_resource,
    }
    response = xray_responses.XRayResponse

    def answering(operation: Callable[[Document], Document]) -> Callable[[Any], Any]:
        def answer(self: Any) -> Any:
            try:
                return json.dumps(operation(json.loads(self.body or "{}")))
            except KeyError:
                return self._error("InvalidRequestException", "Group not found")

        return answer

    for name, operation in operations.items():
        # moto finds an action's method by its name in snake case.
        method = "".join(f"_{char.lower()}" if char.isupper() else char for char in name)[1:]
        setattr(response, method, answering(operation))
        xray_urls.url_paths[f"{{0}}/{name}$"] = response.dispatch


ADDITIONS: tuple[Callable[[], None], ...] = (
    stages_keep_their_canary,
    scalable_targets_have_tags,
    services_say_how_they_are_deployed,
    rules_of_groups_keep_their_descriptions,
    policies_of_queues_are_compact,
    queues_say_who_may_park_in_them,
    resource_servers_can_be_deleted,
    x_ray_has_groups_and_rules,
)


def _replace(owner: Any, **attributes: object) -> None:
    for name, value in attributes.items():
        setattr(owner, name, value)


def install() -> None:
    """Make every addition, before the server's application is made."""
    for add in ADDITIONS:
        add()
