"""The SDK finds a service's credentials as it does on ECS, and renews them by itself."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aioboto3
import pytest
from aiohttp.test_utils import TestServer
from botocore.exceptions import ClientError

from deploy.local._credentials import (
    AssumeRole,
    CredentialEndpoint,
    ServiceGrant,
    TemporaryCredentials,
    assume_role_through,
    credential_variables,
)
from tests.integration.embedded_aws.conftest import Provisioned

MakeServer = Callable[..., Awaitable[TestServer]]


def counting(assume: AssumeRole, assumed: list[TemporaryCredentials]) -> AssumeRole:
    async def assume_and_note(role_arn: str) -> TemporaryCredentials:
        assumed.append(await assume(role_arn))
        return assumed[-1]

    return assume_and_note


async def serve(
    endpoint: CredentialEndpoint,
    grant: ServiceGrant,
    provisioned: Provisioned,
    aiohttp_server: MakeServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Serve the endpoint, and put into the environment what the service would find in its own."""
    server = await aiohttp_server(endpoint.app(), host="127.0.0.1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    url = str(server.make_url("")).rstrip("/")
    variables = {
        **provisioned.resources.service_variables("course_catalog"),
        **credential_variables(url, "course_catalog", grant),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


async def test_a_service_works_with_its_role_and_nothing_but_its_environment(
    provisioned: Provisioned, aiohttp_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = provisioned.resources.tables
    grant = ServiceGrant(provisioned.resources.role_arns["course_catalog"], "token-of-the-catalog")
    async with provisioned.aws.client("sts") as sts:
        endpoint = CredentialEndpoint(
            {"course_catalog": grant}, assume_role_through(sts), now=lambda: datetime.now(UTC)
        )
        await serve(endpoint, grant, provisioned, aiohttp_server, monkeypatch)
        async with aioboto3.Session().client("dynamodb") as dynamodb:
            await dynamodb.get_item(
                TableName=tables["course_catalog"], Key={"courseId": {"S": "none"}}
            )
            with pytest.raises(ClientError) as denied:
                await dynamodb.get_item(
                    TableName=tables["content_delivery"], Key={"contentId": {"S": "none"}}
                )
    assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
    assert "assumed-role/lyceum-course-catalog/" in denied.value.response["Error"]["Message"]


async def test_the_sdk_renews_credentials_before_they_expire(
    provisioned: Provisioned, aiohttp_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = ServiceGrant(provisioned.resources.role_arns["course_catalog"], "token-of-the-catalog")
    assumed: list[TemporaryCredentials] = []
    async with provisioned.aws.client("sts") as sts:
        # 15 minutes is STS's least, and the time before its end at which botocore asks for others:
        # so each of these is due for renewal as soon as it is there.
        endpoint = CredentialEndpoint(
            {"course_catalog": grant},
            counting(assume_role_through(sts, seconds=900), assumed),
            now=lambda: datetime.now(UTC),
        )
        await serve(endpoint, grant, provisioned, aiohttp_server, monkeypatch)
        async with aioboto3.Session().client("dynamodb") as dynamodb:
            for _ in range(3):
                await dynamodb.get_item(
                    TableName=provisioned.resources.tables["course_catalog"],
                    Key={"courseId": {"S": "none"}},
                )
    assert len({credentials.access_key_id for credentials in assumed}) >= 3


async def test_a_service_without_its_token_has_no_credentials(
    provisioned: Provisioned, aiohttp_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    role_arn = provisioned.resources.role_arns["course_catalog"]
    async with provisioned.aws.client("sts") as sts:
        endpoint = CredentialEndpoint(
            {"course_catalog": ServiceGrant(role_arn, "token-of-the-catalog")},
            assume_role_through(sts),
            now=lambda: datetime.now(UTC),
        )
        guessed = ServiceGrant(role_arn, "guessed")
        await serve(endpoint, guessed, provisioned, aiohttp_server, monkeypatch)
        session = aioboto3.Session()
        with pytest.raises(Exception, match="401|Unauthorized|retrieving metadata"):
            await session.get_credentials()
