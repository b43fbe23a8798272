"""Each policy allows exactly what its program really calls: no action less, none more.

What is called is heard while the contract suites drive the real repositories on an emulator
(`recording.py`). That a policy's words mean this is shown where it is enforced
(`tests/terraform/test_iam_matrix.py`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.contract.policies.recording import FILE_VARIABLE
from tests.integration.service_process import python_path

ROOT = Path(__file__).parents[3]
_SUITES_SECONDS = 300

Needs = frozenset[tuple[str, str]]

SUITES: Mapping[str, tuple[str, ...]] = {
    "course_catalog": (
        "tests/contract/course_catalog/test_course_repository.py",
        "tests/contract/idempotency/test_idempotency_store.py",
    ),
    "content_delivery": (
        "tests/contract/content_delivery/test_content_repository_dynamodb.py",
        "tests/contract/content_delivery/test_object_store.py",
        "tests/contract/idempotency/test_idempotency_store.py",
    ),
    "progress_tracking": ("tests/contract/progress_tracking/test_progress_repository.py",),
    "progress_tracking/consumer": ("tests/contract/policies/test_consumer_calls.py",),
}
# Of the repository that both programs of progress tracking have, the part that only the consumer calls:
# the suite must call it too, for there to be outlines.
_OF_THE_CONSUMER = "DynamoDBProgressRepository.learn_outline"


def allowed(policy: Path) -> Needs:
    """What a policy allows, by action and by what its resources are."""
    found = set()
    for statement in json.loads(policy.read_text(encoding="utf-8"))["Statement"]:
        assert statement["Effect"] == "Allow", statement
        actions, resources = statement["Action"], statement["Resource"]
        for action in [actions] if isinstance(actions, str) else actions:
            for resource in [resources] if isinstance(resources, str) else resources:
                found.add((action, _thing(resource)))
    return frozenset(found)


def _thing(resource: str) -> str:
    if index := re.fullmatch(r"\$\{table_arn\}/index/(\w+)", resource):
        return index[1]
    return {
        "${table_arn}": "table",
        "${bucket_arn}/content/*": "objects",
        "${queue_arn}": "queue",
    }[resource]


@pytest.mark.parametrize("program", SUITES)
def test_a_policy_allows_what_is_called_and_nothing_else(program: str, tmp_path: Path) -> None:
    heard = tmp_path / "calls.json"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(
                "-p",
                "tests.contract.policies.recording",
                "-k",
                "not memory and not ministack",
                *SUITES[program],
            ),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": python_path(), FILE_VARIABLE: str(heard)},
        capture_output=True,
        text=True,
        timeout=_SUITES_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    called = frozenset(
        (action, thing)
        for function, action, thing in json.loads(heard.read_text())
        if not (program == "progress_tracking" and function == _OF_THE_CONSUMER)
    )
    assert called == allowed(ROOT / "services" / program / "policy.json")
