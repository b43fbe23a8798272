"""The programs that look for what is wrong in Terraform and policies, in an environment of their own.

Their packages pin others than the code does, so they are installed from a lock of their own, once.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local._environment import PYTHON_VARIABLE, REPOSITORY_ROOT, embedded_aws_python

_LOCK = REPOSITORY_ROOT / "3rdparty" / "python" / "terraform_checks.lock"

# parliament and cloudsplaining are libraries first: asked about many policies in one process.
_POLICIES = """
import json, sys, warnings
warnings.simplefilter("ignore")
import parliament
from cloudsplaining.scan.policy_document import PolicyDocument

said = {}
for name, policy in json.load(sys.stdin).items():
    findings = parliament.analyze_policy_string(json.dumps(policy)).findings
    document = PolicyDocument(policy)
    said[name] = [f"parliament: {one.issue} {one.detail}" for one in findings] + [
        f"cloudsplaining: {kind} {actions}"
        for kind, actions in {
            "privilege escalation": document.allows_privilege_escalation,
            "resource exposure": document.permissions_management_without_constraints,
            "data exfiltration": document.allows_data_exfiltration_actions,
            "infrastructure modification": document.infrastructure_modification,
            "service wildcard": document.service_wildcard,
            "credentials exposure": document.credentials_exposure,
        }.items()
        if actions
    ]
print(json.dumps(said))
"""


@functools.cache
def _python() -> Path:
    variables = {name: value for name, value in os.environ.items() if name != PYTHON_VARIABLE}
    return embedded_aws_python(variables, lock=_LOCK)


def checkov(folder: Path, variables: Path) -> Mapping[str, Any]:
    """checkov's report on the configuration in `folder` with a file of variables."""
    finished = _run(
        [
            str(_python().with_name("checkov")),
            *("--directory", str(folder), "--var-file", str(variables)),
            *("--framework", "terraform", "--output", "json", "--compact", "--skip-download"),
        ],
        "",
    )
    report: Mapping[str, Any] = json.loads(finished.stdout)
    return report


def policy_findings(policies: Mapping[str, Any]) -> dict[str, list[str]]:
    """What parliament and cloudsplaining have to say about each policy document."""
    finished = _run([str(_python()), "-c", _POLICIES], json.dumps(policies))
    assert finished.returncode == 0, finished.stderr
    findings: dict[str, list[str]] = json.loads(finished.stdout)
    return findings


def _run(command: list[str], standard_input: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PEX_", "PYTHON"))
    }
    return subprocess.run(
        command, env=kept, input=standard_input, capture_output=True, text=True, check=False
    )
