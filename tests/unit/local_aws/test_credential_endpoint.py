"""The credential endpoint: each service gets its own role's credentials, nobody else gets any."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from deploy.local._credentials import (
    CredentialEndpoint,
    ServiceGrant,
    TemporaryCredentials,
    credential_variables,
)

CATALOG = ServiceGrant("arn:aws:iam::000000000000:role/catalog", "catalog-token")
PROGRESS = ServiceGrant("arn:aws:iam::000000000000:role/progress", "progress-token")
Client = TestClient[Request, Application]


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


class Sts:
    """Gives an hour's credentials, numbered, and counts."""

    def __init__(self, clock: Clock) -> None:
        self.assumed: list[str] = []
        self._clock = clock

    async def __call__(self, role_arn: str) -> TemporaryCredentials:
        self.assumed.append(role_arn)
        number = len(self.assumed)
        await asyncio.sleep(0)
        return TemporaryCredentials(
            access_key_id=f"key-{number}",
            secret_access_key=f"secret-{number}",
            session_token=f"token-{number}",
            expiration=self._clock() + timedelta(hours=1),
            role_arn=role_arn,
        )


@pytest.fixture()
def clock() -> Clock:
    return Clock()


@pytest.fixture()
def sts(clock: Clock) -> Sts:
    return Sts(clock)


@pytest.fixture()
def endpoint(sts: Sts, clock: Clock) -> CredentialEndpoint:
    grants = {"course_catalog": CATALOG, "progress_tracking": PROGRESS}
    return CredentialEndpoint(grants, sts, now=clock)


@pytest.fixture()
async def client(
    endpoint: CredentialEndpoint, aiohttp_client: Callable[[TestServer], Awaitable[Client]]
) -> Client:
    return await aiohttp_client(TestServer(endpoint.app(), host="127.0.0.1"))


async def test_a_service_gets_its_role_s_credentials_in_ecs_s_form(client: Client) -> None:
    response = await client.get(
        "/credentials/course_catalog", headers={"Authorization": CATALOG.token}
    )
    assert response.status == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert await response.json() == {
        "RoleArn": CATALOG.role_arn,
        "AccessKeyId": "key-1",
        "SecretAccessKey": "secret-1",
        "Token": "token-1",
        "Expiration": "2026-01-02T13:00:00Z",
    }


@pytest.mark.parametrize(
    ("service", "token"),
    [
        ("course_catalog", PROGRESS.token),
        ("course_catalog", "wrong"),
        ("course_catalog", ""),
        ("course_catalog", "catalog-tok\u00e9n"),
        ("unknown", CATALOG.token),
        ("unknown", ""),
    ],
)
async def test_without_the_service_s_own_token_there_is_nothing(
    client: Client, sts: Sts, service: str, token: str
) -> None:
    response = await client.get(f"/credentials/{service}", headers={"Authorization": token})
    assert response.status == 401
    assert "AccessKeyId" not in await response.text()
    assert sts.assumed == []


async def test_without_any_token_there_is_nothing(client: Client) -> None:
    assert (await client.get("/credentials/course_catalog")).status == 401


async def test_a_page_that_rebinds_its_name_gets_nothing(client: Client) -> None:
    headers = {"Authorization": CATALOG.token, "Host": "rebound.example"}
    response = await client.get("/credentials/course_catalog", headers=headers)
    assert response.status == 403


async def test_credentials_are_kept_until_botocore_would_renew_them(
    client: Client, sts: Sts, clock: Clock
) -> None:
    async def key() -> str:
        response = await client.get(
            "/credentials/course_catalog", headers={"Authorization": CATALOG.token}
        )
        found: str = (await response.json())["AccessKeyId"]
        return found

    assert await key() == "key-1"
    clock.time += timedelta(minutes=40)
    assert await key() == "key-1"
    clock.time += timedelta(seconds=1)
    assert await key() == "key-2"
    assert sts.assumed == [CATALOG.role_arn] * 2


async def test_many_askers_at_once_cost_one_session(client: Client, sts: Sts) -> None:
    headers = {"Authorization": CATALOG.token}
    answers = await asyncio.gather(
        *(client.get("/credentials/course_catalog", headers=headers) for _ in range(8))
    )
    assert {answer.status for answer in answers} == {200}
    assert sts.assumed == [CATALOG.role_arn]


async def test_what_is_forgotten_is_asked_for_again(
    client: Client, endpoint: CredentialEndpoint, sts: Sts
) -> None:
    headers = {"Authorization": PROGRESS.token}
    await client.get("/credentials/progress_tracking", headers=headers)
    endpoint.forget()
    await client.get("/credentials/progress_tracking", headers=headers)
    assert sts.assumed == [PROGRESS.role_arn] * 2


def test_the_variables_are_those_of_ecs() -> None:
    assert credential_variables("http://127.0.0.1:9", "course_catalog", CATALOG) == {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/credentials/course_catalog",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": CATALOG.token,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
