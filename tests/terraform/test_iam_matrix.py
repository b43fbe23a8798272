"""The roles' policies exactly as Terraform renders them, enforced: every role on every table, index,
bucket, queue and topic, every kind of call: allowed where the code needs it, denied everywhere else.

MiniStack enforces them. It stands in another account, so that number alone is replaced in ARNs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioboto3
import aiohttp
import pytest
from botocore.config import Config

from deploy.local._credentials import TemporaryCredentials, assume_role_through
from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._tables import read_table
from tests.backends import Backend, create_table, running_ministack
from tests.integration.embedded_aws.denials import (
    is_allowed,
    object_calls,
    queue_calls,
    table_calls,
)
from tests.terraform.platform_on_moto import CONSUMER, MONOLITH_TABLE, SERVICES, Applied

pytestmark = pytest.mark.timeout(900)

_APPLIED_IN = "eu-central-1:123456789012"
BUCKET = "lyceum-dev-content"
QUEUE, PARKED = "lyceum-progress-outlines", "lyceum-progress-outlines-parked"
UNDELIVERED = "lyceum-course-outlines-undelivered"
TOPIC = "lyceum-course-outlines"
FOREIGN = "somebody-elses"


def role(program: str) -> str:
    return f"lyceum-{program.replace('_', '-')}"


def _in_transactions(names: Set[str]) -> set[str]:
    """A transaction is authorized as what is in it."""
    kinds = ("ConditionCheckItem", "GetItem", "PutItem")
    return {f"transaction of {kind}" for kind in kinds if kind in names}


PROGRAMS = (*SERVICES, CONSUMER)
TASK_ROLES = tuple(role(program) for program in PROGRAMS)
EXECUTION_ROLES = tuple(f"{name}-execution" for name in TASK_ROLES)
OPERATOR_ROLE = "lyceum-operator"
OTHER_ROLES = (
    *("lyceum-course-outlines-pipe", "lyceum-network-flow", "lyceum-gateway-logging"),
    OPERATOR_ROLE,
)
ROLES = (*TASK_ROLES, *EXECUTION_ROLES, *OTHER_ROLES)

# What the code does, of each role on its own table.
ON_OWN_TABLE: Mapping[str, frozenset[str]] = {
    role("course_catalog"): frozenset(
        {
            *("GetItem", "PutItem", "DeleteItem", "index:Query"),
            *("transaction of GetItem", "transaction of PutItem"),
        }
    ),
    role("content_delivery"): frozenset(
        {
            *("GetItem", "PutItem", "index:Query"),
            *("transaction of GetItem", "transaction of PutItem"),
        }
    ),
    role("progress_tracking"): frozenset({"BatchGetItem", "Query", "UpdateItem"}),
    role(CONSUMER): frozenset({"PutItem", "transaction of PutItem"}),
}
OWN_TABLE = {role(program): program.split("-")[0] for program in PROGRAMS}
ON_OBJECTS = frozenset(
    {
        *("GetObject", "HeadObject", "PutObject", "DeleteObject", "CopyObject"),
        *("CreateMultipartUpload", "UploadPart", "ListParts"),
        *("CompleteMultipartUpload", "AbortMultipartUpload"),
    }
)
# The emulator takes batches for actions of their own. On AWS there are none such: a batch is
# authorized as what it does to each message.
ON_QUEUE = frozenset(
    {"ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage"}
)


@dataclass(frozen=True)
class Enforcing:
    """A MiniStack with the tables, the bucket, the queues, the topic and all roles."""

    backend: Backend
    credentials: Mapping[str, TemporaryCredentials]
    queues: Mapping[str, str]
    topic: str
    apis: Mapping[str, str]
    """Ids of REST APIs: the services', and one of somebody else."""

    @contextlib.asynccontextmanager
    async def client(self, role_name: str, service: str) -> AsyncIterator[Any]:
        """A client of the service with the role's credentials."""
        credentials = self.credentials[role_name]
        session = aioboto3.Session(
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token,
            region_name=self.backend.region,
        )
        config = Config(
            retries={"total_max_attempts": 1},
            signature_version="s3v4" if service == "s3" else "v4",
            s3={"addressing_style": "path"},
        )
        async with session.client(
            service, endpoint_url=self.backend.endpoint_url, config=config
        ) as client:
            yield client


@pytest.fixture(scope="module")
def enforcing(applied: Applied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enforcing]:
    with running_ministack(tmp_path_factory.mktemp("enforcing")) as backend:
        yield asyncio.run(_provision(backend, applied))


