"""A service's own contract, read where it lies: beside the service's code, in its image too."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files


def read_contract(package: str) -> Mapping[str, object]:
    """`openapi.yaml` of `package`, such as `services.course_catalog`, as a plain value."""
    # Not at the top: most processes end without having been asked for their contract.
    import yaml

    # libyaml's parser, in every wheel of PyYAML: the one in Python takes ten times as long.
    loader: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files(package).joinpath("openapi.yaml").read_text("utf-8")
    document: Mapping[str, object] = yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader
    return document
