"""What the gateway routes where: read from one JSON file, so that a running gateway can be told to
read it again.

::

    {"services": {"course_catalog": {
        "contract": "/…/services/course_catalog/openapi.yaml",
        "stage": {"variables": {"target": "127.0.0.1:41001"},
                  "canarySettings": {"percentTraffic": 10,
                                     "stageVariableOverrides": {"target": "127.0.0.1:41009"}}}}}}

Where the gateway follows an API Gateway (`_control_plane.py`), a stage in the file is what it begins
with, and the API's is what holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from deploy.local._gateway._stage import Stage

_STRICT = ConfigDict(strict=True, extra="forbid")


class GatewayConfigurationError(Exception):
    """The configuration file or a contract it names can not be used; says why in one line."""


@dataclass(frozen=True)
class ServiceRoutes:
    """A service: the path templates of its contract, and where its stage leads."""

    templates: tuple[str, ...]
    stage: Stage


class _Service(BaseModel):
    model_config = _STRICT
    contract: str
    stage: Stage


class _File(BaseModel):
    model_config = _STRICT
    services: dict[str, _Service]


def read_configuration(path: Path) -> dict[str, ServiceRoutes]:
    """The services by name.

    Raises:
        GatewayConfigurationError: the file or a contract is missing or malformed.
    """
    try:
        content = _File.model_validate_json(path.read_bytes())
        return {
            name: ServiceRoutes(_path_templates(Path(service.contract)), service.stage)
            for name, service in content.services.items()
        }
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise GatewayConfigurationError(f"{path}: {error}") from error


def write_configuration(path: Path, services: Mapping[str, tuple[Path, Stage]]) -> None:
    """Writes ``services`` (contract and stage by name) in one step: a reader never sees a half."""
    content = _File(
        services={
            name: _Service(contract=str(contract), stage=stage)
            for name, (contract, stage) in services.items()
        }
    )
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(content.model_dump(mode="json"), indent=2) + "\n")
    os.replace(new, path)


class _Contract(BaseModel):
    """Only what the gateway reads of an OpenAPI document."""

    paths: dict[str, object]


# The C loader is ten times as fast; PyYAML may have been built without it.
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _path_templates(contract: Path) -> tuple[str, ...]:
    document = yaml.load(contract.read_bytes(), Loader=_Loader)  # noqa: S506 - a safe loader
    return tuple(TypeAdapter(_Contract).validate_python(document).paths)
