"""A service as AWS sees it: its own environment and the credentials of its role."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aioboto3
from botocore.config import Config

from tests.containers.engine import find_engine
from tests.system.container_tasks import task_containers
from tests.system.exchange import ask
from tests.system.platform_process import RunningPlatform

SERVICES = ("course_catalog", "content_delivery", "progress_tracking")
PREFIXES: Mapping[str, str] = {
    "course_catalog": "CATALOG_",
    "content_delivery": "CONTENT_",
    "progress_tracking": "PROGRESS_",
}


@dataclass(frozen=True)
class RoleCredentials:
    """What the container endpoint gave; ``expires_at`` is when it ends."""

    access_key: str
    secret_key: str
    session_token: str
    expires_at: datetime


def process_of(platform: RunningPlatform, service: str) -> int:
    """The id of the service's process."""
    wanted = f"services.{service}".encode()
    (found,) = (
        process_id
        for process_id in platform.descendants()
        if wanted in Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")
    )
    return found


def environment_of(platform: RunningPlatform, service: str) -> dict[str, str]:
    """The variables that the service's process, or one of its containers, was started with."""
    if "cluster" in platform.document:
        containers = task_containers(find_engine(), platform.state)
        return next(one.environment for one in containers if one.family == service)
    raw = Path(f"/proc/{process_of(platform, service)}/environ").read_bytes()
    pairs = (os.fsdecode(entry).partition("=") for entry in raw.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def credentials_of(variables: Mapping[str, str]) -> RoleCredentials:
    """Fetches a service's credentials as the SDK in the service does: from the container endpoint
    that its variables name, with the token they hold."""
    answer = ask(
        variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        headers={"Authorization": variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]},
    )
    assert answer.status == 200, answer.body
    given = answer.json
    return RoleCredentials(
        access_key=given["AccessKeyId"],
        secret_key=given["SecretAccessKey"],
        session_token=given["Token"],
        expires_at=datetime.fromisoformat(given["Expiration"]),
    )


def client(service: str, variables: Mapping[str, str], credentials: RoleCredentials) -> Any:
    """An aioboto3 client of an AWS service with these credentials, as its context manager."""
    session = aioboto3.Session(
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
        region_name=variables["AWS_REGION"],
    )
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        s3={"addressing_style": "path"},
    )
    return session.client(service, endpoint_url=variables["AWS_ENDPOINT_URL"], config=config)
