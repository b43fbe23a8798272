"""What was measured, beside what was to be reached: as JSON, and as the tables of a document.

Owns the goals and their words. Measures nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.comparison.contestants import CASES, CONTESTANTS, DIRECTORY, LYCEUM

START_SECONDS, MEMORY_MEBIBYTES, DIRECTORY_MEBIBYTES = 0.6, 80.0, 150.0
SERVICES = tuple(
    contestant.name
    for contestant in CONTESTANTS
    if contestant.kind == LYCEUM and contestant.name != DIRECTORY
)
LABELS = {contestant.name: contestant.label for contestant in CONTESTANTS}


@dataclass
class Slices:
    """What a contestant was measured at in one case: a value for each round."""

    cpu_microseconds: list[float] = field(default_factory=list)
    p50_milliseconds: list[float] = field(default_factory=list)
    p99_milliseconds: list[float] = field(default_factory=list)
    requests: int = 0
    response_bytes: int = 0


@dataclass(frozen=True)
class Process:
    """What a contestant's process was like."""

    ready_seconds: float
    idle_mebibytes: float
    loaded_mebibytes: float


@dataclass
class Measured:
    """Everything of one run."""

    machine: Mapping[str, object]
    cases: dict[str, dict[str, Slices]] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    heartbeat_write_units: float | None = None
    directory_courses: int = 0

    def ratio(self, case: str, contestant: str, other_case: str, other: str) -> float | None:
        """How many times the CPU of the other this takes: the median over the rounds, in each of
        which both had their turn. None where one of them was not measured."""
        try:
            ours = self.cases[case][contestant].cpu_microseconds
            theirs = self.cases[other_case][other].cpu_microseconds
        except KeyError:
            return None
        return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Goal:
    """`found`: None where what it needs was not measured."""

    path: str
    wanted: str
    found: str | None
    reached: bool | None


def goals(measured: Measured) -> list[Goal]:
    """Issue by issue: what was to be reached, and what was measured."""
    return [*_ratios(measured), *_parts(measured), *_processes(measured)]


def _ratios(measured: Measured) -> Iterator[Goal]:
    for path, case, contestant, other_case, other, most in (
        ("GET /courses/{id}, revalidated", "course.revalidated", "course_catalog", *_CONSTANT, 1.6),
        ("GET /courses/{id}", "course", "course_catalog", *_CONSTANT, 1.6),
        ("GET /courses, first page of 50", "page", DIRECTORY, *_PAGE, 2.0),
        ("GET /courses, last page of 50", "page.deep", DIRECTORY, *_PAGE, 2.0),
        ("GET /content/{id}", "content", "content_delivery", "content", "fastify", 0.4),
        ("GET /progress/{userId}", "progress", "progress_tracking", "progress", "fastify", 0.5),
        ("GET /progress/{userId}", "progress", "progress_tracking", "progress", "fastapi", 0.33),
        ("PUT /progress/...", "heartbeat", "progress_tracking", "heartbeat", "fastify", 0.5),
    ):
        than = CASES[other_case] if other == "floor" else LABELS[other]
        than = f"raw aiohttp, {than}" if other == "floor" else than
        found = measured.ratio(case, contestant, other_case, other)
        yield Goal(
            path,
            f"at most {most:g} x {than}",
            None if found is None else f"{found:.2f} x",
            None if found is None else found <= most,
        )


_CONSTANT = ("constant", "floor")
_PAGE = ("constant.page", "floor")


def _parts(measured: Measured) -> Iterator[Goal]:
    units = measured.heartbeat_write_units
    yield Goal(
        "PUT /progress/...",
        "1 write unit (tests/bench/consumed_capacity.py)",
        None if units is None else f"{units:g}",
        None if units is None else units <= 1,
    )
    parts = measured.parts
    for path, name, most in (
        ("pre-signing one URL", "presign", 12.0),
        ("token verified, seen before", "token.seen", 5.0),
        ("unsampled trace", "trace.unsampled", 10.0),
        ("closed breaker", "breaker.closed", 3.0),
        ("log line", "log.line", 15.0),
    ):
        found = parts[name]["median"] if name in parts else None
        yield Goal(
            path,
            f"at most {most:g} µs",
            None if found is None else f"{found:.1f} µs",
            None if found is None else found <= most,
        )
    new = parts["token.new"]["median"] / parts["token.rsa"]["median"] if parts else None
    yield Goal(
        "token verified, new",
        "at most 1.2 x the RSA verification alone",
        None if new is None else f"{new:.2f} x",
        None if new is None else new <= 1.2,
    )


def _processes(measured: Measured) -> Iterator[Goal]:
    ours = [measured.processes[name] for name in SERVICES if name in measured.processes]
    for path, most, unit, values in (
        ("start to ready", START_SECONDS, "s", [process.ready_seconds for process in ours]),
        (
            "memory after load",
            MEMORY_MEBIBYTES,
            "MiB a process",
            [process.loaded_mebibytes for process in ours],
        ),
    ):
        yield Goal(
            path,
            f"at most {most:g} {unit}",
            None if not values else f"{max(values):.2f} {unit} (the largest of {len(values)})",
            None if not values else max(values) <= most,
        )
    few, many = measured.processes.get("course_catalog"), measured.processes.get(DIRECTORY)
    more = None if few is None or many is None else many.loaded_mebibytes - few.loaded_mebibytes
    yield Goal(
        f"memory with {measured.directory_courses or 'many':,} courses"
        if measured.directory_courses
        else "memory with many courses",
        f"at most {DIRECTORY_MEBIBYTES:g} MiB more than with 12",
        None if more is None else f"{more:.0f} MiB",
        None if more is None else more <= DIRECTORY_MEBIBYTES,
    )


