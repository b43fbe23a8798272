"""The operator's policy: what a release needs is allowed, on the cluster's services alone."""

import contextlib
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.local._iam import OPERATOR_POLICY, filled_policy
from tests.containers.engine import DockerError
from tests.integration.embedded_containers.cluster import CLUSTER, Aws, Service, define
from tests.integration.embedded_containers.registry import logged_in, password, tagged

ACCOUNT, REGION = "000000000000", "us-east-1"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


@pytest.fixture()
async def operator(aws: Aws) -> Aws:
    """Access with the operator's policy and nothing else."""
    policy = filled_policy(OPERATOR_POLICY, region=REGION, account=ACCOUNT, apis={})
    async with aws.client("iam") as iam:
        made = await iam.create_user(UserName=f"operator-{secrets.token_hex(4)}")
        name = made["User"]["UserName"]
        await iam.put_user_policy(UserName=name, PolicyName="operator", PolicyDocument=policy)
        for role in ("lyceum-a-task", "somebody-elses"):
            with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
                await iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
        key = (await iam.create_access_key(UserName=name))["AccessKey"]
    return replace(aws, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])


async def denied(call: Any) -> None:
    with pytest.raises(ClientError) as raised:
        await call
    assert raised.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")


async def test_the_operator_rolls_out_and_watches(service: Service, operator: Aws) -> None:
    await service.create(await service.define(APP_VERSION="1"), count=1)
    async with (
        operator.client("ecs") as ecs,
        operator.client("elbv2") as elb,
        operator.client("cloudwatch") as cloudwatch,
    ):
        current = (await service.describe())["taskDefinition"]
        described = await ecs.describe_task_definition(taskDefinition=current)
        answer = await ecs.register_task_definition(
            family=service.name,
            containerDefinitions=described["taskDefinition"]["containerDefinitions"],
            networkMode="awsvpc",
            cpu="256",
            memory="128",
            taskRoleArn=f"arn:aws:iam::{ACCOUNT}:role/lyceum-a-task",
        )
        await ecs.update_service(
            cluster=CLUSTER,
            service=service.name,
            taskDefinition=answer["taskDefinition"]["taskDefinitionArn"],
        )
        await service.settled()
        shown = await ecs.describe_services(cluster=CLUSTER, services=[service.name])
        assert shown["services"][0]["deployments"][0]["rolloutState"] == "COMPLETED"
        listed = await ecs.list_tasks(cluster=CLUSTER, serviceName=service.name)
        tasks = await ecs.describe_tasks(cluster=CLUSTER, tasks=listed["taskArns"])
        assert len(tasks["tasks"]) == 1
        health = await elb.describe_target_health(TargetGroupArn=service.group)
        assert health["TargetHealthDescriptions"]
        await cloudwatch.describe_alarms(AlarmNames=["errors"])


async def test_the_operator_may_do_nothing_else(service: Service, operator: Aws) -> None:
    await service.create(await service.define(), count=1)
    (task,) = await service.tasks()
    async with service.aws.client("ecs") as administrator:
        await administrator.create_cluster(clusterName="another")
    async with (
        operator.client("ecs") as ecs,
        operator.client("elbv2") as elb,
        operator.client("dynamodb") as dynamodb,
        operator.client("iam") as iam,
    ):
        await denied(ecs.update_service(cluster="another", service=service.name))
        await denied(ecs.describe_services(cluster="another", services=[service.name]))
        await denied(ecs.list_tasks(cluster="another"))
        await denied(ecs.delete_service(cluster=CLUSTER, service=service.name, force=True))
        await denied(ecs.stop_task(cluster=CLUSTER, task=task["taskArn"]))
        await denied(ecs.run_task(cluster=CLUSTER, taskDefinition=task["taskDefinitionArn"]))
        await denied(
            ecs.create_service(
                cluster=CLUSTER, serviceName="new", taskDefinition=task["taskDefinitionArn"]
            )
        )
        await denied(
            ecs.register_task_definition(
                family="taken",
                containerDefinitions=[{"name": "taken", "image": service.aws.image}],
                taskRoleArn=f"arn:aws:iam::{ACCOUNT}:role/somebody-elses",
            )
        )
        await denied(
            elb.register_targets(
                TargetGroupArn=service.group, Targets=[{"Id": "127.0.0.1", "Port": 80}]
            )
        )
        await denied(dynamodb.list_tables())
        await denied(iam.list_users())
    assert (await service.describe())["status"] == "ACTIVE"


async def test_the_operator_pushes_to_the_services_repositories_alone(
    aws: Aws, operator: Aws, tmp_path: Path
) -> None:
    async with aws.client("ecr") as administrator:
        for repository in ("lyceum/pushed", "another/pushed"):
            await administrator.create_repository(repositoryName=repository)
    async with operator.client("ecr") as ecr:
        secret = await password(ecr)
        await denied(ecr.delete_repository(repositoryName="lyceum/pushed"))
    with logged_in(aws, secret, tmp_path):
        with tagged(aws, f"{aws.registry}/lyceum/pushed:1") as reference:
            aws.engine.run("push", reference)
        with (
            tagged(aws, f"{aws.registry}/another/pushed:1") as reference,
            pytest.raises(DockerError),
        ):
            aws.engine.run("push", reference)
    async with aws.client("ecr") as administrator:
        listed = await administrator.list_images(repositoryName="another/pushed")
    assert listed["imageIds"] == []


async def test_a_key_of_no_policy_may_do_nothing(aws: Aws) -> None:
    async with aws.client("iam") as iam:
        await iam.create_user(UserName="nobody")
        key = (await iam.create_access_key(UserName="nobody"))["AccessKey"]
    nobody = replace(aws, access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])
    async with (
        nobody.client("ecs") as ecs,
        nobody.client("ecr") as ecr,
        nobody.client("elbv2") as elb,
        nobody.client("cloudwatch") as cloudwatch,
    ):
        await denied(ecs.describe_services(cluster=CLUSTER, services=["any"]))
        await denied(define(ecs, "any", aws.image, {}))
        await denied(ecr.get_authorization_token())
        await denied(elb.describe_load_balancers())
        await denied(cloudwatch.list_metrics())