async def _provision(backend: Backend, applied: Applied) -> Enforcing:
    for service in SERVICES:
        path = Path("services") / service / "table.json"
        await create_table(backend, path, read_table(REPOSITORY_ROOT / path)["TableName"])
    async with backend.client("s3") as s3:
        await s3.create_bucket(Bucket=BUCKET)
    async with backend.client("sqs") as sqs:
        queues = {
            name: (await sqs.create_queue(QueueName=name))["QueueUrl"]
            for name in (QUEUE, PARKED, UNDELIVERED)
        }
    async with backend.client("sns") as sns:
        topic = (await sns.create_topic(Name=TOPIC))["TopicArn"]
    apis = await _make_apis(backend)
    credentials = await _make_roles(backend, applied, apis)
    return Enforcing(backend, credentials, queues, topic, apis)


async def _make_apis(backend: Backend) -> dict[str, str]:
    apis = {}
    async with backend.client("apigateway") as gateway:
        for name in (*SERVICES, FOREIGN):
            api = (await gateway.create_rest_api(name=name))["id"]
            deployed = await gateway.create_deployment(restApiId=api)
            await gateway.create_stage(restApiId=api, stageName="live", deploymentId=deployed["id"])
            apis[name] = api
    return apis


async def _make_roles(
    backend: Backend, applied: Applied, apis: Mapping[str, str], roles: Sequence[str] = ROLES
) -> dict[str, TemporaryCredentials]:
    """The roles that were applied, as they are here; credentials of those that are asked for."""
    stages = applied.of_type("aws_api_gateway_stage")
    applied_as = {
        stages[f'module.api["{name}"].aws_api_gateway_stage.this']["rest_api_id"]: apis[name]
        for name in SERVICES
    }

    def moved(policy: str) -> str:
        """The policy for where these stand here."""
        policy = policy.replace(_APPLIED_IN, here)
        policy = policy.replace("apigateway:eu-central-1::", f"apigateway:{backend.region}::")
        for there, api in applied_as.items():
            policy = policy.replace(f"/restapis/{there}/", f"/restapis/{api}/")
        return policy

    async with backend.client("sts") as sts, backend.client("iam") as iam:
        identity = await sts.get_caller_identity()
        here = f"{backend.region}:{identity['Account']}"
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": identity["Arn"]},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        for one in applied.of_type("aws_iam_role").values():
            await iam.create_role(
                RoleName=one["name"],
                AssumeRolePolicyDocument=json.dumps(trust),
                MaxSessionDuration=6 * 3600,
            )
        for one in applied.of_type("aws_iam_role_policy").values():
            await iam.put_role_policy(
                RoleName=one["role"],
                PolicyName=one["name"],
                PolicyDocument=moved(one["policy"]),
            )
        assume = assume_role_through(sts)
        return {
            name: await assume((await iam.get_role(RoleName=name))["Role"]["Arn"]) for name in roles
        }


def test_every_role_is_in_the_matrix(applied: Applied) -> None:
    assert {one["name"] for one in applied.of_type("aws_iam_role").values()} == set(ROLES)


@pytest.mark.parametrize("owner", SERVICES)
@pytest.mark.parametrize("role_name", ROLES)
async def test_a_table(enforcing: Enforcing, role_name: str, owner: str) -> None:
    table = read_table(REPOSITORY_ROOT / "services" / owner / "table.json")
    calls = table_calls(table, table["TableName"])
    async with enforcing.client(role_name, "dynamodb") as dynamodb:
        allowed = {name for name, call in calls.items() if await is_allowed(call(dynamodb))}
    assert allowed == (ON_OWN_TABLE[role_name] if OWN_TABLE.get(role_name) == owner else set())


@pytest.mark.parametrize("role_name", ROLES)
async def test_objects(enforcing: Enforcing, role_name: str) -> None:
    """The content role below its prefix and nowhere else in the bucket; nobody else at all."""
    calls = {}
    async with enforcing.backend.client("s3") as s3:
        for key in (f"content/{uuid.uuid4()}/original", f"elsewhere/{uuid.uuid4()}"):
            await s3.put_object(Bucket=BUCKET, Key=key, Body=b"bytes")
            uploads, etag = [], ""
            for _ in range(2):
                begun = await s3.create_multipart_upload(Bucket=BUCKET, Key=key)
                sent = await s3.upload_part(
                    Bucket=BUCKET, Key=key, UploadId=begun["UploadId"], PartNumber=1, Body=b"part"
                )
                uploads.append(begun["UploadId"])
                etag = sent["ETag"]
            calls[key.split("/")[0]] = object_calls(
                BUCKET, key, to_complete=uploads[0], to_abort=uploads[1], etag=etag
            )
    async with enforcing.client(role_name, "s3") as s3:
        allowed = {
            prefix: {name for name, call in kinds.items() if await is_allowed(call(s3))}
            for prefix, kinds in calls.items()
        }
    own = ON_OBJECTS if role_name == role("content_delivery") else set()
    assert allowed == {"content": own, "elsewhere": set()}


