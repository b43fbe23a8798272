"""What provisioning makes is really there, the same after doing it again, and the same after a restart."""

import asyncio
import json
import stat
from pathlib import Path

import aiohttp
import jwt
import pytest
from botocore.exceptions import ClientError

from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._errors import PlatformError
from deploy.local._events import MAX_RECEIVE_COUNT
from deploy.local._iam import role_name
from deploy.local._monolith import has_monolith, provision_monolith
from deploy.local._provision import (
    DEMO_USERS,
    EmbeddedAws,
    Resources,
    access_token,
    provision,
)
from deploy.local._tables import TableMismatchError, ensure_table, read_table
from tests.backends import running_ministack
from tests.integration.embedded_aws.conftest import PLAYER_ORIGIN, Provisioned


async def verified(resources: Resources, token: str) -> dict[str, object]:
    """The claims of a token, verified with the keys that the pool publishes."""
    async with aiohttp.ClientSession() as http, http.get(resources.pool.jwks_url) as response:
        keys = jwt.PyJWKSet.from_dict(await response.json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, object] = jwt.decode(
        token, key, algorithms=["RS256"], issuer=resources.pool.issuer
    )
    return claims


async def test_the_tables_are_as_their_table_json_says(provisioned: Provisioned) -> None:
    paths = sorted(REPOSITORY_ROOT.glob("services/*/table.json"))
    assert len(paths) == 3
    async with provisioned.aws.client("dynamodb") as dynamodb:
        for path in paths:
            table = read_table(path)
            name = provisioned.resources.tables[path.parent.name]
            assert name == table["TableName"]
            actual = (await dynamodb.describe_table(TableName=name))["Table"]
            assert actual["TableStatus"] == "ACTIVE"
            assert actual["KeySchema"] == table["KeySchema"]
            wanted = {index["IndexName"] for index in table.get("GlobalSecondaryIndexes", ())}
            indexes = {index["IndexName"] for index in actual.get("GlobalSecondaryIndexes", ())}
            assert indexes == wanted
            expiry = await dynamodb.describe_time_to_live(TableName=name)
            attribute = expiry["TimeToLiveDescription"].get("AttributeName")
            assert attribute == table.get("TimeToLive", {}).get("AttributeName")
            # Made again, it changes nothing.
            assert not await ensure_table(dynamodb, table, name)


async def test_a_table_that_differs_from_its_table_json_is_not_touched(
    provisioned: Provisioned,
) -> None:
    table = read_table(REPOSITORY_ROOT / "services" / "progress_tracking" / "table.json")
    table["KeySchema"] = table["KeySchema"][:1]
    table["AttributeDefinitions"] = table["AttributeDefinitions"][:1]
    name = provisioned.resources.tables["progress_tracking"]
    async with provisioned.aws.client("dynamodb") as dynamodb:
        with pytest.raises(TableMismatchError, match=name):
            await ensure_table(dynamodb, table, name)


async def test_a_stream_that_is_missing_is_added(provisioned: Provisioned) -> None:
    """As of a table that was kept from before its table.json had one."""
    table = read_table(REPOSITORY_ROOT / "services" / "progress_tracking" / "table.json")
    without = {key: value for key, value in table.items() if key != "StreamSpecification"}
    async with provisioned.aws.client("dynamodb") as dynamodb:
        assert await ensure_table(dynamodb, without, "kept-from-before")
        assert not await ensure_table(dynamodb, table, "kept-from-before")
        actual = (await dynamodb.describe_table(TableName="kept-from-before"))["Table"]
    assert actual["StreamSpecification"] == table["StreamSpecification"]
    assert actual["LatestStreamArn"]


