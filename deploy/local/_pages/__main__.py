"""The pages' process: ``python -m deploy.local._pages --state DIR --port N [--faults N]``.

SIGTERM: exit 0. SIGINT is left to the supervisor: a terminal sends it to the whole group at once.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from deploy.local._pages._server import Pages
from deploy.local._state import StateFolder
from deploy.local._tokens import fresh_token

READY_LINE = "showing"
_SWITCHED_WITHIN_SECONDS = 10.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pages", description="Lyceum's pages to look at.")
    parser.add_argument("--state", type=Path, required=True, help="the platform's state folder")
    parser.add_argument("--port", type=int, required=True, help="port of 127.0.0.1")
    parser.add_argument("--faults", type=int, help="port of 127.0.0.1 where faults are switched")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        asyncio.run(_serve(StateFolder(options.state), options.port, options.faults))
    except OSError as error:
        _say(f"pages: {error}")
        return 2
    return 0


async def _serve(folder: StateFolder, port: int, faults: int | None) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    timeout = aiohttp.ClientTimeout(total=_SWITCHED_WITHIN_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        pages = Pages(
            folder,
            token=fresh_token,
            faults=None if faults is None else URL(f"http://127.0.0.1:{faults}/faults"),
            session=session,
            now=time.time,
        )
        runner = web.AppRunner(pages.app(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        _say(READY_LINE)
        await stop.wait()
        await runner.cleanup()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
