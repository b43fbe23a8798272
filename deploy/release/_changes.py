"""What was changed since a service's last release, and what must be released.

Owns two decisions. What the last release is: a version is released by the first commit that has
both, the version in the service's BUILD file and a heading of it in the changelog that does not
say ``(unreleased)``; looked for along the first parents of HEAD. And what follows from a change:
content that is not as at the release of the version that it still has, is an error, because two
images would have one version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

from deploy.release._content import Content, Contents
from deploy.release._errors import ReleaseError
from deploy.release._git import Git
from deploy.release._services import Service, heading_of, is_released_in, version_in


class State(StrEnum):
    """What is to be done about a service."""

    UNCHANGED = "unchanged"
    MUST_BE_RELEASED = "must be released"
    MUST_BE_BUMPED = "must be bumped"


@dataclass(frozen=True)
class Change:
    """What became of one service since a revision.

    Args:
        service: which.
        version: the one it has now.
        since: the commit that it is compared with; None where it was never released.
        since_version: the version there; None where it had none.
        reasons: what is not as there, a line each.
        problems: what must be set right before it can be released.
    """

    service: Service
    version: str
    since: str | None
    since_version: str | None
    reasons: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())

    @property
    def state(self) -> State:
        if self.problems:
            return State.MUST_BE_BUMPED
        if self.reasons or self.since is None:
            return State.MUST_BE_RELEASED
        return State.UNCHANGED


def last_release(git: Git, service: Service) -> str | None:
    """The commit of a service's last release; None where it has none. Raises ReleaseError."""
    commits = git.commits([service.build, service.changelog], first_parent=True)
    released: tuple[str, str] | None = None  # version, commit
    for commit in commits:
        version = version_in(git.text(commit.sha, service.build) or "")
        is_released = version is not None and is_released_in(
            version, git.text(commit.sha, service.changelog)
        )
        if released is None and is_released and version is not None:
            released = (version, commit.sha)
        elif released is not None:
            if not is_released or version != released[0]:
                return released[1]
            released = (released[0], commit.sha)
    if git.is_shallow():
        raise ReleaseError(
            f"{service.name}: this clone is shallow and ends before the last release;"
            " git fetch --unshallow, or name a revision with --since"
        )
    return released[1] if released else None


def compare(
    service: Service,
    since: str | None,
    before: Contents | None,
    now: Contents,
    *,
    changelog: str | None,
    distributions: Callable[[], Collection[str]],
    released_before: bool,
) -> Change:
    """What became of a service.

    Args:
        service: which.
        since: the commit of `before`.
        before: the contents there; None where it was never released.
        now: the contents as they lie there.
        changelog: the service's, now.
        distributions: the third-party packages of its image, asked for only if it matters.
        released_before: whether `since` is a release, so that its version is taken.
    """
    image = now.images[service.name]
    old = before.images.get(service.name) if before else None
    reasons = _reasons(old, image) if old else []
    if before is not None and old is not None and before.locked != now.locked:
        reasons += _locked_reasons(before, now, distributions())
    problems = []
    same_version = old is not None and old.version == image.version
    if reasons and same_version and released_before:
        problems.append(
            f"its version {image.version} was already released: bump it in {service.build}"
            f" and write {service.changelog}"
        )
    if old is not None and not same_version:
        reasons.insert(0, f"version {old.version} → {image.version}")
    if (
        not problems
        and (reasons or old is None)
        and heading_of(image.version, changelog or "") is None
    ):
        problems.append(f"{service.changelog} has no heading of {image.version}: write it")
    return Change(
        service=service,
        version=image.version,
        since=since if old else None,
        since_version=old.version if old else None,
        reasons=tuple(reasons),
        problems=tuple(problems),
    )


def _reasons(old: Content, new: Content) -> list[str]:
    reasons = []
    for name in sorted(old.parts.keys() | new.parts.keys()):
        before, after = old.parts.get(name), new.parts.get(name)
        if before == after:
            continue
        kind, _, what = name.partition(" ")
        if kind == "file":
            how = (
                "is new in it" if before is None else "is no longer in it" if after is None else ""
            )
            reasons.append(f"{what} {how}".rstrip())
        elif kind == "field":
            address, _, key = what.rpartition(" ")
            if not _is_one_sided(address, old, new):
                reasons.append(f"{address} {key}: {_difference(before, after)}")
        elif kind == "requirement":
            reasons.append(f"requirement {what}: {_value(before)} → {_value(after)}")
        else:
            reasons.append(f"{name}: {_short(before)} → {_short(after)}")
    for address in sorted(_addresses(new) - _addresses(old)):
        reasons.append(f"{address} is new")
    for address in sorted(_addresses(old) - _addresses(new)):
        reasons.append(f"{address} is gone")
    return reasons


def _difference(before: str | None, after: str | None) -> str:
    """How a field was changed; of a list, such as a Dockerfile's lines, what is not in both."""
    was, is_now = (json.loads(value) if value else None for value in (before, after))
    if isinstance(was, list) and isinstance(is_now, list):
        gone = [f"-{item}" for item in was if item not in is_now]
        new = [f"+{item}" for item in is_now if item not in was]
        shown = [*gone, *new]
        if not shown:
            return "in another order"
        more = [f"… and {len(shown) - 4} more"] if len(shown) > 4 else []
        return ", ".join([*shown[:4], *more])
    return f"{_value(before)} → {_value(after)}"


def _value(value: str | None) -> str:
    text = "unset" if value is None else value
    return text if len(text) <= 80 else f"{text[:77]}…"


def _addresses(content: Content) -> set[str]:
    """Targets that are not simply a file: packages and images."""
    files = {name.partition(" ")[2] for name in content.parts if name.startswith("file ")}
    targets = {
        name.partition(" ")[2].rpartition(" ")[0]
        for name in content.parts
        if name.startswith("field ")
    }
    return {target for target in targets if target.split(":")[0] not in files}


def _is_one_sided(address: str, old: Content, new: Content) -> bool:
    """Whether a target is in one of the two only: it is then told once, not for each field."""
    return any(
        not any(name.startswith(f"field {address} ") for name in content.parts)
        for content in (old, new)
    )


def _locked_reasons(before: Contents, now: Contents, inside: Collection[str]) -> list[str]:
    reasons = []
    for name in sorted(inside):
        was, is_now = before.locked.get(name), now.locked.get(name)
        if was != is_now:
            same = _short(was) == _short(is_now)
            how = f"other files of {_short(was)}" if same else f"{_short(was)} → {_short(is_now)}"
            reasons.append(f"lock: {how}")
    return reasons


def _short(entry: str | None) -> str:
    return "none" if entry is None else entry.split(" --hash")[0]