async def test_a_monolith_is_not_put_beside_what_services_have_written(
    provisioned: Provisioned,
) -> None:
    aws, resources = provisioned.aws, provisioned.resources
    progress = resources.tables["progress_tracking"]
    key = {"userId": {"S": "ada"}, "sk": {"S": "H#tides#c"}}
    async with aws.client("dynamodb") as dynamodb:
        await dynamodb.put_item(TableName=progress, Item=key)
        with pytest.raises(PlatformError, match="the table Progress is not empty"):
            await provision_monolith(aws, resources)
        assert not await has_monolith(aws)
        await dynamodb.delete_item(TableName=progress, Key=key)
        tables, with_role = await provision_monolith(aws, resources)
        assert await has_monolith(aws)
        assert tables.named(resources)["source"] == "lyceum-monolith"
        assert with_role.role_arns.keys() - resources.role_arns.keys() == {"monolith"}
        # Again, and beside what has been moved meanwhile: nothing is refused any more.
        await dynamodb.put_item(TableName=progress, Item=key)
        assert await provision_monolith(aws, resources) == (tables, with_role)
        await dynamodb.delete_item(TableName=progress, Key=key)
        for table in (tables.table, tables.control):
            await dynamodb.delete_table(TableName=table)


async def test_the_bucket_is_private(provisioned: Provisioned) -> None:
    bucket = provisioned.resources.bucket
    async with provisioned.aws.client("s3") as s3:
        await s3.put_object(Bucket=bucket, Key="content/private", Body=b"private")
        block = await s3.get_public_access_block(Bucket=bucket)
        assert set(block["PublicAccessBlockConfiguration"].values()) == {True}
        cors = await s3.get_bucket_cors(Bucket=bucket)
    assert cors["CORSRules"][0]["AllowedOrigins"] == [PLAYER_ORIGIN]
    assert cors["CORSRules"][0]["AllowedMethods"] == ["GET", "HEAD", "PUT", "POST"]
    url = f"{provisioned.resources.endpoint_url}/{bucket}/content/private"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.status == 403


async def test_abandoned_uploads_in_parts_are_given_up(provisioned: Provisioned) -> None:
    """The rule is there; MiniStack carries none out."""
    async with provisioned.aws.client("s3") as s3:
        rules = await s3.get_bucket_lifecycle_configuration(Bucket=provisioned.resources.bucket)
    (rule,) = rules["Rules"]
    assert (rule["Status"], rule["Filter"]["Prefix"]) == ("Enabled", "content/")
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


async def test_a_player_of_the_allow_list_may_read_ranges(provisioned: Provisioned) -> None:
    bucket = provisioned.resources.bucket
    async with provisioned.aws.client("s3") as s3:
        await s3.put_object(Bucket=bucket, Key="content/played", Body=b"0123456789")
        url = await s3.generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": "content/played"}, ExpiresIn=60
        )
    async with aiohttp.ClientSession() as http:
        preflight = {
            "Origin": PLAYER_ORIGIN,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "range",
        }
        async with http.options(url, headers=preflight) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == PLAYER_ORIGIN
            assert response.headers["Access-Control-Allow-Headers"].lower() == "range"
        ranged = {"Origin": PLAYER_ORIGIN, "Range": "bytes=0-3"}
        async with http.get(url, headers=ranged) as response:
            assert (response.status, await response.read()) == (206, b"0123")
            assert "Content-Range" in response.headers["Access-Control-Expose-Headers"]
        async with http.get(url, headers=ranged | {"Origin": "http://other.example"}) as response:
            assert response.status == 403


@pytest.mark.parametrize("user", DEMO_USERS)
async def test_a_demo_user_signs_in_and_gets_a_real_access_token(
    provisioned: Provisioned, user: str
) -> None:
    signed_in = await access_token(
        provisioned.aws, provisioned.resources, state=provisioned.state, user=user
    )
    claims = await verified(provisioned.resources, signed_in.token)
    assert claims["token_use"] == "access"
    assert claims["client_id"] == provisioned.resources.pool.client_id
    assert claims["username"] == user
    assert claims["sub"] == signed_in.subject == provisioned.resources.user_subjects[user]
    assert claims.get("cognito:groups", []) == list(DEMO_USERS[user])
    assert signed_in.expires_in_seconds == 3600


