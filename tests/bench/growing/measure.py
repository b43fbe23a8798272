"""Measures a curve: a process for each size, all of them asked in turns, round by round.

Owns the processes and the order of turns. In turns, because a machine that becomes slower for a while
is then slower for every size: the exponent stays what it is.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.capacity_units import read_units, write_units
from tests.bench.comparison import contestants, stored
from tests.bench.comparison.canned import GIVEN_PATH, Canned, fake_dynamodb
from tests.bench.comparison.contestants import Running, World, lyceum_service
from tests.bench.comparison.load import UnexpectedAnswerError, ask, fetch
from tests.bench.comparison.pages import last_page
from tests.bench.comparison.stored import Asked
from tests.bench.growing.curves import MEMORY, START, Curve

START_SECONDS = 1.5
"""About what a start takes on a free core, for the estimate of the end."""
_LOOKS = 3

Given = Counter[tuple[str, str, bool]]


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    rounds: int
    slice_seconds: float


FULL = Extent(rounds=7, slice_seconds=0.4)
QUICK = Extent(rounds=2, slice_seconds=0.1)


@dataclass
class Asking:
    """One case at one size; a value for each round. `read_units`, `write_units`: of one request; None
    where they can not be told."""

    cpu_microseconds: list[float] = field(default_factory=list)
    p50_milliseconds: list[float] = field(default_factory=list)
    p99_milliseconds: list[float] = field(default_factory=list)
    requests: int = 0
    refused: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    read_units: float | None = None
    write_units: float | None = None


@dataclass
class Size:
    """Everything of one size."""

    size: int
    ready_seconds: float
    idle_mebibytes: float
    mebibytes: float = 0.0
    cases: dict[str, Asking] = field(default_factory=dict)


def sizes_of(curve: Curve, *, quick: bool) -> Sequence[int]:
    """The sizes that are measured."""
    return curve.quick if quick else curve.sizes


def seconds_of(curve: Curve, extent: Extent, *, quick: bool) -> float:
    """About how long the curve takes, for the estimate of the end."""
    sizes = sizes_of(curve, quick=quick)
    turns = len(sizes) * len(curve.cases) * (extent.rounds + 1)
    return turns * extent.slice_seconds + sum(_start_seconds(curve, size) for size in sizes)


def _start_seconds(curve: Curve, size: int) -> float:
    return START_SECONDS + curve.start_seconds * size


async def measure(
    curve: Curve,
    extent: Extent,
    *,
    quick: bool,
    folder: Path,
    advance: Callable[[float], None],
    doing: Callable[[str], None],
) -> list[Size]:
    """The curve, size by size. `advance` hears of seconds as `seconds_of` reckons them.

    Raises RuntimeError where a service does not start or answers something else.
    """
    available = sorted(os.sched_getaffinity(0))
    theirs, ours = {available[0]}, {available[-1]}
    groups = () if curve.group is None else (curve.group,)
    tokens = [
        stored.ISSUER.token(sub=f"learner-{number}", groups=list(groups))
        for number in range(stored.LEARNERS)
    ]
    found: list[Size] = []
    running: list[tuple[Running, Mapping[str, Asked], int]] = []
    async with AsyncExitStack() as stack:
        os.sched_setaffinity(0, ours)
        stack.callback(os.sched_setaffinity, 0, set(available))
        fakes: dict[Sequence[Canned], tuple[int, int]] = {}
        for size in sizes_of(curve, quick=quick):
            doing(f"{curve.name}: starting {size:,} {curve.grows}")
            answers = tuple(curve.rows(size))
            if answers not in fakes:
                fakes[answers] = stack.enter_context(
                    fake_dynamodb(answers, jwks=stored.jwks(), cores=ours)
                )
            port, daemon = fakes[answers]
            service = lyceum_service(
                curve.service, f"{curve.name}-{size}", "Lyceum", {}, settings=curve.settings
            )
            process = await stack.enter_async_context(
                contestants.started(
                    service, World(port, port, daemon, page_bytes=0), cores=theirs, folder=folder
                )
            )
            cases = {
                name: case.asked(size) or await last_page(process.port, tokens[0])
                for name, case in curve.cases.items()
            }
            measured = Size(size, process.ready_seconds, process.idle_mebibytes)
            for name, asked in cases.items():
                asking = Asking(request_bytes=len(asked.body) or len(asked.wire("")))
                if curve.cases[name].weighed:
                    asking.read_units, asking.write_units = await _weighed(
                        process.port, asked.wire(tokens[0]), port, answers
                    )
                measured.cases[name] = asking
            found.append(measured)
            running.append((process, cases, curve.connections(size)))
            advance(_start_seconds(curve, size))
        for number in range(extent.rounds + 1):
            doing(f"{curve.name}: round {number} of {extent.rounds}")
            for measured, (process, requests, connections) in zip(found, running, strict=True):
                for name, asked in requests.items():
                    await _ask(
                        process,
                        [asked.wire(token) for token in tokens],
                        asked.status,
                        measured.cases[name],
                        extent=extent,
                        connections=connections,
                        may_refuse=curve.may_refuse,
                        is_kept=number > 0,  # the first warms up
                        what=f"{curve.name}, {name} of {measured.size:,}",
                    )
                    advance(extent.slice_seconds)
        for measured, (process, _, _) in zip(found, running, strict=True):
            measured.mebibytes = process.mebibytes
    return found


async def _ask(
    process: Running,
    requests: Sequence[bytes],
    status: int,
    asking: Asking,
    *,
    extent: Extent,
    connections: int,
    may_refuse: bool,
    is_kept: bool,
    what: str,
) -> None:
    before = process.cpu_seconds
    try:
        served = await ask(
            process.port,
            requests,
            status=status,
            connections=connections,
            seconds=extent.slice_seconds,
            may_refuse=may_refuse,
        )
    except (UnexpectedAnswerError, TimeoutError, OSError) as error:
        lines = process.log.read_text(encoding="utf-8", errors="replace")[-2_000:]
        raise RuntimeError(f"{what}: {error}\n{lines}") from error
    spent = process.cpu_seconds - before
    if not is_kept:
        return
    ordered = sorted(served.seconds)
    asking.requests += len(ordered)
    asking.refused += served.refused
    asking.cpu_microseconds.append(spent / len(ordered) * 1e6)
    asking.p50_milliseconds.append(ordered[len(ordered) // 2] * 1e3)
    asking.p99_milliseconds.append(ordered[int(len(ordered) * 0.99)] * 1e3)
    asking.response_bytes = served.response_bytes // len(ordered)


async def _weighed(
    port: int, request: bytes, dynamodb: int, answers: Sequence[Canned]
) -> tuple[float, float]:
    """What one request reads and writes. The least of several: the first may read what is then kept,
    and a refresh of the directory may come in between."""
    looks = []
    for _ in range(_LOOKS):
        before = await _given(dynamodb)
        await fetch(port, request)
        looks.append(weigh(await _given(dynamodb) - before, answers))
    return min(looks)


async def _given(dynamodb: int) -> Given:
    request = f"GET {GIVEN_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    counts = json.loads((await fetch(dynamodb, request)).partition(b"\r\n\r\n")[2])
    return Counter(
        {(operation, needle, consistent): times for operation, needle, consistent, times in counts}
    )


def weigh(given: Given, answers: Sequence[Canned]) -> tuple[float, float]:
    """The read and write units of what was answered."""
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html:
    # a projection takes as many units as the whole item.
    bodies = {
        (canned.operation, canned.needle.decode()): canned.read or canned.body for canned in answers
    }
    read = written = 0.0
    for (operation, needle, consistent), times in given.items():
        body: Mapping[str, Any] = json.loads(bodies[operation, needle])
        match operation:
            case "GetItem":
                read += times * read_units([body.get("Item", {})], consistent=consistent)
            case "Query":
                read += times * read_units(body["Items"], consistent=consistent)
            case "BatchGetItem":
                rows = [row for found in body["Responses"].values() for row in found]
                read += times * sum(read_units([row], consistent=consistent) for row in rows)
            case "UpdateItem":
                written += times * write_units(body["Attributes"])
    return read, written


def series(curve: Curve, sizes: Sequence[Size]) -> dict[str, tuple[list[float], list[list[float]]]]:
    """What is fitted, by name: the sizes, and for each of them what each round took."""
    found: dict[str, tuple[list[float], list[list[float]]]] = {
        name: (
            [float(one.size) for one in sizes],
            [one.cases[name].cpu_microseconds for one in sizes],
        )
        for name in sizes[0].cases
    }
    whole = [float(one.size) for one in sizes]
    found[MEMORY] = (whole, [[one.mebibytes] for one in sizes])
    if curve.start_seconds:
        found[START] = (whole, [[one.ready_seconds] for one in sizes])
    return found
