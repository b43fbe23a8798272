"""Each service's role, with credentials as the service gets them: allowed its own, denied all else.

The whole matrix of roles, tables and actions, and of roles, objects and actions, is tried over the wire.
"""

import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aioboto3
import aiohttp
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from deploy.local._credentials import TemporaryCredentials, assume_role_through
from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._tables import read_table
from tests.integration.embedded_aws.conftest import Provisioned
from tests.integration.embedded_aws.denials import (
    Call,
    is_allowed,
    object_calls,
    queue_calls,
    table_calls,
)

SERVICES = ("course_catalog", "content_delivery", "progress_tracking")

# What each role may do on its own table; `index:` is through an index. A transaction is authorized as
# the actions on single items that it is made of.
ALLOWED_ON_OWN_TABLE: Mapping[str, frozenset[str]] = {
    "course_catalog": frozenset(
        {
            "GetItem",
            "PutItem",
            "DeleteItem",
            "transaction of GetItem",
            "transaction of PutItem",
            "index:Query",
        }
    ),
    "content_delivery": frozenset(
        {
            "GetItem",
            "PutItem",
            "transaction of GetItem",
            "transaction of PutItem",
            "index:Query",
        }
    ),
    "progress_tracking": frozenset(
        {"BatchGetItem", "PutItem", "Query", "UpdateItem", "transaction of PutItem"}
    ),
}
ALLOWED_ON_OBJECTS: Mapping[str, frozenset[str]] = {
    "course_catalog": frozenset(),
    "content_delivery": frozenset(
        {
            "GetObject",
            "HeadObject",
            "PutObject",
            "DeleteObject",
            # Reads the one and writes the other, both below the prefix.
            "CopyObject",
            "CreateMultipartUpload",
            "UploadPart",
            "ListParts",
            "CompleteMultipartUpload",
            "AbortMultipartUpload",
        }
    ),
    "progress_tracking": frozenset(),
}

ALLOWED_ON_QUEUE: Mapping[str, frozenset[str]] = {
    "course_catalog": frozenset(),
    "content_delivery": frozenset(),
    "progress_tracking": frozenset(
        {
            "ChangeMessageVisibility",
            "ChangeMessageVisibilityBatch",
            "DeleteMessage",
            "DeleteMessageBatch",
            "GetQueueAttributes",
            "ReceiveMessage",
        }
    ),
}


async def assume(provisioned: Provisioned, service: str) -> TemporaryCredentials:
    async with provisioned.aws.client("sts") as sts:
        return await assume_role_through(sts)(provisioned.resources.role_arns[service])


@contextlib.asynccontextmanager
async def client_of(
    provisioned: Provisioned, credentials: TemporaryCredentials, name: str
) -> AsyncIterator[Any]:
    session = aioboto3.Session(
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
        region_name=provisioned.resources.region,
    )
    config = Config(
        retries={"total_max_attempts": 1}, signature_version="s3v4" if name == "s3" else "v4"
    )
    async with session.client(
        name, endpoint_url=provisioned.resources.endpoint_url, config=config
    ) as client:
        yield client


@pytest.fixture()
async def content_object(provisioned: Provisioned) -> str:
    key = f"content/{uuid.uuid4()}/original"
    async with provisioned.aws.client("s3") as s3:
        await s3.put_object(Bucket=provisioned.resources.bucket, Key=key, Body=b"0123456789")
    return key


@pytest.mark.parametrize("owner", SERVICES)
@pytest.mark.parametrize("service", SERVICES)
async def test_a_role_may_do_on_tables_what_its_repository_does_and_nothing_else(
    provisioned: Provisioned, service: str, owner: str
) -> None:
    table = read_table(REPOSITORY_ROOT / "services" / owner / "table.json")
    calls = table_calls(table, provisioned.resources.tables[owner])
    async with client_of(provisioned, await assume(provisioned, service), "dynamodb") as dynamodb:
        allowed = {name for name, call in calls.items() if await is_allowed(call(dynamodb))}
    assert allowed == (ALLOWED_ON_OWN_TABLE[service] if service == owner else frozenset())


