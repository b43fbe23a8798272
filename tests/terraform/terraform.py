"""Terraform as a program, on a copy of the configuration that is led to an emulator.

Nothing of the configuration is changed: two override files, as Terraform has them for this, say where
state is kept and how the emulator wants buckets to be named. Knows nothing of what is configured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local._environment import REPOSITORY_ROOT

PLUGINS = "LYCEUM_TERRAFORM_PLUGINS"
"""Names a folder that providers are installed from, for machines that reach no registry."""

# What the configuration reads from elsewhere.
_READ = (
    *("services/**/openapi.yaml", "services/**/table.json", "services/**/policy.json"),
    *("deploy/local/policies/*.json", "deploy/migration/*.json"),
)

_OVERRIDES = """\
terraform {
  backend "local" {}
}
provider "aws" {
  s3_use_path_style = true
  max_retries       = 2
}
"""

Resource = Mapping[str, Any]


class TerraformError(Exception):
    """Terraform ended with an error; the text is what it said."""


class TerraformMissing(Exception):  # noqa: N818 - a reason to skip, not an error
    """Terraform or the provider is not here; one line says which."""


@dataclass(frozen=True)
class Plan:
    """A plan: what it would change, and everything as it would be."""

    document: Mapping[str, Any]

    @property
    def changes(self) -> dict[str, tuple[str, ...]]:
        """The actions on each resource that is not left as it is."""
        return {
            change["address"]: tuple(change["change"]["actions"])
            for change in self.document.get("resource_changes", ())
            if change["change"]["actions"] not in (["no-op"], ["read"])
        }

    @property
    def resources(self) -> list[Resource]:
        return list(_resources(self.document["planned_values"]["root_module"]))


class Terraform:
    """Terraform in a folder of its own, with the state `state`."""

    def __init__(self, folder: Path, endpoint_url: str) -> None:
        self._root = folder / "deploy" / "terraform"
        self._folder = folder
        program = shutil.which("terraform")
        if program is None:
            raise TerraformMissing("terraform is not on PATH")
        self._program = program
        self._variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "TF_")) and name in {"PATH", "HOME", "TMPDIR"}
        } | {
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_ACCESS_KEY_ID": "moto",
            "AWS_SECRET_ACCESS_KEY": "moto",
            "AWS_EC2_METADATA_DISABLED": "true",
            # A quarter of what they computed was collecting garbage, and a run this short leaves little.
            "GOGC": "1000",
            "GOMEMLIMIT": "1500MiB",
            "CHECKPOINT_DISABLE": "1",
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            # Else the user's own file, or a warning at each call where it is named and missing.
            "TF_CLI_CONFIG_FILE": str(self._settings()),
            "TF_DATA_DIR": str(folder / "data"),
        }
        self._copy()

    def install(self) -> None:
        """`terraform init`; raises TerraformMissing where the provider can not be had."""
        try:
            self.run("init", "-lockfile=readonly")
        except TerraformError as error:
            where = os.environ.get(PLUGINS) or "Terraform's registry"
            raise TerraformMissing(f"the AWS provider is not to be had from {where}") from error

    def run(self, *arguments: str) -> str:
        """Standard output; raises TerraformError."""
        finished = self.finished(*arguments)
        if finished.returncode:
            raise TerraformError(f"terraform {arguments[0]}: {finished.stderr or finished.stdout}")
        return finished.stdout

    def finished(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The finished process, however it ended."""
        return subprocess.run(
            [self._program, *arguments, *(["-no-color"] if arguments[0] != "fmt" else [])],
            cwd=self._root,
            env=self._variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def plan(
        self, variables: Sequence[str], *, state: str = "terraform.tfstate", refresh: bool = True
    ) -> Plan:
        """The plan with these `-var` and `-var-file` arguments; it stays there for `apply`. Without
        `refresh` it trusts the state for what there is."""
        options = (f"-state={state}", f"-refresh={str(refresh).lower()}", "-out=plan")
        self.run("plan", "-parallelism=20", *options, *variables)
        return Plan(json.loads(self.run("show", "-json", "plan")))

    def apply(self) -> None:
        """Apply the last plan."""
        self.run("apply", "-parallelism=20", "plan")

    def destroy(self, variables: Sequence[str]) -> None:
        self.run("destroy", "-auto-approve", "-parallelism=20", *variables)

    @property
    def resources(self) -> list[Resource]:
        """Everything there is, as the state has it."""
        values = json.loads(self.run("show", "-json")).get("values", {})
        return list(_resources(values.get("root_module", {})))

    def _settings(self) -> Path:
        path = self._folder / "terraform.rc"
        mirror = os.environ.get(PLUGINS)
        path.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
            if mirror
            else ""
        )
        return path

    def _copy(self) -> None:
        shutil.copytree(REPOSITORY_ROOT / "deploy" / "terraform", self._root)
        for pattern in _READ:
            for path in sorted(REPOSITORY_ROOT.glob(pattern)):
                copy = self._folder / path.relative_to(REPOSITORY_ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
        (self._root / "emulator_override.tf").write_text(_OVERRIDES)


def _resources(module: Mapping[str, Any]) -> Iterator[Resource]:
    yield from module.get("resources", ())
    for child in module.get("child_modules", ()):
        yield from _resources(child)
