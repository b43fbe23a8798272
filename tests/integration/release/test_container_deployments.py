"""The tool as a program, on ECS that runs real containers: forward, back, and what goes wrong.

The operator has the rights of `deploy/local/policies/operator.json` and no others.
"""

from __future__ import annotations

import json
import urllib.request

import pytest

from deploy.release import ReleaseError
from tests.integration.release.local_cluster import Operator, TinyImage, interrupt, told

CATALOG = "course_catalog"


def says(operator: Operator) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{operator.url}/version", timeout=10) as answer:
        version: str = json.load(answer)["version"]
    return version


def deploy(operator: Operator, image: TinyImage, *more: str) -> list[dict[str, object]]:
    digest = operator.push(image)
    done = operator.run("deploy", CATALOG, "--digest", digest, "--json", "--timeout", "170", *more)
    events = told(done)
    assert events, done.stderr
    return [*events, {"event": "exit", "code": done.returncode, "errors": done.stderr}]


def to_old(operator: Operator, images: dict[str, TinyImage]) -> None:
    """Where a test begins, whatever the one before did."""
    if says(operator) != images["old"].version:
        assert deploy(operator, images["old"])[-1]["code"] == 0


def test_forward_and_back(operator: Operator, images: dict[str, TinyImage]) -> None:
    to_old(operator, images)
    events = deploy(operator, images["new"])
    assert events[-1]["code"] == 0, events
    assert events[-2]["event"] == "deployed"
    assert says(operator) == "0.1.1"
    done = operator.run("rollback", CATALOG, "--json")
    assert done.returncode == 0, done
    assert told(done)[-1]["version"] == "0.1.0"
    assert says(operator) == "0.1.0"


def test_by_version_with_a_dry_run_before(operator: Operator, images: dict[str, TinyImage]) -> None:
    to_old(operator, images)
    operator.push(images["new"])
    dry = operator.run("deploy", CATALOG, "--version", "0.1.1", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "would be rolled from course_catalog:" in dry.stdout
    assert says(operator) == "0.1.0"
    done = operator.run("deploy", CATALOG, "--version", "0.1.1")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "10 answers in a row of 0.1.1" in done.stderr
    assert says(operator) == "0.1.1"


def test_a_sick_image_is_rolled_back_by_itself(
    operator: Operator, images: dict[str, TinyImage]
) -> None:
    to_old(operator, images)
    events = deploy(operator, images["sick"])
    assert events[-1]["code"] == 1, events
    assert events[-2]["event"] == "rolledBack"
    assert "circuit breaker" in str(events[-2]["reason"])
    assert says(operator) == "0.1.0"


def test_a_crashing_image_is_rolled_back_and_its_exit_code_told(
    operator: Operator, images: dict[str, TinyImage]
) -> None:
    to_old(operator, images)
    events = deploy(operator, images["crashing"])
    assert events[-1]["code"] == 1, events
    assert any("exited 1" in str(event.get("reason")) for event in events)
    assert says(operator) == "0.1.0"


def test_what_answers_with_another_version_is_rolled_back(
    operator: Operator, images: dict[str, TinyImage]
) -> None:
    to_old(operator, images)
    events = deploy(operator, images["wrong"])
    assert events[-1]["code"] == 1, events
    assert "9.9.9" in str(events[-2]["reason"])
    assert says(operator) == "0.1.0"


def test_interrupted_it_goes_on_and_the_same_command_takes_it_up(
    operator: Operator, images: dict[str, TinyImage]
) -> None:
    to_old(operator, images)
    digest = operator.push(images["new"])
    process = operator.started("deploy", CATALOG, "--digest", digest, "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "rolloutStarted":
            break
    code, output, _ = interrupt(process)
    assert code == 130
    assert json.loads(output.splitlines()[-1])["event"] == "stopped"
    done = operator.run("deploy", CATALOG, "--digest", digest, "--json")
    assert done.returncode == 0, done
    assert "rolloutStarted" not in {event["event"] for event in told(done)}
    assert says(operator) == "0.1.1"


def test_the_status_names_what_runs(operator: Operator, images: dict[str, TinyImage]) -> None:
    to_old(operator, images)
    assert deploy(operator, images["new"])[-1]["code"] == 0
    # Beside it: what ECS tells late of the roll-out that has ended, and how the API leads requests.
    events = told(operator.run("status", CATALOG, "--json", "--watch"))
    (status,) = (event for event in events if event["event"] == "serviceStatus")
    assert status["version"] == "0.1.1"
    assert {target["state"] for target in status["targets"]} == {"healthy"}
    assert [one["state"] for one in status["deployments"]] == ["COMPLETED"]


def test_a_version_is_sent_once_and_never_overwritten(
    operator: Operator, images: dict[str, TinyImage]
) -> None:
    first = operator.push(images["new"])
    assert operator.push(images["new"]) == first
    with pytest.raises(ReleaseError, match="a version is never overwritten"):
        operator.push(images["other"])


def test_what_the_operator_may_not_do_is_one_line(operator: Operator) -> None:
    done = operator.run("status", CATALOG, "--cluster", "another")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("release.py: describe_services: ")