def as_json(measured: Measured) -> dict[str, object]:
    """The whole run as plain values."""
    return {
        "version": 1,
        "by": "tests/bench/compare.py",
        "machine": dict(measured.machine),
        "missing": measured.missing,
        "directoryCourses": measured.directory_courses,
        "cases": {
            case: {
                contestant: {
                    "requests": slices.requests,
                    "rounds": len(slices.cpu_microseconds),
                    "responseBytes": slices.response_bytes,
                    "cpuMicroseconds": _spread(slices.cpu_microseconds),
                    "p50Milliseconds": _spread(slices.p50_milliseconds),
                    "p99Milliseconds": _spread(slices.p99_milliseconds),
                }
                for contestant, slices in by_contestant.items()
            }
            for case, by_contestant in measured.cases.items()
        },
        "processes": {
            name: {
                "readySeconds": round(process.ready_seconds, 3),
                "idleMebibytes": process.idle_mebibytes,
                "loadedMebibytes": process.loaded_mebibytes,
            }
            for name, process in measured.processes.items()
        },
        "partsMicroseconds": {name: dict(found) for name, found in measured.parts.items()},
        "goals": [
            {
                "path": goal.path,
                "goal": goal.wanted,
                "measured": goal.found,
                "reached": goal.reached,
            }
            for goal in goals(measured)
        ],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "least": round(min(values), 2),
        "most": round(max(values), 2),
    }


def goals_table(measured: Measured) -> str:
    """The goals beside what was measured."""
    said = {None: "not measured", True: "**reached**", False: "not reached"}
    return _table(
        ("path", "goal", "measured", ""),
        [
            (f"`{goal.path}`" if goal.path[0].isupper() else goal.path, goal.wanted,
             goal.found or "", said[goal.reached])
            for goal in goals(measured)
        ],
    )  # fmt: skip


def cases_table(measured: Measured) -> str:
    """CPU and latency of everybody in every case."""
    rows = []
    for case, by_contestant in measured.cases.items():
        ours = next(
            (
                slices
                for name, slices in by_contestant.items()
                if LABELS[name] == LABELS["course_catalog"]
            ),
            None,
        )
        for name, slices in by_contestant.items():
            cpu = slices.cpu_microseconds
            ratio = ""
            if ours is not None:
                pairs = zip(cpu, ours.cpu_microseconds, strict=True)
                ratio = f"{statistics.median(a / b for a, b in pairs):.2f}"
            rows.append(
                (
                    f"`{CASES[case]}`" if CASES[case][0].isupper() else CASES[case],
                    LABELS[name],
                    f"{statistics.median(cpu):,.0f}",
                    f"{min(cpu):,.0f} to {max(cpu):,.0f}",
                    ratio,
                    f"{statistics.median(slices.p50_milliseconds):.2f}",
                    f"{statistics.median(slices.p99_milliseconds):.2f}",
                    f"{slices.response_bytes:,}",
                )
            )
    return _table(
        (
            *("request", "who", "CPU, µs", "spread", "x Lyceum", "p50, ms", "p99, ms"),
            "answer, bytes",
        ),
        rows,
        right=(2, 4, 5, 6, 7),
    )


def processes_table(measured: Measured) -> str:
    """Start and memory."""
    names = {name: LABELS[name] for name in measured.processes}
    names |= {name: f"Lyceum, `{name}`" for name in SERVICES}
    names[DIRECTORY] = f"Lyceum, `course_catalog` of {measured.directory_courses:,} courses"
    return _table(
        ("process", "start to ready, s", "MiB when ready", "MiB after the load"),
        [
            (
                names[name],
                f"{process.ready_seconds:.2f}",
                f"{process.idle_mebibytes:.0f}",
                f"{process.loaded_mebibytes:.0f}",
            )
            for name, process in measured.processes.items()
        ],
        right=(1, 2, 3),
    )


def parts_table(measured: Measured) -> str:
    """The parts of a request."""
    names = {
        "presign": "pre-signing one URL",
        "token.seen": "a token that was seen before",
        "token.new": "a new token",
        "token.rsa": "the RSA verification alone",
        "trace.unsampled": "tracing, the request not sampled, with one span",
        "breaker.closed": "a closed breaker",
        "log.line": "a line of the access log",
    }
    return _table(
        ("part", "CPU, µs", "spread"),
        [
            (names[name], f"{found['median']:.1f}", f"{found['least']:.1f} to {found['most']:.1f}")
            for name, found in measured.parts.items()
        ],
        right=(1,),
    )


def machine_lines(measured: Measured) -> str:
    """Where it was measured, and who was missing."""
    machine = measured.machine
    lines = [f"Measured on {', '.join(str(value) for value in machine.values())}."]
    lines += [
        f"Missing on this machine: {LABELS.get(name, name)} ({reason})."
        for name, reason in measured.missing.items()
    ]
    return " ".join(lines)


def document(measured: Measured) -> dict[str, str]:
    """The parts of docs/performance.md, by the names of their marks."""
    return {
        "goals": goals_table(measured),
        "requests": cases_table(measured),
        "processes": processes_table(measured),
        "parts": parts_table(measured),
        "machine": machine_lines(measured),
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    lines = [
        _row(head),
        _row(["---:" if column in right else "---" for column in range(len(head))]),
        *(_row(row) for row in rows),
    ]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