async def test_a_wrong_password_gets_no_token(provisioned: Provisioned) -> None:
    async with provisioned.aws.client("cognito-idp") as cognito:
        with pytest.raises(ClientError) as refused:
            await cognito.initiate_auth(
                ClientId=provisioned.resources.pool.client_id,
                AuthFlow="USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": "staff", "PASSWORD": "guessed0123456789A"},
            )
    assert refused.value.response["Error"]["Code"] == "NotAuthorizedException"


async def test_nobody_signs_up_or_recovers_a_password_by_themselves(
    provisioned: Provisioned,
) -> None:
    client_id = provisioned.resources.pool.client_id
    async with provisioned.aws.client("cognito-idp") as cognito:
        attempts = [
            cognito.sign_up(ClientId=client_id, Username="new", Password="New0123456789abc"),
            cognito.confirm_sign_up(ClientId=client_id, Username="new", ConfirmationCode="1"),
            cognito.forgot_password(ClientId=client_id, Username="staff"),
            cognito.confirm_forgot_password(
                ClientId=client_id,
                Username="staff",
                ConfirmationCode="1",
                Password="New0123456789abc",
            ),
        ]
        for attempt in attempts:
            with pytest.raises(ClientError) as refused:
                await attempt
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_the_passwords_are_random_and_their_owner_s_alone(provisioned: Provisioned) -> None:
    path = provisioned.state / "demo-users.json"
    passwords = json.loads(path.read_text(encoding="utf-8"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(passwords) == set(DEMO_USERS)
    assert len(set(passwords.values())) == len(DEMO_USERS)
    assert all(len(password) == 24 for password in passwords.values())


async def test_the_services_variables_name_what_is_theirs(provisioned: Provisioned) -> None:
    resources = provisioned.resources
    content = resources.service_variables("content_delivery")
    assert content["CONTENT_TABLE"] == resources.tables["content_delivery"]
    assert content["CONTENT_BUCKET"] == resources.bucket
    assert content["AWS_ENDPOINT_URL"] == resources.endpoint_url
    catalog = resources.service_variables("course_catalog")
    assert catalog["CATALOG_AUTH_ISSUER"] == resources.pool.issuer
    assert not {name for name in catalog if "BUCKET" in name or "KEY" in name}


async def test_provisioning_again_changes_nothing_but_what_differs(
    provisioned: Provisioned,
) -> None:
    async with provisioned.aws.client("iam") as iam:
        # Somebody widened a role by hand.
        await iam.put_role_policy(
            RoleName=role_name("progress_tracking"),
            PolicyName="repository",
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
                }
            ),
        )
    again = await provision(provisioned.aws, state=provisioned.state, cors_origins=[PLAYER_ORIGIN])
    assert again == provisioned.resources
    async with provisioned.aws.client("iam") as iam:
        policy = await iam.get_role_policy(
            RoleName=role_name("progress_tracking"), PolicyName="repository"
        )
    assert "*" not in json.dumps(policy["PolicyDocument"])


async def records_of(aws: EmbeddedAws, resources: Resources, *course_ids: str) -> None:
    """Write outlines' rows, and wait until the record of each is in the queue, raw, and take it."""
    expected = {f"outline#{course_id}" for course_id in course_ids}
    table = resources.tables["course_catalog"]
    async with aws.client("dynamodb") as dynamodb, aws.client("sqs") as sqs:
        for key in sorted(expected):
            item = {"courseId": {"S": key}, "outlineVersion": {"N": "1"}}
            await dynamodb.put_item(TableName=table, Item=item)
        async with asyncio.timeout(60):
            while expected:
                answer = await sqs.receive_message(
                    QueueUrl=resources.outline_queue_url,
                    MaxNumberOfMessages=10,
                    WaitTimeSeconds=5,
                )
                for message in answer.get("Messages", []):
                    record = json.loads(message["Body"])
                    assert record["eventSource"] == "aws:dynamodb"
                    expected.discard(record["dynamodb"]["Keys"]["courseId"]["S"])
                    await sqs.delete_message(
                        QueueUrl=resources.outline_queue_url,
                        ReceiptHandle=message["ReceiptHandle"],
                    )


