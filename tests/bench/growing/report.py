"""What was measured of growing costs: as JSON, as tables of a document and as plots.

Owns the words. Measures nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from deploy.rightsizing._inputs import Capacity, Units
from tests.bench.comparison.report import table
from tests.bench.growing.curves import MEMORY, START, Curve
from tests.bench.growing.fit import Growth, Verdict, growth
from tests.bench.growing.measure import Asking, Size, series
from tests.bench.growing.plot import Line, Panel, draw

_NAMES = {MEMORY: "memory after the load", START: "start to ready"}
_UNEXPLAINED = (
    "**not explained**: say why in `reasons` of the curve, in tests/bench/growing/curves.py"
)


def fits(curve: Curve, sizes: Sequence[Size]) -> dict[str, Growth]:
    """The growth of each series."""
    return {name: growth(x, rounds) for name, (x, rounds) in series(curve, sizes).items()}


def unexplained(curve: Curve, sizes: Sequence[Size]) -> list[str]:
    """The series that grow worse than linear without a reason beside the curve."""
    return [
        name
        for name, found in fits(curve, sizes).items()
        if found.verdict is Verdict.WORSE and name not in curve.reasons
    ]


def as_json(curve: Curve, sizes: Sequence[Size]) -> dict[str, object]:
    """The whole curve as plain values."""
    return {
        "grows": curve.grows,
        "service": curve.service,
        "sizes": [
            {
                "size": one.size,
                "readySeconds": round(one.ready_seconds, 3),
                "idleMebibytes": one.idle_mebibytes,
                "loadedMebibytes": one.mebibytes,
                "cases": {name: _asking_json(asking) for name, asking in one.cases.items()},
            }
            for one in sizes
        ],
        "fits": {
            name: {
                "exponent": round(found.exponent, 3),
                "half95": round(found.half, 3),
                "atTheEnd": round(found.end, 3),
                "verdict": found.verdict.value,
                "reason": curve.reasons.get(name) if found.verdict is Verdict.WORSE else None,
            }
            for name, found in fits(curve, sizes).items()
        },
    }


def _asking_json(asking: Asking) -> dict[str, object]:
    return {
        "requests": asking.requests,
        "refused": asking.refused,
        "requestBytes": asking.request_bytes,
        "responseBytes": asking.response_bytes,
        "cpuMicroseconds": _spread(asking.cpu_microseconds),
        "p50Milliseconds": _spread(asking.p50_milliseconds),
        "p99Milliseconds": _spread(asking.p99_milliseconds),
        "readUnits": asking.read_units,
        "writeUnits": asking.write_units,
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "least": round(min(values), 2),
        "most": round(max(values), 2),
    }


def section(curve: Curve, sizes: Sequence[Size], *, picture: str | None = None) -> str:
    """The curve as it stands in a document: the picture, what grew how, and the numbers."""
    return "\n\n".join(
        part
        for part in (
            picture_line(curve.title, picture) if picture else "",
            fits_table(curve, sizes),
            *(f"Worse than linear, {line}" for line in reasons(curve, sizes)),
            numbers_table(curve, sizes),
            curve.note,
        )
        if part
    )


def machine_line(where: Mapping[str, object]) -> str:
    """Where something was measured, in words; `where`: `tests.bench.request_costs.machine`."""
    return (
        f"Measured on {where['processor']}, {where['cores']} cores, Python {where['python']},"
        f" {where['system']}."
    )


def picture_line(title: str, picture: str) -> str:
    """The plot, and where it is as a PNG; `picture`: the SVG's name."""
    return f"![{title}]({picture})\n\n[The plot as a PNG]({picture.removesuffix('.svg')}.png)"


def reasons(curve: Curve, sizes: Sequence[Size]) -> Iterator[str]:
    """A line for each series that is worse than linear."""
    for name, found in fits(curve, sizes).items():
        if found.verdict is Verdict.WORSE:
            yield f"{_name(curve, name)}: {curve.reasons.get(name, _UNEXPLAINED)}."


def fits_table(curve: Curve, sizes: Sequence[Size]) -> str:
    """The exponents."""
    return table(
        ("what", "exponent", "95 %", "at the end", "with the size it grows"),
        [
            (
                _name(curve, name),
                f"{found.exponent:.2f}",
                f"{found.exponent - found.half:.2f} to {found.exponent + found.half:.2f}",
                f"{found.end:.2f}",
                f"**{found.verdict}**" if found.verdict is Verdict.WORSE else found.verdict.value,
            )
            for name, found in fits(curve, sizes).items()
        ],
        right=(1, 3),
    )


