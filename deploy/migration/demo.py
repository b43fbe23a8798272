"""Plays a whole migration on this machine, under load, and says what users noticed. See
docs/migrating.md.

Exit codes: 0 nobody noticed anything; 1 somebody did, or it could not go on; 2 it was called wrongly;
130, 143 it was stopped. Nothing is left running, whichever it is.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from deploy.migration._demo._processes import ProgramError
from deploy.migration._demo._report import Report
from deploy.migration._demo._story import FAST, FULL, Demo, Size

COMMAND: Final = "./pantsw run deploy/migration/demo.py"
_FEWEST_ITEMS, _MOST_ITEMS = 400, 2_000_000

_EXAMPLES = f"""examples:
  {COMMAND}                          the whole of it, 20,000 items
  {COMMAND} -- --reverse             until half of the requests go to the services, and back
  {COMMAND} -- --fast                in two minutes, 600 items
  {COMMAND} -- --items 100000 --keep demo
                                     more, and what is said by all programs stays in demo/
  {COMMAND} -- --fast --json         a line of JSON for each event; the last one has the facts

exit codes:
  0    nobody noticed anything
  1    somebody did, or it could not go on
  2    it was called wrongly
  130  stopped by Ctrl-C (143: by SIGTERM); nothing is left running
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    report = Report(sys.stdout, sys.stderr, as_json=options.json, clock=time.monotonic)
    size = FAST if options.fast else FULL
    if options.items is not None:
        size = replace(size, items=options.items)
    if options.rate is not None:
        size = replace(size, per_second=options.rate)
    with _folder(options.keep) as folder:
        return asyncio.run(_until_stopped(options, report, size, folder))


async def _until_stopped(
    options: argparse.Namespace, report: Report, size: Size, folder: Path
) -> int:
    task = asyncio.current_task()
    assert task is not None
    stopped_by: list[int] = []

    def stop(number: int) -> None:
        # Once: what is ended on the way out is ended in order, however impatient the second one is.
        if not stopped_by:
            stopped_by.append(number)
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, partial(stop, number))
    try:
        return await _played(options, report, size, folder)
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        report.can_not("stopped; nothing is left running")
        return 128 + stopped_by[0]


async def _played(options: argparse.Namespace, report: Report, size: Size, folder: Path) -> int:
    logs = folder / "commands"
    logs.mkdir(exist_ok=True)
    demo = Demo(size, report, folder / "platform", logs, seed=options.seed, reverse=options.reverse)
    code = 1
    try:
        code = 0 if await demo.run() else 1
    except* ProgramError as errors:
        for error in _each(errors):
            report.can_not(str(error), tuple(error.last_lines))
    return code


def _each(error: BaseExceptionGroup[ProgramError]) -> Iterator[ProgramError]:
    for one in error.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _each(one)
        else:
            yield one


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where the platform keeps its state, and what the commands said."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="lyceum-demo-") as folder:
        yield Path(folder)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py",
        usage=f"{COMMAND} [-- options]",
        description="Plays a migration on this machine, from the monolith to three services, while\n"
        "clients read and write; every answer is judged. Needs no Docker and no AWS.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--reverse",
        action="store_true",
        help="go until half of the requests are led to the services, and all the way back",
    )
    parser.add_argument(
        "--items",
        type=_items,
        metavar="N",
        help=f"in the monolith's table (default {FULL.items:,}; with --fast {FAST.items:,})",
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        metavar="N",
        help=f"requests a second, at most (default {FULL.per_second:g}; with --fast"
        f" {FAST.per_second:g})",
    )
    parser.add_argument("--fast", action="store_true", help="a small one, as the tests play it")
    parser.add_argument(
        "--seed",
        type=_seed,
        default=secrets.randbits(32),
        metavar="N",
        help="of the load: what is read, and what is changed (default: another one each time)",
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="a folder for the platform's state and all logs (default: one that is removed)",
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each event")
    options = parser.parse_args(arguments)
    if options.keep is not None and options.keep.exists() and any(options.keep.iterdir()):
        parser.error(f"--keep {options.keep} is not empty: each run begins with an empty table")
    return options


def _items(text: str) -> int:
    number = text.replace(",", "").replace("_", "")
    if not (
        number.isascii() and number.isdecimal() and _FEWEST_ITEMS <= int(number) <= _MOST_ITEMS
    ):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of items ({_FEWEST_ITEMS:,} to {_MOST_ITEMS:,})"
        )
    return int(number)


def _rate(text: str) -> float:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of requests (1 to 1,000)")
    return float(text)


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed (a whole number)")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
