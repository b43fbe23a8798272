"""Scopes and groups become permissions by one table, read strictly."""

from __future__ import annotations

import pytest

from libs.auth import (
    DEFAULT_PERMISSIONS,
    PERMISSIONS,
    InvalidPermissionTableError,
    PermissionTable,
)


def test_the_default_table() -> None:
    grants = DEFAULT_PERMISSIONS.permissions
    assert grants(scopes=[], groups=["authors"]) == {"catalog:write", "content:write"}
    assert grants(scopes=[], groups=["staff"]) == PERMISSIONS
    assert grants(scopes=["catalog/write"], groups=[]) == {"catalog:write"}
    assert grants(scopes=["content/write"], groups=[]) == {"content:write"}
    assert grants(scopes=["progress/any"], groups=[]) == {"progress:any"}
    assert grants(scopes=["openid", "catalog/read"], groups=["learners"]) == frozenset()


def test_a_table_is_read_from_json() -> None:
    table = PermissionTable.from_json(
        {"scopes": {"editor": ["catalog:write"]}, "groups": {"support": ["progress:any"]}}
    )
    assert table.permissions(scopes=["editor"], groups=["support"]) == {
        "catalog:write",
        "progress:any",
    }
    assert PermissionTable.from_json({}).permissions(scopes=["a"], groups=["b"]) == frozenset()


def test_every_problem_of_a_table_is_reported_at_once() -> None:
    with pytest.raises(InvalidPermissionTableError) as refused:
        PermissionTable.from_json(
            {
                "scopes": {"a": "catalog:write", "b": ["catalog:wirte", 1, ["x"]]},
                "groups": [],
                "roles": {},
            }
        )
    assert refused.value.problems == (
        "unknown member 'roles': there are scopes and groups",
        "scopes.'a' must be a list of permissions",
        "scopes.'b' grants unknown 'catalog:wirte'",
        "scopes.'b' grants unknown 1",
        "scopes.'b' grants unknown ['x']",
        "groups must be an object",
    )


@pytest.mark.parametrize("document", [None, [], "staff", 1])
def test_a_table_is_an_object(document: object) -> None:
    with pytest.raises(InvalidPermissionTableError, match="object"):
        PermissionTable.from_json(document)


def test_a_table_in_use_cannot_be_widened() -> None:
    source = {"staff": frozenset({"catalog:write"})}
    table = PermissionTable(by_scope={}, by_group=source)
    source["everyone"] = PERMISSIONS
    assert table.permissions(scopes=[], groups=["everyone"]) == frozenset()
    with pytest.raises(TypeError):
        table.by_group["everyone"] = PERMISSIONS  # type: ignore[index]
