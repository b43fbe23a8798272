"""Brings a course from Open edX to the platform. See README.md beside this file.

Exit codes: 0 it is done, whatever the report says; 1 it could not be finished, and running it again
goes on where it stopped; 2 it was called wrongly, or the export is refused: running it again changes
nothing about that.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import sys
from pathlib import Path

import aiohttp

from deploy.course_import._archive import ArchiveError, open_source
from deploy.course_import._client import Client
from deploy.course_import._console import Console
from deploy.course_import._credentials import (
    PLATFORM_STATE,
    Credentials,
    find_credentials,
)
from deploy.course_import._http import Http, ImportStoppedError
from deploy.course_import._importer import Comparison, Importer, Outcome, Wishes, problems_of
from deploy.course_import._mapping import plan_course
from deploy.course_import._olx import OlxError, read_course
from deploy.course_import._plan import Choices, Plan
from libs.api_access import AccessError

COMMAND = "./pantsw run deploy/course_import/olx.py"

_EXAMPLES = f"""examples:
  {COMMAND} -- COURSE.tar.gz --dry-run
        what would become of it, without a platform
  {COMMAND} -- COURSE.tar.gz --token-from platform:author
        into the platform that runs on this machine (deploy/local/up.py)
  {COMMAND} -- COURSE.tar.gz --gateway https://api.example.org --token-from token.txt --draft
        into another one, not yet shown to learners
  … | {COMMAND} -- COURSE/ --gateway https://api.example.org --token-from -
        the token from standard input; the export as a folder
