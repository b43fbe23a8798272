"""The three contracts as one: what the monolith serves as its own `/openapi.json`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from libs.service import read_contract

SERVICES: Final = ("course_catalog", "content_delivery", "progress_tracking")


@cache
def contract() -> Mapping[str, object]:
    """Every path of the three. Components of one name that say something else in another contract
    get the service's name before their own."""
    merged: dict[str, Any] = {"openapi": "3.0.3", "paths": {}, "components": {}}
    merged["info"] = {"title": "Lyceum, the monolith", "version": "1"}
    for service in SERVICES:
        document: Mapping[str, Any] = read_contract(f"services.{service}")
        renamed = _renamed(document, merged["components"], service)
        for kind, components in document.get("components", {}).items():
            kept = merged["components"].setdefault(kind, {})
            for name, component in components.items():
                kept[renamed.get((kind, name), name)] = _rewritten(component, renamed)
        for path, item in document["paths"].items():
            merged["paths"].setdefault(path, _rewritten(item, renamed))
        merged.setdefault("security", document.get("security", []))
    return merged


def _renamed(
    document: Mapping[str, Any], known: Mapping[str, Any], service: str
) -> dict[tuple[str, str], str]:
    """New names of the components that would be mistaken for another service's."""
    return {
        (kind, name): f"{service}_{name}"
        for kind, components in document.get("components", {}).items()
        for name, component in components.items()
        if known.get(kind, {}).get(name, component) != component
    }


def _rewritten(node: Any, renamed: Mapping[tuple[str, str], str]) -> Any:
    if isinstance(node, list):
        return [_rewritten(member, renamed) for member in node]
    if not isinstance(node, dict):
        return node
    rewritten = {key: _rewritten(member, renamed) for key, member in node.items()}
    reference = rewritten.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/components/"):
        _, _, kind, name = reference.split("/")
        rewritten["$ref"] = f"#/components/{kind}/{renamed.get((kind, name), name)}"
    return rewritten
