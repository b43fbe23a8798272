"""The services that are released, and by which names the rest of the world knows them.

Reads their BUILD files and changelogs as text; imports nothing of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.release._errors import ReleaseError, raise_all

# The literal of the `service` macro (deploy/pants/service.prelude), the one place of a version.
_VERSION = re.compile(r'\bversion\s*=\s*"([^"]+)"')
_SEMANTIC = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


@dataclass(frozen=True)
class Service:
    """One service.

    Args:
        name: of its folder.
        prefix: of its environment variables.
        rollouts: the ECS services that run its image; each is named as its task definition's
            family and as that one's main container.
        listens: the one among them that answers requests.
    """

    name: str
    prefix: str
    rollouts: tuple[str, ...]

    @property
    def listens(self) -> str:
        return self.rollouts[0]

    @property
    def api(self) -> str:
        """The name of its REST API."""
        return f"lyceum-{self.name.replace('_', '-')}"

    @property
    def repository(self) -> str:
        """Of its images, in every registry."""
        return f"lyceum/{self.name}"

    @property
    def build(self) -> str:
        """Where its version stands."""
        return f"services/{self.name}/BUILD"

    @property
    def changelog(self) -> str:
        return f"services/{self.name}/CHANGELOG.md"


SERVICES = {
    service.name: service
    for service in (
        Service("course_catalog", "CATALOG_", ("course_catalog",)),
        Service("content_delivery", "CONTENT_", ("content_delivery",)),
        Service(
            "progress_tracking",
            "PROGRESS_",
            ("progress_tracking", "progress_tracking-consumer"),
        ),
    )
}


def services_named(names: Sequence[str]) -> list[Service]:
    """The services of these names, each once, in the order of `SERVICES`. Raises ReleaseError."""
    raise_all(
        f"there is no service {name!r}; there are {', '.join(SERVICES)}"
        for name in dict.fromkeys(names)
        if name not in SERVICES
    )
    return [service for service in SERVICES.values() if service.name in names]


def version_in(build: str) -> str | None:
    """The version that a BUILD file gives; None where there is none."""
    found = _VERSION.search(build)
    return found[1] if found and _SEMANTIC.fullmatch(found[1]) else None


def heading_of(version: str, changelog: str) -> str | None:
    """The rest of the changelog's heading of a version, such as ``(unreleased)``; None without."""
    found = re.search(
        rf"^##\s+\[?{re.escape(version)}(?![\w.])\]?(?P<rest>.*)$", changelog, re.MULTILINE
    )
    return found["rest"].strip() if found else None


def is_released_in(version: str, changelog: str | None) -> bool:
    """Whether the changelog takes a version for released: it has a heading that does not deny it."""
    heading = heading_of(version, changelog or "")
    return heading is not None and "unreleased" not in heading.lower()


def required_version(service: Service, build: str) -> str:
    """As `version_in`; raises ReleaseError where there is none."""
    version = version_in(build)
    if version is None:
        raise ReleaseError(f'{service.build} has no version="MAJOR.MINOR.PATCH"')
    return version
