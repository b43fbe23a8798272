"""Who releases to the cluster: a user with the rights that `deploy/release` needs, and no others.

Its policy stands in `policies/operator.json`, with `${region}` and `${account}` to be filled in.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from deploy.local._iam import OPERATOR_POLICY
from deploy.local._provision import EmbeddedAws

USER_NAME = "lyceum-operator"


@dataclass(frozen=True)
class AccessKey:
    """A user's key."""

    id: str
    secret: str


async def ensure_operator(aws: EmbeddedAws) -> AccessKey:
    """Makes the user, or brings it in line; its key is a new one each time."""
    async with aws.client("sts") as sts:
        account = (await sts.get_caller_identity())["Account"]
    policy = OPERATOR_POLICY.read_text(encoding="utf-8")
    policy = policy.replace("${region}", aws.region).replace("${account}", account)
    async with aws.client("iam") as iam:
        with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
            await iam.create_user(UserName=USER_NAME)
        await iam.put_user_policy(UserName=USER_NAME, PolicyName="release", PolicyDocument=policy)
        listed = await iam.list_access_keys(UserName=USER_NAME)
        for old in listed["AccessKeyMetadata"]:
            await iam.delete_access_key(UserName=USER_NAME, AccessKeyId=old["AccessKeyId"])
        made = (await iam.create_access_key(UserName=USER_NAME))["AccessKey"]
    return AccessKey(made["AccessKeyId"], made["SecretAccessKey"])


def operator_variables(aws: EmbeddedAws, key: AccessKey) -> dict[str, str]:
    """The SDK's variables that make a process the operator."""
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_REGION": aws.region,
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
    }
