"""What stands in the embedded AWS before the services start: tables, bucket, events, user pool, roles.

Every function may run again on what is there and then changes nothing but what differs. Passwords of the
demo users live in the state folder alone. Knows how the services are configured (names of environment
variables), not how they work.
"""

import contextlib
import json
import os
import secrets
import string
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aioboto3
from botocore.config import Config

from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._events import OutlineEvents, ensure_outline_events
from deploy.local._iam import ensure_role, policy_document
from deploy.local._tables import ensure_table, read_table

if TYPE_CHECKING:
    from types_aiobotocore_cognito_idp import CognitoIdentityProviderClient
    from types_aiobotocore_s3 import S3Client

POOL_NAME = "lyceum"
CLIENT_NAME = "lyceum-local"
BUCKET = "lyceum-content"

GROUPS = ("authors", "staff")
# The demo users, by role, and the groups each is in.
DEMO_USERS: Mapping[str, tuple[str, ...]] = {
    "learner-a": (),
    "learner-b": (),
    "author": ("authors",),
    "staff": ("staff",),
}

# What each service's environment variables begin with.
PREFIXES: Mapping[str, str] = {
    "course_catalog": "CATALOG_",
    "content_delivery": "CONTENT_",
    "progress_tracking": "PROGRESS_",
}
_WITH_BUCKET = frozenset({"content_delivery"})
_TELLS_OUTLINES, _LEARNS_OUTLINES = "course_catalog", "progress_tracking"

_CONFIG = Config(
    connect_timeout=2,
    read_timeout=15,
    retries={"mode": "standard", "max_attempts": 2},
    # A bucket is a path here: 127.0.0.1 has no sub-domains.
    s3={"addressing_style": "path"},
    signature_version="v4",
)


@dataclass(frozen=True)
class EmbeddedAws:
    """A running embedded AWS, as its one ready line and its administrator's file tell it."""

    endpoint_url: str
    region: str
    access_key_id: str
    secret_access_key: str

    @classmethod
    def from_ready_line(cls, line: str) -> "EmbeddedAws":
        """From the JSON line that `python -m deploy.local.embedded_aws` prints when it serves."""
        ready = json.loads(line)
        administrator = json.loads(Path(ready["administrator"]).read_text(encoding="utf-8"))
        return cls(
            endpoint_url=ready["endpoint"],
            region=ready["region"],
            access_key_id=administrator["accessKeyId"],
            secret_access_key=administrator["secretAccessKey"],
        )

    def client(self, service: str, settings: Config | None = None) -> Any:
        """The administrator's aioboto3 client of the service, as its asynchronous context manager."""
        config = _CONFIG.merge(Config(signature_version="s3v4")) if service == "s3" else _CONFIG
        if settings is not None:
            config = config.merge(settings)
        return self._session.client(service, endpoint_url=self.endpoint_url, config=config)

    @cached_property
    def _session(self) -> aioboto3.Session:
        # One for all clients: it keeps what it has read of the SDK's own files.
        return aioboto3.Session(
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
        )


@dataclass(frozen=True)
class UserPool:
    """The user pool and its app client."""

    pool_id: str
    client_id: str
    issuer: str  # the `iss` of its tokens
    jwks_url: str


@dataclass(frozen=True)
class Resources:
    """All that was provisioned. Tables and roles are by the names of the services' folders."""

    endpoint_url: str
    region: str
    bucket: str
    pool: UserPool
    tables: Mapping[str, str]
    role_arns: Mapping[str, str]
    user_subjects: Mapping[str, str]
    outline_queue_url: str
    parked_outlines_url: str

    def service_variables(self, service: str) -> dict[str, str]:
        """The environment variables by which a service finds what is its own; credentials come apart."""
        prefix = PREFIXES[service]
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            f"{prefix}TABLE": self.tables[service],
            f"{prefix}AUTH_ISSUER": self.pool.issuer,
            f"{prefix}AUTH_JWKS_URL": self.pool.jwks_url,
            f"{prefix}AUTH_CLIENT_IDS": self.pool.client_id,
        }
        if service in _WITH_BUCKET:
            variables[f"{prefix}BUCKET"] = self.bucket
        if service == _LEARNS_OUTLINES:
            variables[f"{prefix}OUTLINE_QUEUE_URL"] = self.outline_queue_url
        return variables


@dataclass(frozen=True)
class AccessToken:
    """A user's access token, as Cognito issued it."""

    subject: str
    token: str
    expires_in_seconds: int


