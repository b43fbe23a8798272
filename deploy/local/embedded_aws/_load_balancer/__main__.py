"""`python -m deploy.local.embedded_aws._load_balancer`: serves what standard input says, until it ends.

Both ways see `_control.py`. SIGINT is left to the embedded AWS; the kernel kills it with its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import secrets
import signal
import sys
import time
from collections import Counter
from dataclasses import replace

import aiohttp
from aiohttp import web

from deploy.local._pass_through import create_server, open_session

from ._balancer import Balancer, new_trace
from ._control import Counts, Listener, Report, Routes, Target

_PR_SET_PDEATHSIG = 1  # prctl(2)
_CONNECT_SECONDS = 10.0
_COUNTS_EVERY_SECONDS = 1.0
_DRAIN_SECONDS = 5.0
_LINE_BYTES = 2**20


def main() -> int:
    parent = int(sys.argv[1])
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_serve())
    return 0


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    gc.freeze()
    async with open_session(_CONNECT_SECONDS) as session:
        process = _Process(session)
        counting = asyncio.create_task(process.report_counts())
        while line := await reader.readline():
            await process.apply(Routes.parse(line))
        counting.cancel()
        await process.close()


class _Process:
    """The listeners that are open."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._outstanding: Counter[Target] = Counter()
        self._balancers: dict[str, Balancer] = {}
        self._runners: dict[str, web.ServerRunner] = {}
        self._done = 0

    async def apply(self, routes: Routes) -> None:
        """Opens, changes and closes listeners, and says that it is done."""
        refused: dict[str, str] = {}
        wanted = {listener.name: listener for listener in routes.listeners}
        for name in [name for name in self._balancers if not self._same_place(name, wanted)]:
            await self._close(name)
        for name, listener in wanted.items():
            if name in self._balancers:
                self._balancers[name].listener = listener
                continue
            try:
                await self._open(name, listener)
            except OSError as error:
                refused[name] = error.strerror or str(error)
        self._done = routes.number
        self._say(Report(self._done, refused))

    async def report_counts(self) -> None:
        """Says every second what was counted, where anything was."""
        while True:
            await asyncio.sleep(_COUNTS_EVERY_SECONDS)
            counts = {
                name: replace(balancer.counts)
                for name, balancer in self._balancers.items()
                if balancer.counts != Counts()
            }
            for name in counts:
                self._balancers[name].counts = Counts()
            if counts:
                self._say(Report(self._done, {}, counts))

    async def close(self) -> None:
        """Lets requests end, within a bound."""
        await asyncio.gather(*(self._close(name) for name in list(self._balancers)))

    def _same_place(self, name: str, wanted: dict[str, Listener]) -> bool:
        now = self._balancers[name].listener
        then = wanted.get(name)
        return then is not None and (now.address, now.port) == (then.address, then.port)

    async def _open(self, name: str, listener: Listener) -> None:
        balancer = Balancer(
            listener,
            self._session,
            self._outstanding,
            lambda: new_trace(time.time, secrets.token_hex),
        )
        runner = web.ServerRunner(create_server(balancer), shutdown_timeout=_DRAIN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, listener.address, listener.port, backlog=1024).start()
        except OSError:
            await runner.cleanup()
            raise
        self._balancers[name], self._runners[name] = balancer, runner

    async def _close(self, name: str) -> None:
        del self._balancers[name]
        await self._runners.pop(name).cleanup()

    def _say(self, report: Report) -> None:
        with contextlib.suppress(BrokenPipeError):  # the end is near: standard input says so too
            sys.stdout.buffer.write(report.line())
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
