"""Who works on the platform besides its services: the operator who releases, and the gateway itself.

Each is a user with the rights of its policy in `policies/` and no others; Terraform makes the operator's
role of the same file. In a policy `${region}`, `${account}` and `${<service>_api}`, the id of a service's
REST API, are filled in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.local._iam import GATEWAY_POLICY, OPERATOR_POLICY, filled_policy
from deploy.local._provision import EmbeddedAws

if TYPE_CHECKING:
    from types_aiobotocore_iam import IAMClient

OPERATOR, GATEWAY = "lyceum-operator", "lyceum-gateway"

_POLICIES = {OPERATOR: OPERATOR_POLICY, GATEWAY: GATEWAY_POLICY}


@dataclass(frozen=True)
class AccessKey:
    """A user's key."""

    id: str
    secret: str


async def ensure_users(aws: EmbeddedAws, apis: Mapping[str, str]) -> dict[str, AccessKey]:
    """Makes both users, or brings them in line; their keys are new ones each time.

    Args:
        apis: the ids of the services' REST APIs.
    """
    async with aws.client("sts") as sts:
        account = (await sts.get_caller_identity())["Account"]
    keys = {}
    async with aws.client("iam") as iam:
        for name, path in _POLICIES.items():
            policy = filled_policy(path, region=aws.region, account=account, apis=apis)
            keys[name] = await ensure_user(iam, name, "release", policy)
    return keys


async def ensure_user(iam: IAMClient, name: str, policy_name: str, policy: str) -> AccessKey:
    """Makes a user who may do this and nothing else, or brings it in line; its key is a new one."""
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        await iam.create_user(UserName=name)
    await iam.put_user_policy(UserName=name, PolicyName=policy_name, PolicyDocument=policy)
    listed = await iam.list_access_keys(UserName=name)
    for old in listed["AccessKeyMetadata"]:
        await iam.delete_access_key(UserName=name, AccessKeyId=old["AccessKeyId"])
    made = (await iam.create_access_key(UserName=name))["AccessKey"]
    return AccessKey(made["AccessKeyId"], made["SecretAccessKey"])


def variables_of_user(aws: EmbeddedAws, key: AccessKey) -> dict[str, str]:
    """The SDK's variables that make a process that user."""
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_REGION": aws.region,
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
    }