@pytest.mark.parametrize("service", SERVICES)
async def test_only_content_may_use_objects_and_only_below_its_prefix(
    provisioned: Provisioned, content_object: str, service: str
) -> None:
    bucket, other = provisioned.resources.bucket, "elsewhere/original"
    calls = {}
    async with provisioned.aws.client("s3") as s3:
        await s3.put_object(Bucket=bucket, Key=other, Body=b"not content")
        for key in (content_object, other):
            uploads, etag = [], ""
            for _ in range(2):
                begun = await s3.create_multipart_upload(Bucket=bucket, Key=key)
                sent = await s3.upload_part(
                    Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"part"
                )
                uploads.append(begun["UploadId"])
                etag = sent["ETag"]
            calls[key] = object_calls(
                bucket, key, to_complete=uploads[0], to_abort=uploads[1], etag=etag
            )
    async with client_of(provisioned, await assume(provisioned, service), "s3") as s3:
        assert {
            name for name, call in calls[content_object].items() if await is_allowed(call(s3))
        } == ALLOWED_ON_OBJECTS[service]
        assert {name for name, call in calls[other].items() if await is_allowed(call(s3))} == set()
        assert not await is_allowed(s3.list_buckets())


@pytest.mark.parametrize(
    ("service", "key", "status"),
    [
        ("content_delivery", "content/form", 204),
        ("content_delivery", "elsewhere/form", 403),
        ("course_catalog", "content/form", 403),
        ("progress_tracking", "content/form", 403),
    ],
)
async def test_a_signed_form_is_worth_what_its_signer_may(
    provisioned: Provisioned, service: str, key: str, status: int
) -> None:
    bucket = provisioned.resources.bucket
    async with client_of(provisioned, await assume(provisioned, service), "s3") as s3:
        signed = await s3.generate_presigned_post(bucket, key, ExpiresIn=60)
    form = aiohttp.MultipartWriter("form-data")
    for name, value in (*signed["fields"].items(), ("file", "bytes")):
        form.append(value).set_content_disposition("form-data", name=name)
    url = f"{provisioned.resources.endpoint_url}/{bucket}"
    async with aiohttp.ClientSession() as http, http.post(url, data=form) as response:
        assert response.status == status


@pytest.mark.parametrize("service", SERVICES)
async def test_only_progress_takes_from_its_queue_and_nobody_reaches_the_rest_of_the_way(
    provisioned: Provisioned, service: str
) -> None:
    resources = provisioned.resources
    credentials = await assume(provisioned, service)
    async with client_of(provisioned, credentials, "sqs") as sqs:
        own = queue_calls(resources.outline_queue_url)
        assert {
            name for name, call in own.items() if await is_allowed(call(sqs))
        } == ALLOWED_ON_QUEUE[service]
        parked = queue_calls(resources.parked_outlines_url)
        assert {name for name, call in parked.items() if await is_allowed(call(sqs))} == set()
    async with provisioned.aws.client("sns") as sns:
        (topic,) = (await sns.list_topics())["Topics"]
    async with client_of(provisioned, credentials, "sns") as sns:
        assert not await is_allowed(sns.publish(TopicArn=topic["TopicArn"], Message="x"))
        assert not await is_allowed(sns.list_topics())
    async with client_of(provisioned, credentials, "pipes") as pipes:
        assert not await is_allowed(pipes.list_pipes())
        assert not await is_allowed(pipes.delete_pipe(Name="lyceum-course-outlines"))