def numbers_table(curve: Curve, sizes: Sequence[Size]) -> str:
    """What was measured at each size."""
    rows: list[tuple[str, ...]] = []
    for one in sizes:
        for name, asking in one.cases.items():
            cpu = asking.cpu_microseconds
            rows.append(
                (
                    f"{one.size:,}",
                    f"`{curve.cases[name].label}`",
                    f"{statistics.median(cpu):,.0f}",
                    f"{min(cpu):,.0f} to {max(cpu):,.0f}",
                    _units(asking.read_units),
                    _units(asking.write_units),
                    f"{asking.response_bytes:,}",
                    f"{asking.refused / max(asking.requests, 1):.1%}" if asking.refused else "",
                    f"{one.ready_seconds:.2f}",
                    f"{one.mebibytes:.0f}",
                )
            )
    head: tuple[str, ...] = (
        *(curve.grows, "request", "CPU, µs", "spread", "read units", "write units"),
        *("answer, bytes", "refused", "start to ready, s", "MiB after the load"),
    )
    right: tuple[int, ...] = (0, 2, 4, 5, 6, 7, 8, 9)
    if not any(row[7] for row in rows):
        head, rows = _without(7, head), [_without(7, row) for row in rows]
        right = (0, 2, 4, 5, 6, 7, 8)
    return table(head, rows, right=right)


def _without(column: int, cells: Sequence[str]) -> tuple[str, ...]:
    return (*cells[:column], *cells[column + 1 :])


def _units(units: float | None) -> str:
    return "" if units is None else f"{units:g}"


def _name(curve: Curve, name: str) -> str:
    return _NAMES.get(name) or f"`{curve.cases[name].label}`, CPU"


def plot(curve: Curve, sizes: Sequence[Size]) -> str:
    """The curve as two panels: CPU and memory."""
    lines = [
        Line(
            case.label,
            [
                (float(one.size), statistics.median(cpu), min(cpu), max(cpu))
                for one in sizes
                for cpu in [one.cases[name].cpu_microseconds]
            ],
        )
        for name, case in curve.cases.items()
    ]
    memory = Line(
        "after the load",
        [(float(one.size), one.mebibytes, one.mebibytes, one.mebibytes) for one in sizes],
    )
    return draw(
        f"{curve.title}: what a request and a process take",
        [
            Panel("CPU a request, µs", curve.grows, [*lines, _linear(lines)], logarithmic=True),
            Panel("Memory of the process, MiB", curve.grows, [memory], logarithmic=True),
        ],
    )


def _linear(lines: Sequence[Line]) -> Line:
    """What would be in proportion to the size, through the cost of the largest one: flatter lines than
    this are sub-linear. It ends where it would leave the plot."""
    x, top = max((line.points[-1][:2] for line in lines), key=lambda point: point[1])
    least = min(low for line in lines for _, _, low, _ in line.points)
    sizes = [point[0] for point in lines[0].points]
    start = max(min(sizes), x * least / top)
    ends = [(start, top * start / x), (x, top)]
    return Line("in proportion", [(a, b, b, b) for a, b in ends], dashed=True)


def capacity_table(capacity: Capacity) -> str:
    """The units of DynamoDB that each operation consumes, from the file that a plan is made of."""
    return table(
        ("operation", "calls", "read units", "write units", "of these, indexes'"),
        [
            (
                f"`{name}`" + ("" if units.of == "a request" else f", {units.of}"),
                f"{units.calls:g}",
                f"{units.reads:g}",
                f"{units.writes:g}",
                f"{_of_indexes(units):g}",
            )
            for name, units in {**capacity.operations, **capacity.background}.items()
        ],
        right=(1, 2, 3, 4),
    )


def _of_indexes(units: Units) -> float:
    return sum(
        found
        for places in (units.read, units.write)
        for place, found in places.items()
        if place != "table"
    )


def capacity_line(capacity: Capacity) -> str:
    """Where the table's numbers are from."""
    shape: Mapping[str, float] = capacity.shape
    return (
        f"Of a course of {shape['itemsPerCourse']:g} items and a learner of"
        f" {shape['coursesPerLearner']:g} courses, by `{capacity.by}` on {capacity.measured_on}."
    )
