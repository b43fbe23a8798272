"""Splits a live table, and gives it back: plan, copy, verify, switch, and the way back. See README.md.

Exit codes: 0 done; 1 refused, or it failed and the owners are as before; `verify`: something differs;
`audit`: the log was changed; 2 bad input, nothing was changed; 3 it is not known how far it came: look
at `status`; 130, 143 stopped, and the same command goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from deploy.migration._barrier import BarrierError
from deploy.migration._command import parse
from deploy.migration._perform import BAD_INPUT, COMMANDS, FAILED, UNKNOWN
from deploy.migration._ports import DeniedError
from deploy.migration._report import Report
from deploy.migration._session import session
from deploy.migration._verify import TooManySuspectsError
from deploy.migration.commands import AbortedError, BadInputError, RefusedError
from libs.logging import configure

_CLEANS_UP_WITHIN_SECONDS: Final = 30.0

_CHANGES_ON_THE_WAY: Final = frozenset({"cancel", "complete", "rehearse", "resync"})
"""Commands that have changed something before their end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    try:
        options = parse(arguments)
    except BadInputError as error:
        Report(sys.stdout, sys.stderr, as_json=False, clock=time.monotonic).can_not(*error.reasons)
        return BAD_INPUT
    report = Report(sys.stdout, sys.stderr, as_json=options.json, clock=time.monotonic)
    return asyncio.run(_until_stopped(options, report))


async def _until_stopped(options: argparse.Namespace, report: Report) -> int:
    task = asyncio.current_task()
    assert task is not None
    stopped_by: list[int] = []
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        # Once: what is done on the way out is not to be cut short by an impatient second one. But it
        # may wait for an AWS that does not answer.
        if not stopped_by:
            stopped_by.append(number)
            task.cancel()
            loop.call_later(_CLEANS_UP_WITHIN_SECONDS, task.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, partial(stop, number))
    try:
        return await _told(options, report)
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        report.can_not("stopped; the same command goes on from here")
        return 128 + stopped_by[0]


async def _told(options: argparse.Namespace, report: Report) -> int:
    """The command's exit code; what it raised becomes lines."""
    try:
        async with session(options, report) as found:
            return await COMMANDS[options.command](found)
    except* BadInputError as errors:
        report.can_not(*(line for error in _each(errors) for line in _reasons(error)))
        return_code = BAD_INPUT
    except* RefusedError as errors:
        report.can_not(*(line for error in _each(errors) for line in _reasons(error)))
        return_code = FAILED
    except* AbortedError as errors:
        for error in _each(errors):
            report.can_not(f"given up, and the owner is as before: {error}")
        return_code = FAILED
    except* (BarrierError, TooManySuspectsError) as errors:
        report.can_not(*map(str, _each(errors)))
        return_code = FAILED
    except* (DeniedError, ClientError, BotoCoreError) as errors:
        report.can_not(*(f"AWS: {error}" for error in _each(errors)))
        return_code = UNKNOWN if options.command in _CHANGES_ON_THE_WAY else BAD_INPUT
    except* Exception as errors:
        # A defect of ours must not leave with the exit code of something that was refused.
        for error in _each(errors):
            traceback.print_exception(error)
        report.can_not("this is a defect of the tool; how far it came is not known: look at status")
        return_code = UNKNOWN
    return return_code


def _each(error: BaseException) -> Iterator[BaseException]:
    """What a group of errors holds."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _each(one)
    else:
        yield error


def _reasons(error: BaseException) -> Sequence[str]:
    return error.reasons if isinstance(error, RefusedError) else [str(error)]


if __name__ == "__main__":
    # What a library has to say is no event of a command: programs read standard output.
    configure(service="migrate", version="", level="WARNING", stream=sys.stderr)
    sys.exit(main())