async def provision(
    aws: EmbeddedAws,
    *,
    state: Path,
    cors_origins: Sequence[str],
    services_root: Path = REPOSITORY_ROOT / "services",
) -> Resources:
    """Make, or bring in line, everything the services and the demo users need.

    `state` is the platform's state folder, where the demo users' passwords are kept; `cors_origins` are
    the web origins whose pages may play content straight from the bucket.
    """
    tables = {path.parent.name: path for path in sorted(services_root.glob("*/table.json"))}
    names = {}
    async with aws.client("dynamodb") as dynamodb:
        for service, path in tables.items():
            table = read_table(path)
            names[service] = table["TableName"]
            await ensure_table(dynamodb, table, names[service])
        catalog = await dynamodb.describe_table(TableName=names[_TELLS_OUTLINES])
    async with aws.client("sts") as sts:
        identity = await sts.get_caller_identity()
    events = await ensure_outline_events(
        aws,
        account=identity["Account"],
        table=names[_TELLS_OUTLINES],
        stream_arn=catalog["Table"]["LatestStreamArn"],
    )
    async with aws.client("s3") as s3:
        await _ensure_bucket(s3, aws.region, cors_origins)
    async with aws.client("cognito-idp") as cognito:
        pool = await _ensure_pool(cognito, aws)
        subjects = await _ensure_users(cognito, pool, _passwords(state))
    return Resources(
        endpoint_url=aws.endpoint_url,
        region=aws.region,
        bucket=BUCKET,
        pool=pool,
        tables=names,
        role_arns=await _ensure_roles(aws, names, events, identity),
        user_subjects=subjects,
        outline_queue_url=events.queue_url,
        parked_outlines_url=events.parked_url,
    )


async def access_token(
    aws: EmbeddedAws, resources: Resources, *, state: Path, user: str
) -> AccessToken:
    """Sign a demo user in, as an app does: Cognito's InitiateAuth with the user's password."""
    password = _passwords(state)[user]
    async with aws.client("cognito-idp") as cognito:
        answer = await cognito.initiate_auth(
            ClientId=resources.pool.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": user, "PASSWORD": password},
        )
    result = answer["AuthenticationResult"]
    return AccessToken(
        subject=resources.user_subjects[user],
        token=result["AccessToken"],
        expires_in_seconds=result["ExpiresIn"],
    )


async def _ensure_roles(
    aws: EmbeddedAws,
    tables: Mapping[str, str],
    events: OutlineEvents,
    identity: Mapping[str, Any],
) -> dict[str, str]:
    async with aws.client("iam") as iam:
        return {
            service: await ensure_role(
                iam,
                service,
                policy_document(
                    service,
                    table_arn=f"arn:aws:dynamodb:{aws.region}:{identity['Account']}:table/{table}",
                    bucket_arn=f"arn:aws:s3:::{BUCKET}",
                    queue_arn=events.queue_arn,
                ),
                assumed_by=identity["Arn"],
            )
            for service, table in tables.items()
        }


async def _ensure_bucket(client: "S3Client", region: str, cors_origins: Sequence[str]) -> None:
    existing = {bucket["Name"] for bucket in (await client.list_buckets())["Buckets"]}
    if BUCKET not in existing:
        # us-east-1 is the one region that must not be named here.
        placed: dict[str, Any] = (
            {}
            if region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        await client.create_bucket(Bucket=BUCKET, **placed)
    await client.put_public_access_block(
        Bucket=BUCKET,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    await client.put_bucket_cors(
        Bucket=BUCKET,
        CORSConfiguration={
            "CORSRules": [
                {
                    "AllowedOrigins": list(cors_origins),
                    # Playing by signed URLs, uploading parts by signed URLs, uploading by signed forms.
                    "AllowedMethods": ["GET", "HEAD", "PUT", "POST"],
                    "AllowedHeaders": [
                        "Content-MD5",
                        "Content-Type",
                        "If-None-Match",
                        "If-Range",
                        "Range",
                    ],
                    "ExposeHeaders": ["Accept-Ranges", "Content-Length", "Content-Range", "ETag"],
                    "MaxAgeSeconds": 3600,
                }
            ]
        },
    )
    await client.put_bucket_lifecycle_configuration(
        Bucket=BUCKET,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "abandoned-uploads",
                    "Status": "Enabled",
                    "Filter": {"Prefix": "content/"},
                    # As long as the service waits for an upload (CONTENT_UPLOAD_PENDING_DAYS).
                    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                }
            ]
        },
    )


