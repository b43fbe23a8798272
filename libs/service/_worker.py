"""A process that works beside the requests: from the environment to its end.

Owns configuration, signals and exit code, as `serve` does for a process that answers requests. Knows
nothing of what is worked on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from libs.config import ConfigurationError
from libs.http import event_loop_factory
from libs.logging import configure, get_logger
from libs.service._settings import ServiceSettings
from libs.service._start import imported

_Config = TypeVar("_Config", bound=ServiceSettings)

_log = get_logger(__name__)


Do = Callable[[_Config, asyncio.Event], Awaitable[None]]
"""Works until the event is set and returns once what was begun is finished; cancelled where that
takes longer than the drain may."""


def work(read: Callable[[Mapping[str, str]], _Config], do: Do[_Config]) -> int:
    """Work until SIGTERM or SIGINT, then finish within `DRAIN_SECONDS`; a second signal ends it at
    once. The exit code: 0 after that, also where the bound was exceeded; 1 when the work failed,
    with a log line that says why; 2 for a bad configuration, its problems on stderr, one a line."""
    imported()
    try:
        config = read(os.environ)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    configure(service=config.service.name, version=config.service.version, level=config.log_level)
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        return runner.run(_main(config, do))


async def _main(config: _Config, do: Do[_Config]) -> int:
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    working = asyncio.ensure_future(do(config, stop))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    finished = True
    if not working.done():
        _log.info("draining")
        hurrying = asyncio.ensure_future(hurry.wait())
        await asyncio.wait(
            {working, hurrying},
            timeout=config.drain_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        hurrying.cancel()
        finished = working.done()
        if not finished:
            _log.warning("drain_bound_exceeded")
            working.cancel()
            await asyncio.wait({working})
    if not working.cancelled() and (error := working.exception()) is not None:
        _log.error("work_failed", exc_info=error)
        return 1
    _log.info("stopped", drained=finished)
    return 0
