"""What a soak shows: the samples of a service, and whether anything drifts.

Owns the rules and their words. Measures nothing.

What is flat: over the run's time, after the first fifth, even the upper end of the slope's 95 %
interval adds no more than 1 % to the memory, one file descriptor, and a quarter to the p99 of a second.
The p99 is that of the windows in which the machine had its processors to itself, as quick as ever.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.comparison.report import table
from tests.bench.growing.fit import Drift, drift, steady_drift
from tests.bench.growing.plot import Line, Panel, draw
from tests.bench.growing.report import picture_line

MEMORY_SHARE, DESCRIPTORS, P99_SHARE = 0.01, 1.0, 0.25
STOLEN_SHARE = 0.02
"""Of the processors' time: in a window in which the host kept more, a p99 says nothing of the service."""
SLOWED_SHARE = 0.15
"""A request costs the load, which does the same for each, so much more than in the quickest quarter of the
windows: then the machine was slower, which a host need not tell (its other guests share caches, and the
processors' clock)."""
WINDOW_SECONDS = 15.0
LEAST_WINDOWS = 8
"""A run shorter than two minutes has shorter windows, so that there is something to fit."""


@dataclass(frozen=True)
class Sample:
    """A window's end. `at`: seconds since the beginning."""

    at: float
    resident_mebibytes: float
    unique_mebibytes: float
    descriptors: int
    p99_milliseconds: float
    second_p99_milliseconds: float
    """The least p99 of a second of the window: whoever else uses the machine, or its host, only adds to
    it, and what the service does is in every second."""
    requests: int
    cpu_share: float
    stolen_share: float = 0.0
    """Of the machine's processors' time, what its host gave to others (proc_stat(5), steal)."""
    load_microseconds: float = 0.0
    """The load's own processor time for a request."""


