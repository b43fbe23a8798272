"""Docker's client at the registry of an embedded AWS."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.integration.embedded_containers.cluster import Aws


async def password(ecr: Any) -> str:
    """A password of ECR's login."""
    data = (await ecr.get_authorization_token())["authorizationData"][0]
    user, _, secret = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    assert user == "AWS"
    return secret


@contextlib.contextmanager
def logged_in(aws: Aws, secret: str, folder: Path) -> Iterator[None]:
    """Docker's client knows this password for the registry, and nobody else's."""
    auth = base64.b64encode(f"AWS:{secret}".encode()).decode()
    folder.mkdir(exist_ok=True)
    configuration = folder / "config.json"
    configuration.write_text(json.dumps({"auths": {aws.registry: {"auth": auth}}}))
    before = os.environ.get("DOCKER_CONFIG")
    os.environ["DOCKER_CONFIG"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DOCKER_CONFIG"]
        else:
            os.environ["DOCKER_CONFIG"] = before


@contextlib.contextmanager
def tagged(aws: Aws, reference: str) -> Iterator[str]:
    """The tests' image under another name."""
    aws.engine.run("tag", aws.image, reference)
    try:
        yield reference
    finally:
        aws.engine.run("rmi", reference)
