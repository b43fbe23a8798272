"""What a service could do with its own credentials if it were taken over: its own work, no more.

The credentials are fetched from the running platform, as each service fetches them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from libs.aws import S3Endpoint, Signer, presign
from tests.system.exchange import ask
from tests.system.platform_process import RunningPlatform
from tests.system.roles import (
    PREFIXES,
    SERVICES,
    RoleCredentials,
    client,
    credentials_of,
    environment_of,
)

pytestmark = pytest.mark.timeout(300)

OBJECT = "content/tides-1-1/original"
PAIRS = [(service, owner) for service in SERVICES for owner in SERVICES if service != owner]
WITHOUT_BUCKET = ("course_catalog", "progress_tracking")

Key = Mapping[str, Mapping[str, str]]
Call = Callable[[Any, str, Key], Awaitable[Any]]


def by_partition(key: Key) -> dict[str, Any]:
    name = next(iter(key))
    return {
        "KeyConditionExpression": "#partition = :partition",
        "ExpressionAttributeNames": {"#partition": name},
        "ExpressionAttributeValues": {":partition": key[name]},
    }


CALLS: Mapping[str, Call] = {
    "GetItem": lambda db, table, key: db.get_item(TableName=table, Key=key),
    "BatchGetItem": lambda db, table, key: db.batch_get_item(RequestItems={table: {"Keys": [key]}}),
    "Query": lambda db, table, key: db.query(TableName=table, **by_partition(key)),
    "Scan": lambda db, table, _: db.scan(TableName=table),
    "PutItem": lambda db, table, key: db.put_item(TableName=table, Item=key),
    "UpdateItem": lambda db, table, key: db.update_item(TableName=table, Key=key),
    "DeleteItem": lambda db, table, key: db.delete_item(TableName=table, Key=key),
    "BatchWriteItem": lambda db, table, key: db.batch_write_item(
        RequestItems={table: [{"DeleteRequest": {"Key": key}}]}
    ),
    "TransactGetItems": lambda db, table, key: db.transact_get_items(
        TransactItems=[{"Get": {"TableName": table, "Key": key}}]
    ),
    "TransactWriteItems": lambda db, table, key: db.transact_write_items(
        TransactItems=[{"Put": {"TableName": table, "Item": key}}]
    ),
    "PartiQL": lambda db, table, _: db.execute_statement(Statement=f'SELECT * FROM "{table}"'),
    "DescribeTable": lambda db, table, _: db.describe_table(TableName=table),
    "DeleteTable": lambda db, table, _: db.delete_table(TableName=table),
}


class Role:
    """A service's variables and the credentials they lead to."""

    def __init__(self, platform: RunningPlatform, service: str) -> None:
        self.variables = environment_of(platform, service)
        self.credentials: RoleCredentials = credentials_of(self.variables)
        self.table = self.variables[f"{PREFIXES[service]}TABLE"]

    def client(self, service: str) -> Any:
        return client(service, self.variables, self.credentials)

    def presigned(self, bucket: str, key: str) -> str:
        credentials = self.credentials
        return presign(
            "get_object",
            {"Bucket": bucket, "Key": key},
            expires_seconds=60,
            endpoint=S3Endpoint(self.variables["AWS_ENDPOINT_URL"], self.variables["AWS_REGION"]),
            signer=Signer(
                credentials.access_key,
                credentials.secret_key,
                credentials.session_token,
                credentials.expires_at,
            ),
            now=datetime.now(UTC),
        )


Roles = Mapping[str, Role]
Keys = Mapping[str, Key]


@pytest.fixture(scope="module")
def roles(platform: RunningPlatform) -> Roles:
    return {service: Role(platform, service) for service in SERVICES}


@pytest.fixture(scope="module")
def bucket(roles: Roles) -> str:
    return roles["content_delivery"].variables["CONTENT_BUCKET"]


