"""The gateway as the process that the platform runs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.local._gateway import Stage, write_configuration
from deploy.local._ports import listen, port_of

ROOT = Path(__file__).parents[3]
CONTRACT = """
openapi: 3.0.3
paths:
  /things: {get: {}}
  /things/{id}: {get: {}}
"""


class Process:
    """A running gateway: where it answers, and its process."""

    def __init__(self, url: str, process: asyncio.subprocess.Process) -> None:
        self.url = url
        self.process = process

    async def until_said(self, *words: str) -> None:
        """Reads on in what it says, to a line that holds all of the words."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while line := await self.process.stdout.readline():
                if all(word in line.decode() for word in words):
                    return
        raise AssertionError(f"the gateway never said {words}")


def environment() -> dict[str, str]:
    """Of the process: that of the test, with the repository's modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


@asynccontextmanager
async def running(configuration: Path, *options: str) -> AsyncIterator[Process]:
    """A gateway on a free port; killed at the end where it still runs."""
    with listen(0) as listener:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.local._gateway"),
            *("--configuration", str(configuration), "--fd", str(listener.fileno()), *options),
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        url = f"http://127.0.0.1:{port_of(listener)}"
    try:
        yield Process(url, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def configure(path: Path, stage: Stage, *, service: str = "things") -> Path:
    """Writes a configuration whose `/things` and `/things/{id}` go by a stage."""
    contract = path.with_name("openapi.yaml")
    contract.write_text(CONTRACT)
    write_configuration(path, {service: (contract, stage)})
    return path
