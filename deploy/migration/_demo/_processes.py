"""The programs that the demo starts, as an operator would: each a process that speaks JSON lines.

Owns starting and ending them, the last one first; ends only what it started, by its id. They are out
of the terminal's process group: Ctrl-C reaches the demo alone, which ends them in order. Where it is
killed itself, they are told to end by the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from deploy.local.embedded_aws._parent import stop_with_parent

Document = Mapping[str, Any]
Hear = Callable[[Document], None]

ROOT: Final = Path(__file__).absolute().parents[3]

_MOST_OF_A_LINE: Final = 4 * 1024 * 1024
_SHOWN_LINES: Final = 15


class ProgramError(Exception):
    """A program ended otherwise than it should; `last_lines` are the end of what it said."""

    def __init__(self, what: str, last_lines: Sequence[str]) -> None:
        super().__init__(what)
        self.last_lines = last_lines


@dataclass
class Program:
    """One that runs."""

    name: str
    process: asyncio.subprocess.Process
    errors: Path

    async def documents(self) -> AsyncIterator[Document]:
        """What it says on standard output, until it ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            yield json.loads(line)

    def failure(self) -> ProgramError:
        """That it ended, or did not do what it was started for."""
        lines = self.errors.read_text(encoding="utf-8", errors="replace").splitlines()
        code = self.process.returncode
        return ProgramError(
            f"{self.name}: {'still runs' if code is None else f'exit code {code}'}",
            lines[-_SHOWN_LINES:],
        )

    async def stop(self, within: float) -> None:
        """SIGTERM, and SIGKILL to what does not end by that."""
        for end, wait in ((self.process.terminate, within), (self.process.kill, None)):
            if self.process.returncode is not None:
                return
            with contextlib.suppress(ProcessLookupError):
                end()
            try:
                async with asyncio.timeout(wait):
                    await self._drained()
            except TimeoutError:
                continue

    async def _drained(self) -> None:
        assert self.process.stdout is not None
        # A full pipe would keep it from ending.
        while await self.process.stdout.read(65_536):
            pass
        await self.process.wait()


class Programs:
    """Starts modules of this repository. `logs`: a folder for what they say on standard error."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._count = 0

    @asynccontextmanager
    async def running(
        self, name: str, module: str, *arguments: str, stops_within: float = 60.0
    ) -> AsyncIterator[Program]:
        """A program until the block ends."""
        self._count += 1
        errors = self._logs / f"{self._count:03}-{name.replace(' ', '-').replace('/', '-')}.log"
        with errors.open("wb") as log:
            program = Program(name, await _start(module, arguments, log), errors)
        try:
            yield program
        finally:
            await _to_its_end(program.stop(stops_within))

    async def run(
        self, name: str, module: str, *arguments: str, hear: Hear, may_fail: bool = False
    ) -> int:
        """A program to its end; gives its exit code. Raises ProgramError where it is not 0, unless
        it may fail."""
        async with self.running(name, module, *arguments) as program:
            async for document in program.documents():
                hear(document)
            code = await program.process.wait()
            if code != 0 and not may_fail:
                raise program.failure()
            return code


async def _start(
    module: str, arguments: Sequence[str], errors: IO[bytes]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "PYTHONUNBUFFERED": "1",
        },
        limit=_MOST_OF_A_LINE,
        start_new_session=True,
        preexec_fn=partial(stop_with_parent, os.getpid()),
    )


async def _to_its_end(stopping: Any) -> None:
    """However often the demo is told to stop meanwhile: what it started does not stay behind."""
    task = asyncio.ensure_future(stopping)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()
