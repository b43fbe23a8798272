"""The services whose images these are: names, prefixes of their variables, versions, and how a command
is told which of them."""

from __future__ import annotations

import argparse
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


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """`SERVICE…` and `--image`, as every command on images takes them."""
    parser.add_argument("services", metavar="SERVICE", nargs="*", help=f"of {', '.join(PREFIXES)}")
    parser.add_argument("--image", metavar="REFERENCE", help="the image of the one service named")


def parse_with_services(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> argparse.Namespace:
    """The options, `services` being all of them where none is named; exits with 2 if they are wrong."""
    options = parser.parse_args(arguments)
    for service in options.services:
        if service not in PREFIXES:
            parser.error(f"there is no service {service}; there are {', '.join(PREFIXES)}")
    if options.image and len(options.services) != 1:
        parser.error("--image needs exactly one SERVICE")
    options.services = options.services or list(PREFIXES)
    return options
