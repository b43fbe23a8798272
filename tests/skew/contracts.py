"""Which requests and promises of which release's contracts are to be kept by the other.

Owns the reading: a release's contracts are its `openapi.yaml` files and its consumers' pact files. Knows
no running service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.contract.consumers.pact import Interaction, Pact, load
from tests.contract.openapi import Contract, Promise

GROUPS: Mapping[str, tuple[str, ...]] = {"course_import": ("authors",), "learner_app": ()}
"""The groups of each consumer's user."""


@dataclass(frozen=True)
class Contracts:
    """Those of one release: what its consumers need, and what its services promise."""

    pacts: tuple[Pact, ...]
    documents: Mapping[str, Contract]

    @classmethod
    def of(cls, root: Path, scratch: Path, services: Sequence[str]) -> Contracts:
        """Read them from the files of a revision; `scratch` is a folder for drafts."""
        documents = {}
        for service in services:
            text = (root / "services" / service / "openapi.yaml").read_text(encoding="utf-8")
            draft = scratch / f"{service}.yaml"
            draft.write_text(yaml.safe_dump(_open(yaml.safe_load(text))), encoding="utf-8")
            documents[service] = Contract(draft)
        found = sorted((root / "tests" / "contract" / "consumers").glob("*.json"))
        return cls(tuple(load(path) for path in found), documents)

    def interactions(self) -> Iterator[tuple[Pact, Interaction]]:
        """Every interaction that a consumer needs."""
        for pact in self.pacts:
            for interaction in pact.interactions.values():
                yield pact, interaction

    def promise(self, provider: str, interaction: Interaction) -> Promise | None:
        """What the provider documents of this interaction; None where it documents none of it."""
        method, path = interaction.request["method"], interaction.request["path"]
        documented = self.documents[provider].documented
        # Of templates that match, the one that names most of the path itself.
        templates = sorted(
            {
                promise.template
                for promise in documented
                if promise.method == method
                and re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", promise.template), path)
            },
            key=lambda template: template.count("{"),
        )
        promises = [
            Promise(method, template, interaction.response["status"]) for template in templates[:1]
        ]
        return next((promise for promise in promises if promise in documented), None)


def _open(schema: object) -> object:
    """The document without `additionalProperties: false`: another release may say more, and a
    consumer passes over what it does not know."""
    if isinstance(schema, dict):
        return {
            name: _open(member)
            for name, member in schema.items()
            if not (name == "additionalProperties" and member is False)
        }
    if isinstance(schema, list):
        return [_open(member) for member in schema]
    return schema
