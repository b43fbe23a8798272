"""Finds the images that were packaged for a test, by what Pants writes beside them.

A test that names `services/<name>:image` among its `runtime_package_dependencies` has the file in its
working folder; outside of Pants, `dist/` has it once `./pantsw package services/<name>:image` has run.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.containers.engine import DockerEngine, DockerError


def packaged_image(engine: DockerEngine, service: str) -> str:
    """The id of the service's image; raises FileNotFoundError or DockerError with what to do."""
    written = f"services.{service}/image.docker-info.json"
    again = f"run: ./pantsw package services/{service}:image"
    for folder in (Path(), Path("dist")):
        path = folder / written
        if path.is_file():
            name = content_tag(path)
            try:
                return engine.run("image", "inspect", "--format", "{{.Id}}", name)
            except DockerError:
                raise DockerError(f"the engine has lost {name}; {again}") from None
    raise FileNotFoundError(f"{written} is missing; {again}")


def content_tag(written: Path) -> str:
    """Of what Pants wrote beside an image, the name that no other content has."""
    info = json.loads(written.read_bytes())
    (name,) = (
        str(tag["name"])
        for registry in info["registries"]
        for tag in registry["tags"]
        if "-" in tag["tag"]
    )
    return name
