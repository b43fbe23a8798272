"""The services whose images these are: names, prefixes of their variables, versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

PREFIXES: Mapping[str, str] = {
    "course_catalog": "CATALOG_",
    "content_delivery": "CONTENT_",
    "progress_tracking": "PROGRESS_",
}
"""Each service, and the prefix of its variables."""

ROOT = Path(__file__).parents[2]
_VERSION = re.compile(r'\bservice\(\s*version="([0-9]+\.[0-9]+\.[0-9]+)"')


def version_of(service: str) -> str:
    """The version in the service's BUILD file. Raises ValueError if there is none."""
    found = _VERSION.search((ROOT / "services" / service / "BUILD").read_text())
    if found is None:
        raise ValueError(f"services/{service}/BUILD has no version")
    return found[1]


def image_of(service: str) -> str:
    """What `./pantsw package services/<service>:image` calls the image."""
    return f"lyceum/{service}:{version_of(service)}"