@pytest.mark.parametrize("service", SERVICES)
async def test_a_transaction_that_reaches_into_another_table_is_denied_whole(
    provisioned: Provisioned, service: str
) -> None:
    other = SERVICES[(SERVICES.index(service) + 1) % len(SERVICES)]
    tables = {
        name: read_table(REPOSITORY_ROOT / "services" / name / "table.json")
        for name in (service, other)
    }
    keys = {
        name: {entry["AttributeName"]: {"S": "smuggled"} for entry in table["KeySchema"]}
        for name, table in tables.items()
    }
    names = provisioned.resources.tables
    async with client_of(provisioned, await assume(provisioned, service), "dynamodb") as dynamodb:
        puts = [
            {"Put": {"TableName": names[name], "Item": keys[name]}} for name in (service, other)
        ]
        assert not await is_allowed(dynamodb.transact_write_items(TransactItems=puts))
    async with provisioned.aws.client("dynamodb") as dynamodb:
        for name in (service, other):
            found = await dynamodb.get_item(TableName=names[name], Key=keys[name])
            assert "Item" not in found


@pytest.mark.parametrize("service", SERVICES)
async def test_a_role_can_not_make_itself_more_than_it_is(
    provisioned: Provisioned, service: str
) -> None:
    credentials = await assume(provisioned, service)
    calls: dict[str, list[Call]] = {
        "iam": [
            lambda iam: iam.list_roles(),
            lambda iam: iam.create_access_key(UserName="administrator"),
            lambda iam: iam.put_role_policy(
                RoleName=credentials.role_arn.rsplit("/", 1)[1],
                PolicyName="more",
                PolicyDocument='{"Version":"2012-10-17","Statement":'
                '[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
            ),
        ],
        "sts": [
            lambda sts, arn=arn: sts.assume_role(RoleArn=arn, RoleSessionName="more")  # type: ignore[misc]
            for arn in provisioned.resources.role_arns.values()
        ],
        "cognito-idp": [
            lambda idp: idp.admin_set_user_password(
                UserPoolId=provisioned.resources.pool.pool_id,
                Username="staff",
                Password="Known0123456789abc",
                Permanent=True,
            ),
            lambda idp: idp.list_users(UserPoolId=provisioned.resources.pool.pool_id),
        ],
        "dynamodb": [lambda dynamodb: dynamodb.list_tables()],
    }
    for name, attempts in calls.items():
        async with client_of(provisioned, credentials, name) as client:
            for attempt in attempts:
                assert not await is_allowed(attempt(client)), name


async def test_the_session_of_a_role_is_checked_in_all_its_parts(provisioned: Provisioned) -> None:
    """Key, secret and token belong together: none of them works with a part of another session."""
    one = await assume(provisioned, "course_catalog")
    two = await assume(provisioned, "course_catalog")
    mixed = [
        (one.access_key_id, two.secret_access_key, one.session_token),
        (one.access_key_id, one.secret_access_key, two.session_token),
        (one.access_key_id, one.secret_access_key, ""),
        (two.access_key_id, one.secret_access_key, one.session_token),
    ]
    for key, secret, token in mixed:
        wrong = TemporaryCredentials(key, secret, token, one.expiration, one.role_arn)
        async with client_of(provisioned, wrong, "dynamodb") as dynamodb:
            with pytest.raises(ClientError) as refused:
                await dynamodb.get_item(
                    TableName=provisioned.resources.tables["course_catalog"],
                    Key={"courseId": {"S": "none"}},
                )
        assert refused.value.response["Error"]["Code"] in {
            "InvalidSignatureException",
            "InvalidToken",
            "UnrecognizedClientException",
        }


async def test_a_pre_signed_url_is_worth_what_its_signer_may(
    provisioned: Provisioned, content_object: str
) -> None:
    """A URL can be signed for anything; whether it opens is decided by the role that signed it."""
    bucket = provisioned.resources.bucket
    opened = {}
    for service in SERVICES:
        async with client_of(provisioned, await assume(provisioned, service), "s3") as s3:
            url = await s3.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": content_object}, ExpiresIn=60
            )
        async with aiohttp.ClientSession() as http, http.get(url) as response:
            opened[service] = response.status
    assert opened == {"course_catalog": 403, "content_delivery": 200, "progress_tracking": 403}


def test_every_service_with_a_table_is_in_the_matrix() -> None:
    tables = REPOSITORY_ROOT.glob("services/*/table.json")
    assert {Path(path).parent.name for path in tables} == set(SERVICES)