async def test_a_row_of_an_outline_reaches_progress_queue(provisioned: Provisioned) -> None:
    await records_of(provisioned.aws, provisioned.resources, "tides", "soil")


async def test_the_queue_takes_from_its_topic_alone_and_parks_what_fails(
    provisioned: Provisioned,
) -> None:
    async with provisioned.aws.client("sqs") as sqs:
        answer = await sqs.get_queue_attributes(
            QueueUrl=provisioned.resources.outline_queue_url, AttributeNames=["All"]
        )
        attributes = answer["Attributes"]
        parked = await sqs.get_queue_attributes(
            QueueUrl=provisioned.resources.parked_outlines_url, AttributeNames=["QueueArn"]
        )
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert list(statement["Condition"]) == ["ArnEquals"]
    assert json.loads(attributes["RedrivePolicy"]) == {
        "deadLetterTargetArn": parked["Attributes"]["QueueArn"],
        "maxReceiveCount": MAX_RECEIVE_COUNT,
    }
    assert attributes["MessageRetentionPeriod"] == str(14 * 86_400)
    async with provisioned.aws.client("sns") as sns:
        (subscription,) = (await sns.list_subscriptions())["Subscriptions"]
        found = await sns.get_subscription_attributes(
            SubscriptionArn=subscription["SubscriptionArn"]
        )
    assert found["Attributes"]["RawMessageDelivery"] == "true"


def test_a_restart_brings_everything_back_on_another_port(tmp_path: Path) -> None:
    async def first(aws: EmbeddedAws) -> tuple[Resources, str]:
        resources = await provision(aws, state=tmp_path, cors_origins=[PLAYER_ORIGIN])
        signed_in = await access_token(aws, resources, state=tmp_path, user="learner-a")
        async with aws.client("s3") as s3, aws.client("dynamodb") as dynamodb:
            await s3.put_object(Bucket=resources.bucket, Key="content/kept", Body=b"kept")
            await dynamodb.put_item(
                TableName=resources.tables["course_catalog"], Item={"courseId": {"S": "kept"}}
            )
        await records_of(aws, resources, "before-1", "before-2", "before-3")
        return resources, signed_in.token

    async def second(aws: EmbeddedAws, before: Resources, token: str) -> None:
        after = await provision(aws, state=tmp_path, cors_origins=[PLAYER_ORIGIN])
        assert after.pool.pool_id == before.pool.pool_id
        assert after.pool.client_id == before.pool.client_id
        assert after.user_subjects == before.user_subjects
        assert after.role_arns == before.role_arns
        # A token from before is good: the pool kept its keys.
        claims = await verified(after, token)
        assert claims["sub"] == after.user_subjects["learner-a"]
        await access_token(aws, after, state=tmp_path, user="learner-a")
        async with aws.client("s3") as s3, aws.client("dynamodb") as dynamodb:
            await s3.head_object(Bucket=after.bucket, Key="content/kept")
            item = await dynamodb.get_item(
                TableName=after.tables["course_catalog"], Key={"courseId": {"S": "kept"}}
            )
            assert "Item" in item
        # Also the first records of the new stream, fewer than the old one had.
        await records_of(aws, after, "after")

    with running_ministack(tmp_path / "aws") as backend:
        aws = EmbeddedAws(
            backend.endpoint_url, backend.region, backend.access_key, backend.secret_key
        )
        resources, token = asyncio.run(first(aws))
    with running_ministack(tmp_path / "aws") as backend:
        aws = EmbeddedAws(
            backend.endpoint_url, backend.region, backend.access_key, backend.secret_key
        )
        asyncio.run(second(aws, resources, token))
