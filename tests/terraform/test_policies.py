"""The roles' policies: the ones that stand with the services, and nothing that a checker objects to."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._iam import policy_document
from tests.terraform.checkers import checkov, policy_findings
from tests.terraform.platform_on_moto import (
    CONFIGURATION,
    CONSUMER,
    SERVICES,
    Applied,
    configuration_files,
)

pytestmark = pytest.mark.timeout(900)

ROLES = {
    **{f"lyceum-{name.replace('_', '-')}": f"{name}/policy.json" for name in SERVICES},
    f"lyceum-{CONSUMER.replace('_', '-')}": "progress_tracking/consumer/policy.json",
}


def policies(applied: Applied) -> dict[str, dict[str, Any]]:
    """The policies in roles, by role and name."""
    return {
        f"{one['role']} {one['name']}": json.loads(one["policy"])
        for one in applied.of_type("aws_iam_role_policy").values()
    }


def arns(applied: Applied, service: str) -> dict[str, str]:
    (bucket,) = applied.of_type("aws_s3_bucket").values()
    tables = applied.of_type("aws_dynamodb_table")
    return {
        "table_arn": tables[f'module.table["{service}"].aws_dynamodb_table.this']["arn"],
        "bucket_arn": bucket["arn"],
        "queue_arn": applied.of_type("aws_sqs_queue")["module.events.aws_sqs_queue.outlines"][
            "arn"
        ],
    }


@pytest.mark.parametrize("role", ROLES)
def test_a_task_s_role_may_what_stands_with_its_service(applied: Applied, role: str) -> None:
    text = (REPOSITORY_ROOT / "services" / ROLES[role]).read_text(encoding="utf-8")
    for name, arn in arns(applied, ROLES[role].split("/")[0]).items():
        text = text.replace(f"${{{name}}}", arn)
    found = policies(applied)
    assert found[f"{role} repository"] == json.loads(text)
    # Beside that: to tell X-Ray, and nothing else.
    assert {name for name in found if name.startswith(f"{role} ")} == {
        f"{role} repository",
        f"{role} tracing",
    }


@pytest.mark.parametrize("service", SERVICES)
def test_the_local_role_may_the_same_on_the_same(applied: Applied, service: str) -> None:
    """One role for all programs of a service there, and actions in batches that only the emulator has."""
    local = policy_document(service, **arns(applied, service))
    own = [role for role, path in ROLES.items() if path.startswith(f"{service}/")]
    found = policies(applied)

    def grants(statements: list[dict[str, Any]]) -> set[tuple[str, str]]:
        return {
            (action.removesuffix("Batch") if action.startswith("sqs:") else action, resource)
            for statement in statements
            for action in _list(statement["Action"])
            for resource in _list(statement["Resource"])
        }

    assert grants(local["Statement"]) == grants(
        [one for role in own for one in found[f"{role} repository"]["Statement"]]
    )


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _readable(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """parliament takes the colons of a stream's label for parts of its ARN."""
    return {
        name: json.loads(re.sub(r"(/stream/[^\"]*?)(\d\d):(\d\d):", r"\1\2\3", json.dumps(policy)))
        for name, policy in documents.items()
    }


def test_no_checker_of_policies_objects(applied: Applied) -> None:
    documents = _readable(policies(applied))
    assert len(documents) >= 15
    findings = policy_findings(documents)
    # Signing in to the registry gives a password to it; that is what starting a task needs.
    starting = "cloudsplaining: credentials exposure ['ecr:GetAuthorizationToken']"
    assert {name: said for name, said in findings.items() if said} == {
        **{f"{role}-execution start": [starting] for role in ROLES},
        "lyceum-operator operator": [
            # Of the cluster alone, by a condition.
            "parliament: RESOURCE_STAR ['ecs:DescribeTasks', 'ecs:ListTasks']",
            # A copy of any family; which roles it may name is said by iam:PassRole.
            "parliament: RESOURCE_STAR ['ecs:RegisterTaskDefinition']",
            # Read, by whatever names --alarm gives.
            "parliament: RESOURCE_STAR ['cloudwatch:DescribeAlarms']",
            starting,
        ],
    }


def test_no_checker_objects_to_the_roles_of_a_split(step_three: Applied) -> None:
    found = _readable(policies(step_three))
    documents = {
        name: found[name] for name in ("lyceum-monolith repository", "lyceum-migration migration")
    }
    assert policy_findings(documents) == dict.fromkeys(documents, [])


def test_a_checker_of_policies_would_object() -> None:
    """To what is wrong: so its silence above says something."""
    wide = {"Effect": "Allow", "Action": ["s3:*", "iam:PassRole"], "Resource": "*"}
    unknown = {"Effect": "Allow", "Action": "dynamodb:Fetch", "Resource": "*"}
    findings = policy_findings(
        {
            "wide": {"Version": "2012-10-17", "Statement": [wide]},
            "unknown": {"Version": "2012-10-17", "Statement": [unknown]},
        }
    )
    assert any("service wildcard" in said for said in findings["wide"])
    assert any("UNKNOWN_ACTION" in said for said in findings["unknown"])


def test_checkov_objects_to_nothing_but_what_has_its_reason_beside_it(tmp_path: Path) -> None:
    """Run without the suppressions: what fails is exactly what they name, each in its file."""
    copy = tmp_path / "terraform"
    shutil.copytree(CONFIGURATION, copy, ignore=shutil.ignore_patterns(".terraform"))
    suppressed = set()
    for path in configuration_files():
        own = path.relative_to(CONFIGURATION)
        text = path.read_text(encoding="utf-8")
        suppressed |= {
            (check, f"/{own.as_posix()}") for check in re.findall(r"checkov:skip=(\w+)", text)
        }
        (copy / own).write_text(re.sub(r"# checkov:skip=.*", "#", text))
    report = checkov(copy, copy / "environments" / "prod.tfvars")
    assert report["summary"]["resource_count"] > 200
    assert report["summary"]["parsing_errors"] == 0
    failed = {(one["check_id"], one["file_path"]) for one in report["results"]["failed_checks"]}
    assert failed == suppressed
