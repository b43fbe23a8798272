"""What can be said of the configuration without making a plan: form, variables, suppressions, links."""

from __future__ import annotations

import re

from deploy.local._environment import REPOSITORY_ROOT
from tests.terraform.platform_on_moto import CONFIGURATION, DEV, configuration_files
from tests.terraform.terraform import Terraform

_VARIABLE = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_OUTPUT = re.compile(r'^output "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)


def test_it_is_formatted(terraform: Terraform) -> None:
    finished = terraform.finished("fmt", "-check", "-recursive", "-diff", str(CONFIGURATION))
    assert finished.stdout == ""


def test_it_is_valid(terraform: Terraform) -> None:
    assert "configuration is valid" in terraform.run("validate")


def test_every_variable_and_output_is_described_and_every_variable_has_a_type() -> None:
    for path in configuration_files():
        text = path.read_text(encoding="utf-8")
        for name, body in _VARIABLE.findall(text):
            assert re.search(r'^  description = ".{10,}"$', body, re.MULTILINE), (path, name)
            assert re.search(r"^  type ", body, re.MULTILINE), (path, name)
        for name, body in _OUTPUT.findall(text):
            assert re.search(r'^  description = ".{10,}"$', body, re.MULTILINE), (path, name)


def test_every_variable_of_the_system_is_validated() -> None:
    """Modules take theirs from there."""
    variables = _VARIABLE.findall((CONFIGURATION / "variables.tf").read_text(encoding="utf-8"))
    assert len(variables) > 15
    assert [name for name, body in variables if "validation {" not in body] == []


def test_all_that_can_not_be_is_told_at_once_before_anything_starts(terraform: Terraform) -> None:
    wrong = {
        '-var=image_digests={"course_catalog":"latest"}': "image_digests needs",
        "-var=cidr_block=10.0.0.0/8": "from /16 to /20",
        '-var=cors_origins=["https://*.example"]': "no wildcard",
        '-var=availability_zones=["us-east-1a","us-east-1b"]': "zones of the region",
        "-var=environment=prod": "prod is protected",
        "-var=log_retention_days=31": "CloudWatch Logs has",
        "-var=jwks_url=http://keys.example": "an https address",
        '-var=alarm_emails=["nobody"]': "e-mail addresses",
    }
    said = _refusal(terraform, *wrong)
    assert [message for message in wrong.values() if message not in said] == []


def test_a_way_to_a_monolith_that_is_not_there_is_refused(terraform: Terraform) -> None:
    said = _refusal(terraform, '-var=routes={"course_catalog":"monolith"}')
    assert "routes leads to the monolith, but monolith is null" in said


def _refusal(terraform: Terraform, *arguments: str) -> str:
    options = ("-refresh=false", "-state=none.tfstate")
    finished = terraform.finished("plan", *options, *DEV, *arguments)
    assert finished.returncode == 1
    return " ".join(finished.stderr.replace("│", " ").split())


def test_no_resource_is_a_wildcard_where_a_name_can_stand() -> None:
    """Each `*` that stands alone is one of these, whose reason stands beside it."""
    found = {
        (path.relative_to(CONFIGURATION).as_posix(), line.strip())
        for path in configuration_files()
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r'^\s*(Resource|Action)\s*=\s*\[?"\*"', line)
    }
    assert found == {
        # ListStreams, DescribeLogGroups, GetAuthorizationToken and X-Ray's actions know no resource.
        ("modules/events/main.tf", 'Resource = "*"'),
        ("modules/observability/main.tf", 'Resource = "*"'),
        ("modules/service/roles.tf", 'Resource = "*"'),
        # An endpoint's policy: who may use it and for which actions; roles say the resources.
        ("modules/network/endpoints.tf", 'Resource  = "*"'),
    }


def test_every_suppression_has_its_reason_and_every_decision_exists() -> None:
    for path in configuration_files():
        text = path.read_text(encoding="utf-8")
        for check, reason in re.findall(r"checkov:skip=(\w+):?(.*)", text):
            assert len(reason.split()) >= 5, (path, check)
        for number in re.findall(r"docs/adr/(\d{4})", text):
            assert list((REPOSITORY_ROOT / "docs" / "adr").glob(f"{number}-*.md")), (path, number)