@pytest.fixture(scope="module")
def keys(platform: RunningPlatform) -> Keys:
    """For each service the key of an item that is in its table."""
    recorded = platform.request(
        "/progress/me/tides",
        method="PUT",
        body={"occurredAt": "2026-03-01T10:00:00Z", "deviceId": "phone"},
    )
    assert recorded.status == 201
    learner = platform.document["users"]["learner-a"]["sub"]
    return {
        "course_catalog": {"courseId": {"S": "tides"}},
        "content_delivery": {"contentId": {"S": "tides-1-1"}},
        "progress_tracking": {"userId": {"S": learner}, "sk": {"S": "H#tides#c"}},
    }


async def refused(call: Awaitable[object], *codes: str) -> None:
    with pytest.raises(ClientError) as caught:
        await call
    answer = caught.value.response
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    assert answer["Error"]["Code"] in codes, answer
    # DynamoDB's JSON protocol says it with 400, the others with 403.
    assert status in (400, 403)


async def test_each_service_is_served_on_its_own_table(roles: Roles, keys: Keys) -> None:
    for service in ("course_catalog", "content_delivery"):
        role, key = roles[service], keys[service]
        async with role.client("dynamodb") as dynamodb:
            got = await dynamodb.get_item(TableName=role.table, Key=key)
        assert got["Item"].items() >= key.items()
    role, key = roles["progress_tracking"], keys["progress_tracking"]
    async with role.client("dynamodb") as dynamodb:
        got = await dynamodb.batch_get_item(RequestItems={role.table: {"Keys": [key]}})
        listed = await dynamodb.query(TableName=role.table, **by_partition(key))
    (item,) = got["Responses"][role.table]
    assert item.items() >= key.items()
    assert item in listed["Items"]


@pytest.mark.parametrize(("service", "owner"), PAIRS)
async def test_no_service_is_served_on_anothers_table(
    roles: Roles, keys: Keys, service: str, owner: str
) -> None:
    table = roles[owner].table
    async with roles[service].client("dynamodb") as dynamodb:
        for call in CALLS.values():
            await refused(call(dynamodb, table, keys[owner]), "AccessDeniedException")


async def test_a_batch_with_anothers_table_is_refused_whole(roles: Roles, keys: Keys) -> None:
    role = roles["progress_tracking"]
    async with role.client("dynamodb") as dynamodb:
        await refused(
            dynamodb.batch_get_item(
                RequestItems={
                    role.table: {"Keys": [keys["progress_tracking"]]},
                    roles["course_catalog"].table: {"Keys": [keys["course_catalog"]]},
                }
            ),
            "AccessDeniedException",
        )


@pytest.mark.parametrize("service", SERVICES)
async def test_no_service_may_read_its_whole_table_or_change_it(
    roles: Roles, keys: Keys, service: str
) -> None:
    role = roles[service]
    async with role.client("dynamodb") as dynamodb:
        for name in ("Scan", "PartiQL", "BatchWriteItem", "DescribeTable", "DeleteTable"):
            await refused(CALLS[name](dynamodb, role.table, keys[service]), "AccessDeniedException")
        await refused(dynamodb.list_tables(), "AccessDeniedException")


async def test_content_delivery_may_use_its_objects_and_no_more(roles: Roles, bucket: str) -> None:
    async with roles["content_delivery"].client("s3") as s3:
        got = await s3.get_object(Bucket=bucket, Key=OBJECT, Range="bytes=0-7")
        assert len(await got["Body"].read()) == 8
        # Captions it writes itself, below its prefix.
        await s3.put_object(Bucket=bucket, Key="content/isolation/track", Body=b"WEBVTT")
        await s3.delete_object(Bucket=bucket, Key="content/isolation/track")
        for call in (
            s3.get_object(Bucket=bucket, Key="other/tides-1-1"),
            s3.put_object(Bucket=bucket, Key="other/tides-1-1", Body=b"changed"),
            s3.delete_object(Bucket=bucket, Key="other/tides-1-1"),
            s3.create_multipart_upload(Bucket=bucket, Key="other/tides-1-1"),
            s3.list_multipart_uploads(Bucket=bucket),
            s3.list_objects_v2(Bucket=bucket),
            s3.list_buckets(),
            s3.put_bucket_policy(Bucket=bucket, Policy="{}"),
        ):
            await refused(call, "AccessDenied")


