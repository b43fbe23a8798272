"""The contract of the catalog's events, as both sides are held against it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

_FILE = Path(__file__).parents[2] / "services" / "course_catalog" / "events.yaml"

# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
LARGEST_MESSAGE_BYTES = 256 * 1024


def contract() -> Mapping[str, Any]:
    """`events.yaml`."""
    document: Mapping[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return document


def examples() -> dict[str, Mapping[str, Any]]:
    """The payloads that the contract shows, by name."""
    message = contract()["components"]["messages"]["OutlineChanged"]
    return {example["name"]: example["payload"] for example in message["examples"]}


def violations(record: object) -> list[str]:
    """What of a record is not as the contract says."""
    schema = {**contract(), "$ref": "#/components/schemas/OutlineRecord"}
    return [error.message for error in Draft202012Validator(schema).iter_errors(record)]


def without_each_member(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The record without one of its members, for each member at any depth, with its path."""
    for path in _paths(record):
        copy = json.loads(json.dumps(record))
        holder = copy
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
        yield "/".join(map(str, path)), copy


def _paths(value: object) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield (name,)
            yield from ((name, *rest) for rest in _paths(member))
    elif isinstance(value, list):
        for place, member in enumerate(value):
            yield from ((place, *rest) for rest in _paths(member))