@pytest.mark.parametrize("role_name", TASK_ROLES)
async def test_a_signed_url_is_worth_what_its_signer_may(
    enforcing: Enforcing, role_name: str
) -> None:
    keys = {"content": f"content/{uuid.uuid4()}/original", "elsewhere": f"other/{uuid.uuid4()}"}
    async with enforcing.backend.client("s3") as s3:
        for key in keys.values():
            await s3.put_object(Bucket=BUCKET, Key=key, Body=b"bytes")
    opened = {}
    async with enforcing.client(role_name, "s3") as s3, aiohttp.ClientSession() as http:
        for place, key in keys.items():
            url = await s3.generate_presigned_url(
                "get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=60
            )
            async with http.get(url) as response:
                opened[place] = response.status
    own = 200 if role_name == role("content_delivery") else 403
    assert opened == {"content": own, "elsewhere": 403}


@pytest.mark.parametrize("role_name", ROLES)
async def test_queues_and_the_topic(enforcing: Enforcing, role_name: str) -> None:
    async with enforcing.client(role_name, "sqs") as sqs:
        allowed = {
            name: {kind for kind, call in queue_calls(url).items() if await is_allowed(call(sqs))}
            for name, url in enforcing.queues.items()
        }
    pipe = role_name == "lyceum-course-outlines-pipe"
    assert allowed == {
        QUEUE: ON_QUEUE if role_name == role(CONSUMER) else set(),
        PARKED: set(),
        UNDELIVERED: {"SendMessage"} if pipe else set(),
    }
    async with enforcing.client(role_name, "sns") as sns:
        assert await is_allowed(sns.publish(TopicArn=enforcing.topic, Message="x")) == pipe
        assert not await is_allowed(sns.list_topics())
        assert not await is_allowed(sns.delete_topic(TopicArn=enforcing.topic))


@pytest.mark.parametrize("role_name", ROLES)
async def test_stages_and_their_metrics(enforcing: Enforcing, role_name: str) -> None:
    """The operator looks at the services' stages and changes them; nobody else, and nothing else."""
    allowed = {}
    async with enforcing.client(role_name, "apigateway") as gateway:
        for name, api in enforcing.apis.items():
            stage = {"restApiId": api, "stageName": "live"}
            word = {"op": "replace", "path": "/description", "value": "word"}
            calls = {
                "GetStage": gateway.get_stage(**stage),
                "UpdateStage": gateway.update_stage(**stage, patchOperations=[word]),
                "GetRestApi": gateway.get_rest_api(restApiId=api),
                "CreateDeployment": gateway.create_deployment(restApiId=api),
                "DeleteStage": gateway.delete_stage(**stage),
            }
            allowed[name] = {kind for kind, call in calls.items() if await is_allowed(call)}
        lists = await is_allowed(gateway.get_rest_apis())
    may = role_name == OPERATOR_ROLE
    assert allowed == {
        **dict.fromkeys(SERVICES, {"GetStage", "UpdateStage"} if may else set()),
        FOREIGN: set(),
    }
    assert lists == may
    async with enforcing.client(role_name, "cloudwatch") as cloudwatch:
        query = {
            "Id": "q",
            "MetricStat": {
                "Metric": {"Namespace": "AWS/ApiGateway", "MetricName": "Count"},
                "Period": 60,
                "Stat": "Sum",
            },
        }
        read = cloudwatch.get_metric_data(
            MetricDataQueries=[query],
            StartTime="2026-11-26T00:00:00Z",
            EndTime="2026-11-27T00:00:00Z",
        )
        assert await is_allowed(read) == may
        lie = cloudwatch.put_metric_data(
            Namespace="AWS/ApiGateway", MetricData=[{"MetricName": "Count", "Value": 1.0}]
        )
        assert not await is_allowed(lie)


