"""The applied platform and what it consists of, for the tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.local._environment import REPOSITORY_ROOT
from tests.backends import Backend
from tests.terraform.terraform import Resource, Terraform

CONFIGURATION = REPOSITORY_ROOT / "deploy" / "terraform"

SERVICES = ("course_catalog", "content_delivery", "progress_tracking")
CONSUMER = "progress_tracking-consumer"
PREFIXES = {
    "course_catalog": "CATALOG_",
    "content_delivery": "CONTENT_",
    "progress_tracking": "PROGRESS_",
}

_IMAGES = (*SERVICES, "collector", "monolith")


def digests(**others: str) -> str:
    """The argument for the images' digests; `others` by service, a hex digit each."""
    values = {name: f"sha256:{others.get(name, '1') * 64}" for name in _IMAGES}
    return f"-var=image_digests={json.dumps(values)}"


DEV = ("-var-file=environments/dev.tfvars", digests())
PROD = ("-var-file=environments/prod.tfvars", digests())
MONOLITH_TABLE = "Monolith"
# The application that one leaves, each API led to it, and its table being split.
MONOLITH = (
    "-var=monolith="
    + json.dumps(
        {
            "cpu": 512,
            "memory": 1024,
            "minimum": 2,
            "maximum": 6,
            "health_check_path": "/readyz",
            "table_name": MONOLITH_TABLE,
            "split": True,
        }
    ),
    "-var=routes=" + json.dumps(dict.fromkeys(SERVICES, "monolith")),
)
# The whole of it takes longer, and says no more of where requests go.
STEP_THREE = (
    *(*DEV, *MONOLITH),
    *("-target=module.api", "-target=module.monolith", "-target=module.migration"),
)


@dataclass(frozen=True)
class Applied:
    """A platform that Terraform made on moto, of the variables `DEV`."""

    terraform: Terraform
    backend: Backend
    resources: list[Resource]

    def of_type(self, kind: str) -> dict[str, Resource]:
        """The values of resources of a type, by address."""
        return of_type(self.resources, kind)


def of_type(resources: Iterable[Resource], kind: str) -> dict[str, Resource]:
    """The values of resources of a type, by address."""
    return {one["address"]: one["values"] for one in resources if one["type"] == kind}


def containers(task_definition: Resource) -> dict[str, Resource]:
    """The containers of a task definition by name."""
    return {
        container["name"]: container
        for container in json.loads(task_definition["container_definitions"])
    }


def task_definitions(resources: Iterable[Resource]) -> dict[str, Resource]:
    """Task definitions by family."""
    return {one["family"]: one for one in of_type(resources, "aws_ecs_task_definition").values()}


def program_environment(applied: Applied, family: str) -> dict[str, str]:
    """The environment variables of a task's program, with something in place of its secrets."""
    program = containers(task_definitions(applied.resources)[family])[family]
    plain = {one["name"]: one["value"] for one in program["environment"]}
    secret = {one["name"]: "s" * 64 for one in program["secrets"]}
    assert not plain.keys() & secret.keys()
    return plain | secret


def configuration_files() -> list[Path]:
    return sorted(CONFIGURATION.rglob("*.tf"))
