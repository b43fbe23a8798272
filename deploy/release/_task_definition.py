"""A task definition with another image, and nothing else changed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.release._ecs import TaskDefinition
from deploy.release._errors import ReleaseError

PREVIOUS_TAG = "lyceum:previous"
"""Of a task definition: the one that it took the place of, which a roll-back goes to."""
VERSION_TAG = "lyceum:version"
"""Of a task definition: the version of the image that it runs."""


@dataclass(frozen=True)
class Image:
    """What a container names as its image. `digest` is "" where it names a tag."""

    host: str
    path: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        return f"{self.host}/{self.path}" if self.host else self.path


def image_of(reference: str) -> Image:
    """An image reference in its parts."""
    name, _, digest = reference.partition("@")
    first, slash, rest = name.partition("/")
    # As Docker tells a host from the first part of a path.
    has_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    host, path = (first, rest) if has_host else ("", name)
    path, _, tag = path.partition(":")
    return Image(host, path, tag, digest)


def main_container(definition: TaskDefinition) -> Mapping[str, Any]:
    """The container named as its family. Raises ReleaseError where there is none."""
    for container in definition.document["containerDefinitions"]:
        if container["name"] == definition.family:
            found: Mapping[str, Any] = container
            return found
    raise ReleaseError(f"{definition.name} has no container named {definition.family}")


def with_image(definition: TaskDefinition, image: str) -> dict[str, Any]:
    """What to register: the main container runs `image`, and so does whatever ran the same one."""
    before = main_container(definition)["image"]
    return {
        **definition.document,
        "containerDefinitions": [
            {**container, "image": image} if container["image"] == before else container
            for container in definition.document["containerDefinitions"]
        ],
    }


def difference(definition: TaskDefinition, document: Mapping[str, Any]) -> list[str]:
    """The lines of a unified diff between a task definition and what is to be registered."""
    before, after = (
        json.dumps(one, indent=2, sort_keys=True, ensure_ascii=False, default=str).splitlines()
        for one in (definition.document, document)
    )
    lines = difflib.unified_diff(
        before, after, definition.name, f"{definition.family}: new revision", lineterm="", n=2
    )
    return list(lines)
