"""Lyceum beside its peers and the floor: CPU a request, latency, memory, and the goals reached or not.

    ./pantsw run tests/bench/compare.py                      everything; renews docs/performance.md
    ./pantsw run tests/bench/compare.py -- --quick           a look, of less than a minute
    ./pantsw run tests/bench/compare.py -- --only progress_tracking --only fastify
    ./pantsw run tests/bench/compare.py -- --json            the numbers, for programs

A fake DynamoDB answers canned bytes from a process of its own. Each contestant is a process on one
core; the fake and the load generator share the other. All are asked in turns, several rounds. CPU is
the time that the process was on a core, over the requests that it completed in that time; a ratio is
the median over the rounds of what two of them took in the same round.

The services run by their own entry points with all that they have in production: tokens verified,
one JSON line a request, 5 % traced, breakers, metrics. The peers do the same work and give the same
answers (which is checked) with a verified token and the same log line; they have neither traces,
breakers nor metrics. What a machine lacks, such as Node, is named in the report.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.rightsizing._inputs import InputError, read_capacity
from libs.console import Progress, Terminal
from libs.picture import write_picture
from tests.bench.comparison import contestants, plot, report, stored
from tests.bench.comparison.canned import fake_dynamodb
from tests.bench.comparison.contestants import (
    CASES,
    CONTESTANTS,
    DIRECTORY,
    Running,
    World,
)
from tests.bench.comparison.document import renewed
from tests.bench.comparison.ending import exit_code, run
from tests.bench.comparison.environments import ROOT, MissingPeerError
from tests.bench.comparison.load import UnexpectedAnswerError, ask, fetch
from tests.bench.comparison.pages import last_page
from tests.bench.comparison.report import Measured, Process, Slices
from tests.bench.comparison.stored import Asked
from tests.bench.request_costs import machine
from tests.integration.service_process import python_path

DOCUMENT = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"
_CAPACITY = ROOT / "deploy" / "rightsizing" / "capacity.json"

CONNECTIONS = 8
# What differs from one answer to the next, or from one signer to another.
_OWN_MEMBERS = {"url", "expiresAt", "refreshAfter"}


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    rounds: int
    slice_seconds: float
    courses: int
    part_rounds: int
    part_calls: int


FULL = Extent(
    rounds=7, slice_seconds=0.4, courses=stored.MANY_COURSES, part_rounds=9, part_calls=1_000
)
QUICK = Extent(rounds=2, slice_seconds=0.15, courses=2_000, part_rounds=2, part_calls=200)


class Told:
    """What the person at the terminal is told while it runs, on standard error."""

    def __init__(self) -> None:
        self.terminal = Terminal(sys.stderr)

    def line(self, text: str) -> None:
        self.terminal.line(text)


async def compare(extent: Extent, only: Sequence[str], told: Told) -> Measured:
    """Measure everybody, or those that are named."""
    chosen = [found for found in CONTESTANTS if not only or found.name in only]
    cores = sorted(os.sched_getaffinity(0))
    measured = Measured(machine=_machine(cores), heartbeat_write_units=_heartbeat_units())
    theirs, ours = {cores[0]}, {cores[-1]}
    os.sched_setaffinity(0, ours)
    many = DIRECTORY in {contestant.name for contestant in chosen}
    measured.directory_courses = extent.courses if many else 0
    if many:
        told.line(f"making {extent.courses:,} courses")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lyceum-compare-")))
        few_port, daemon = stack.enter_context(
            fake_dynamodb(stored.answers(stored.FEW_COURSES), jwks=stored.jwks(), cores=ours)
        )
        many_port = few_port
        if many:
            many_port, _ = stack.enter_context(
                fake_dynamodb(stored.answers(extent.courses), jwks=stored.jwks(), cores=ours)
            )
        world = World(few_port, many_port, daemon, page_bytes=30_000)
        running: dict[str, Running] = {}
        cases: dict[str, dict[str, Asked]] = {case: {} for case in CASES}
        tokens = stored.tokens()
        for contestant in chosen:
            told.line(f"starting {contestant.name} ({contestant.label})")
            try:
                process = await stack.enter_async_context(
                    contestants.started(contestant, world, cores=theirs, folder=folder)
                )
            except MissingPeerError as error:
                measured.missing[contestant.name] = str(error)
                told.line(f"{contestant.name} is missing on this machine: {error}")
                continue
            running[contestant.name] = process
            for case, asked in contestant.cases.items():
                cases[case][contestant.name] = asked
            if contestant.name == DIRECTORY:
                cases["page.deep"][DIRECTORY] = await last_page(process.port, tokens[0])
                first = await fetch(process.port, cases["page"][DIRECTORY].wire(tokens[0]))
                world = World(few_port, many_port, daemon, len(_body(first)))
        await _require_the_same(cases, running, tokens[0])
        cases = {case: asked for case, asked in cases.items() if asked}
        await _rounds(extent, cases, running, tokens, measured, told)
        for name, process in running.items():
            measured.processes[name] = Process(
                process.ready_seconds, process.idle_mebibytes, process.mebibytes
            )
            _require_lines(name, process, measured)
    if not only or set(only) & set(report.SERVICES):
        told.line("measuring the parts of a request")
        measured.parts = await _parts(extent, theirs)
    return measured


async def _rounds(
    extent: Extent,
    cases: Mapping[str, Mapping[str, Asked]],
    running: Mapping[str, Running],
    tokens: Sequence[str],
    measured: Measured,
    told: Told,
) -> None:
    turns = [(case, name) for case, by_contestant in cases.items() for name in by_contestant]
    progress = Progress(
        told.terminal,
        len(turns) * (extent.rounds + 1),
        clock=time.monotonic,
        what="asking everybody in turns",
    )
    for number in range(extent.rounds + 1):
        for case, name in turns:
            asked, process = cases[case][name], running[name]
            before = process.cpu_seconds
            try:
                served = await ask(
                    process.port,
                    [asked.wire(token) for token in tokens],
                    status=asked.status,
                    connections=CONNECTIONS,
                    seconds=extent.slice_seconds,
                )
            except (UnexpectedAnswerError, TimeoutError, OSError) as error:
                lines = process.log.read_text(encoding="utf-8", errors="replace")[-2_000:]
                raise RuntimeError(f"{name}, {case}: {error}\n{lines}") from error
            spent = process.cpu_seconds - before
            progress.advance(1)
            slices = measured.cases.setdefault(case, {}).setdefault(name, Slices())
            slices.requests += len(served.seconds)
            if number == 0:  # warms up
                continue
            ordered = sorted(served.seconds)
            slices.cpu_microseconds.append(spent / len(ordered) * 1e6)
            slices.p50_milliseconds.append(ordered[len(ordered) // 2] * 1e3)
            slices.p99_milliseconds.append(ordered[int(len(ordered) * 0.99)] * 1e3)
            slices.response_bytes = served.response_bytes // len(ordered)
    progress.end()


async def _require_the_same(
    cases: Mapping[str, Mapping[str, Asked]], running: Mapping[str, Running], token: str
) -> None:
    """Raise RuntimeError where a peer's answer is not the one that the service gives."""
    for case, by_contestant in cases.items():
        documents = {}
        for name, asked in by_contestant.items():
            if asked.status == 200 and _kind(name) != contestants.FLOOR:
                answer = await fetch(running[name].port, asked.wire(token))
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"{name}, {case}: {answer[:300]!r}")
                documents[name] = _common(json.loads(_body(answer)))
        for (one, a), (other, b) in itertools.pairwise(documents.items()):
            if a != b:
                raise RuntimeError(
                    f"{case}: {one} and {other} do not give the same answer:\n{a}\n{b}"
                )


