"""Task definitions: what is read of them, what is refused, and the container each becomes.

A task definition that would reach beyond its task on AWS's Fargate, or that needs what is not here, is
refused when it is registered, not silently run without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MEBIBYTE = 2**20
_NANOSECONDS = 10**9
_PROCESSES = 512
_LOG_BYTES = "8m"
# What listens everywhere in a task of its own network listens on the task's address alone here.
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - it is what is taken away
_DEFAULT_STOP_SECONDS = 30
_MAXIMUM_STOP_SECONDS = 120  # Fargate's
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


class DefinitionError(Exception):
    """The task definition can not be run here; one line says all the reasons."""


@dataclass(frozen=True)
class HealthCheck:
    """A container's health check, as ECS runs it."""

    command: tuple[str, ...]
    interval_seconds: int = 30
    timeout_seconds: int = 5
    retries: int = 3
    start_period_seconds: int = 0


@dataclass(frozen=True)
class ContainerDefinition:
    """One container of a task definition."""

    name: str
    image: str
    essential: bool = True
    entry_point: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    user: str = ""
    read_only_root: bool = False
    dropped_capabilities: tuple[str, ...] = ()
    init_process: bool = False
    memory_mebibytes: int | None = None
    cpu_units: int = 0
    stop_seconds: int = _DEFAULT_STOP_SECONDS
    writable_paths: tuple[str, ...] = ()
    health_check: HealthCheck | None = None


@dataclass(frozen=True)
class TaskDefinition:
    """A revision of a task definition."""

    arn: str
    family: str
    revision: int
    containers: tuple[ContainerDefinition, ...]
    cpu: str = "256"
    memory: str = "512"

    @property
    def stop_seconds(self) -> int:
        """The longest stop time-out of its containers."""
        return max(container.stop_seconds for container in self.containers)


def refuse(document: Mapping[str, Any]) -> None:
    """Raises DefinitionError for a RegisterTaskDefinition request that can not be run here."""
    reasons = [*_task_reasons(document)]
    for container in document.get("containerDefinitions") or []:
        name = container.get("name", "")
        reasons += [f"container {name}: {reason}" for reason in _container_reasons(container)]
    if reasons:
        raise DefinitionError("; ".join(reasons))


def read_definition(document: Mapping[str, Any]) -> TaskDefinition:
    """Reads what DescribeTaskDefinition gives as `taskDefinition`."""
    volumes = {volume["name"] for volume in document.get("volumes") or []}
    return TaskDefinition(
        arn=document["taskDefinitionArn"],
        family=document["family"],
        revision=int(document["revision"]),
        containers=tuple(
            _read_container(container, volumes) for container in document["containerDefinitions"]
        ),
        cpu=str(document.get("cpu", "256")),
        memory=str(document.get("memory", "512")),
    )


def engine_configuration(
    definition: TaskDefinition,
    container: ContainerDefinition,
    *,
    image: str,
    image_environment: Mapping[str, str],
    address: str,
) -> dict[str, Any]:
    """The engine's configuration of a container that shares the host's network.

    Args:
        image: what is run, by digest where it comes from a registry.
        image_environment: the variables that the image itself sets.
        address: the task's own, which takes the place of 0.0.0.0 in every variable `…HOST`.
    """
    memory = container.memory_mebibytes or int(definition.memory)
    variables = {**image_environment, **dict(container.environment)}
    configuration: dict[str, Any] = {
        "Image": image,
        "Env": [
            f"{name}={_own_address(name, value, address)}" for name, value in variables.items()
        ],
        "User": container.user,
        "StopTimeout": container.stop_seconds,
        "HostConfig": {
            "NetworkMode": "host",
            "ReadonlyRootfs": container.read_only_root,
            "CapDrop": list(container.dropped_capabilities),
            "SecurityOpt": ["no-new-privileges"],
            "Privileged": False,
            "Init": container.init_process,
            "Memory": memory * _MEBIBYTE,
            "MemorySwap": memory * _MEBIBYTE,
            "CpuShares": container.cpu_units,
            "PidsLimit": _PROCESSES,
            "Tmpfs": {path: "rw,nosuid,nodev,mode=1777" for path in container.writable_paths},
            "RestartPolicy": {"Name": "no"},
            "LogConfig": {
                "Type": "json-file",
                "Config": {"max-size": _LOG_BYTES, "max-file": "2"},
            },
        },
        "Healthcheck": _engine_health_check(container.health_check),
    }
    if container.entry_point is not None:
        configuration["Entrypoint"] = list(container.entry_point)
    if container.command is not None:
        configuration["Cmd"] = list(container.command)
    return configuration


