"""What the services are told, and the programs that run here: services, gateway, traces, pages.

A service gets exactly the environment variables it would get on AWS, as a process from here and as a
container from its task definition. Nothing in it is told that this is not AWS. What runs the services,
and where, is not known here: see `Runner`.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp

from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._ports import port_of
from deploy.local._provision import PREFIXES, EmbeddedAws, Resources
from deploy.local._report import ClusterAddress
from deploy.local._supervisor import Program

SERVICES: tuple[str, ...] = tuple(PREFIXES)
WITH_CURSORS = frozenset({"course_catalog", "content_delivery", "progress_tracking"})
# The second process of progress tracking's image: learns outlines from the catalog's events.
CONSUMER = "progress_tracking-consumer"
_CONSUMER_OF = "progress_tracking"
# What its log has when it is ready.
CONSUMING = '"event":"consuming"'

# What the gateway leads to besides the services.
PAGES = "pages"
# What stands between the services and what they depend on.
FAULTS = "faults"

# Who watches wants to see what changed; on AWS it is a minute.
METRICS_SECONDS = 5

# Longer than a request takes, shorter than what is waited for before SIGKILL.
DRAIN_SECONDS = 5
# How long the consumer's polls wait: stopping waits for the last one.
POLL_SECONDS = 1

# What a Python needs to start at all; nothing of the user's AWS or Python settings.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "SSL_CERT_FILE", "TMPDIR", "TZ")


@dataclass(frozen=True)
class ServiceSettings:
    """What a service is told besides what was provisioned for it."""

    cursor_secret: str | None
    cors_origins: Sequence[str]
    tracing_daemon: str | None


class Runner(Protocol):
    """A way to run the services: as processes of this machine, or as tasks of a cluster.

    Each raises PlatformError where what it is to do can not be done.
    """

    async def urls(self) -> Mapping[str, str]:
        """Where each service answers; waits until that is known, not until it answers."""

    @property
    def address(self) -> ClusterAddress | None:
        """Where they are released to, where they can be."""

    async def prepare(self) -> None:
        """Does what takes long and needs no AWS."""

    async def begin(
        self, aws: EmbeddedAws, resources: Resources, operator: Mapping[str, str]
    ) -> None:
        """Makes what the services need besides what was provisioned; again after `stop`.

        ``operator`` are the variables of who may release.
        """

    async def start(
        self, name: str, settings: ServiceSettings, provisioned: Mapping[str, str]
    ) -> None:
        """Starts a service, or `CONSUMER`, and waits until it is ready.

        ``provisioned`` are the variables that lead it to its table, its tokens' issuer and its role.
        """

    async def stop(self) -> bool:
        """Stops all of it, finishing what is under way; false where something had to be killed."""

    async def kill(self) -> None:
        """Ends all of it at once."""


def service_of(name: str) -> str:
    """Whose image, role and variables a service or `CONSUMER` has."""
    return _CONSUMER_OF if name == CONSUMER else name


def contract_of(service: str) -> Path:
    """The ``openapi.yaml`` of a service, or of `PAGES`."""
    if service == PAGES:
        return REPOSITORY_ROOT / "deploy" / "local" / "_pages" / "openapi.yaml"
    return REPOSITORY_ROOT / "services" / service / "openapi.yaml"


def variables_of(
    name: str,
    settings: ServiceSettings,
    provisioned: Mapping[str, str],
    *,
    host: str,
    port: int,
) -> dict[str, str]:
    """The environment of a service or `CONSUMER`, but for what its image holds: the version.

    ``host`` and ``port`` are where a service listens; `CONSUMER` has neither.
    """
    service = service_of(name)
    own = {
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
        "METRICS_FLUSH_SECONDS": str(METRICS_SECONDS),
    }
    if name == CONSUMER:
        own["OUTLINE_WAIT_SECONDS"] = str(POLL_SECONDS)
    else:
        own |= {"HOST": host, "PORT": str(port), "CORS_ORIGINS": ",".join(settings.cors_origins)}
        if service == _CONSUMER_OF:
            # Who tries things out wants to see a changed outline at once.
            own["OUTLINE_CACHE_SECONDS"] = "1"
    if service == "content_delivery":
        # Parts can be watched with a video of some MB, and need none of 100.
        own |= {"UPLOAD_SINGLE_BYTES": str(8 * 2**20), "UPLOAD_PART_BYTES": str(5 * 2**20)}
    if service in WITH_CURSORS and settings.cursor_secret is not None:
        own["CURSOR_SECRETS"] = settings.cursor_secret
    if settings.tracing_daemon is not None:
        own["TRACING_DAEMON"] = settings.tracing_daemon
        own["TRACING_RATE"] = "1"
    prefix = PREFIXES[service]
    return {**provisioned, **{f"{prefix}{variable}": value for variable, value in own.items()}}


def service_program(
    service: str,
    settings: ServiceSettings,
    provisioned: Mapping[str, str],
    session: aiohttp.ClientSession,
    *,
    port: int,
) -> Program:
    """The service as its image runs it: ``python -m services.<name>``.

    Args:
        service: the name of its folder.
        settings: see `ServiceSettings`.
        provisioned: see `Runner.start`.
        session: asks ``/readyz``.
        port: where it listens, on 127.0.0.1.
    """
    return Program(
        name=service,
        command=[sys.executable, "-m", f"services.{service}"],
        environment=_process_environment(service, settings, provisioned, port=port),
        ready=answers(session, f"http://127.0.0.1:{port}/readyz"),
        stop_seconds=DRAIN_SECONDS + 10,
    )


def consumer_program(settings: ServiceSettings, provisioned: Mapping[str, str]) -> Program:
    """The consumer of progress tracking, with its service's own variables and role."""

    async def ready(output: str) -> bool:
        return CONSUMING in output

    return Program(
        name=CONSUMER,
        command=[sys.executable, "-m", f"services.{_CONSUMER_OF}.consumer"],
        environment=_process_environment(CONSUMER, settings, provisioned, port=0),
        ready=ready,
        stop_seconds=DRAIN_SECONDS + 10,
    )


