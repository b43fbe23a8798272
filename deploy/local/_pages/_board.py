"""The figures of the live board, from the metrics lines that CloudWatch would read.

A process writes a document for each series at each flush (libs/metrics): counts since the last flush,
distributions as values and how often each occurred, gauges as they stood. Here the flushes of the last
minutes are kept, and added up over one. Knows no file and no HTTP.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

Json = dict[str, object]
_Key = TypeVar("_Key")

WINDOW_SECONDS: Final = 60.0
_MOST_FLUSHES: Final = 120
_MOST_PROCESSES: Final = 64
_STATES: Final = {-1: "disabled", 0: "closed", 1: "half-open", 2: "open", 3: "forced open"}
_GAUGES: Final = ("DirectoryAge", "DirectoryCourses", "EventLoopLag", "ResidentMemory")


@dataclass
class _Flush:
    """What one process said at one moment."""

    at: float
    requests: float = 0.0
    errors: float = 0.0
    faults: float = 0.0
    latency: Counter[float] = field(default_factory=Counter)
    consumed: dict[tuple[str, str, str], float] = field(default_factory=dict)
    received: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    lag: defaultdict[str, Counter[float]] = field(default_factory=lambda: defaultdict(Counter))


@dataclass
class _Process:
    service: str
    flushes: deque[_Flush] = field(default_factory=lambda: deque(maxlen=_MOST_FLUSHES))
    breakers: dict[str, float] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)
    queues: set[str] = field(default_factory=set)


class Board:
    """What each process said lately."""

    def __init__(self) -> None:
        self._processes: dict[str, _Process] = {}

    def take(self, process: str, entry: Mapping[str, object]) -> None:
        """One metrics line of this process; what is not as it should be is passed over."""
        directive = entry.get("_aws")
        at = directive.get("Timestamp") if isinstance(directive, dict) else None
        if not isinstance(at, int | float):
            return
        known = self._processes.get(process)
        if known is None:
            if len(self._processes) >= _MOST_PROCESSES:
                return
            known = self._processes[process] = _Process(str(entry.get("Service", process)))
        if not known.flushes or known.flushes[-1].at != at / 1000:
            known.flushes.append(_Flush(at / 1000))
        _take(known, known.flushes[-1], entry)

    def document(self, now: float) -> Json:
        """The board as it stands at that Unix time."""
        return {
            "now": now,
            "windowSeconds": WINDOW_SECONDS,
            "processes": [
                _shown(name, process, now) for name, process in sorted(self._processes.items())
            ],
        }


def _take(process: _Process, flush: _Flush, entry: Mapping[str, object]) -> None:
    # Only the finest series: what is also published as a total stands in the same document.
    if "Route" in entry:
        flush.requests += _number(entry, "RequestCount")
        flush.errors += _number(entry, "ErrorCount")
        flush.faults += _number(entry, "FaultCount")
        flush.latency.update(_distribution(entry, "Latency"))
    elif "Breaker" in entry and "BreakerState" in entry:
        process.breakers[str(entry["Breaker"])] = _number(entry, "BreakerState")
    elif "Table" in entry:
        table, index = str(entry["Table"]), str(entry.get("Index", ""))
        for kind in ("Read", "Write"):
            units = _number(entry, f"Consumed{kind}CapacityUnits")
            flush.consumed[table, index, kind] = (
                flush.consumed.get((table, index, kind), 0.0) + units
            )
    elif "Queue" in entry:
        queue = str(entry["Queue"])
        process.queues.add(queue)
        flush.received[queue] = flush.received.get(queue, 0) + _number(entry, "MessagesReceived")
        flush.failed[queue] = flush.failed.get(queue, 0) + _number(entry, "MessagesFailed")
        flush.lag[queue].update(_distribution(entry, "QueueLag"))
    else:
        for name in _GAUGES:
            if isinstance(entry.get(name), int | float):
                process.gauges[name] = _number(entry, name)


def _shown(name: str, process: _Process, now: float) -> Json:
    lately = [flush for flush in process.flushes if flush.at > now - WINDOW_SECONDS]
    latency = _sum(flush.latency for flush in lately)
    consumed = _sum(flush.consumed for flush in lately)
    last = process.flushes[-1].at
    return {
        "name": name,
        "service": process.service,
        "at": last,
        "requests": sum(flush.requests for flush in lately),
        "errors": sum(flush.errors for flush in lately),
        "faults": sum(flush.faults for flush in lately),
        "p50": quantile(latency, 0.5),
        "p99": quantile(latency, 0.99),
        "history": [
            [flush.at, flush.requests, quantile(flush.latency, 0.99)] for flush in process.flushes
        ],
        "breakers": [
            {"name": breaker, "state": _STATES.get(int(state), "unknown")}
            for breaker, state in sorted(process.breakers.items())
        ],
        # A gauge of now, as old as the flush that said it.
        "directoryAge": _aged(process.gauges.get("DirectoryAge"), now - last),
        "directoryCourses": process.gauges.get("DirectoryCourses"),
        "memory": process.gauges.get("ResidentMemory"),
        "queues": [_queue(queue, process, lately) for queue in sorted(process.queues)],
        "capacity": [
            {"table": table, "index": index, "kind": kind.lower(), "units": round(units, 1)}
            for (table, index, kind), units in sorted(consumed.items())
            if units
        ],
    }


def _queue(queue: str, process: _Process, lately: Iterable[_Flush]) -> Json:
    lately = list(lately)
    # The last lag there was: a queue that is empty says nothing of it.
    lag = next(
        (flush.lag[queue] for flush in reversed(process.flushes) if flush.lag[queue]), Counter()
    )
    return {
        "name": queue,
        "received": sum(flush.received.get(queue, 0) for flush in lately),
        "failed": sum(flush.failed.get(queue, 0) for flush in lately),
        "lagMs": quantile(lag, 1.0),
    }


def quantile(values: Mapping[float, float], q: float) -> float | None:
    """The smallest value that at least this part of the values does not exceed; None of none."""
    left = q * sum(values.values())
    for value, count in sorted(values.items()):
        left -= count
        if left <= 1e-9:
            return value
    return None


def _sum(parts: Iterable[Mapping[_Key, float]]) -> dict[_Key, float]:
    total: dict[_Key, float] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total.get(key, 0) + value
    return total


def _aged(value: float | None, seconds: float) -> float | None:
    return None if value is None else round(value + max(seconds, 0.0), 1)


def _number(entry: Mapping[str, object], name: str) -> float:
    value = entry.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _distribution(entry: Mapping[str, object], name: str) -> Counter[float]:
    found = entry.get(name)
    if not isinstance(found, dict):
        return Counter()
    values, counts = found.get("Values"), found.get("Counts")
    if not isinstance(values, list) or not isinstance(counts, list):
        return Counter()
    return Counter(dict(zip(values, counts, strict=False)))