def _task_reasons(document: Mapping[str, Any]) -> list[str]:
    reasons = []
    if not _NAME.fullmatch(str(document.get("family", ""))):
        reasons.append("family: letters, digits, - and _ only")
    if document.get("networkMode", "awsvpc") not in ("awsvpc", "host"):
        reasons.append("networkMode must be awsvpc")
    for mode in ("pidMode", "ipcMode"):
        if document.get(mode) not in (None, "", "task"):
            reasons.append(f"{mode}: a task shares nothing with the host")
    for volume in document.get("volumes") or []:
        if set(volume) - {"name", "host"} or volume.get("host"):
            reasons.append(f"volume {volume.get('name')}: only empty volumes of the task's own")
    if not str(document.get("memory", "512")).isdigit():
        reasons.append("memory: MiB, as a number")
    return reasons


def _container_reasons(container: Mapping[str, Any]) -> list[str]:
    reasons = []
    linux = container.get("linuxParameters") or {}
    if not _NAME.fullmatch(str(container.get("name", ""))):
        reasons.append("name: letters, digits, - and _ only")
    if container.get("privileged"):
        reasons.append("privileged is not allowed")
    if (linux.get("capabilities") or {}).get("add"):
        reasons.append("linuxParameters.capabilities.add is not allowed")
    if set(linux) - {"capabilities", "initProcessEnabled"}:
        named = ", ".join(sorted(set(linux) - {"capabilities", "initProcessEnabled"}))
        reasons.append(f"linuxParameters: {named} is not supported here")
    for absent in ("secrets", "environmentFiles", "dependsOn", "links", "volumesFrom"):
        if container.get(absent):
            reasons.append(f"{absent} is not supported here")
    if not 0 <= int(container.get("stopTimeout", 0)) <= _MAXIMUM_STOP_SECONDS:
        reasons.append(f"stopTimeout: 0 to {_MAXIMUM_STOP_SECONDS} s")
    check = container.get("healthCheck")
    if check and check.get("command", [""])[0] not in ("CMD", "CMD-SHELL", "NONE"):
        reasons.append("healthCheck.command begins with CMD, CMD-SHELL or NONE")
    return reasons


def _read_container(container: Mapping[str, Any], volumes: set[str]) -> ContainerDefinition:
    linux = container.get("linuxParameters") or {}
    memory = container.get("memory")
    return ContainerDefinition(
        name=container["name"],
        image=container["image"],
        essential=bool(container.get("essential", True)),
        entry_point=_texts(container.get("entryPoint")),
        command=_texts(container.get("command")),
        environment=tuple(
            (variable["name"], variable["value"]) for variable in container.get("environment") or []
        ),
        user=str(container.get("user") or ""),
        read_only_root=bool(container.get("readonlyRootFilesystem")),
        dropped_capabilities=_texts((linux.get("capabilities") or {}).get("drop")) or (),
        init_process=bool(linux.get("initProcessEnabled")),
        memory_mebibytes=int(memory) if memory else None,
        cpu_units=int(container.get("cpu") or 0),
        # 0 means "not given" to ECS too.
        stop_seconds=int(container.get("stopTimeout") or _DEFAULT_STOP_SECONDS),
        writable_paths=tuple(
            mount["containerPath"]
            for mount in container.get("mountPoints") or []
            if mount.get("sourceVolume") in volumes
        ),
        health_check=_read_health_check(container.get("healthCheck")),
    )


def _read_health_check(check: Mapping[str, Any] | None) -> HealthCheck | None:
    if not check or check["command"][0] == "NONE":
        return None
    return HealthCheck(
        command=tuple(check["command"]),
        interval_seconds=int(check.get("interval") or 30),
        timeout_seconds=int(check.get("timeout") or 5),
        retries=int(check.get("retries") or 3),
        start_period_seconds=int(check.get("startPeriod") or 0),
    )


def _engine_health_check(check: HealthCheck | None) -> dict[str, Any]:
    if check is None:
        # ECS looks only at checks of the task definition, never at one of the image.
        return {"Test": ["NONE"]}
    return {
        "Test": list(check.command),
        "Interval": check.interval_seconds * _NANOSECONDS,
        "Timeout": check.timeout_seconds * _NANOSECONDS,
        "Retries": check.retries,
        "StartPeriod": check.start_period_seconds * _NANOSECONDS,
    }


def _own_address(name: str, value: str, address: str) -> str:
    return address if name.endswith("HOST") and value == _EVERYWHERE else value


def _texts(values: Sequence[Any] | None) -> tuple[str, ...] | None:
    return None if not values else tuple(str(value) for value in values)
