"""Two versions of every service at the same time, as containers on one embedded AWS.

Owns what is started and stopped: one set of tables, one bucket, one way for events, one issuer, and on
these each service twice, consumer included. Knows which version is which, and nothing of what they
answer.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from deploy.local._ports import port_of, reserve
from deploy.local._provision import PREFIXES, EmbeddedAws, Resources, provision
from libs.auth.testing import TokenIssuer
from tests.backends import running_ministack
from tests.containers.engine import DockerEngine

OLD, NEW = "old", "new"
SERVICES = tuple(PREFIXES)

# An upload beyond the first goes in parts of the second, the smallest that a service takes.
SINGLE_BYTES = 2600
PART_BYTES = 1040

# Far above what a start on a busy machine takes.
_READY_SECONDS = 60.0
_CONSUMER = "services.progress_tracking.consumer"


@dataclass
class Deployment:
    """The running containers: `urls` by version and service, `containers` their ids by both."""

    engine: DockerEngine
    urls: dict[str, dict[str, str]] = field(default_factory=lambda: {OLD: {}, NEW: {}})
    issuer: TokenIssuer = field(default_factory=TokenIssuer)
    containers: dict[tuple[str, str], str] = field(default_factory=dict)
    http: aiohttp.ClientSession = field(init=False)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1001))

    def number(self) -> int:
        """Another at each call, for names that nothing else has."""
        return next(self._numbers)

    def complaints(self, service: str) -> list[str]:
        """What the service has logged in both versions that was not well, a line each."""
        return [
            f"{version}: {line}"
            for version in (OLD, NEW)
            for line in self.engine.run("logs", self.containers[version, service]).splitlines()
            if '"level":"info"' not in line.replace(" ", "")
        ]

    def token(self, subject: str, *groups: str) -> str:
        """An access token that both versions accept."""
        return self.issuer.token(sub=subject, groups=groups)


@asynccontextmanager
async def both_versions(
    engine: DockerEngine, images: Mapping[str, Mapping[str, str]], state: Path
) -> AsyncIterator[Deployment]:
    """Every service in both versions, ready; `images` by version and service.

    All containers and processes are gone at the end.
    """
    async with AsyncExitStack() as stack:
        deployment = Deployment(engine)
        backend = stack.enter_context(running_ministack())
        aws = EmbeddedAws(
            backend.endpoint_url, backend.region, backend.access_key, backend.secret_key
        )
        resources = await provision(aws, state=state, cors_origins=[])
        deployment.http = await stack.enter_async_context(aiohttp.ClientSession())
        jwks_url = await stack.enter_async_context(_published_keys(deployment.issuer))
        cursor_secret = secrets.token_urlsafe(32)
        for version, by_service in images.items():
            for service, image in by_service.items():
                variables = _variables(
                    service, resources, deployment.issuer, jwks_url, cursor_secret
                ) | {
                    "AWS_ACCESS_KEY_ID": backend.access_key,
                    "AWS_SECRET_ACCESS_KEY": backend.secret_key,
                }
                port = port_of(stack.enter_context(reserve()))
                variables[f"{PREFIXES[service]}PORT"] = str(port)
                deployment.urls[version][service] = f"http://127.0.0.1:{port}"
                container = _run(engine, stack, image, variables)
                deployment.containers[version, service] = container
                if service == "progress_tracking":
                    _run(engine, stack, image, variables, _CONSUMER)
        async with asyncio.TaskGroup() as group:
            for by_service in deployment.urls.values():
                for url in by_service.values():
                    group.create_task(_ready(deployment.http, url))
        yield deployment


def _variables(
    service: str, resources: Resources, issuer: TokenIssuer, jwks_url: str, cursor_secret: str
) -> dict[str, str]:
    own = {
        "HOST": "127.0.0.1",
        "AUTH_ISSUER": issuer.settings.issuer,
        "AUTH_JWKS_URL": jwks_url,
        "AUTH_CLIENT_IDS": issuer.client_id,
        "CURSOR_SECRETS": cursor_secret,
        # What the other version has changed is seen soon.
        **{
            "course_catalog": {"DIRECTORY_REFRESH_SECONDS": "0.5"},
            "content_delivery": {
                "CACHE_SECONDS": "0",
                "UPLOAD_SINGLE_BYTES": str(SINGLE_BYTES),
                "UPLOAD_PART_BYTES": str(PART_BYTES),
            },
            "progress_tracking": {"OUTLINE_CACHE_SECONDS": "0", "OUTLINE_WAIT_SECONDS": "1"},
        }[service],
    }
    return {
        **resources.service_variables(service),
        **{f"{PREFIXES[service]}{name}": value for name, value in own.items()},
    }


def _run(
    engine: DockerEngine,
    stack: AsyncExitStack,
    image: str,
    variables: Mapping[str, str],
    *command: str,
) -> str:
    """The container's id."""
    settings = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    container = engine.run(
        *("run", "--detach", "--network", "host", "--read-only", "--cap-drop", "ALL"),
        *("--label", "lyceum.test=skew", *settings, image, *command),
    )
    stack.callback(engine.remove_container, container)
    return container


async def _ready(http: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            try:
                async with http.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _published_keys(issuer: TokenIssuer) -> AsyncIterator[str]:
    async def keys(request: web.Request) -> web.Response:
        return web.json_response(issuer.jwks())

    app = web.Application()
    app.router.add_get("/jwks.json", keys)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/jwks.json"))