@dataclass
class Soak:
    """A service's run. `capacity`: the requests a second of one process when nothing waits for it;
    `rate`: those that were offered."""

    service: str
    capacity: float
    capacity_share: float
    """Of the core, while the capacity was measured."""
    rate: float
    samples: list[Sample] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many were answered."""
        return sum(sample.requests for sample in self.samples)

    @property
    def undisturbed(self) -> Sequence[Sample]:
        """The windows whose p99 is looked at: all, where a host disturbed more than half of them."""
        disturbed = [*self.stolen, *self.slowed]
        own = [sample for sample in self.samples if sample not in disturbed]
        return own if 2 * len(own) >= len(self.samples) else self.samples

    @property
    def stolen(self) -> Sequence[Sample]:
        """The windows in which the host kept the processors."""
        return [sample for sample in self.samples if sample.stolen_share > STOLEN_SHARE]

    @property
    def slowed(self) -> Sequence[Sample]:
        """The windows in which the machine itself was slower."""
        quarter = sorted(sample.load_microseconds for sample in self.samples)[
            len(self.samples) // 4
        ]
        return [
            sample
            for sample in self.samples
            if sample.load_microseconds > quarter * (1 + SLOWED_SHARE)
        ]


def window_seconds(minutes: float) -> float:
    """How long a window is, of a run of so many minutes."""
    return min(WINDOW_SECONDS, minutes * 60 / LEAST_WINDOWS)


def drifts(soak: Soak) -> Mapping[str, Drift]:
    """What was looked at, by its name."""
    times = [sample.at for sample in soak.samples]

    def of(
        values: Sequence[float], *, share: float | None = None, limit: float | None = None
    ) -> Drift:
        return drift(times, values, share=share, limit=limit)

    samples, undisturbed = soak.samples, soak.undisturbed
    return {
        "resident memory, MiB": of(
            [sample.resident_mebibytes for sample in samples], share=MEMORY_SHARE
        ),
        "memory of its own (USS), MiB": of(
            [sample.unique_mebibytes for sample in samples], share=MEMORY_SHARE
        ),
        "file descriptors": of(
            [float(sample.descriptors) for sample in samples], limit=DESCRIPTORS
        ),
        "p99 of a second, ms": steady_drift(
            [sample.at for sample in undisturbed],
            [sample.second_p99_milliseconds for sample in undisturbed],
            share=P99_SHARE,
        ),
    }


def section(soak: Soak, *, picture: str | None = None) -> str:
    """The service as it stands in a document."""
    share = statistics.fmean(sample.cpu_share for sample in soak.samples)
    minutes = soak.samples[-1].at / 60
    said = (
        f"{minutes:.3g} minutes at {soak.rate:,.0f} requests a second, {soak.requests:,} in all, which"
        f" took {share:.0%} of its core; when nothing waits for it, one process answers"
        f" {soak.capacity:,.0f} a second with {soak.capacity_share:.0%} of its core."
    )
    found = table(
        ("what", "level", "change over the run", "95 %", "flat up to", ""),
        [
            (
                name,
                f"{one.level:,.2f}",
                f"{one.change:+.2f}",
                f"{one.low:+.2f} to {one.high:+.2f}",
                f"{one.limit:+.2f}",
                one.verdict.value if one.verdict == "flat" else f"**{one.verdict.value}**",
            )
            for name, one in drifts(soak).items()
        ],
        right=(1, 2, 4),
    )
    memory = drifts(soak)["memory of its own (USS), MiB"]
    judged = sum(sample.requests for sample in soak.samples) * (1 - 0.2)
    most = max(memory.high, 0.0) * 2**20 / max(judged, 1)
    bound = f"A request leaves {most:.2g} bytes behind at most, as the interval's upper end says."
    return "\n\n".join(
        [
            *([picture_line(soak.service, picture)] if picture else []),
            *(said, found, f"{bound}{_disturbed(soak)}"),
        ]
    )


def _disturbed(soak: Soak) -> str:
    windows = len(soak.samples)
    reasons = {
        f"the machine's host kept more than {STOLEN_SHARE:.0%} of its processors' time": soak.stolen,
        "a request cost the load, which does the same for each, more than"
        f" {SLOWED_SHARE:.0%} above what it did in the quickest quarter: the machine was slower": soak.slowed,
    }
    told = "; in ".join(
        f"{len(samples)} of the {windows} windows {why}"
        for why, samples in reasons.items()
        if samples
    )
    if not told:
        return ""
    without = "without them" if len(soak.undisturbed) < windows else "with them, as they are most"
    return f" In {told}; the p99 is judged {without}."


def plot(soak: Soak) -> str:
    """Memory, descriptors and p99 over the run."""

    def line(label: str, values: Sequence[float]) -> Line:
        return Line(
            label,
            [
                (sample.at / 60, value, value, value)
                for sample, value in zip(soak.samples, values, strict=True)
            ],
        )

    samples = soak.samples
    resident = line("resident", [sample.resident_mebibytes for sample in samples])
    unique = line("of its own (USS)", [sample.unique_mebibytes for sample in samples])
    descriptors = line("open", [float(sample.descriptors) for sample in samples])
    late = line("of a second, the window's least", [one.second_p99_milliseconds for one in samples])
    latest = line("of the window", [one.p99_milliseconds for one in samples])
    return draw(
        f"{soak.service}, {soak.rate:,.0f} requests a second",
        [
            Panel("Memory, MiB", "minutes", [resident, unique], logarithmic=False),
            Panel("File descriptors", "minutes", [descriptors], logarithmic=False),
            Panel("p99 since a request was due, ms", "minutes", [late, latest], logarithmic=False),
        ],
    )


def as_json(soak: Soak) -> dict[str, object]:
    """The run as plain values."""
    return {
        "capacityPerSecond": round(soak.capacity, 1),
        "capacityCoreShare": round(soak.capacity_share, 3),
        "offeredPerSecond": round(soak.rate, 1),
        "requests": soak.requests,
        "samples": [
            {
                "atSeconds": round(sample.at, 1),
                "residentMebibytes": sample.resident_mebibytes,
                "uniqueMebibytes": sample.unique_mebibytes,
                "descriptors": sample.descriptors,
                "p99Milliseconds": round(sample.p99_milliseconds, 2),
                "secondP99Milliseconds": round(sample.second_p99_milliseconds, 2),
                "requests": sample.requests,
                "coreShare": round(sample.cpu_share, 3),
                "stolenShare": round(sample.stolen_share, 3),
                "loadMicroseconds": round(sample.load_microseconds, 1),
            }
            for sample in soak.samples
        ],
        "drifts": {
            name: {
                "level": round(one.level, 3),
                "change": round(one.change, 3),
                "low95": round(one.low, 3),
                "high95": round(one.high, 3),
                "limit": round(one.limit, 3),
                "verdict": one.verdict.value,
            }
            for name, one in drifts(soak).items()
        },
    }
