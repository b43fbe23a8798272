"""Who is measured: each as a process of its own on one core, by its own entry point.

Owns the processes and their environment, and what the kernel tells of them. Knows what a contestant
answers only as far as the cases name it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.comparison import stored
from tests.bench.comparison.environments import ROOT, program_of_fastify, python_of_peers
from tests.bench.comparison.load import UnexpectedAnswerError, fetch
from tests.bench.comparison.stored import Asked
from tests.bench.request_costs import cpu_seconds, mebibytes
from tests.bench.typical_traffic import PREFIXES, TABLES
from tests.integration.service_process import python_path

# A catalog of 100,000 courses on a busy machine takes minutes; what takes longer is stuck.
START_SECONDS = 600.0
STOP_SECONDS = 10.0
LYCEUM, PEER, FLOOR = "lyceum", "peer", "floor"
DIRECTORY = "directory"
"""The name of the course catalog with very many courses."""

_OWN_PREFIXES = ("AWS_", "PYTHON", "PEX_", *PREFIXES.values())


@dataclass(frozen=True)
class World:
    """Where a contestant finds what it needs."""

    dynamodb: int
    many_dynamodb: int
    daemon: int
    page_bytes: int


@dataclass(frozen=True)
class Contestant:
    """`command` may raise MissingPeerError. `cases`: what it is asked, by the case's name; None is asked
    later, because the request is only known once it runs."""

    name: str
    label: str
    kind: str
    command: Callable[[], Sequence[str]]
    variables: Callable[[World], Mapping[str, str]]
    cases: Mapping[str, Asked] = field(default_factory=dict)


_COURSE = Asked("GET", f"/courses/{stored.COURSE}")
_CONTENT = Asked("GET", f"/content/{stored.CONTENT}")
_PROGRESS = Asked("GET", "/progress/me")
_PEER_CASES = {
    "course": _COURSE,
    "content": _CONTENT,
    "progress": _PROGRESS,
    "heartbeat": stored.heartbeat(),
}
CASES: Mapping[str, str] = {
    "course": "GET /courses/{id}",
    "course.revalidated": "GET /courses/{id}, revalidated",
    "page": "GET /courses, the first page of 50",
    "page.deep": "GET /courses, the last page of 50",
    "content": "GET /content/{id}",
    "progress": "GET /progress/{userId}",
    "heartbeat": "PUT /progress/{userId}/{courseId}",
    "constant": "a constant of 618 bytes",
    "constant.page": "a constant of a page's size",
    "post": "one bare POST to DynamoDB",
}


def _aws(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "AKIABENCH",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def lyceum_service(
    service: str,
    name: str,
    label: str,
    cases: Mapping[str, Asked],
    *,
    many: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Contestant:
    """The service by its own entry point; `settings`: what differs from its defaults, without the
    service's prefix."""

    def variables(world: World) -> dict[str, str]:
        port = world.many_dynamodb if many else world.dynamodb
        values = {
            "TABLE": TABLES[service],
            "AUTH_ISSUER": stored.ISSUER.settings.issuer,
            "AUTH_JWKS_URL": f"http://127.0.0.1:{port}/jwks.json",
            "AUTH_CLIENT_IDS": stored.ISSUER.client_id,
            "CURSOR_SECRETS": "a-secret-of-at-least-thirty-two-bytes",
            "TRACING_DAEMON": f"127.0.0.1:{world.daemon}",
        }
        if service == "content_delivery":
            # Each request reads its item, as the peers do.
            values |= {"BUCKET": stored.BUCKET, "CACHE_SECONDS": "0"}
        values |= settings or {}
        prefix = PREFIXES[service]
        return {
            **_aws(port),
            **{f"{prefix}{name}": value for name, value in values.items()},
            "PYTHONPATH": python_path(),
        }

    return Contestant(
        name,
        label,
        LYCEUM,
        lambda: (sys.executable, "-m", f"services.{service}"),
        variables,
        cases,
    )


def _peer_variables(world: World) -> dict[str, str]:
    return {
        **_aws(world.dynamodb),
        "JWKS_URL": f"http://127.0.0.1:{world.dynamodb}/jwks.json",
        "ISSUER": stored.ISSUER.settings.issuer,
        "CLIENT_ID": stored.ISSUER.client_id,
        "BUCKET": stored.BUCKET,
        "NODE_ENV": "production",
        # Their own packages, and from here the peers alone.
        "PYTHONPATH": str(ROOT),
    }


def _python_peer(module: str) -> Callable[[], Sequence[str]]:
    return lambda: (str(python_of_peers()), "-m", f"tests.bench.peers.{module}")


