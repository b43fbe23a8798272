"""The platform as a whole: what is started after what, and stopped before what.

Start: the embedded AWS; what stands in it; the consumer of outlines, and the sample courses where they
are missing; the three services at the same time. The gateway starts meanwhile: it needs their addresses alone. Stop: the gateway, so that nothing new comes in; the services, which finish what
they have; the receiver of their traces; the embedded AWS, which writes its state.

How the services run, as processes or as containers, is a `Runner`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web
from botocore.exceptions import BotoCoreError, ClientError
from yarl import URL

from deploy.local._apis import (
    CANARY_TARGET,
    SERVICE_TARGET,
    STAGE,
    Api,
    Leading,
    ensure_apis,
    ensure_stages,
)
from deploy.local._cluster import Cluster, Containers, remove_leftovers
from deploy.local._credentials import (
    CredentialEndpoint,
    ServiceGrant,
    TemporaryCredentials,
    assume_role_through,
    credential_variables,
)
from deploy.local._durations import Durations
from deploy.local._environment import (
    EnvironmentBuildError,
    embedded_aws_command,
    embedded_aws_python,
    embedded_aws_variables,
)
from deploy.local._errors import PlatformError, reason_of
from deploy.local._follow import follow
from deploy.local._gateway import Stage, write_configuration
from deploy.local._monolith import (
    MONOLITH,
    SERVICE_VARIABLES,
    MonolithTables,
    ensure_migration_user,
    has_monolith,
    monolith_program,
    provision_monolith,
    seed_arguments,
)
from deploy.local._operator import (
    GATEWAY,
    OPERATOR,
    AccessKey,
    ensure_users,
    variables_of_user,
)
from deploy.local._ports import local_url, port_of, receive, reserve
from deploy.local._processes import Processes
from deploy.local._provision import (
    DEMO_USERS,
    PREFIXES,
    AccessToken,
    EmbeddedAws,
    access_token,
    provision,
)
from deploy.local._report import Console, Journey, MonolithAddress, Ready, User
from deploy.local._samples import read_samples, samples_digest
from deploy.local._services import (
    CONSUMER,
    FAULTS,
    PAGES,
    SERVICES,
    Runner,
    ServiceSettings,
    contract_of,
    faults_program,
    gateway_program,
    pages_program,
    python_environment,
    service_of,
    traces_program,
)
from deploy.local._state import Claim, StateFolder, write_private
from deploy.local._supervisor import Program, StartError, Supervisor

_READY_LINE = '{"endpoint"'
_AWS = "embedded-aws"
_GATEWAY = "gateway"
_TRACES = "traces"
_BEHIND_FAULTS = _DYNAMODB, _S3, _KEYS = "dynamodb", "s3", "keys"
_FAULTS_CONTROL = "faults' control"


@dataclass(frozen=True)
class Options:
    """What the caller may choose.

    Args:
        canaries: for a service, a percentage of its requests and where (host and port) these go.
        containers: how the services run as containers; None, and they are processes.
        cors_origins: web origins that may call the services and play content, besides the gateway's.
        monolith_items: how many items the monolith's table is filled with; None, and there is no
            monolith.
        tracing_daemon: ``host:port`` that takes X-Ray segments in the place of our receiver.
        verbose: the processes' logs go to the console too.
    """

    canaries: Mapping[str, tuple[float, str]]
    containers: Containers | None
    cors_origins: Sequence[str]
    tracing_daemon: str | None
    verbose: bool
    monolith_items: int | None = None


class Platform:
    """One platform on one state folder.

    Args:
        claim: the state folder, taken and prepared.
        listener: the gateway's listening socket.
    """

    def __init__(
        self,
        folder: StateFolder,
        claim: Claim,
        listener: socket.socket,
        options: Options,
        console: Console,
    ) -> None:
        self._folder = folder
        self._claim = claim
        self._listener = listener
        self._options = options
        self._console = console
        self._supervisor = Supervisor(folder.logs, console, clock=time.monotonic)
        self._stack = AsyncExitStack()
        self._grants: dict[str, ServiceGrant] = {}
        self._replaying: asyncio.Task[None] | None = None
        self._loading: asyncio.subprocess.Process | None = None
        self._monolith: MonolithTables | None = None

    async def run(self, stop: asyncio.Event) -> bool:
        """Starts, says so, and stops when ``stop`` is set.

        Gives whether everything stopped by itself. Raises PlatformError when it can not start; then
        nothing runs any more.
        """
        self._console.expect(Durations(self._folder.durations))
        async with self._console.waiting(), self._stack:
            self._session = await self._stack.enter_async_context(aiohttp.ClientSession())
            monolith = () if self._options.monolith_items is None else (MONOLITH,)
            names = (_AWS, PAGES, *_BEHIND_FAULTS, _FAULTS_CONTROL, *SERVICES, *monolith)
            self._ports = {name: self._stack.enter_context(reserve()) for name in names}
            await remove_leftovers(self._folder, self._console)
            self._runner = await self._chosen_runner()
            try:
                started = asyncio.create_task(self._start())
                stopped = asyncio.create_task(stop.wait())
                await asyncio.wait({started, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if started.done():
                    self._console.ready(started.result())
                    await stopped
                started.cancel()
                stopped.cancel()
                await asyncio.gather(started, stopped, return_exceptions=True)
            finally:
                clean = await self._stop()
        return clean

    async def kill(self) -> None:
        """Kills everything; what was not written yet is lost."""
        self._supervisor.kill()
        await self._runner.kill()

    async def _chosen_runner(self) -> Runner:
        containers = self._options.containers
        if containers is None:
            return Processes(self._ports, self._supervisor, self._session, self._console)
        return await self._stack.enter_async_context(
            Cluster.open(self._ports, containers, self._folder, self._console)
        )

    async def _start(self) -> Ready:
        if self._options.verbose:
            await self._stack.enter_async_context(
                follow(self._folder.logs, self._console.output_of)
            )
        try:
            async with asyncio.TaskGroup() as group:
                prepared = group.create_task(self._runner.prepare())
                group.create_task(self._start_gateway())  # needs nothing of the others
                group.create_task(self._start_pages())  # likewise
                self._tracing_daemon = self._options.tracing_daemon
                if self._tracing_daemon is None:
                    # What is sent before it is ready waits in the socket.
                    source = self._stack.enter_context(receive())
                    self._tracing_daemon = f"127.0.0.1:{port_of(source)}"
                    group.create_task(self._start_traces(source))
                if self._has_faults:
                    group.create_task(self._start_faults())
                await self._start_aws()
                await self._provision()
                await self._serve_credentials()
                tokens = group.create_task(self._tokens())
                await prepared
                await self._start_services(group)
        except* (PlatformError, OSError) as errors:
            error = _first(errors)
            raise (
                PlatformError(reason_of(error)) if isinstance(error, OSError) else error
            ) from None
        try:
            ready = self._publish(tokens.result(), await self._runner.urls())
        except OSError as error:
            raise PlatformError(reason_of(error)) from error
        self._replay_where_due()
        return ready

    async def _stop(self) -> bool:
        self._listener.close()
        if self._replaying is not None:
            self._replaying.cancel()
            await asyncio.wait([self._replaying])
        await self._supervisor.stop_restarting()
        clean = await self._stop_program(_GATEWAY)
        clean = await self._stop_program(PAGES) and clean
        clean = await self._stop_program(MONOLITH) and clean
        clean = await self._runner.stop() and clean
        clean = await self._stop_program(FAULTS) and clean
        clean = await self._stop_program(_TRACES) and clean
        return await self._stop_program(_AWS) and clean

    async def _stop_program(self, name: str) -> bool:
        if name not in self._supervisor.names:
            return True
        with self._console.step(f"stopping {name}"):
            return await self._supervisor.stop(name)

    async def _start_aws(self) -> None:
        with self._console.step("environment of the embedded AWS"):
            try:
                python = await asyncio.to_thread(embedded_aws_python)
            except EnvironmentBuildError as error:
                raise PlatformError(str(error)) from error
        containers = self._options.containers
        program = Program(
            name=_AWS,
            command=embedded_aws_command(
                python,
                state=self._folder.aws.absolute(),
                port=port_of(self._ports[_AWS]),
                forwarded_from=[port_of(self._ports[name]) for name in _BEHIND_FAULTS],
                docker_host=containers.engine if containers else None,
                task_logs=self._folder.logs.absolute(),
            ),
            environment=embedded_aws_variables(),
            ready=self._aws_is_ready,
            inherited=[self._claim.descriptor],
            # All that was written in years takes longer to be saved.
            stop_seconds=30 if self._options.monolith_items is None else 180,
            # It writes its state, as at any other end.
            death_signal=signal.SIGTERM,
            restarted=self._begin_again,
        )
        with self._console.step("embedded AWS"):
            await self._first_start(program)
        await self._tell_of_the_last_run()

    async def _aws_is_ready(self, output: str) -> bool:
        for line in output.splitlines(keepends=True):
            if line.startswith(_READY_LINE) and line.endswith("\n"):
                self._ready_line = line
                self._aws = EmbeddedAws.from_ready_line(line)
                return True
        return False

    async def _tell_of_the_last_run(self) -> None:
        ready = json.loads(self._ready_line)
        if ready["previousStop"] != "unclean":
            return
        self._folder.samples.unlink(missing_ok=True)
        if ready["stateOf"] is None:
            self._console.warn(
                "The last run did not stop cleanly and had not been stopped before: nothing of it"
                " was saved, and the platform starts empty."
            )
            return
        when = datetime.fromisoformat(ready["stateOf"]).astimezone()
        held = ", ".join(f"{table} {count} items" for table, count in await self._item_counts())
        self._console.warn(
            "The last run did not stop cleanly. Came back with what was saved at the stop before it,"
            f" {when:%Y-%m-%d %H:%M:%S} ({held or 'no tables'}); what changed after that is lost."
        )

    async def _item_counts(self) -> list[tuple[str, int]]:
        counts = []
        async with self._aws.client("dynamodb") as dynamodb:
            for table in sorted((await dynamodb.list_tables())["TableNames"]):
                count = 0
                position: dict[str, Any] = {}
                while True:
                    page: dict[str, Any] = await dynamodb.scan(
                        TableName=table, Select="COUNT", **position
                    )
                    count += page["Count"]
                    if "LastEvaluatedKey" not in page:
                        break
                    position = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
                counts.append((table, count))
        return counts

    async def _provision(self) -> None:
        with self._console.step("tables, bucket, user pool, roles"):
            try:
                self._resources = await provision(
                    self._aws, state=self._folder.root, cors_origins=self._origins()
                )
                await self._provision_monolith()
            except (BotoCoreError, ClientError, FileNotFoundError) as error:
                raise PlatformError(f"the embedded AWS could not be set up: {error}") from error

    async def _provision_monolith(self) -> None:
        if self._options.monolith_items is not None:
            self._monolith, self._resources = await provision_monolith(self._aws, self._resources)
        elif await has_monolith(self._aws):
            raise PlatformError(
                "this state is of a platform with a monolith: --monolith goes on with it, --state"
                " names another folder, --fresh forgets it"
            )

    async def _begin_again(self) -> None:
        """After a death of the embedded AWS: what was not saved has to be made again, and the
        credentials and the user pool that the services know may be gone."""
        self._folder.samples.unlink(missing_ok=True)
        await self._supervisor.stop(MONOLITH)
        await self._runner.stop()
        await self._provision()
        self._credentials.forget()
        async with asyncio.TaskGroup() as group:
            await self._start_services(group)
        self._publish(await self._tokens(), await self._runner.urls())
        self._replay_where_due()

    async def _serve_credentials(self) -> None:
        self._grants = {
            service: ServiceGrant(arn, secrets.token_urlsafe(32))
            for service, arn in self._resources.role_arns.items()
        }
        self._credentials = CredentialEndpoint(
            self._grants, self._assume, now=lambda: datetime.now(UTC)
        )
        runner = web.AppRunner(self._credentials.app(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._credentials_url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _assume(self, role_arn: str) -> TemporaryCredentials:
        # A client for each time: this is rare, and the administrator's key may have become another.
        async with self._aws.client("sts") as sts:
            return await assume_role_through(sts)(role_arn)

    async def _start_services(self, group: asyncio.TaskGroup) -> None:
        try:
            apis = await ensure_apis(self._aws)
            keys = await ensure_users(self._aws, {name: api.id for name, api in apis.items()})
            operator = variables_of_user(self._aws, keys[OPERATOR])
            self._folder.write_operator(operator)
            await self._runner.begin(self._aws, self._resources, operator)
            await self._lead_by_stages(apis, keys[GATEWAY])
        except (BotoCoreError, ClientError) as error:
            raise PlatformError(f"the embedded AWS could not be set up: {error}") from error
        group.create_task(self._start_service(CONSUMER))
        # First, so that the services find the courses when they start.
        if self._monolith is None:
            await self._load_samples()
        else:
            migrates = await ensure_migration_user(self._aws, self._monolith, self._resources)
            self._folder.write_migration(variables_of_user(self._aws, migrates))
            await self._fill_monolith(self._monolith)
            group.create_task(self._start_monolith(self._monolith))
        for service in SERVICES:
            group.create_task(self._start_service(service))
        group.create_task(self._outlines_arrive())

    async def _lead_by_stages(self, apis: Mapping[str, Api], key: AccessKey) -> None:
        """From here on the gateway leads as the APIs' stages say."""
        urls = await self._runner.urls()
        leading = {service: self._leading(service, urls[service]) for service in apis}
        await ensure_stages(self._aws, apis, leading)
        followed = {
            "endpoint": self._aws.endpoint_url,
            "region": self._aws.region,
            "stage": STAGE,
            "accessKeyId": key.id,
            "secretAccessKey": key.secret,
            "apis": {service: dataclasses.asdict(api) for service, api in apis.items()},
        }
        write_private(self._folder.control_plane, followed)

    def _leading(self, service: str, url: str) -> Leading:
        targets = {SERVICE_TARGET: _address(url)}
        begins_with = SERVICE_TARGET
        if self._monolith is not None:
            targets[MONOLITH] = _address(local_url(self._ports[MONOLITH]))
            begins_with = MONOLITH
        canary = self._options.canaries.get(service)
        if canary is None:
            return Leading(targets, begins_with)
        return Leading({**targets, CANARY_TARGET: canary[1]}, begins_with, canary[0])

    async def _start_service(self, name: str) -> None:
        service = service_of(name)
        settings = ServiceSettings(
            cursor_secret=self._claim.cursor_secret(service),
            cors_origins=self._origins(),
            tracing_daemon=self._tracing_daemon,
        )
        provisioned = {
            **self._resources.service_variables(service),
            **self._through_faults(service),
            **credential_variables(self._credentials_url, service, self._grants[service]),
            **(SERVICE_VARIABLES.get(name, {}) if self._monolith is not None else {}),
        }
        await self._runner.start(name, settings, provisioned)

    @property
    def _has_faults(self) -> bool:
        """Containers are what is released and measured: nothing stands between them and AWS."""
        return self._options.containers is None

    def _through_faults(self, service: str) -> dict[str, str]:
        """What leads a service to DynamoDB, S3 and the issuer's keys by way of the faults.

        Whoever the service signs a URL for goes to S3 that way too: the URL names it, and the Host
        that it names is signed.
        """
        if not self._has_faults:
            return {}
        keys = URL(self._resources.pool.jwks_url).with_port(port_of(self._ports[_KEYS]))
        return {
            "AWS_ENDPOINT_URL_DYNAMODB": local_url(self._ports[_DYNAMODB]),
            "AWS_ENDPOINT_URL_S3": self._s3_url,
            f"{PREFIXES[service]}AUTH_JWKS_URL": str(keys),
        }

    @property
    def _s3_url(self) -> str:
        """Where the services, and who has a URL of theirs, find S3."""
        return local_url(self._ports[_S3]) if self._has_faults else self._aws.endpoint_url

    async def _start_faults(self) -> None:
        with self._console.step("faults"):
            await self._first_start(
                faults_program(
                    aws=port_of(self._ports[_AWS]),
                    dynamodb=port_of(self._ports[_DYNAMODB]),
                    s3=port_of(self._ports[_S3]),
                    keys=port_of(self._ports[_KEYS]),
                    control=port_of(self._ports[_FAULTS_CONTROL]),
                )
            )

    async def _start_monolith(self, tables: MonolithTables) -> None:
        settings = ServiceSettings(
            cursor_secret=self._claim.cursor_secret(MONOLITH),
            cors_origins=self._origins(),
            tracing_daemon=self._tracing_daemon,
        )
        program = monolith_program(
            settings,
            tables,
            self._resources,
            credential_variables(self._credentials_url, MONOLITH, self._grants[MONOLITH]),
            self._session,
            port=port_of(self._ports[MONOLITH]),
        )
        with self._console.step(MONOLITH):
            await self._first_start(program)

    async def _fill_monolith(self, tables: MonolithTables) -> None:
        assert self._options.monolith_items is not None
        # Outlines are the monolith's own until the catalog has moved.
        self._loading, self._outlines_arrived = None, True
        learners = [self._resources.user_subjects[user] for user in ("learner-a", "learner-b")]
        with self._console.step(f"the monolith's {self._options.monolith_items:,} items"):
            process = await self._run_as_administrator(
                *seed_arguments(tables, self._resources, self._options.monolith_items, learners)
            )
            self._stack.callback(_kill, process)
            assert process.stdout is not None
            if not await process.stdout.readline():
                raise await self._failed(process, "the monolith's table could not be filled")
            await process.wait()

    async def _gateway_targets(self) -> Mapping[str, str]:
        """Where each service's requests go: before a migration all to the monolith."""
        if self._options.monolith_items is None:
            return await self._runner.urls()
        return dict.fromkeys(SERVICES, local_url(self._ports[MONOLITH]))

    async def _start_gateway(self) -> None:
        urls = await self._gateway_targets()
        write_configuration(
            self._folder.gateway,
            {
                service: (
                    contract_of(service),
                    Stage.leading_to(
                        _address(urls[service]), canary=self._options.canaries.get(service)
                    ),
                )
                for service in SERVICES
            }
            | {
                PAGES: (
                    contract_of(PAGES),
                    Stage.leading_to(_address(local_url(self._ports[PAGES]))),
                ),
            },
        )
        with self._console.step("gateway"):
            await self._first_start(
                gateway_program(
                    self._folder.gateway.absolute(),
                    self._folder.control_plane.absolute(),
                    self._listener,
                    self._session,
                )
            )

    async def _start_pages(self) -> None:
        try:
            with self._console.step("pages"):
                await self._supervisor.start(
                    pages_program(
                        self._folder.root.absolute(),
                        port=port_of(self._ports[PAGES]),
                        faults=port_of(self._ports[_FAULTS_CONTROL]) if self._has_faults else None,
                    )
                )
        except StartError as error:
            # Nobody would rather have no platform than one without pages.
            self._console.warn(
                " ".join([f"There are no pages to look at: {error}.", *error.last_lines[-1:]])
            )

    async def _start_traces(self, source: socket.socket) -> None:
        try:
            with self._console.step("traces"):
                await self._supervisor.start(traces_program(self._folder.traces.absolute(), source))
        except (StartError, OSError) as error:
            # Nobody would rather have no platform than one without traces.
            lines = error.last_lines if isinstance(error, StartError) else ()
            self._console.warn(" ".join([f"No traces are kept: {error}.", *lines[-1:]]))

    async def _load_samples(self) -> None:
        self._loading, self._outlines_arrived = None, False
        digest = await asyncio.to_thread(samples_digest)
        if self._folder.samples.exists() and self._folder.samples.read_text() == digest:
            return
        with self._console.step("sample courses"):
            await self._seed()
        self._folder.samples.write_text(digest)

    async def _seed(self) -> None:
        """Loads the samples; the process goes on, see `_outlines_arrive`."""
        resources = self._resources
        process = await self._run_as_administrator(
            *("-m", "deploy.local._seed"),
            *("--region", resources.region, "--bucket", resources.bucket),
            *("--catalog-table", resources.tables["course_catalog"]),
            *("--content-table", resources.tables["content_delivery"]),
            *("--progress-table", resources.tables["progress_tracking"]),
        )
        self._stack.callback(_kill, process)
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise await self._failed(process, "the sample courses could not be loaded")
        self._loading = process

    async def _outlines_arrive(self) -> None:
        """Waits until the consumer has learnt the outlines of the courses that were just loaded."""
        if self._loading is None:
            return
        assert self._loading.stdout is not None
        with self._console.step("outlines of the sample courses"):
            line = await self._loading.stdout.readline()
            if not line:
                raise await self._failed(self._loading, "the outlines could not be looked up")
            await self._loading.wait()
        self._outlines_arrived = not json.loads(line)["outlinesMissing"]

    def _replay_where_due(self) -> None:
        """Whatever the embedded AWS's end took from the stream comes from the catalog's API."""
        if not self._outlines_arrived:
            self._replaying = asyncio.create_task(self._replay(), name="replay")

    async def _replay(self) -> None:
        process = await self._run_as_administrator(
            *("-m", "deploy.replay.outlines", "--json"),
            *("--gateway", local_url(self._listener)),
            *("--token-from", str(self._folder.header_file("staff"))),
            *("--queue-url", self._resources.outline_queue_url),
        )
        try:
            _, errors = await process.communicate()
        finally:
            _kill(process)
        if process.returncode != 0:
            last = errors.decode(errors="replace").strip().splitlines()[-1:]
            self._console.warn(
                "The outlines of courses could not be replayed, so percentages may be behind until"
                f" their authors change them: {' '.join(last)}"
            )

    async def _run_as_administrator(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            env={
                **python_environment(),
                "AWS_ENDPOINT_URL": self._aws.endpoint_url,
                "AWS_REGION": self._aws.region,
                "AWS_ACCESS_KEY_ID": self._aws.access_key_id,
                "AWS_SECRET_ACCESS_KEY": self._aws.secret_access_key,
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def _failed(self, process: asyncio.subprocess.Process, what: str) -> PlatformError:
        _, errors = await process.communicate()
        return PlatformError(what, errors.decode(errors="replace").splitlines()[-15:])

    async def _tokens(self) -> dict[str, AccessToken]:
        with self._console.step("tokens of the demo users"):
            users = list(DEMO_USERS)
            try:
                tokens = await asyncio.gather(*(self._token(user) for user in users))
            except (BotoCoreError, ClientError) as error:
                raise PlatformError(f"the demo users could not sign in: {error}") from error
        return dict(zip(users, tokens, strict=True))

    async def _token(self, user: str) -> AccessToken:
        return await access_token(self._aws, self._resources, state=self._folder.root, user=user)

    def _publish(self, tokens: Mapping[str, AccessToken], urls: Mapping[str, str]) -> Ready:
        ready = Ready(
            gateway=local_url(self._listener),
            services=urls,
            aws=self._aws.endpoint_url,
            s3=self._s3_url,
            users={
                user: User(token.subject, token.token, self._folder.header_file(user))
                for user, token in tokens.items()
            },
            state=self._folder.root,
            logs=self._folder.logs,
            token_seconds=min(token.expires_in_seconds for token in tokens.values()),
            journey=_journey(),
            tracing_daemon=self._options.tracing_daemon,
            cluster=self._runner.address,
            monolith=self._monolith_address(),
        )
        for user, token in tokens.items():
            self._folder.write_header(user, token.token)
        session = {
            "readyLine": self._ready_line,
            "resources": dataclasses.asdict(self._resources),
            "tracesSentTo": self._options.tracing_daemon,
        }
        write_private(self._folder.session, session)
        write_private(self._folder.platform, ready.document())
        return ready

    def _monolith_address(self) -> MonolithAddress | None:
        if self._monolith is None:
            return None
        return MonolithAddress(
            local_url(self._ports[MONOLITH]),
            self._monolith.named(self._resources),
            self._resources.outline_queue_url,
        )

    def _origins(self) -> list[str]:
        port = port_of(self._listener)
        own = [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]
        return [*own, *self._options.cors_origins]

    async def _first_start(self, program: Program) -> None:
        try:
            await self._supervisor.start(program)
        except StartError as error:
            raise PlatformError(str(error), error.last_lines) from error


def traces_sent_to(folder: StateFolder) -> str | None:
    """The daemon that the platform that runs on this folder sends its traces to, if it keeps none."""
    try:
        session = json.loads(folder.session.read_text())
    except (OSError, ValueError):
        return None
    sent_to = session.get("tracesSentTo") if folder.is_in_use() else None
    return sent_to if isinstance(sent_to, str) else None


def _first(
    errors: BaseExceptionGroup[PlatformError | OSError],
) -> PlatformError | OSError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _address(url: str) -> str:
    return url.removeprefix("http://").rstrip("/")


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def _journey() -> Journey | None:
    """A sample course with a video, an English one if there is any."""
    with_video = [
        (sample.course.language != "en", Journey(sample.course.id, item.content_id))
        for sample in read_samples()
        for item in sample.course.outline_items
        if item.type == "video"
    ]
    return min(with_video, key=lambda found: found[0])[1] if with_video else None