"""


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    console = Console(sys.stdout, sys.stderr, as_json=options.json)
    try:
        credentials = _credentials(options)
        reading = console.progress(_size(options.export), "reading the export")
        with open_source(options.export, advance=reading.advance) as source:
            plan = plan_course(
                read_course(source),
                Choices(options.level, tuple(options.tag), options.language),
                begin=lambda total: console.progress(total, "looking at its content").advance,
            )
            console.clear()
            problems = problems_of(plan)
            if options.dry_run and credentials is None:
                console.show_plan(plan, verbose=options.verbose, outcome={"problems": problems})
                for problem in problems:
                    console.failed(problem)
                return 2 if problems else 0
            if problems:
                for problem in problems:
                    console.failed(problem)
                return 2
            assert credentials is not None
            return asyncio.run(_run(options, plan, credentials, console))
    except (ArchiveError, OlxError, AccessError) as error:
        console.failed(str(error))
        return 2
    except ImportStoppedError as error:
        console.failed(str(error))
        return 1


async def _run(
    options: argparse.Namespace, plan: Plan, credentials: Credentials, console: Console
) -> int:
    task = asyncio.current_task()
    assert task is not None
    stopped_by: list[int] = []

    def stop(number: int) -> None:
        stopped_by.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    try:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            http = Http(
                session,
                credentials,
                random=random.Random(),  # noqa: S311 - the jitter of pauses
                note=console.note,
            )
            return await _import(options, plan, Importer(Client(http), _wishes(options)), console)
    except asyncio.CancelledError:
        if not stopped_by:
            raise
        console.failed("stopped; the same command goes on from here")
        return 128 + stopped_by[0]


async def _import(
    options: argparse.Namespace, plan: Plan, importer: Importer, console: Console
) -> int:
    comparison = await importer.compare(plan)
    if options.dry_run:
        console.show_plan(plan, verbose=options.verbose, outcome={"changes": comparison.document()})
        console.note(_would(comparison))
        return 0
    progress = console.progress(comparison.size)
    try:
        outcome = await importer.apply(plan, comparison, progress)
    finally:
        progress.end()
    console.show_outcome(
        plan, verbose=options.verbose, outcome=outcome.document(), text=_done(outcome)
    )
    return 0


def _size(export: Path) -> int:
    """The bytes of an archive; a folder is listed at once."""
    return export.stat().st_size if export.is_file() else 0


def _would(comparison: Comparison) -> str:
    if comparison.nothing:
        return "The platform has all of it already: nothing would change."
    sends = sum(change.send for change in comparison.changes)
    updates = sum(change.is_change and not change.send for change in comparison.changes)
    kept = sum(not change.is_change for change in comparison.changes)
    parts = [
        f"It would create the course with {sends} pieces of content"
        if comparison.course is None
        else f"It would update course {comparison.course.id}: {sends} pieces of content to send,"
        f" {updates} to correct, {kept} as they are"
    ]
    if comparison.course is not None and comparison.fields:
        parts.append(f"change its {', '.join(comparison.fields)}")
    if comparison.publishes:
        parts.append("publish it")
    return f"{', '.join(parts)}."


def _done(outcome: Outcome) -> str:
    comparison, course = outcome.comparison, outcome.course
    sends = sum(change.send for change in comparison.changes)
    updates = sum(change.is_change and not change.send for change in comparison.changes)
    kept = sum(not change.is_change for change in comparison.changes)
    if comparison.nothing:
        done = "Nothing has changed: the platform had all of it"
    elif comparison.course is None:
        done = f"Created, with {sends} pieces of content"
    else:
        done = f"Updated: {sends} pieces of content sent, {updates} corrected, {kept} as they were"
    lines = [f"{done}. Course {course.id} ({course.document['slug']}) is {course.status}."]
    left = set(comparison.unused) - set(outcome.pruned)
    if outcome.pruned:
        lines.append(f"{len(outcome.pruned)} pieces of content were deleted; they can be restored.")
    if left:
        lines.append(
            f"{len(left)} pieces of its content are not in the outline (--prune deletes such)."
        )
    return "\n".join(lines)


def _credentials(options: argparse.Namespace) -> Credentials | None:
    if options.token_from is None:
        if options.dry_run and options.gateway is None:
            return None
        raise AccessError("--token-from is missing; only --dry-run goes without")
    return find_credentials(options.token_from, options.gateway, state=options.state)


def _wishes(options: argparse.Namespace) -> Wishes:
    return Wishes(
        publish=options.publish,
        prune=options.prune,
        course_id=options.course,
        slug=options.slug,
        level=options.level,
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="olx.py",
        description="Brings a course from Open edX, an OLX export, to the platform: creates it,"
        " sends its content and captions, publishes it. Run again it changes nothing, or what has"
        " changed; stopped half-way, the next run goes on. What does not fit is reported.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "export", type=Path, metavar="COURSE", help="the export: a .tar.gz, a .tar or a folder"
    )
    where = parser.add_argument_group("where to")
    where.add_argument(
        "--gateway", metavar="URL", help="the platform's address; https, or http on this machine"
    )
    where.add_argument(
        "--token-from",
        metavar="FILE|-|platform:USER",
        help="where the access token of an author is: a file, standard input, or a demo user of"
        " the platform that runs on this machine; never the token itself",
    )
    where.add_argument(
        "--state",
        type=Path,
        default=PLATFORM_STATE,
        metavar="DIR",
        help=f"that platform's state folder (default: {PLATFORM_STATE})",
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--dry-run",
        action="store_true",
        help="show the outline and the report and send nothing; with --token-from also what would"
        " change",
    )
    publish = how.add_mutually_exclusive_group()
    publish.add_argument(
        "--publish",
        dest="publish",
        action="store_true",
        default=True,
        help="open a new course to learners when all of it is there (this is the default)",
    )
    publish.add_argument(
        "--draft", dest="publish", action="store_false", help="leave a draft a draft"
    )
    how.add_argument("--course", type=_identifier, metavar="ID", help="update this course")
    how.add_argument("--slug", type=_slug, metavar="SLUG", help="the course's slug")
    how.add_argument(
        "--level",
        choices=("beginner", "intermediate", "advanced"),
        help="an export does not say it (default for a new course: beginner)",
    )
    how.add_argument(
        "--language", metavar="TAG", help="the course's language, where the export is wrong"
    )
    how.add_argument(
        "--tag", type=_tag, action="append", default=[], metavar="TAG", help="may be repeated"
    )
    how.add_argument(
        "--prune",
        action="store_true",
        help="delete ready content of the course that its outline does not name; it can be restored",
    )
    shown = parser.add_argument_group("what is shown")
    shown.add_argument("--json", action="store_true", help="one line of JSON at the end")
    shown.add_argument("--verbose", action="store_true", help="name everything in the report")
    return parser.parse_args(arguments)


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a course")
    return text


def _slug(text: str) -> str:
    if len(text) > 100 or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r}: lower-case words joined by hyphens, up to 100")
    return text


def _tag(text: str) -> str:
    if not text.strip() or len(text) > 50:
        raise argparse.ArgumentTypeError(f"{text!r}: 1 to 50 characters, not all blank")
    return text


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read the outline has seen enough; what is left must not fail at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