def _process_environment(
    name: str, settings: ServiceSettings, provisioned: Mapping[str, str], *, port: int
) -> dict[str, str]:
    service = service_of(name)
    version = service_version(REPOSITORY_ROOT / "services" / service / "BUILD")
    return {
        **python_environment(),
        **variables_of(name, settings, provisioned, host="127.0.0.1", port=port),
        **({f"{PREFIXES[service]}VERSION": version} if version is not None else {}),
    }


def gateway_program(
    configuration: Path,
    control_plane: Path,
    listener: socket.socket,
    session: aiohttp.ClientSession,
) -> Program:
    """The gateway on a listening socket that it inherits; it is ready when it answers."""
    return Program(
        name="gateway",
        command=[
            *(sys.executable, "-m", "deploy.local._gateway"),
            *("--configuration", str(configuration)),
            *("--control-plane", str(control_plane)),
            *("--fd", str(listener.fileno())),
            *("--drain-seconds", str(DRAIN_SECONDS)),
        ],
        environment=python_environment(),
        # It has no path of its own: what is nobody's is not found, and that is an answer.
        ready=answers(session, f"http://127.0.0.1:{port_of(listener)}/-", status=404),
        inherited=[listener.fileno()],
        stop_seconds=DRAIN_SECONDS + 10,
    )


def traces_program(folder: Path, source: socket.socket) -> Program:
    """The receiver of the services' segments, on a UDP socket that it inherits."""

    async def is_receiving(output: str) -> bool:
        return "receiving\n" in output

    return Program(
        name="traces",
        command=[
            *(sys.executable, "-m", "deploy.local._traces"),
            *("--fd", str(source.fileno())),
            *("--folder", str(folder)),
        ],
        environment=python_environment(),
        ready=is_receiving,
        inherited=[source.fileno()],
    )


def faults_program(*, aws: int, dynamodb: int, s3: int, keys: int, control: int) -> Program:
    """The proxies in front of the embedded AWS that fail as they are told; all are ports."""

    async def is_passing_on(output: str) -> bool:
        return "passing on\n" in output

    return Program(
        name=FAULTS,
        command=[
            *(sys.executable, "-m", "deploy.local._faults"),
            *("--to", str(aws)),
            *("--dynamodb", str(dynamodb)),
            *("--s3", str(s3)),
            *("--keys", str(keys)),
            *("--control", str(control)),
        ],
        environment=python_environment(),
        ready=is_passing_on,
    )


def pages_program(state: Path, *, port: int, faults: int | None) -> Program:
    """The pages to look at; they listen on 127.0.0.1, and the gateway leads to them.

    ``faults`` is the port where faults are switched; None where there is none.
    """

    async def is_showing(output: str) -> bool:
        return "showing\n" in output

    return Program(
        name=PAGES,
        command=[
            *(sys.executable, "-m", "deploy.local._pages"),
            *("--state", str(state)),
            *("--port", str(port)),
            *(() if faults is None else ("--faults", str(faults))),
        ],
        environment=python_environment(),
        ready=is_showing,
    )


def python_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a Python of ours is started with, besides its own settings."""
    variables = os.environ if variables is None else variables
    inherited = {name: variables[name] for name in _INHERITED if name in variables}
    return inherited | {"PYTHONPATH": str(REPOSITORY_ROOT), "PYTHONUNBUFFERED": "1"}


def service_version(build: Path) -> str | None:
    """The literal ``version="x.y.z"`` of a service's BUILD file, the one place where it stands."""
    try:
        text = build.read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r'\bversion\s*=\s*"([^"]+)"', text)
    return found and found[1]


def answers(
    session: aiohttp.ClientSession, url: str, *, status: int = 200
) -> Callable[[str], Awaitable[bool]]:
    """Whether a GET is answered with this status; for `Program.ready`."""
    timeout = aiohttp.ClientTimeout(total=2)

    async def ready(_: str) -> bool:
        try:
            async with session.get(url, timeout=timeout) as answer:
                return answer.status == status
        except (aiohttp.ClientError, TimeoutError):
            return False

    return ready
