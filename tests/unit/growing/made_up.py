"""Measurements that nobody made: costs that grow as they are told to, and a soak that leaks."""

from __future__ import annotations

from tests.bench.growing.curves import CURVES, Curve
from tests.bench.growing.measure import Asking, Size
from tests.bench.growing.soaked import Sample, Soak


def curve(name: str = "items") -> Curve:
    """The curve of this name."""
    return next(found for found in CURVES if found.name == name)


def sizes(of: Curve, *, power: float, refused: int = 0) -> list[Size]:
    """Measured at each size: a cost that grows with this power, and memory that does not."""
    return [
        Size(
            size,
            ready_seconds=1.0,
            idle_mebibytes=60.0,
            mebibytes=70.0,
            cases={
                name: Asking(
                    cpu_microseconds=[cost, 1.1 * cost, 1.2 * cost],
                    p50_milliseconds=[1.0, 1.0, 1.0],
                    p99_milliseconds=[2.0, 2.0, 2.0],
                    requests=100,
                    refused=refused,
                    request_bytes=100,
                    response_bytes=1_234,
                    read_units=size / 4,
                    write_units=0.0,
                )
                for name in of.cases
            },
        )
        for size in of.sizes
        for cost in [100.0 * size**power]
    ]


def soak(*, leaks: float = 0.0) -> Soak:
    """Forty windows, in each of which so many MiB stay behind."""
    return Soak(
        "course_catalog",
        capacity=1_000.0,
        capacity_share=0.98,
        rate=700.0,
        samples=[
            Sample(15.0 * n, 100 + leaks * n, 80 + leaks * n, 40, 6.0, 5.0 + n % 2, 10_500, 0.7)
            for n in range(1, 41)
        ],
    )
