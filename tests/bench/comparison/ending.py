"""How a program that measures ends: whole, or told to, and then it leaves nothing running.

Owns the signals and the exit codes. What was started is ended by who started it, in the `finally` of its context.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import TypeVar

import uvloop

T = TypeVar("T")


class ToldToEndError(Exception):
    """SIGINT or SIGTERM came; everything that was started has been ended."""


def run(measuring: Coroutine[object, object, T]) -> T:
    """Run it to its end. Raises ToldToEndError, and what it raises."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_told(measuring))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise ToldToEndError("interrupted; everything that was started has been ended") from None


async def _until_told(measuring: Coroutine[object, object, T]) -> T:
    """Who is told to end by SIGTERM leaves as little behind as one who is interrupted."""
    task = asyncio.ensure_future(measuring)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def exit_code(
    program: str,
    tell: Callable[[str], None],
    act: Callable[[], int],
    *,
    wrongly: tuple[type[Exception], ...] = (),
) -> int:
    """What `act` gives. What it raises is told in one line: 2 for an error of the caller's
    (`wrongly`), 130 for one who was told to end, 1 for what failed (RuntimeError)."""
    try:
        return act()
    except wrongly as error:
        tell(f"{program}: {error}")
        return 2
    except ToldToEndError as ended:
        tell(f"{program}: {ended}")
        return 130
    except RuntimeError as error:
        tell(f"{program}: {error}")
        return 1
