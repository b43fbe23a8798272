"""The images as they are built: what is in them, how they are hardened, and that their programs run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from deploy.images._checks import look_at
from deploy.images._container import container
from deploy.images._docker import docker, output_and_code
from deploy.images._surroundings import surroundings
from deploy.images.check import show
from deploy.images.sbom import main as sbom
from deploy.images.sbom import write_sbom
from tests.containers.images.conftest import SERVICES, Built

# Pants builds all packages in a scratch copy: half a minute on an idle machine, more on a busy one.
pytestmark = pytest.mark.timeout(1200)

ROOT = Path(__file__).parents[3]

# Which modules were loaded, and from bytecode that was not there.
_UNCOMPILED = """
import importlib, os, sys
importlib.import_module(sys.argv[1])
print([name for name, module in sorted(sys.modules.items())
       if (kept := getattr(module, "__cached__", None)) and not os.path.exists(kept)])
"""


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_keeps_every_rule_and_is_small(
    built: Built, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """How long a start takes is shown and not asserted: it tells more of the machine."""
    report = look_at(service, built.images[service], lambda _: None)
    with capsys.disabled():
        show(report, sys.stdout)
    assert [rule for rule in report.rules if not rule.kept] == []
    late_or_large = [goal for goal in report.goals if not goal.reached]
    assert [goal for goal in late_or_large if goal.unit != "s"] == []
    assert len(report.rules) > 15


@pytest.mark.parametrize("service", SERVICES)
def test_no_start_compiles_anything(built: Built, service: str) -> None:
    """Nothing could keep the result: the root file system is read-only."""
    output = built.engine.run(
        "run", "--rm", "--network=none", "--entrypoint=/app/bin/python", built.images[service],
        "-I", "-c", _UNCOMPILED, f"services.{service}.app",
    )  # fmt: skip
    assert output == "[]"


@pytest.mark.parametrize("service", SERVICES)
def test_its_bill_of_materials_names_all_that_came_into_it(
    built: Built, service: str, tmp_path: Path
) -> None:
    file = write_sbom(service, built.images[service], folder=tmp_path)
    assert file.name.startswith(f"{service}-")
    text = file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    components = json.loads(text)["components"]
    packages = built.checkout.root / f"dist/services.{service}/deps.pex/PEX-INFO"
    listed = {
        entry["value"]
        for component in components
        for entry in component.get("properties", ())
        if entry["name"] == "lyceum:wheel"
    }
    assert listed == set(json.loads(packages.read_text())["distributions"])
    locked = Path("3rdparty/python/default.lock").read_text()
    assert all(
        f"--hash=sha256:{hash_['content']}" in locked
        for component in components
        for hash_ in component.get("hashes", ())
    )
    names = {component["name"] for component in components}
    assert {"aiohttp", "aiobotocore", "uvloop", "libc6", "libssl3"} <= names
    assert not [name for name in names if name.startswith("types-") or name.endswith("-stubs")]
    again = write_sbom(service, built.images[service], folder=tmp_path / "again")
    assert again.read_text() == text


def test_the_bill_of_an_image_that_is_none_of_ours_is_refused(built: Built) -> None:
    assert sbom(["course_catalog", "--image", built.base]) == 1
    assert sbom(["course_catalog", "--image", "lyceum-test/there-is-none"]) == 2


def said(container_id: str, text: str) -> bool:
    """Read what a container writes until it says `text`, or ends."""
    with subprocess.Popen(
        [str(ROOT / "deploy/images/docker"), "logs", "--follow", container_id],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as following:
        assert following.stdout
        try:
            return any(text in line for line in following.stdout)
        finally:
            following.kill()


def test_the_second_program_of_progress_runs_from_the_same_image(built: Built) -> None:
    with (
        surroundings("progress_tracking", 0) as variables,
        container(
            built.images["progress_tracking"],
            {
                **variables,
                "PROGRESS_OUTLINE_QUEUE_URL": f"{variables['AWS_ENDPOINT_URL']}/1/outlines",
            },
            0,
            "services.progress_tracking.consumer",
        ) as consumer,
    ):
        docker("start", consumer.id)
        assert said(consumer.id, '"event":"consuming"')
        _, code = consumer.stop()
        assert code == 0


def test_a_bad_configuration_is_told_and_nothing_starts(built: Built) -> None:
    output, code = output_and_code(
        "run", "--rm", "--network=none", built.images["content_delivery"]
    )
    assert code == 2
    assert "CONTENT_BUCKET is missing" in output.splitlines()
    assert all(" is missing" in line for line in output.splitlines())


def test_a_service_that_does_not_answer_is_unhealthy(built: Built) -> None:
    """The same container, but nobody listens in it."""
    known = built.engine.run(
        "image", "inspect", "--format", "{{json .Config}}", built.images["course_catalog"]
    )
    check = json.loads(known)["Healthcheck"]["Test"]
    assert check[0] == "CMD"
    output, code = output_and_code(
        "run", "--rm", "--network=none", f"--entrypoint={check[1]}",
        built.images["course_catalog"], *check[2:],
    )  # fmt: skip
    assert (output, code) == ("/healthz: Connection refused", 1)
