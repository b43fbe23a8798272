"""Each addition to moto is still needed: a moto without them lacks what they add."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.backends import Backend
from tests.terraform.moto_additions import ADDITIONS


async def test_stages_keep_no_canary(moto_backend: Backend) -> None:
    async with moto_backend.client("apigateway") as gateway:
        api = await gateway.create_rest_api(name="plain")
        resource = (await gateway.get_resources(restApiId=api["id"]))["items"][0]["id"]
        of_method = {"restApiId": api["id"], "resourceId": resource, "httpMethod": "GET"}
        await gateway.put_method(**of_method, authorizationType="NONE")
        await gateway.put_integration(**of_method, type="MOCK")
        deployed = await gateway.create_deployment(restApiId=api["id"], stageName="live")
        await gateway.update_stage(
            restApiId=api["id"],
            stageName="live",
            patchOperations=[
                {
                    "op": "replace",
                    "path": "/canarySettings/deploymentId",
                    "value": deployed["id"],
                },
                {"op": "replace", "path": "/canarySettings/percentTraffic", "value": "10"},
            ],
        )
        stage = await gateway.get_stage(restApiId=api["id"], stageName="live")
    assert "canarySettings" not in stage


async def test_scalable_targets_have_no_tags(moto_backend: Backend) -> None:
    async with moto_backend.client("application-autoscaling") as scaling:
        with pytest.raises(ClientError) as refused:
            await scaling.list_tags_for_resource(
                ResourceARN="arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/x"
            )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 400


async def test_services_do_not_say_how_they_are_deployed(moto_backend: Backend) -> None:
    name = uuid.uuid4().hex
    async with moto_backend.client("ecs") as ecs:
        await ecs.create_cluster(clusterName=name)
        await ecs.register_task_definition(
            family=name, containerDefinitions=[{"name": name, "image": "x", "memory": 16}]
        )
        made = await ecs.create_service(
            cluster=name,
            serviceName=name,
            taskDefinition=name,
            desiredCount=0,
            healthCheckGracePeriodSeconds=60,
            availabilityZoneRebalancing="ENABLED",
            deploymentConfiguration={"maximumPercent": 200},
            capacityProviderStrategy=[{"capacityProvider": "FARGATE", "weight": 1}],
            enableECSManagedTags=True,
        )
    said = {
        "healthCheckGracePeriodSeconds",
        "availabilityZoneRebalancing",
        "deploymentConfiguration",
        "capacityProviderStrategy",
        "enableECSManagedTags",
    } & made["service"].keys()
    assert said == set()


async def test_rules_for_groups_and_prefix_lists_lose_their_descriptions(
    moto_backend: Backend,
) -> None:
    async with moto_backend.client("ec2") as ec2:
        vpc = (await ec2.create_vpc(CidrBlock="10.0.0.0/16"))["Vpc"]["VpcId"]
        group = (await ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc))[
            "GroupId"
        ]
        lists = await ec2.describe_managed_prefix_lists()
        sources: list[dict[str, Any]] = [
            {"UserIdGroupPairs": [{"GroupId": group, "Description": "said"}]},
            {
                "PrefixListIds": [
                    {"PrefixListId": lists["PrefixLists"][0]["PrefixListId"], "Description": "said"}
                ]
            },
        ]
        said = [
            (
                await ec2.authorize_security_group_egress(
                    GroupId=group,
                    IpPermissions=[{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, **source}],
                )
            )["SecurityGroupRules"][0].get("Description")
            for source in sources
        ]
    assert said == [None, None]


async def test_policies_of_queues_are_not_as_they_were_put(moto_backend: Backend) -> None:
    async with moto_backend.client("sqs") as sqs:
        parked = (await sqs.create_queue(QueueName=uuid.uuid4().hex))["QueueUrl"]
        arn = (await sqs.get_queue_attributes(QueueUrl=parked, AttributeNames=["QueueArn"]))[
            "Attributes"
        ]["QueueArn"]
        put = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2}, separators=(",", ":"))
        url = (
            await sqs.create_queue(QueueName=uuid.uuid4().hex, Attributes={"RedrivePolicy": put})
        )["QueueUrl"]
        said = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
        assert said["Attributes"]["RedrivePolicy"] != put
        with pytest.raises(ClientError, match="Unknown Attribute RedriveAllowPolicy"):
            await sqs.get_queue_attributes(QueueUrl=parked, AttributeNames=["RedriveAllowPolicy"])


async def test_resource_servers_can_not_be_deleted(moto_backend: Backend) -> None:
    async with moto_backend.client("cognito-idp") as cognito:
        made = await cognito.create_user_pool(PoolName="plain")
        of_pool = {"UserPoolId": made["UserPool"]["Id"], "Identifier": "x"}
        await cognito.create_resource_server(**of_pool, Name="x")
        with pytest.raises(ClientError) as refused:
            await cognito.delete_resource_server(**of_pool)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500


async def test_x_ray_has_neither_groups_nor_rules(moto_backend: Backend) -> None:
    async with moto_backend.client("xray") as xray:
        for call in (xray.get_sampling_rules, xray.get_groups):
            with pytest.raises(ClientError) as refused:
                await call()
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_every_addition_is_looked_at() -> None:
    """A test above for each; `policies` and `who may park` are one, both being attributes of queues."""
    assert [addition.__name__ for addition in ADDITIONS] == [
        "stages_keep_their_canary",
        "scalable_targets_have_tags",
        "services_say_how_they_are_deployed",
        "rules_of_groups_keep_their_descriptions",
        "policies_of_queues_are_compact",
        "queues_say_who_may_park_in_them",
        "resource_servers_can_be_deleted",
        "x_ray_has_groups_and_rules",
    ]
