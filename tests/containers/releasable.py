"""The services' images as `release build` leaves them, for tests that have what Pants packaged.

What `deploy/release` adds as the last step of a build is one of its own tests' business. Here the same
variables are added by an engine's build, which makes no layer: which content it is, and which commit.
"""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.release import SERVICES
from tests.containers.engine import DockerEngine
from tests.containers.packaged import packaged_image


@contextmanager
def releasable_images(engine: DockerEngine) -> Iterator[dict[str, str]]:
    """An image a service, by the service's name; those that had to be made are then taken away."""
    made: list[str] = []
    try:
        yield {service: _releasable(engine, service, made) for service in SERVICES}
    finally:
        for name in made:
            engine.run("image", "rm", "--no-prune", name)


def _releasable(engine: DockerEngine, service: str, made: list[str]) -> str:
    image, prefix = packaged_image(engine, service), SERVICES[service].prefix
    content = image.removeprefix("sha256:")
    # Names of this run alone: another removes its own at its end, maybe while this one goes on.
    run = uuid.uuid4().hex[:12]
    packaged, name = (f"lyceum-test/{service}:{kind}-{run}" for kind in ("packaged", "releasable"))
    engine.run("image", "tag", image, packaged)  # BuildKit builds on names alone
    made.append(packaged)
    with tempfile.TemporaryDirectory(prefix="lyceum-test-") as folder:
        (Path(folder) / "Dockerfile").write_text(
            f"FROM {packaged}\nENV {prefix}IMAGE_HASH={content} {prefix}REVISION=of-a-test\n"
        )
        engine.run("build", "--quiet", "--tag", name, folder)
    made.append(name)
    environment = json.loads(
        engine.run("image", "inspect", "--format", "{{json .Config.Env}}", name)
    )
    assert f"{prefix}IMAGE_HASH={content}" in environment
    return name