async def _ensure_pool(client: "CognitoIdentityProviderClient", aws: EmbeddedAws) -> UserPool:
    pool_id = await _first(_pools(client), "Name", POOL_NAME, "Id")
    if pool_id is None:
        created = await client.create_user_pool(
            PoolName=POOL_NAME,
            Policies={
                "PasswordPolicy": {
                    "MinimumLength": 16,
                    "RequireUppercase": True,
                    "RequireLowercase": True,
                    "RequireNumbers": True,
                    "RequireSymbols": False,
                }
            },
            AdminCreateUserConfig={"AllowAdminCreateUserOnly": True},
        )
        pool_id = created["UserPool"]["Id"]
    client_id = await _first(_pool_clients(client, pool_id), "ClientName", CLIENT_NAME, "ClientId")
    if client_id is None:
        made = await client.create_user_pool_client(
            UserPoolId=pool_id,
            ClientName=CLIENT_NAME,
            GenerateSecret=False,
            ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
            PreventUserExistenceErrors="ENABLED",
            AccessTokenValidity=1,
            TokenValidityUnits={"AccessToken": "hours"},
        )
        client_id = made["UserPoolClient"]["ClientId"]
    for group in GROUPS:
        with contextlib.suppress(client.exceptions.GroupExistsException):
            await client.create_group(UserPoolId=pool_id, GroupName=group)
    return UserPool(
        pool_id=pool_id,
        client_id=client_id,
        # The embedded AWS writes AWS's own issuer into its tokens and serves the keys itself.
        issuer=f"https://cognito-idp.{aws.region}.amazonaws.com/{pool_id}",
        jwks_url=f"{aws.endpoint_url}/{pool_id}/.well-known/jwks.json",
    )


async def _pools(client: "CognitoIdentityProviderClient") -> AsyncIterator[Mapping[str, Any]]:
    async for page in client.get_paginator("list_user_pools").paginate(
        PaginationConfig={"PageSize": 60}
    ):
        for pool in page["UserPools"]:
            yield pool


async def _pool_clients(
    client: "CognitoIdentityProviderClient", pool_id: str
) -> AsyncIterator[Mapping[str, Any]]:
    pages = client.get_paginator("list_user_pool_clients").paginate(UserPoolId=pool_id)
    async for page in pages:
        for pool_client in page["UserPoolClients"]:
            yield pool_client


async def _first(
    entries: AsyncIterator[Mapping[str, Any]], key: str, wanted: str, wanted_value: str
) -> str | None:
    async for entry in entries:
        if entry[key] == wanted:
            found: str = entry[wanted_value]
            return found
    return None


async def _ensure_users(
    client: "CognitoIdentityProviderClient", pool: UserPool, passwords: Mapping[str, str]
) -> dict[str, str]:
    """Make the demo users; gives the `sub` of each."""
    subjects = {}
    for user, groups in DEMO_USERS.items():
        with contextlib.suppress(client.exceptions.UsernameExistsException):
            await client.admin_create_user(
                UserPoolId=pool.pool_id,
                Username=user,
                TemporaryPassword=passwords[user],
                MessageAction="SUPPRESS",
            )
        await client.admin_set_user_password(
            UserPoolId=pool.pool_id, Username=user, Password=passwords[user], Permanent=True
        )
        for group in groups:
            await client.admin_add_user_to_group(
                UserPoolId=pool.pool_id, Username=user, GroupName=group
            )
        found = await client.admin_get_user(UserPoolId=pool.pool_id, Username=user)
        attributes = {entry["Name"]: entry["Value"] for entry in found["UserAttributes"]}
        subjects[user] = attributes["sub"]
    return subjects


def _passwords(state: Path) -> dict[str, str]:
    """The demo users' passwords from the state folder, made at the first time."""
    path = state / "demo-users.json"
    try:
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = {}
    missing = {user: _new_password() for user in DEMO_USERS if user not in known}
    if missing:
        known |= missing
        draft = path.with_suffix(".draft")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(known, file)
        draft.replace(path)
    return known


def _new_password() -> str:
    """24 characters, of each kind that the pool asks for at least one."""
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    while True:
        password = "".join(secrets.choice("".join(kinds)) for _ in range(24))
        if all(any(character in kind for character in password) for kind in kinds):
            return password
