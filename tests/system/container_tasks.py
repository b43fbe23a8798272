"""The containers of a running platform, as the engine knows them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local._state import StateFolder
from tests.containers.engine import DockerEngine

# lyceum-<family>-<task id>-<container's name, which is its family's>
_NAME = re.compile(r"/lyceum-(?P<family>[a-z_-]+)-(?P<task>[0-9a-f]{32})-(?P=family)")


@dataclass(frozen=True)
class TaskContainer:
    """A container of a task."""

    id: str
    family: str
    task: str
    inspected: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        pairs = (entry.partition("=") for entry in self.inspected["Config"]["Env"])
        return {name: value for name, _, value in pairs}


def container_ids(engine: DockerEngine, state: Path) -> list[str]:
    """The ids of all containers of the platform on this state folder, running or not."""
    label = f"lyceum.platform={StateFolder(state).id}"
    return engine.run("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}").split()


def task_containers(engine: DockerEngine, state: Path) -> list[TaskContainer]:
    """The same, looked at."""
    ids = container_ids(engine, state)
    found = []
    for inspected in json.loads(engine.run("inspect", *ids)) if ids else []:
        name = _NAME.fullmatch(inspected["Name"])
        assert name is not None, inspected["Name"]
        assert inspected["Config"]["Labels"]["lyceum.task"] == name["task"]
        found.append(TaskContainer(inspected["Id"], name["family"], name["task"], inspected))
    return found
