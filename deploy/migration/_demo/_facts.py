"""What a run of the demo comes to: numbers that were counted, and the table of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.migration._demo._device import Counts
from deploy.migration._demo._history import History, Kind
from deploy.migration._demo._items import MODULES


@dataclass(frozen=True)
class Pause:
    """How long writes of a module waited while it changed hands: as the command counts it, and the
    longest write of a client that was under way meanwhile."""

    told: float
    longest_write: float


@dataclass
class Facts:
    """Of one run.

    Args:
        lags: seconds by which replication was behind, one a second while the migration ran.
        copied_at: how many of these are from before everything was copied: until then streams are
            read from their oldest record on.
        ended_at: how many are from before the migration was cancelled, or the last module completed:
            nobody reads streams from then on.
    """

    items: int = 0
    copy_seconds: float = 0.0
    lags: list[float] = field(default_factory=list)
    copied_at: int = 0
    ended_at: int | None = None
    pauses: dict[str, Pause] = field(default_factory=dict)
    way_back: dict[str, Pause] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def lag_p99(self) -> float:
        """Seconds by which replication was behind, from the copy's end to the migration's."""
        return percentile(self.lags[self.copied_at : self.ended_at], 99)

    @property
    def items_per_second(self) -> float:
        """Of the copy, under load."""
        return self.items / self.copy_seconds if self.copy_seconds else 0.0

    def document(self, counts: Counts, history: History) -> dict[str, object]:
        """For a script."""
        return {
            "requests": len(counts.requests),
            "failures": sum(counts.failed.values()),
            "reads": history.reads,
            **{str(kind): history.count(kind) for kind in Kind},
            "writePauses": _pauses(self.pauses),
            "writePausesBack": _pauses(self.way_back),
            "lagP99Seconds": round(self.lag_p99, 3),
            "lagMostWhileCopyingSeconds": round(max(self.lags[: self.copied_at], default=0.0), 3),
            "items": self.items,
            "itemsPerSecond": round(self.items_per_second, 1),
            "seconds": round(self.seconds, 1),
            "byModule": {
                module: {
                    "requests": len(seconds),
                    "failures": counts.failed[module],
                    "p50Seconds": round(percentile(seconds, 50), 4),
                    "p99Seconds": round(percentile(seconds, 99), 4),
                }
                for module in MODULES
                for seconds in [counts.seconds(module)]
            },
        }

    def table(self, counts: Counts, history: History) -> str:
        """For a person."""
        rows = [
            ("requests", f"{len(counts.requests):,}"),
            ("failures", f"{sum(counts.failed.values()):,}"),
            ("judged reads", f"{history.reads:,}"),
            *((str(kind), f"{history.count(kind):,}") for kind in Kind),
            *(_row("write pause", module, pause) for module, pause in self.pauses.items()),
            *(
                _row("write pause, way back", module, pause)
                for module, pause in self.way_back.items()
            ),
            (
                "lag p99",
                f"{self.lag_p99:.1f} s, while it was copied"
                f" {max(self.lags[: self.copied_at], default=0.0):.1f} s at most",
            ),
            ("copied", f"{self.items:,} items, {self.items_per_second:,.0f} a second under load"),
            *(_latencies(counts, module) for module in MODULES),
            ("time", _minutes(self.seconds)),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def is_whole(counts: Counts, history: History) -> bool:
    """Whether nobody noticed anything."""
    return not counts.failures and not history.problems


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent are not above; 0 of nothing."""
    if not values:
        return 0.0
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]


def _pauses(pauses: Mapping[str, Pause]) -> dict[str, object]:
    return {
        module: {
            "toldSeconds": round(pause.told, 3),
            "longestWriteSeconds": round(pause.longest_write, 3),
        }
        for module, pause in pauses.items()
    }


def _row(what: str, module: str, pause: Pause) -> tuple[str, str]:
    return (
        f"{what}, {module}",
        f"{pause.told:.2f} s by the command, longest write {pause.longest_write:.2f} s",
    )


def _latencies(counts: Counts, module: str) -> tuple[str, str]:
    seconds = counts.seconds(module)
    return (
        f"answers, {module}",
        f"p50 {percentile(seconds, 50) * 1000:,.0f} ms, p99 {percentile(seconds, 99) * 1000:,.0f} ms",
    )


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