def _kind(name: str) -> str:
    return next(found.kind for found in CONTESTANTS if found.name == name)


def _common(value: Any) -> Any:
    match value:
        case dict():
            return {
                name: _common(member) for name, member in value.items() if name not in _OWN_MEMBERS
            }
        case list():
            return [_common(member) for member in value]
    return value


def _body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def _require_lines(name: str, process: Running, measured: Measured) -> None:
    """Whoever is to log each request has done so."""
    if _kind(name) == contestants.FLOOR:
        return
    lines = process.log.read_bytes().count(b'"request"')
    asked = sum(
        by_contestant[name].requests
        for by_contestant in measured.cases.values()
        if name in by_contestant
    )
    if lines < asked:
        raise RuntimeError(f"{name} answered {asked} requests and logged {lines}")


async def _parts(extent: Extent, cores: set[int]) -> Mapping[str, Mapping[str, float]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.comparison.parts"),
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": python_path(),
            "ROUNDS": str(extent.part_rounds),
            "CALLS": str(extent.part_calls),
        },
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found: dict[str, dict[str, float]] = json.loads(output)
    return found


def _machine(cores: Sequence[int]) -> dict[str, object]:
    found = machine()
    return {
        "processor": found["processor"],
        "cores": f"{len(cores)} cores",
        "python": f"Python {found['python']}",
        "node": _node_version(),
        "system": platform.system(),
    }


def _node_version() -> str:
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no Node"
    return f"Node {done.stdout.strip().removeprefix('v')}"


def _heartbeat_units() -> float | None:
    try:
        return read_capacity(_CAPACITY).operations["recordProgress"].writes
    except (InputError, KeyError):
        return None


def main(arguments: Sequence[str]) -> int:
    names = [contestant.name for contestant in CONTESTANTS]
    parser = argparse.ArgumentParser(
        prog="compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=names,
        default=[],
        help=f"only this contestant; may be repeated. One of {', '.join(names)}",
    )
    parser.add_argument("--dry-run", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args(arguments)
    told = Told()
    return exit_code("compare", told.line, lambda: _carry_out(options, told))


def _carry_out(options: argparse.Namespace, told: Told) -> int:
    extent = QUICK if options.quick else FULL
    measured = run(compare(extent, options.only, told))
    if options.json:
        sys.stdout.write(json.dumps(report.as_json(measured), indent=2) + "\n")
    else:
        for heading, table in report.document(measured).items():
            sys.stdout.write(f"\n{heading}\n\n{table}\n")
    if not (options.quick or options.only or options.dry_run):
        # Only a whole run says something of everybody.
        DOCUMENT.write_text(
            renewed(DOCUMENT.read_text(encoding="utf-8"), report.document(measured)),
            encoding="utf-8",
        )
        beside = write_picture(PICTURE, plot.draw(measured))
        files = " and ".join(str(path.relative_to(ROOT)) for path in (DOCUMENT, PICTURE, beside))
        told.line(f"renewed {files}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
