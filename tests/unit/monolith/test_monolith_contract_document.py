"""The one contract that the monolith serves has all that the three promise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from libs.service import read_contract
from tests.monolith.contract import SERVICES, contract


def resolved(document: Any, node: Any, depth: int = 0) -> Any:
    """A part of a document with what it refers to in the place of the references."""
    if isinstance(node, list):
        return [resolved(document, member, depth) for member in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = document
        for part in str(node["$ref"]).removeprefix("#/").split("/"):
            target = target[part]
        return resolved(document, target, depth + 1)
    return {key: resolved(document, member, depth) for key, member in node.items()}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for member in node:
            yield from references(member)
    elif isinstance(node, dict):
        for key, member in node.items():
            if key == "$ref":
                yield str(member)
            else:
                yield from references(member)


def test_it_is_a_valid_document_without_loose_ends() -> None:
    document: Any = contract()
    validate(document)
    assert all(resolved(document, {"$ref": reference}) for reference in set(references(document)))


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_says_the_same_as_in_its_services_contract(service: str) -> None:
    own: Any = read_contract(f"services.{service}")
    merged: Any = contract()
    for path, item in own["paths"].items():
        # Those that every service has are the first one's.
        if path in read_contract(f"services.{SERVICES[0]}")["paths"] and service != SERVICES[0]:  # type: ignore[operator]
            continue
        assert resolved(merged, merged["paths"][path]) == resolved(own, item), path