@pytest.mark.parametrize("role_name", ROLES)
async def test_a_role_can_not_make_itself_more(enforcing: Enforcing, role_name: str) -> None:
    async with enforcing.client(role_name, "iam") as iam:
        assert not await is_allowed(iam.list_roles())
        assert not await is_allowed(
            iam.put_role_policy(RoleName=role_name, PolicyName="more", PolicyDocument="{}")
        )
    async with enforcing.client(role_name, "sts") as sts:
        for other in ROLES:
            arn = enforcing.credentials[other].role_arn
            assert not await is_allowed(sts.assume_role(RoleArn=arn, RoleSessionName="more"))


# While the monolith's table is split there are three roles more, and two tables.
MONOLITH_ROLE, MIGRATION_ROLE = "lyceum-monolith", "lyceum-migration"
SPLITTING_ROLES = (MONOLITH_ROLE, f"{MONOLITH_ROLE}-execution", MIGRATION_ROLE)
MIGRATION = REPOSITORY_ROOT / "deploy" / "migration"
TABLE_FILES = {
    "source": REPOSITORY_ROOT / "tests" / "monolith" / "table.json",
    "control": MIGRATION / "control_table.json",
    **{service: REPOSITORY_ROOT / "services" / service / "table.json" for service in SERVICES},
}
BY_THE_GATE = frozenset({"GetItem", "PutItem", "Query", *_in_transactions({"GetItem", "PutItem"})})
BY_THE_MONOLITH = frozenset(
    {
        *("BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query"),
        *("UpdateItem", "index:Query"),
        *_in_transactions({"ConditionCheckItem", "GetItem", "PutItem"}),
    }
)


@pytest.fixture(scope="module")
def splitting(step_three: Applied, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enforcing]:
    with running_ministack(tmp_path_factory.mktemp("splitting")) as backend:
        yield asyncio.run(_provision_split(backend, step_three))


async def _provision_split(backend: Backend, applied: Applied) -> Enforcing:
    for owner, path in TABLE_FILES.items():
        await create_table(backend, path.relative_to(REPOSITORY_ROOT), _table_name(owner))
    apis = await _make_apis(backend)
    credentials = await _make_roles(backend, applied, apis, SPLITTING_ROLES)
    return Enforcing(backend, credentials, {}, "", apis)


def _table_name(owner: str) -> str:
    name: str = read_table(TABLE_FILES[owner])["TableName"]
    return MONOLITH_TABLE if owner == "source" else name


def _by_the_migration(owner: str) -> set[str]:
    """What its own policy says of the table; that it is what it needs is shown where it runs
    (`tests/integration/migration`)."""
    sid = "TheControlTable" if owner == "control" else "TheSourceAndEachTarget"
    policy = json.loads((MIGRATION / "policy.json").read_text(encoding="utf-8"))
    (actions,) = (one["Action"] for one in policy["Statement"] if one["Sid"] == sid)
    names = {action.removeprefix("dynamodb:") for action in actions}
    return names | _in_transactions(names)


@pytest.mark.parametrize("owner", TABLE_FILES)
@pytest.mark.parametrize("role_name", SPLITTING_ROLES)
async def test_a_table_while_the_monolith_s_is_split(
    splitting: Enforcing, role_name: str, owner: str
) -> None:
    calls = table_calls(read_table(TABLE_FILES[owner]), _table_name(owner))
    async with splitting.client(role_name, "dynamodb") as dynamodb:
        allowed = {name for name, call in calls.items() if await is_allowed(call(dynamodb))}
    match role_name:
        case "lyceum-monolith" if owner in SERVICES:  # the owner of a module may be either
            assert allowed == ON_OWN_TABLE[role(owner)]
        case "lyceum-monolith":
            assert allowed == (BY_THE_GATE if owner == "control" else BY_THE_MONOLITH)
        case "lyceum-migration":
            assert allowed == _by_the_migration(owner)
        case _:
            assert not allowed


@pytest.mark.parametrize("role_name", SPLITTING_ROLES)
async def test_a_role_of_the_split_can_not_make_itself_more(
    splitting: Enforcing, role_name: str
) -> None:
    async with splitting.client(role_name, "iam") as iam:
        assert not await is_allowed(
            iam.put_role_policy(RoleName=role_name, PolicyName="more", PolicyDocument="{}")
        )
    async with splitting.client(role_name, "apigateway") as gateway:
        assert not await is_allowed(gateway.get_stages(restApiId=splitting.apis["course_catalog"]))
    async with splitting.client(role_name, "sts") as sts:
        for other in set(SPLITTING_ROLES) - {role_name}:
            arn = splitting.credentials[other].role_arn
            assert not await is_allowed(sts.assume_role(RoleArn=arn, RoleSessionName="more"))
