"""Tells progress the outlines of all courses once more. See README.md beside this file.

Exit codes: 0 all were sent; 1 not all, and running it again goes on; 2 it was called wrongly; 130 or
143 it was stopped, and the same command goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TextIO

import aioboto3
import aiohttp
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deploy.replay._catalog import Catalog, CatalogError
from deploy.replay._replay import Checkpoint, Replay, Report, Sender, SendError
from deploy.replay._where import Where, find
from libs.api_access import AccessError
from libs.console import Progress, Terminal

COMMAND = "./pantsw run deploy/replay/outlines.py"

_EXAMPLES = f"""examples:
  {COMMAND} -- --token-from platform:staff --dry-run
        what would be sent, on the platform that runs on this machine (deploy/local/up.py)
  {COMMAND} -- --token-from platform:staff
        send it
  {COMMAND} -- --gateway https://api.example.org --token-from token.txt \\
      --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/lyceum-progress-outlines \\
      --checkpoint replay.json
        elsewhere, with the SDK's own credentials; stopped, the same command goes on
  {COMMAND} -- … --updated-since 2026-05-01T00:00:00Z
        only courses that changed from then on
"""
# The format is the API's business; this only keeps nonsense from the network.
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_CONFIG = Config(
    connect_timeout=5, read_timeout=30, retries={"mode": "standard", "max_attempts": 4}
)


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    try:
        where = find(options.token_from, options.gateway, options.queue_url, state=options.state)
        if where.queue_url is None and not options.dry_run:
            raise AccessError("--queue-url is missing; only --dry-run goes without")
        return asyncio.run(_run(options, where))
    except AccessError as error:
        sys.stderr.write(f"{error}\n")
        return 2


async def _run(options: argparse.Namespace, where: Where) -> int:
    task = asyncio.current_task()
    assert task is not None
    stopped_by: list[int] = []

    def stop(number: int) -> None:
        stopped_by.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    progress = CourseProgress(sys.stderr, clock=time.monotonic, quiet=options.json)
    try:
        report = await _replay(options, where, progress)
    except (CatalogError, SendError, BotoCoreError, ClientError) as error:
        progress.end()
        sys.stderr.write(f"{error}\n")
        return 1
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        progress.end()
        sys.stderr.write("stopped; the same command goes on from here\n")
        return 128 + stopped_by[0]
    progress.end()
    _show(report, dry_run=options.dry_run, as_json=options.json)
    return 1 if report.failed else 0


async def _replay(options: argparse.Namespace, where: Where, progress: CourseProgress) -> Report:
    chance = random.Random()  # noqa: S311 - the jitter of pauses
    checkpoint = Checkpoint(
        options.checkpoint,
        {
            "gateway": where.gateway,
            "queueUrl": where.queue_url,
            "updatedSince": options.updated_since,
        },
    )
    async with aiohttp.ClientSession() as session, _sender(options, where) as sender:
        replay = Replay(
            Catalog(session, where.gateway, where.read_token, random=chance.random),
            sender,
            checkpoint,
            updated_since=options.updated_since,
            tell=progress.tell,
        )
        return await replay.run()


@asynccontextmanager
async def _sender(options: argparse.Namespace, where: Where) -> AsyncIterator[Sender | None]:
    if options.dry_run or where.queue_url is None:
        yield None
        return
    # The SDK itself reads AWS_DEFAULT_REGION alone; containers on AWS have the other one.
    session = aioboto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    async with session.client("sqs", config=_CONFIG, **where.aws) as client:
        yield QueueSender(client, where.queue_url)


class QueueSender:
    """`Sender` on one queue of SQS."""

    def __init__(self, client: Any, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    async def send(self, bodies: Sequence[str]) -> Sequence[int]:
        """As `Sender.send`."""
        answer = await self._client.send_message_batch(
            QueueUrl=self._queue_url,
            Entries=[{"Id": str(place), "MessageBody": body} for place, body in enumerate(bodies)],
        )
        return [int(failed["Id"]) for failed in answer.get("Failed", [])]


class CourseProgress:
    """How many courses are done, and when all will be."""

    def __init__(self, output: TextIO, *, clock: Callable[[], float], quiet: bool) -> None:
        self._terminal = Terminal(output)
        self._clock = clock
        self._quiet = quiet
        self._progress: Progress | None = None

    def tell(self, done: int, total: int) -> None:
        """So many of so many courses are done."""
        if self._quiet:
            return
        if self._progress is None:
            self._progress = Progress(self._terminal, total, clock=self._clock, counted=_courses)
            self._progress.start_from(done)  # by an earlier run
        self._progress.reach(done, total=total)

    def end(self) -> None:
        """Nothing more is told; where it came to stays."""
        if self._progress is not None and self._terminal.is_terminal:
            line = self._progress.line()
            self._progress.end()
            self._terminal.line(line)
        self._progress = None


def _courses(done: float, total: float) -> str:
    return f"{done:.0f} of {total:.0f} courses"


def _show(report: Report, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        document = {**report.document(), "dryRun": dry_run}
        sys.stdout.write(json.dumps(document) + "\n")
        return
    count = report.courses - report.skipped - report.gone - len(report.failed)
    done = f"{count} outlines would be sent" if dry_run else f"{report.sent} outlines sent"
    skipped = f", {report.skipped} by an earlier run" if report.skipped else ""
    sys.stdout.write(f"{report.courses} courses: {done}{skipped}, {report.gone} gone meanwhile\n")
    for course_id, reason in sorted(report.failed.items()):
        sys.stdout.write(f"failed: {course_id}: {reason}\n")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="outlines",
        usage=f"{COMMAND} -- [options]",
        description="Reads the outline of every published and archived course from the catalog's"
        " public API and sends each to progress's queue, as the event that it changed. Outlines"
        " that progress knows already, or newer ones, stay as they are.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gateway", metavar="URL", help="the address of the APIs")
    parser.add_argument(
        "--token-from",
        metavar="FILE|platform:USER",
        required=True,
        help="a file with the access token of a staff member or an author; or a demo user of the"
        " platform on this machine, which implies gateway, queue and AWS",
    )
    parser.add_argument("--queue-url", metavar="URL", help="progress's queue of outlines")
    parser.add_argument(
        "--updated-since", metavar="TIME", help="only courses that changed from then on (RFC 3339)"
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", type=Path, help="where to keep how far it came"
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        type=Path,
        default=Path(".lyceum"),
        help="the state folder of the platform on this machine",
    )
    parser.add_argument("--dry-run", action="store_true", help="read everything, send nothing")
    parser.add_argument("--json", action="store_true", help="one line of JSON, and no progress")
    options = parser.parse_args(arguments)
    if options.updated_since is not None and not _TIMESTAMP.fullmatch(options.updated_since):
        parser.error("--updated-since is not like 2026-05-01T00:00:00Z")
    return options


if __name__ == "__main__":
    sys.exit(main())
