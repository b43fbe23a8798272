"""What the gateway routes where: read from one JSON file, so that a running gateway can be told to
read it again (a canary step is a new weight in that file).

::

    {"services": {"course_catalog": {
        "contract": "/…/services/course_catalog/openapi.yaml",
        "targets": [{"name": "stable", "url": "http://127.0.0.1:41001", "weight": 90},
                    {"name": "canary", "url": "http://127.0.0.1:41009", "weight": 10}]}}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated_dataclass

_STRICT = ConfigDict(strict=True, extra="forbid")


class GatewayConfigurationError(Exception):
    """The configuration file or a contract it names can not be used; says why in one line."""


@validated_dataclass(frozen=True, config=_STRICT)
class Target:
    """One deployment of a service and its share of the traffic.

    A service's weights need not add up to anything; a target of weight 0 gets no request.
    """

    name: Annotated[str, Field(min_length=1)]
    url: Annotated[str, Field(pattern=r"^http://[A-Za-z0-9.-]+:[0-9]{1,5}$")]
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=False)]


@dataclass(frozen=True)
class ServiceRoutes:
    """A service: the path templates of its contract, and its targets."""

    templates: tuple[str, ...]
    targets: tuple[Target, ...]


class _Service(BaseModel):
    model_config = _STRICT
    contract: str
    targets: list[Target]


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
            name: ServiceRoutes(_path_templates(Path(service.contract)), tuple(service.targets))
            for name, service in content.services.items()
        }
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise GatewayConfigurationError(f"{path}: {error}") from error


def write_configuration(path: Path, services: Mapping[str, tuple[Path, Sequence[Target]]]) -> None:
    """Writes ``services`` (contract and targets by name) in one step: a reader never sees a half."""
    content = _File(
        services={
            name: _Service(contract=str(contract), targets=list(targets))
            for name, (contract, targets) in services.items()
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
