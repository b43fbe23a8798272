"""The services' images, built once by the real Pants in a scratch copy, under names of their own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.containers.base_image import base_image
from tests.containers.engine import DockerEngine, docker_engine
from tests.integration.monorepo.checkout import Checkout, scratch_checkout

SERVICES = ("course_catalog", "content_delivery", "progress_tracking")
WITHOUT_TESTS = ("3rdparty", "libs", "services", "deploy")


@dataclass(frozen=True)
class Built:
    """What `package` made: the scratch copy, and each service's image by its tag of the version."""

    engine: DockerEngine
    base: str
    checkout: Checkout
    images: dict[str, str]

    def layers(self, image: str) -> list[str]:
        """The digests of an image's layers, the base's first."""
        shown = self.engine.run("image", "inspect", "--format", "{{json .RootFS.Layers}}", image)
        return list(json.loads(shown))


def tags_of(root: Path, service: str) -> dict[str, str]:
    """What `package` says that it tagged: templates, such as `0.3.0-{pants.hash}`, and full names."""
    written = json.loads((root / f"dist/services.{service}/image.docker-info.json").read_text())
    (registry,) = written["registries"]
    return {tag["template"]: tag["name"] for tag in registry["tags"]}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    engine = docker_engine("the services' images are not built")
    base = base_image(engine)
    # Not the names that a developer's own images have.
    repository = f"lyceum-test-{uuid.uuid4().hex[:8]}"
    with scratch_checkout(tmp_path_factory.mktemp("images"), WITHOUT_TESTS) as checkout:
        checkout.edit(
            "deploy/pants/service.prelude", 'f"lyceum/{name}"', f'f"{repository}/{{name}}"'
        )
        try:
            done = checkout.pants("package", "services::", timeout=600, BASE_IMAGE=base)
            assert done.returncode == 0, done.stderr
            images = {}
            for service in SERVICES:
                tags = tags_of(checkout.root, service).values()
                (images[service],) = (tag for tag in tags if "-" not in tag.rpartition(":")[2])
            yield Built(engine, base, checkout, images)
        finally:
            # Those of tests that built anew included.
            listed = engine.run(
                "image", "ls", f"--filter=reference={repository}/*",
                "--format={{.Repository}}:{{.Tag}}",
            )  # fmt: skip
            if listed:
                engine.run("image", "rm", *listed.split())
