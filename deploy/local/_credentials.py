"""Temporary credentials for the services, handed out as ECS hands them to its tasks.

botocore's container provider asks `AWS_CONTAINER_CREDENTIALS_FULL_URI` with the token of
`AWS_CONTAINER_AUTHORIZATION_TOKEN`, and asks again before they expire. So a service runs here with the
same code and the same kind of credentials as on AWS: those of its own role, assumed through STS.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aiohttp import web

from deploy.local._iam import SESSION_SECONDS

if TYPE_CHECKING:
    from types_aiobotocore_sts import STSClient

PATH_PREFIX = "/credentials/"

# botocore starts to ask for new credentials 15 minutes before they expire: older ones would have it ask
# at every call.
_HANDED_OUT_WITH_AT_LEAST = timedelta(minutes=20)


@dataclass(frozen=True)
class TemporaryCredentials:
    """Credentials of an assumed role; `expiration` is in UTC."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expiration: datetime
    role_arn: str


AssumeRole = Callable[[str], Awaitable[TemporaryCredentials]]


def assume_role_through(client: "STSClient", *, seconds: int = SESSION_SECONDS) -> AssumeRole:
    """Assume roles by their ARN through this STS client, for sessions of so many seconds."""

    async def assume(role_arn: str) -> TemporaryCredentials:
        answer = await client.assume_role(
            RoleArn=role_arn, RoleSessionName="lyceum-local", DurationSeconds=seconds
        )
        credentials = answer["Credentials"]
        return TemporaryCredentials(
            access_key_id=credentials["AccessKeyId"],
            secret_access_key=credentials["SecretAccessKey"],
            session_token=credentials["SessionToken"],
            expiration=credentials["Expiration"].astimezone(UTC),
            role_arn=role_arn,
        )

    return assume


@dataclass(frozen=True)
class ServiceGrant:
    """The role of a service, and the secret token by which the service is known to the endpoint."""

    role_arn: str
    token: str


class CredentialEndpoint:
    """The endpoint: knows which service may have which role's credentials, and keeps them while fresh."""

    def __init__(
        self,
        grants: Mapping[str, ServiceGrant],
        assume: AssumeRole,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._grants = dict(grants)
        self._assume = assume
        self._now = now
        self._kept: dict[str, TemporaryCredentials] = {}
        self._locks = {service: asyncio.Lock() for service in grants}

    def app(self) -> web.Application:
        """An application with the one route; to be served on 127.0.0.1."""
        application = web.Application()
        application.router.add_get(f"{PATH_PREFIX}{{service}}", self.handle)
        return application

    def forget(self) -> None:
        """Drop what is kept: sessions do not survive a restart of the embedded AWS."""
        self._kept.clear()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request of botocore's container provider."""
        if not _is_local(request):
            return _refusal(403, "AccessDenied", "only this machine is served")
        service = request.match_info["service"]
        grant = self._grants.get(service)
        presented = request.headers.get("Authorization", "")
        # Compared also for an unknown service: the answer and its time tell nothing about names.
        expected = grant.token if grant else ""
        right = hmac.compare_digest(presented.encode("utf-8", "surrogateescape"), expected.encode())
        if grant is None or not right:
            return _refusal(401, "Unauthorized", "the authorization token is not this service's")
        credentials = await self._credentials(service, grant)
        return web.json_response(
            {
                "RoleArn": credentials.role_arn,
                "AccessKeyId": credentials.access_key_id,
                "SecretAccessKey": credentials.secret_access_key,
                "Token": credentials.session_token,
                "Expiration": credentials.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            headers={"Cache-Control": "no-store"},
        )

    async def _credentials(self, service: str, grant: ServiceGrant) -> TemporaryCredentials:
        async with self._locks[service]:
            kept = self._kept.get(service)
            if kept is None or kept.expiration - self._now() < _HANDED_OUT_WITH_AT_LEAST:
                kept = self._kept[service] = await self._assume(grant.role_arn)
            return kept


def credential_variables(endpoint_url: str, service: str, grant: ServiceGrant) -> dict[str, str]:
    """The environment variables that lead the SDK of a service to this endpoint."""
    return {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoint_url}{PATH_PREFIX}{service}",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": grant.token,
        "AWS_EC2_METADATA_DISABLED": "true",  # never look for another role than this
    }


def _is_local(request: web.Request) -> bool:
    """From this machine and by its own name: another site's page may reach loopback, not name it."""
    host, _, _ = request.host.partition(":")
    return request.remote == "127.0.0.1" and host in {"127.0.0.1", "localhost"}


def _refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
