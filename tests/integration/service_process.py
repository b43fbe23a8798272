"""A service's real process: `python -m services.<name>`, from its start to its exit code.

Owns the process, its environment and the lines that it writes. It must not know what a service
answers, nor which variables it reads: those are the tests' own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

# A start shares the machine with the whole test run; what takes longer than this is stuck.
DEADLINE_SECONDS = 60.0

_REPOSITORY_ROOT = Path(__file__).parents[2]
# What a task definition sets: a test's process has it from the test alone.
_OWN_PREFIXES = ("AWS_", "CATALOG_", "CONTENT_", "PROGRESS_", "MONOLITH_")
# A log line holds a whole traceback, and asyncio's own limit is 64 KiB.
_LINE_BYTES = 1 << 20


def python_path() -> str:
    """The PYTHONPATH with which another Python finds what this one does, and the repository."""
    return os.pathsep.join([str(_REPOSITORY_ROOT), *filter(None, sys.path)])


class ServiceProcess:
    """A running service and every line that it has written, on standard output or error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read())

    @property
    def process_id(self) -> int:
        """The process's id, for signals and for what the kernel tells of it."""
        return self._process.pid

    @property
    def base_url(self) -> str:
        """Where it listens, as it says itself, without a trailing slash."""
        return f"http://127.0.0.1:{self._port.result()}"

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its lines as log events; ValueError if one of them is not JSON."""
        return [json.loads(line) for line in self.lines]

    async def listening(self) -> None:
        """Wait for its port.

        Raises RuntimeError with what it wrote if it ends before, TimeoutError after the deadline.
        """
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self._port

    async def ready(self, session: aiohttp.ClientSession) -> None:
        """Wait for /readyz to answer 200; TimeoutError after the deadline."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                async with session.get(f"{self.base_url}/readyz") as response:
                    if response.status == 200:
                        return
                await asyncio.sleep(0.02)

    async def stop(self) -> int:
        """SIGTERM, as ECS stops a task; its exit code once it has written its last line."""
        _signal(self._process, signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_SECONDS):
            # Shielded: running out of time here must not end the reading that `kill` waits for.
            await asyncio.shield(self._reading)
            return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, if it has not ended yet; afterwards it is gone and all its lines are read."""
        _signal(self._process, signal.SIGKILL)
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            text = line.decode()
            self.lines.append(text)
            if not self._port.done() and '"event":"listening"' in text:
                self._port.set_result(json.loads(text)["port"])
        if not self._port.done():
            self._port.set_exception(RuntimeError("".join(self.lines)))


@asynccontextmanager
async def service_process(
    service: str, variables: Mapping[str, str], *, package: str = "services"
) -> AsyncIterator[ServiceProcess]:
    """`<package>.<service>` with `variables` as its settings, listening; killed at the end if need be.

    Raises as ServiceProcess.listening does.
    """
    running = ServiceProcess(
        await _start(f"{package}.{service}", variables, stderr=asyncio.subprocess.STDOUT)
    )
    try:
        await running.listening()
        yield running
    finally:
        await running.kill()


async def refused_start(
    service: str, variables: Mapping[str, str], *, package: str = "services"
) -> subprocess.CompletedProcess[str]:
    """Start `<package>.<service>` where it must end by itself: its exit code and what it wrote.

    Raises TimeoutError, with the process killed, if it goes on running.
    """
    process = await _start(f"{package}.{service}", variables, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            out, err = await process.communicate()
            code = await process.wait()
    finally:
        _signal(process, signal.SIGKILL)
        await process.wait()
    return subprocess.CompletedProcess(service, code, out.decode(), err.decode())


async def _start(
    module: str, variables: Mapping[str, str], *, stderr: int
) -> asyncio.subprocess.Process:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(_OWN_PREFIXES)
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        env={**inherited, "PYTHONPATH": python_path(), **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        limit=_LINE_BYTES,
    )


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        # Not process.send_signal: it polls first, and may take the exit code of a process that
        # has just died away from asyncio's child watcher, which then reports 255.
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
