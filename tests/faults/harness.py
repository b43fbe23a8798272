"""The three services and the gateway as processes, on the embedded AWS behind fault proxies.

Owns what is started and stopped; reuses the modules of `deploy/local` that provision and configure,
so that a service gets here what it gets there. Knows no fault's expected answer.

DynamoDB, S3 and the issuer's keys have a proxy each, so that each can fail alone. Credentials and
provisioning go past the proxies: they are no part of what is examined.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from deploy.load.answer import Answer
from deploy.local._credentials import (
    CredentialEndpoint,
    ServiceGrant,
    assume_role_through,
    credential_variables,
)
from deploy.local._faults import DynamoDBDialect, FaultProxy, S3Dialect, WebDialect
from deploy.local._gateway import Stage, write_configuration
from deploy.local._ports import port_of, reserve
from deploy.local._provision import (
    DEMO_USERS,
    PREFIXES,
    EmbeddedAws,
    Resources,
    access_token,
    provision,
)
from deploy.local._services import SERVICES, WITH_CURSORS, contract_of
from tests.backends import running_ministack
from tests.faults.samples import COURSES, write_samples
from tests.integration.service_process import ServiceProcess, python_path, service_process

# No request takes longer than its deadline; the rest is for two cores that a whole test run shares.
REQUEST_DEADLINE_SECONDS = 5.0
SCHEDULING_SLACK_SECONDS = 3.0

# Far above what anything here takes: what is not so by then will not come.
PATIENCE_SECONDS = 60.0

# The file is in a folder of its own: whoever has that on the path has a clock that can be moved.
_SHIFTED_CLOCK = Path(__file__).parent / "shifted_clock"
_DRAIN_SECONDS = "5"


class Platform:
    """The running platform, seen by its clients and by the test that breaks it."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self.dynamodb_dialect = DynamoDBDialect()
        self.dynamodb = FaultProxy(self.dynamodb_dialect)
        self.s3 = FaultProxy(S3Dialect())
        self.keys = FaultProxy(WebDialect())
        self.answers: list[Answer] = []
        self.gateway_url = ""
        self.tokens: dict[str, str] = {}
        self._unread = iter(COURSES[1:])
        self._directory = directory
        self._stack = stack
        self._clock = directory / "clock"
        self._processes: dict[str, tuple[ServiceProcess, AsyncExitStack]] = {}
        self._ports: dict[str, socket.socket] = {}
        self._variables: dict[str, dict[str, str]] = {}
        self._session: aiohttp.ClientSession

    def unread_course(self) -> str:
        """A course that no one has read yet, and none of its contents; another at every call."""
        return next(self._unread)

    def process(self, service: str) -> ServiceProcess:
        """The process of a service that runs."""
        return self._processes[service][0]

    def url(self, service: str) -> str:
        """Where the service listens, past the gateway."""
        return f"http://127.0.0.1:{port_of(self._ports[service])}"

    async def ask(
        self,
        method: str,
        path: str,
        *,
        user: str | None = "learner-a",
        body: object = None,
        service: str | None = None,
    ) -> Answer:
        """One request through the gateway, or past it to a service; noted in `answers`."""
        base = self.gateway_url if service is None else self.url(service)
        answer = await self.fetch(
            base + path,
            method=method,
            body=body,
            headers={} if user is None else {"Authorization": f"Bearer {self.tokens[user]}"},
        )
        self.answers.append(answer)
        return answer

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: object = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Answer:
        """One request to anywhere, as any HTTP client makes it."""
        began = time.monotonic()
        status, found, content = 0, dict[str, str](), b""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._session.request(
                method,
                URL(url, encoded=True),
                json=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=patience_seconds),
            ) as response:
                content = await response.read()
                status, found = response.status, dict(response.headers)
        seconds = time.monotonic() - began
        return Answer(method, URL(url).raw_path, status, found, content, seconds)

    async def is_ready(self, service: str) -> bool:
        """Whether `/readyz` says so."""
        return (await self.fetch(f"{self.url(service)}/readyz")).status == 200

    def move_clock(self, seconds: float) -> None:
        """Put the services' wall clocks that far off, now; all of them were started so."""
        draft = self._clock.with_suffix(".new")
        draft.write_text(str(seconds))
        draft.replace(self._clock)

    def environment(self, service: str) -> dict[str, str]:
        """The variables with which the service's process is started."""
        return dict(self._variables[service])

    async def start(self, service: str, **variables: str) -> ServiceProcess:
        """Start a service's process; it listens, and may not be ready yet."""
        stack = await self._stack.enter_async_context(AsyncExitStack())
        prefix = PREFIXES[service]
        own = {f"{prefix}{name}": value for name, value in variables.items()}
        process = await stack.enter_async_context(
            service_process(service, {**self._variables[service], **own})
        )
        self._processes[service] = (process, stack)
        return process

    async def kill(self, service: str) -> None:
        """SIGKILL; the process is gone when this returns."""
        process, stack = self._processes.pop(service)
        await process.kill()
        await stack.aclose()

    async def restart(self, *services: str, **variables: str) -> None:
        """Processes with these settings in the place of those that run; all of them are ready then."""

        async def again(service: str) -> None:
            await self.kill(service)
            await self.start(service, **variables)

        await asyncio.gather(*map(again, services))
        await self.until_ready(*services)

    async def until_ready(self, *services: str) -> None:
        """Wait for `/readyz`; TimeoutError when it does not come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            for service in services:
                while not await self.is_ready(service):
                    await asyncio.sleep(0.02)

    async def open(self, services: tuple[str, ...], variables: Mapping[str, str]) -> None:
        """Bring everything up; `variables` are settings of each service, without its prefix."""
        self._clock.write_text("0")
        proxies = (self.dynamodb, self.s3, self.keys)
        backend = self._stack.enter_context(
            running_ministack(forwarded_from=[proxy.port for proxy in proxies])
        )
        aws = EmbeddedAws(
            backend.endpoint_url, backend.region, backend.access_key, backend.secret_key
        )
        target = URL(aws.endpoint_url)
        assert target.host is not None
        assert target.port is not None
        for proxy in proxies:
            proxy.lead_to(target.host, target.port)
            await self._stack.enter_async_context(proxy.running())
        # One connection a request: none that a fault has broken is met again by another request.
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
        )
        resources = await provision(aws, state=self._directory, cors_origins=[])
        await self._lengthen_tokens(aws, resources)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._seed(aws, resources))
            group.create_task(self._start_gateway(services))
            credentials = group.create_task(self._serve_credentials(aws, resources))
            for user in DEMO_USERS:
                group.create_task(self._sign_in(aws, resources, user))
        for service in services:
            self._variables[service] = {
                **self._service_variables(service, resources),
                **credentials.result()[service],
                **{f"{PREFIXES[service]}{name}": value for name, value in variables.items()},
            }
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(self.start(service))
        await self.until_ready(*services)

    def _service_variables(self, service: str, resources: Resources) -> dict[str, str]:
        """As `deploy.local` makes them, with the proxies in place of the embedded AWS."""
        prefix = PREFIXES[service]
        found = resources.service_variables(service)
        del found["AWS_ENDPOINT_URL"]
        jwks = URL(found[f"{prefix}AUTH_JWKS_URL"]).with_port(self.keys.port)
        if service in WITH_CURSORS:
            found[f"{prefix}CURSOR_SECRETS"] = secrets.token_urlsafe(32)
        return found | {
            "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb.url,
            "AWS_ENDPOINT_URL_S3": self.s3.url,
            "PYTHONPATH": f"{_SHIFTED_CLOCK}:{python_path()}",
            "SHIFTED_CLOCK_FILE": str(self._clock),
            f"{prefix}AUTH_JWKS_URL": str(jwks),
            f"{prefix}PORT": str(port_of(self._ports[service])),
            f"{prefix}DRAIN_SECONDS": _DRAIN_SECONDS,
        }

    async def _lengthen_tokens(self, aws: EmbeddedAws, resources: Resources) -> None:
        """A day instead of an hour, so that an hour's jump does not end them (Cognito's maximum)."""
        async with aws.client("cognito-idp") as cognito:
            await cognito.update_user_pool_client(
                UserPoolId=resources.pool.pool_id,
                ClientId=resources.pool.client_id,
                ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
                AccessTokenValidity=24,
                TokenValidityUnits={"AccessToken": "hours"},
            )

    async def _sign_in(self, aws: EmbeddedAws, resources: Resources, user: str) -> None:
        found = await access_token(aws, resources, state=self._directory, user=user)
        self.tokens[user] = found.token

    async def _seed(self, aws: EmbeddedAws, resources: Resources) -> None:
        samples = self._directory / "samples"
        write_samples(samples)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.local._seed", "--samples", str(samples)),
            *("--region", resources.region, "--bucket", resources.bucket),
            *("--catalog-table", resources.tables["course_catalog"]),
            *("--content-table", resources.tables["content_delivery"]),
            *("--progress-table", resources.tables["progress_tracking"]),
            env={
                "PYTHONPATH": python_path(),
                "AWS_ENDPOINT_URL": aws.endpoint_url,
                "AWS_REGION": aws.region,
                "AWS_ACCESS_KEY_ID": aws.access_key_id,
                "AWS_SECRET_ACCESS_KEY": aws.secret_access_key,
            },
            stdout=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0

    async def _serve_credentials(
        self, aws: EmbeddedAws, resources: Resources
    ) -> dict[str, dict[str, str]]:
        """Credentials of each service's own role, as on ECS; the variables that lead to them."""
        grants = {
            service: ServiceGrant(arn, secrets.token_urlsafe(32))
            for service, arn in resources.role_arns.items()
        }
        sts = await self._stack.enter_async_context(aws.client("sts"))
        endpoint = CredentialEndpoint(
            grants, assume_role_through(sts), now=lambda: datetime.now(UTC)
        )
        runner = web.AppRunner(endpoint.app(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return {name: credential_variables(url, name, grant) for name, grant in grants.items()}

    async def _start_gateway(self, services: tuple[str, ...]) -> None:
        self._ports = {name: self._stack.enter_context(reserve()) for name in services}
        configuration = self._directory / "gateway.json"
        write_configuration(
            configuration,
            {
                name: (
                    contract_of(name),
                    Stage.leading_to(self.url(name).removeprefix("http://")),
                )
                for name in services
            },
        )
        gateway = ServiceProcess(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "deploy.local._gateway", "--port", "0"),
                *("--configuration", str(configuration)),
                env={"PYTHONPATH": python_path()},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        )
        self._stack.push_async_callback(gateway.kill)
        await gateway.listening()
        self.gateway_url = gateway.base_url


@asynccontextmanager
async def running_platform(
    directory: Path, *, services: tuple[str, ...] = SERVICES, **variables: str
) -> AsyncIterator[Platform]:
    """A ready platform on an empty folder, every process of which is gone at the end.

    `variables` are settings of each service without its prefix; the defaults are those of production.
    """
    async with AsyncExitStack() as stack:
        platform = Platform(directory, stack)
        await platform.open(services, variables)
        yield platform