def _fastify() -> Sequence[str]:
    node, program = program_of_fastify()
    return (node, str(program))


CONTESTANTS: Sequence[Contestant] = (
    lyceum_service(
        "course_catalog",
        "course_catalog",
        "Lyceum",
        {
            "course": _COURSE,
            "course.revalidated": Asked(
                "GET", _COURSE.path, 304, headers={"If-None-Match": '"v2"'}
            ),
        },
    ),
    lyceum_service(
        "course_catalog",
        DIRECTORY,
        "Lyceum",
        {"page": Asked("GET", f"/courses?limit={stored.PAGE}"), "page.deep": Asked("GET", "")},
        many=True,
    ),
    lyceum_service("content_delivery", "content_delivery", "Lyceum", {"content": _CONTENT}),
    lyceum_service(
        "progress_tracking",
        "progress_tracking",
        "Lyceum",
        {"progress": _PROGRESS, "heartbeat": stored.heartbeat()},
    ),
    Contestant("fastify", "Fastify + AWS SDK v3", PEER, _fastify, _peer_variables, _PEER_CASES),
    Contestant(
        "aiohttp",
        "aiohttp + aioboto3",
        PEER,
        _python_peer("aiohttp_peer"),
        _peer_variables,
        _PEER_CASES,
    ),
    Contestant(
        "fastapi",
        "FastAPI + uvicorn + aioboto3",
        PEER,
        _python_peer("fastapi_peer"),
        _peer_variables,
        _PEER_CASES,
    ),
    Contestant(
        "floor",
        "raw aiohttp",
        FLOOR,
        lambda: (sys.executable, "-m", "tests.bench.peers.floor"),
        lambda world: {
            **_aws(world.dynamodb),
            "PAGE_BYTES": str(world.page_bytes),
            "PYTHONPATH": python_path(),
        },
        {
            "constant": Asked("GET", "/constant"),
            "constant.page": Asked("GET", "/page"),
            "post": Asked("GET", "/post"),
        },
    ),
)


class Running:
    """A contestant that answers. `ready_seconds`: from its start until it was ready."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self._process = process
        self.port = port
        self.log = log
        self.ready_seconds = 0.0
        self.idle_mebibytes = 0.0

    @property
    def process_id(self) -> int:
        """For what the kernel tells of it."""
        return self._process.pid

    @property
    def cpu_seconds(self) -> float:
        """The time that it was on a core."""
        return cpu_seconds(self._process.pid)

    @property
    def mebibytes(self) -> float:
        """Its resident memory."""
        return mebibytes(self._process.pid)["now"]

    async def become_ready(self, began: float) -> None:
        """Wait for /readyz. Raises RuntimeError with what it wrote if it ends before, or takes for
        ever."""
        request = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        while time.perf_counter() - began < START_SECONDS and self._process.returncode is None:
            try:
                if (await fetch(self.port, request)).startswith(b"HTTP/1.1 200"):
                    self.ready_seconds = time.perf_counter() - began
                    self.idle_mebibytes = self.mebibytes
                    return
            except (OSError, UnexpectedAnswerError):
                pass
            await asyncio.sleep(0.005)
        lines = self.log.read_text(encoding="utf-8", errors="replace")[-2_000:]
        how = "was not ready" if self._process.returncode is None else "ended"
        raise RuntimeError(f"{how} after {time.perf_counter() - began:.0f} s\n{lines}")


@asynccontextmanager
async def started(
    contestant: Contestant, world: World, *, cores: set[int], folder: Path
) -> AsyncIterator[Running]:
    """The contestant, ready, on these cores; ended when the context is left.

    Raises MissingPeerError, and RuntimeError as `Running.become_ready`.
    """
    command = contestant.command()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(_OWN_PREFIXES)
    }
    prefixes = [*PREFIXES.values(), ""]
    ports = {f"{prefix}PORT": str(port) for prefix in prefixes}
    variables = contestant.variables(world)
    wanted = {
        name
        for name in ports
        if name == "PORT" or any(known.startswith(name.removesuffix("PORT")) for known in variables)
    }
    log = folder / f"{contestant.name}.log"
    # Appended to, so that who measures for long may cut it meanwhile.
    with log.open("ab") as lines:
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env={**inherited, **variables, **{name: ports[name] for name in wanted}},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=lines,
            stderr=asyncio.subprocess.STDOUT,
            # Not the terminal's: an interrupt there is for the program that ends this one.
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    running = Running(process, port, log)
    try:
        await running.become_ready(began)
        yield running
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is None:
            process.send_signal(number)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                continue