@pytest.mark.parametrize("service", WITHOUT_BUCKET)
async def test_the_other_services_have_no_way_to_content(
    roles: Roles, bucket: str, service: str
) -> None:
    async with roles[service].client("s3") as s3:
        for call in (
            s3.get_object(Bucket=bucket, Key=OBJECT),
            s3.put_object(Bucket=bucket, Key=OBJECT, Body=b"changed"),
            s3.delete_object(Bucket=bucket, Key=OBJECT),
            s3.list_objects_v2(Bucket=bucket),
        ):
            await refused(call, "AccessDenied")
    # Anybody can sign a URL; whether it is good is decided by the role that signed it.
    assert ask(roles["content_delivery"].presigned(bucket, OBJECT)).status == 200
    refusal = ask(roles[service].presigned(bucket, OBJECT))
    assert refusal.status == 403
    assert b"<Code>AccessDenied</Code>" in refusal.body


@pytest.mark.parametrize("service", SERVICES)
async def test_no_service_can_become_another_or_more(
    roles: Roles, platform: RunningPlatform, service: str
) -> None:
    role = roles[service]
    async with role.client("sts") as sts:
        identity = await sts.get_caller_identity()
        own_name = f"lyceum-{service.replace('_', '-')}"
        assert f":assumed-role/{own_name}/" in identity["Arn"]
        for owner in SERVICES:
            name = f"lyceum-{owner.replace('_', '-')}"
            arn = f"arn:aws:iam::{identity['Account']}:role/{name}"
            await refused(
                sts.assume_role(RoleArn=arn, RoleSessionName="another"),
                "AccessDenied",
            )
    async with role.client("iam") as iam:
        for call in (
            iam.create_user(UserName="another"),
            iam.create_access_key(UserName="another"),
            iam.put_role_policy(RoleName=own_name, PolicyName="more", PolicyDocument="{}"),
            iam.attach_role_policy(
                RoleName=own_name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
            ),
        ):
            await refused(call, "AccessDenied")
    async with role.client("cognito-idp") as cognito:
        pool = role.variables[f"{PREFIXES[service]}AUTH_ISSUER"].rpartition("/")[2]
        for call in (
            cognito.list_users(UserPoolId=pool),
            cognito.admin_add_user_to_group(
                UserPoolId=pool, Username="learner-a", GroupName="staff"
            ),
        ):
            await refused(call, "AccessDeniedException")


def test_the_container_endpoint_knows_its_services(roles: Roles) -> None:
    for service, role in roles.items():
        url = role.variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        token = role.variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        assert ask(url, headers={"Authorization": token}).headers["Cache-Control"] == "no-store"
        assert ask(url).status == 401
        assert ask(url, headers={"Authorization": f"Bearer {token}"}).status == 401
        for other in SERVICES:
            foreign = url.rpartition("/")[0] + f"/{other}"
            status = ask(foreign, headers={"Authorization": token}).status
            assert status == (200 if other == service else 401)
        # A page of another site that had its name resolve to 127.0.0.1 sends its own name.
        away = {"Authorization": token, "Host": "attacker.example"}
        assert ask(url, headers=away).status == 403
    assert len({role.credentials.access_key for role in roles.values()}) == len(SERVICES)
    assert all(role.credentials.expires_at > datetime.now(UTC) for role in roles.values())


def test_nothing_is_served_without_credentials(roles: Roles, bucket: str) -> None:
    endpoint = roles["course_catalog"].variables["AWS_ENDPOINT_URL"]
    assert ask(f"{endpoint}/{bucket}/{OBJECT}").status == 403
    described = ask(
        f"{endpoint}/",
        method="POST",
        body=b"{}",
        headers={
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "DynamoDB_20120810.ListTables",
        },
    )
    assert described.status == 403


def test_each_service_gets_nothing_but_what_is_its_own(roles: Roles) -> None:
    """No secret and no table of another stands in its environment."""
    for service, role in roles.items():
        for other in roles.keys() - {service}:
            foreign = roles[other]
            assert not any(name.startswith(PREFIXES[other]) for name in role.variables)
            assert foreign.table not in role.variables.values()
        secrets = [name for name in role.variables if "SECRET_ACCESS_KEY" in name]
        assert secrets == []
