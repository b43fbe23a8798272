"""The caller, and the one table that turns scopes and groups into permissions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

PERMISSIONS = frozenset({"catalog:write", "content:write", "progress:any"})
"""Every permission there is."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose access token was verified. ``subject`` is the user's id (``sub``)."""

    subject: str
    username: str | None
    groups: frozenset[str]
    scopes: frozenset[str]
    permissions: frozenset[str]

    def can(self, permission: str) -> bool:
        """Whether the caller holds the permission, such as ``catalog:write``."""
        return permission in self.permissions


class InvalidPermissionTableError(ValueError):
    """Every problem of a permission table; ``str()`` gives one problem a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class PermissionTable:
    """Which permissions a scope or a Cognito group grants; what is not named grants nothing."""

    by_scope: Mapping[str, frozenset[str]]
    by_group: Mapping[str, frozenset[str]]

    def __post_init__(self) -> None:
        # Copies, so that no caller can widen a table that is in use.
        for field in ("by_scope", "by_group"):
            frozen = {name: frozenset(granted) for name, granted in getattr(self, field).items()}
            object.__setattr__(self, field, MappingProxyType(frozen))

    def permissions(self, *, scopes: Iterable[str], groups: Iterable[str]) -> frozenset[str]:
        """The union of what the scopes and the groups grant."""
        nothing: frozenset[str] = frozenset()
        return nothing.union(
            *(self.by_scope.get(scope, nothing) for scope in scopes),
            *(self.by_group.get(group, nothing) for group in groups),
        )

    @classmethod
    def from_json(cls, document: object) -> PermissionTable:
        """Read ``{"scopes": {name: [permission]}, "groups": {name: [permission]}}``.

        Both members are optional. Raises InvalidPermissionTableError with every problem.
        """
        if not isinstance(document, dict):
            raise InvalidPermissionTableError(["the table must be an object"])
        problems = [
            f"unknown member {member!r}: there are scopes and groups"
            for member in document
            if member not in ("scopes", "groups")
        ]
        by_scope = _grants(document.get("scopes", {}), "scopes", problems)
        by_group = _grants(document.get("groups", {}), "groups", problems)
        if problems:
            raise InvalidPermissionTableError(problems)
        return cls(by_scope=by_scope, by_group=by_group)


def _grants(value: object, member: str, problems: list[str]) -> dict[str, frozenset[str]]:
    grants: dict[str, frozenset[str]] = {}
    if not isinstance(value, dict):
        problems.append(f"{member} must be an object")
        return grants
    for name, permissions in value.items():
        if not isinstance(permissions, list):
            problems.append(f"{member}.{name!r} must be a list of permissions")
            continue
        unknown = [entry for entry in permissions if entry not in _KNOWN]
        problems += [f"{member}.{name!r} grants unknown {entry!r}" for entry in unknown]
        grants[name] = frozenset(entry for entry in permissions if entry in _KNOWN)
    return grants


# A tuple, not a set: entries of a JSON document need not be hashable.
_KNOWN = tuple(sorted(PERMISSIONS))

DEFAULT_PERMISSIONS = PermissionTable(
    by_scope={
        "catalog/write": frozenset({"catalog:write"}),
        "content/write": frozenset({"content:write"}),
        "progress/any": frozenset({"progress:any"}),
    },
    by_group={
        "authors": frozenset({"catalog:write", "content:write"}),
        "staff": frozenset({"catalog:write", "content:write", "progress:any"}),
    },
)
