"""The question `changed` answers: reads the revisions, compares, one service after another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from deploy.release._changes import Change, compare, last_release
from deploy.release._content import Contents
from deploy.release._errors import ReleaseError
from deploy.release._git import Git
from deploy.release._inventory import Inventory
from deploy.release._services import SERVICES, Service, is_released_in, version_in


def changes(
    root: Path,
    since: str | None,
    *,
    services: Sequence[Service] | None = None,
    inventory: Inventory | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Change]:
    """What became of each service since a revision, or since its own last release.

    Compared with the files as they lie in `root`, committed or not. Raises ReleaseError.
    """
    git = Git(root)
    inventory = inventory or Inventory(root, git)
    services = list(services or SERVICES.values())
    named = git.resolve(since) if since is not None else None
    git.resolve("HEAD")
    commits = {service.name: named or last_release(git, service) for service in services}
    tell("looking at the files here")
    now = inventory.here()
    before: dict[str, Contents] = {}
    for commit in dict.fromkeys(found for found in commits.values() if found):
        tell(f"looking at {commit[:12]}")
        before[commit] = inventory.at(commit)
    packages: dict[str, frozenset[str]] = {}

    def distributions_of(service: Service) -> Collection[str]:
        if not packages:
            tell("asking which third-party packages are inside")
            packages.update(inventory.distributions(services))
        return packages[service.name]

    found = []
    for service in services:
        if service.name not in now.images:
            raise ReleaseError(f"{service.build} is missing, or makes no image")
        since_commit = commits[service.name]
        found.append(
            compare(
                service,
                since_commit,
                before.get(since_commit) if since_commit else None,
                now,
                changelog=_text(root / service.changelog),
                distributions=partial(distributions_of, service),
                released_before=_is_release(git, since_commit, service),
            )
        )
    return found


def _is_release(git: Git, commit: str | None, service: Service) -> bool:
    if commit is None:
        return False
    version = version_in(git.text(commit, service.build) or "")
    return version is not None and is_released_in(version, git.text(commit, service.changelog))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
