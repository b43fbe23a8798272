"""The load balancer's process: started, told what it is to do, started again where it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .._load_balancer._control import Counts, Listener, Report, Routes

_ANSWER_SECONDS = 10.0
_STOP_SECONDS = 7.0
_AGAIN_SECONDS = 0.2
_LINE_BYTES = 2**20

_log = logging.getLogger("lyceum.load_balancer")


class DataPlaneError(Exception):
    """The load balancer's process does not answer."""


@dataclass(eq=False)
class _Child:
    process: asyncio.subprocess.Process
    done: int = 0
    refused: dict[str, str] = field(default_factory=dict)


class DataPlane:
    """The load balancer's process.

    Args:
        counted: takes what a listener counted, by its name, about once a second.
    """

    def __init__(self, counted: Callable[[Mapping[str, Counts]], None]) -> None:
        self._counted = counted
        self._routes = Routes(0, ())
        self._child: _Child | None = None
        self._moved = asyncio.Condition()
        self._watch: asyncio.Task[None] | None = None

    @property
    def process_id(self) -> int | None:
        """The process that runs now."""
        return self._child.process.pid if self._child else None

    async def start(self) -> None:
        """Starts the process; it has no listener yet."""
        await self._spawn()
        self._watch = asyncio.create_task(self._keep_alive())

    async def route(self, listeners: tuple[Listener, ...]) -> Mapping[str, str]:
        """Puts these listeners in force and returns when they are.

        Gives, by a listener's name, why it does not listen. Raises DataPlaneError.
        """
        if listeners != self._routes.listeners:
            self._routes = Routes(self._routes.number + 1, listeners)
            await self._send()
        number = self._routes.number
        try:
            async with asyncio.timeout(_ANSWER_SECONDS), self._moved:
                await self._moved.wait_for(lambda: self._done() >= number)
                assert self._child is not None
                return dict(self._child.refused)
        except TimeoutError:
            raise DataPlaneError("the load balancer does not answer") from None

    async def close(self) -> None:
        """Lets requests end, within a bound, and ends the process."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._child is None:
            return
        process = self._child.process
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _done(self) -> int:
        return self._child.done if self._child else -1

    async def _spawn(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.local.embedded_aws._load_balancer", str(os.getpid())),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
        )
        self._child = _Child(process)

    async def _send(self) -> None:
        if self._child is None:
            return
        stdin = self._child.process.stdin
        assert stdin is not None
        with contextlib.suppress(ConnectionError):  # it has died; the next one is told
            stdin.write(self._routes.line())
            await stdin.drain()

    async def _keep_alive(self) -> None:
        while True:
            assert self._child is not None
            await self._listen(self._child)
            code = await self._child.process.wait()
            _log.error("the load balancer ended with %s and is started again", code)
            await asyncio.sleep(_AGAIN_SECONDS)
            await self._spawn()
            await self._send()

    async def _listen(self, child: _Child) -> None:
        assert child.process.stdout is not None
        while line := await child.process.stdout.readline():
            report = Report.parse(line)
            if report.counts:
                self._counted(report.counts)
            async with self._moved:
                if report.done > child.done:
                    child.done, child.refused = report.done, report.refused
                self._moved.notify_all()
