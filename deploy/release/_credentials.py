"""Where AWS and registries are, and as whom they are spoken to.

The SDK's own environment, or the state folder of the platform that runs on this machine
(`--local`): `platform.json` says where things are, `operator.env` who the operator is.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.release._errors import ReleaseError
from deploy.release._registry import Login, Registry, registry_named

LOCAL_STATE = Path(".lyceum")

# 123456789012.dkr.ecr.eu-west-1.amazonaws.com, with -fips and .cn where they are.
_ECR = re.compile(r"\d{12}\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_LINE = re.compile(r"(?:export\s+)?([A-Z][A-Z0-9_]*)=(.*)")
# Attempts are ours (see _retry.py): so that a watch goes on drawing, and a test has exact time.
_CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 1})


@dataclass(frozen=True)
class Local:
    """The platform that runs on this machine.

    Args:
        registry: its ECR; None where it runs processes.
        cluster: the name of its ECS cluster; None where it runs processes.
        services: the addresses of the services' load balancers, or of their processes.
        variables: who its operator is: AWS_…
    """

    registry: Registry | None
    cluster: str | None
    services: Mapping[str, str]
    variables: Mapping[str, str] = field(repr=False)


def find_local(state: Path, *, with_containers: bool = True) -> Local:
    """The platform on a state folder; by default one that runs containers. Raises ReleaseError."""
    platform = state / "platform.json"
    try:
        running: Mapping[str, Any] = json.loads(platform.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ReleaseError(
            f"--local: no platform runs on {state} (./pantsw run deploy/local/up.py"
            f"{' -- --containers' if with_containers else ''} starts one)"
        ) from None
    try:
        registry, cluster = running.get("registry"), running.get("cluster")
        services = {str(name): str(url) for name, url in running["services"].items()}
    except (KeyError, TypeError, AttributeError):
        raise ReleaseError(f"--local: {platform} can not be read") from None
    if with_containers and not (registry and cluster):
        raise ReleaseError(
            f"--local: the platform on {state} runs no containers: start it with --containers"
        )
    return Local(
        registry=registry_named(str(registry).removeprefix("http://")) if registry else None,
        cluster=str(cluster) if cluster else None,
        services=services,
        variables=_variables(state / "operator.env"),
    )


def _variables(path: Path) -> Mapping[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ReleaseError(f"--local: {path} can not be read") from None
    found = (_LINE.fullmatch(line.strip()) for line in lines)
    return {line[1]: line[2].strip("\"'") for line in found if line}


class Aws:
    """Clients of AWS, made once each, and again when credentials were renewed.

    Args:
        variables: read anew for each client; only those that begin with AWS_ matter.
    """

    def __init__(self, variables: Callable[[], Mapping[str, str]] | None = None) -> None:
        self._variables = variables
        self._clients: dict[str, Any] = {}

    def client(self, service: str, *, region: str | None = None) -> Any:
        """Of `ecs`, `ecr`, `elbv2`, `apigateway` or `cloudwatch`. Raises ReleaseError."""
        if service not in self._clients:
            try:
                self._clients[service] = self._made(service, region)
            except BotoCoreError as error:
                raise ReleaseError(f"AWS: {error}") from None
        return self._clients[service]

    def renew(self) -> None:
        """Credentials have expired: the next clients look for them again."""
        self._clients.clear()

    def _made(self, service: str, region: str | None) -> Any:
        session = botocore.session.Session()
        if self._variables is None:
            # The SDK itself reads AWS_DEFAULT_REGION alone; containers on AWS have the other one.
            region = region or os.environ.get("AWS_REGION") or None
            return session.create_client(service, region_name=region, config=_CONFIG)
        own = self._variables()
        return session.create_client(
            service,
            region_name=own.get("AWS_REGION") or own.get("AWS_DEFAULT_REGION"),
            endpoint_url=own.get("AWS_ENDPOINT_URL"),
            aws_access_key_id=own.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=own.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=own.get("AWS_SESSION_TOKEN"),
            config=_CONFIG,
        )


def aws_of(local: Path | None) -> Aws:
    """The SDK's environment, or the operator of the platform on a state folder."""
    if local is None:
        return Aws()
    return Aws(lambda: _variables(local / "operator.env"))


@dataclass(frozen=True)
class RegistryLogin:
    """How a registry is logged in to.

    Args:
        registry: which.
        login: None where the user's own `docker login` has it.
        for_queries: as whom it is asked what is there.
    """

    registry: Registry
    login: Login | None
    for_queries: Login | None


def login_to(registry: Registry, aws: Aws, *, is_ecr: bool = False) -> RegistryLogin:
    """The credentials of a registry: ECR's by its API, another's as `docker login` left them.

    Raises ReleaseError.
    """
    ecr = _ECR.fullmatch(registry.host)
    if not ecr and not is_ecr:
        return RegistryLogin(registry, None, _of_docker(registry.host))
    try:
        client = aws.client("ecr", region=ecr["region"] if ecr else None)
        token = client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token, validate=True).decode().partition(":")
    except (BotoCoreError, ClientError) as error:
        raise ReleaseError(f"no login to {registry.host}: {error}") from None
    except (KeyError, IndexError, binascii.Error, UnicodeDecodeError):
        raise ReleaseError(f"no login to {registry.host}: ECR gave no token") from None
    login = Login(user, password)
    return RegistryLogin(registry, login, login)


def _of_docker(host: str) -> Login | None:
    """What `docker login` keeps for a registry: in its file, or with a helper program."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        kept = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        helper = (kept.get("credHelpers") or {}).get(host) or kept.get("credsStore")
        if helper:
            return _of_helper(str(helper), host)
        entry = (kept.get("auths") or {}).get(host) or {}
        user, _, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
    except (OSError, ValueError, AttributeError):
        return None
    return Login(user, password) if user else None


def _of_helper(helper: str, host: str) -> Login | None:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", helper):
        return None
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"],  # noqa: S603 - fixed, no shell
            input=host,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        found = json.loads(done.stdout)
        return Login(str(found["Username"]), str(found["Secret"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
