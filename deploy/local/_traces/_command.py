"""The command ``traces``: which traces are shown, and what is said where there are none.

Reads the log that the receiver's process writes, also while it is written and after the platform
has stopped. Newest last: below it is the prompt.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from deploy.local._traces._log import read_log
from deploy.local._traces._table import table
from deploy.local._traces._terminal import Surface
from deploy.local._traces._trace import Trace, read_trace
from deploy.local._traces._waterfall import waterfall

_MOST_TRACES: Final = 1_000
_ID_OR_PREFIX: Final = re.compile(r"1-[0-9a-f-]{1,33}", re.ASCII)
_EXAMPLES: Final = """examples:
  {command} -- traces                            the last 20 as a table, newest last
  {command} -- traces 1-6a5b                     one as a waterfall; the id's beginning will do
  {command} -- traces --errors --last 5          the last five that failed
  {command} -- traces --slower-than 100 --route /courses
  {command} -- traces --json | jq -r .id         a line of JSON a trace
"""


@dataclass(frozen=True)
class Query:
    """Which traces.

    Args:
        trace_id: an id or the beginning of one; then nothing else chooses.
        last: how many at most.
        service: one that answered a request of the trace.
        route: a part of `METHOD /route/{template}`.
        slower_than: milliseconds.
        errors: only those in which something failed.
    """

    trace_id: str | None = None
    last: int = 20
    service: str | None = None
    route: str | None = None
    slower_than: float | None = None
    errors: bool = False

    def matches(self, trace: Trace) -> bool:
        """Whether it is one of them."""
        return (
            (self.service is None or self.service in trace.services)
            and (self.route is None or any(self.route in title for title in trace.titles))
            and (self.slower_than is None or trace.duration * 1000 > self.slower_than)
            and (not self.errors or trace.has_failed)
        )


@dataclass(frozen=True)
class Platform:
    """What the command knows of the platform that writes the traces.

    Args:
        command: that starts it, for messages.
        sends_to: the daemon that takes its traces instead, if it runs with one.
    """

    state: Path
    command: str
    is_running: bool
    sends_to: str | None


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """Describes the command's arguments; `query_of` reads them."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "What the requests of this platform spent their time on. Without TRACE_ID the last traces as\n"
        "a table, newest last; with it one trace as a waterfall. A trace's duration is the time in\n"
        "which something was under way: what lies between the requests of a journey does not count.\n"
        "The traces stay after a stop; --fresh forgets them. With --xray HOST:PORT they go there."
    )
    parser.epilog = _EXAMPLES.format(command=command)
    parser.add_argument(
        "trace_id",
        nargs="?",
        type=_trace_id,
        metavar="TRACE_ID",
        help="an id, its beginning where only one begins so, or an X-Amzn-Trace-Id header",
    )
    parser.add_argument(
        "--last", type=_count, metavar="N", help=f"at most so many, 1 to {_MOST_TRACES} (20)"
    )
    parser.add_argument("--service", metavar="NAME", help="only those that this service answered")
    parser.add_argument(
        "--route", metavar="TEXT", help="only those whose method and route hold this text"
    )
    parser.add_argument(
        "--slower-than", type=_milliseconds, metavar="MS", help="only those that took longer"
    )
    parser.add_argument(
        "--errors",
        action="store_true",
        help="only those with a request that failed, or a call with a fault or a throttle",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="one line of JSON a trace, with its segment documents",
    )


def query_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Query:
    """What was asked for; ends with a usage message where two things exclude each other."""
    chosen = {
        "--last": options.last is not None,
        "--service": options.service is not None,
        "--route": options.route is not None,
        "--slower-than": options.slower_than is not None,
        "--errors": options.errors,
    }
    given = [name for name, is_given in chosen.items() if is_given]
    if options.trace_id is not None and given:
        parser.error(f"{', '.join(given)}: TRACE_ID names one trace, nothing is left to choose")
    return Query(
        trace_id=options.trace_id,
        last=20 if options.last is None else options.last,
        service=options.service,
        route=options.route,
        slower_than=options.slower_than,
        errors=options.errors,
    )


def show_traces(
    folder: Path,
    query: Query,
    platform: Platform,
    *,
    as_json: bool,
    output: TextIO,
    say: Callable[[str], None],
    fail: Callable[[str], None],
    variables: Mapping[str, str] = os.environ,
) -> int:
    """Writes the traces to ``output``; gives the exit code.

    Args:
        folder: the log's.
        say: takes a line for the person, besides what was asked for.
        fail: takes the line that says why there is nothing.
    """
    try:
        lines = read_log(folder)
    except OSError as error:
        fail(f"the traces in {folder} can not be read: {error.strerror}")
        return 1
    if platform.sends_to is not None:
        say(
            f"The platform that runs sends its traces to {platform.sends_to} (--xray);"
            " here are those of before."
        )
    if not lines and not platform.is_running:
        fail(
            f"no traces: the platform does not run on {platform.state}; {platform.command} starts"
            " it, and each request to it leaves a trace"
        )
        return 1
    if query.trace_id is not None:
        found = _named(lines, query.trace_id)
        if isinstance(found, str):
            fail(found)
            return 2
        traces = [found]
    else:
        traces = _chosen(lines, query)
        if not traces:
            say("No trace is like that." if lines else "No traces yet: send a request.")
            return 0
    surface = Surface.of(output, variables)
    if as_json:
        _write(output, map(_json_line, traces))
    elif query.trace_id is not None:
        _write(output, waterfall(traces[0], surface))
    else:
        _write(output, table(traces, surface, known_ids=lines.keys()))
    return 0


def _named(lines: Mapping[str, list[bytes]], prefix: str) -> Trace | str:
    """The one trace of this id, or why there is none."""
    found = [trace_id for trace_id in lines if trace_id.startswith(prefix)]
    if len(found) > 1:
        examples = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
        return f"{len(found)} traces begin with {prefix}: {examples}"
    trace = read_trace(found[0], lines[found[0]]) if found else None
    return trace or f"no trace {prefix}; the last {_MOST_TRACES} are kept, traces lists them"


def _chosen(lines: dict[str, list[bytes]], query: Query) -> list[Trace]:
    """The last that match, by when they began."""
    chosen: list[Trace] = []
    for trace_id in list(reversed(lines))[:_MOST_TRACES]:
        trace = read_trace(trace_id, lines[trace_id])
        if trace is not None and query.matches(trace):
            chosen.append(trace)
            if len(chosen) == query.last:
                break
    return sorted(chosen, key=lambda trace: trace.start)


def _json_line(trace: Trace) -> str:
    return json.dumps(
        {
            "id": trace.trace_id,
            "startTime": trace.start,
            "endTime": trace.end,
            "durationMs": round(trace.duration * 1000, 3),
            "status": trace.status,
            "mark": trace.mark,
            "requests": trace.titles,
            "services": trace.services,
            "calls": trace.calls,
            "segments": trace.documents,
        }
    )


def _write(output: TextIO, lines: Iterator[str] | list[str]) -> None:
    try:
        for line in lines:
            output.write(line + "\n")
        output.flush()
    except BrokenPipeError:
        # `| head` has seen enough. What is still buffered must not fail at the end.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def _trace_id(text: str) -> str:
    root = text.partition("Root=")[2].partition(";")[0] if "Root=" in text else text
    root = root.strip().lower()
    if _ID_OR_PREFIX.fullmatch(root) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not like 1-6a5b3c2d-53995c3f42cd8ad8a1b2c3d4, or the beginning of that"
        )
    return root


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= _MOST_TRACES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST_TRACES}")
    return int(text)


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1e12:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds")
    return value
