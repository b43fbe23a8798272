"""One IAM role a service, which may do on AWS what the service's repository does and nothing else.

The policies stand with the services (`services/*/policy.json`, one a program), as IAM policy documents
in which `${table_arn}`, `${bucket_arn}` and `${queue_arn}` are filled in; Terraform reads the same files.
Knows no key, no table's content and nobody's credentials.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deploy.local._environment import REPOSITORY_ROOT

if TYPE_CHECKING:
    from types_aiobotocore_iam import IAMClient

# The embedded AWS takes batches of these two for actions of their own; AWS does not know such.
_BATCHED = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage")

# Who releases to the cluster of this machine. What each program may do stands with its service.
OPERATOR_POLICY = REPOSITORY_ROOT / "deploy/local/policies/operator.json"

# As long as ECS lets the credentials of a task live. A pre-signed URL cannot outlive them.
SESSION_SECONDS = 6 * 3600


def role_name(service: str) -> str:
    """The name of a service's role, from the name of its folder."""
    return f"lyceum-{service.replace('_', '-')}"


def policy_document(
    service: str, *, table_arn: str, bucket_arn: str, queue_arn: str
) -> dict[str, Any]:
    """The policy of the service's programs together for this table, bucket and queue; raises
    FileNotFoundError for an unknown service."""
    arns = {"table_arn": table_arn, "bucket_arn": bucket_arn, "queue_arn": queue_arn}
    folder = REPOSITORY_ROOT / "services" / service
    statements: list[dict[str, Any]] = []
    for path in (folder / "policy.json", *sorted(folder.glob("*/policy.json"))):
        statements += filled_statements(path, arns)
    for statement in statements:
        actions = statement["Action"]
        if isinstance(actions, list):
            actions += [f"{action}Batch" for action in _BATCHED if action in actions]
    return {"Version": "2012-10-17", "Statement": statements}


def filled_statements(path: Path, arns: Mapping[str, str]) -> list[dict[str, Any]]:
    """The statements of a policy document with these names filled in."""
    text = path.read_text(encoding="utf-8")
    for name, arn in arns.items():
        text = text.replace(f"${{{name}}}", arn)
    statements: list[dict[str, Any]] = json.loads(text)["Statement"]
    return statements


async def ensure_role(
    client: "IAMClient", service: str, policy: dict[str, Any], *, assumed_by: str
) -> str:
    """Make or correct the service's role; gives its ARN. `assumed_by` is the ARN of who may take it."""
    name = role_name(service)
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": assumed_by}, "Action": "sts:AssumeRole"}
            ],
        }
    )
    try:
        await client.create_role(
            RoleName=name,
            AssumeRolePolicyDocument=trust,
            MaxSessionDuration=SESSION_SECONDS,
            Description=f"What the service {service} may do",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityAlreadyExists":
            raise
        await client.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
    await client.put_role_policy(
        RoleName=name, PolicyName="repository", PolicyDocument=json.dumps(policy)
    )
    return (await client.get_role(RoleName=name))["Role"]["Arn"]
