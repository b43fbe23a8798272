"""What the platform wrote about itself, as far as the pages show it: traces, log lines, requests.

Reads the files that are written anyway: the receiver's segments, the gateway's access log, the logs of
the services. Keeps the last of each, and bounds on all of it. Knows no HTTP.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from deploy.local._follow import LineReader
from deploy.local._pages._assets import is_own
from deploy.local._traces import Row, Span, Trace, mark_of, read_trace, title_of

Json = dict[str, object]

_MOST_TRACES: Final = 1_000
_MOST_DOCUMENTS: Final = 200
_MOST_LINES: Final = 200
_MOST_BYTES: Final = 8 * 1024 * 1024
_SEGMENT: Final = re.compile(rb'\{"trace_id":"(1-[0-9a-f]{8}-[0-9a-f]{24})",.*\}')
_ROOT: Final = re.compile(r"(?:Root=)?(1-[0-9a-f]{8}-[0-9a-f]{24})")
# The gateway's clock and a service's are the same here; its log has whole milliseconds.
_TOLERANCE_SECONDS: Final = 0.01
# How much later than its end a request may be logged, where a machine has much to do.
_LATE_SECONDS: Final = 2.0
_QUEUES: Final = {"aws_sqs": "SQS"}


class Metrics(Protocol):
    """Takes metrics lines; see `deploy.local._pages._board`."""

    def take(self, process: str, entry: Mapping[str, object]) -> None:
        """One line of the Embedded Metric Format, of this process."""


@dataclass(frozen=True)
class GatewayRequest:
    """One line of the gateway's access log.

    Args:
        start: Unix time in seconds, as `end`.
        target: where it led; None where it led nowhere.
    """

    method: str
    route: str | None
    target: str | None
    status: int
    start: float
    end: float

    @property
    def mark(self) -> str | None:
        """As a segment's: whose fault it was."""
        return "fault" if self.status >= 500 else "error" if self.status >= 400 else None


@dataclass
class _Kept:
    """All that is known of one trace, and when it changed last."""

    change: int = 0
    segments: list[bytes] = field(default_factory=list)
    requests: list[GatewayRequest] = field(default_factory=list)
    lines: list[Json] = field(default_factory=list)


class Telemetry:
    """The last traces of a platform.

    Args:
        traces: the folder of the receiver's files.
        logs: the folder of the processes' logs.
        metrics: takes each metrics line that a service wrote.
    """

    def __init__(self, traces: Path, logs: Path, metrics: Metrics) -> None:
        self._segments = LineReader(traces, "segments.jsonl*", most_bytes=_MOST_BYTES)
        self._logs = LineReader(logs, "*.log", most_bytes=_MOST_BYTES)
        self._metrics = metrics
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._changes = 0

    def read(self) -> None:
        """Takes in what was written since the last time."""
        for _, line in self._segments.read():
            if found := _SEGMENT.fullmatch(line):
                kept = self._of(found[1].decode("ascii"))
                if len(kept.segments) < _MOST_DOCUMENTS:
                    kept.segments.append(line)
        for name, line in self._logs.read():
            self._take_log_line(name, line)

    def summaries(self, after: int) -> tuple[int, list[Json]]:
        """The traces that changed after the given change, oldest first, and the last change."""
        if after > self._changes:  # of a process before this one
            after = 0
        # Of those that have a request or a segment: a log line alone is no trace.
        found = [
            summary
            for trace_id, kept in self._kept.items()
            if kept.change > after and (summary := _summary(trace_id, kept)) is not None
        ]
        return self._changes, found

    def detail(self, trace_id: str) -> Json | None:
        """One trace: its rows as a waterfall has them, and its log lines in order."""
        kept = self._kept.get(trace_id)
        summary = None if kept is None else _summary(trace_id, kept)
        if kept is None or summary is None:
            return None
        trace = read_trace(trace_id, kept.segments)
        return {
            **summary,
            "rows": list(_rows(trace, kept.requests)),
            "lines": sorted(kept.lines, key=lambda line: str(line.get("timestamp", ""))),
        }

    def _of(self, trace_id: str) -> _Kept:
        kept = self._kept.pop(trace_id, None) or _Kept()
        self._changes += 1
        kept.change = self._changes
        self._kept[trace_id] = kept
        while len(self._kept) > _MOST_TRACES:
            self._kept.popitem(last=False)
        return kept

    def _take_log_line(self, name: str, line: bytes) -> None:
        if not line.startswith(b"{"):
            return
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if not isinstance(entry, dict):
            return
        if entry.get("event") == "metrics":
            self._metrics.take(name, entry)
            return
        found = _ROOT.match(str(entry.get("traceId", "")))
        if found is None:
            return
        if name == "gateway":
            request = _gateway_request(entry)
            # The pages watch; what they ask for themselves is not what is watched.
            if request is not None and not is_own(request.route or ""):
                self._of(found[1]).requests.append(request)
        elif entry.get("route") not in ("/readyz", "/healthz"):
            kept = self._of(found[1])
            if len(kept.lines) < _MOST_LINES:
                kept.lines.append(entry)


def _gateway_request(entry: Mapping[str, object]) -> GatewayRequest | None:
    status, duration = entry.get("status"), entry.get("durationMs")
    if entry.get("event") != "request" or not isinstance(status, int):
        return None
    if not isinstance(duration, int | float):
        return None
    try:
        end = datetime.fromisoformat(str(entry.get("timestamp"))).timestamp()
    except ValueError:
        return None
    route, target = entry.get("route"), entry.get("target")
    return GatewayRequest(
        method=str(entry.get("method")),
        route=route if isinstance(route, str) else None,
        target=target if isinstance(target, str) else None,
        status=status,
        start=end - duration / 1000,
        end=end,
    )


def _summary(trace_id: str, kept: _Kept) -> Json | None:
    trace = read_trace(trace_id, kept.segments)
    requests = kept.requests
    if trace is None and not requests:
        return None
    start = min([request.start for request in requests] + ([trace.start] if trace else []))
    end = max([request.end for request in requests] + ([trace.end] if trace else []))
    titles = trace.titles if trace and trace.titles else []
    if not titles:
        titles = [f"{request.method} {request.route or '?'}" for request in requests]
    statuses = [request.status for request in requests]
    status = max(statuses) if statuses else trace.status if trace else None
    marks = [request.mark for request in requests] + ([trace.mark] if trace else [])
    return {
        "id": trace_id,
        "start": start,
        "durationMs": _busy_ms(trace, requests, end - start),
        "status": status,
        "mark": "fault" if "fault" in marks else next(filter(None, marks), None),
        "titles": titles,
        "services": trace.services if trace else [],
        "calls": trace.calls if trace else 0,
        "edges": list(_edges(trace, requests)),
    }


def _busy_ms(trace: Trace | None, requests: Iterable[GatewayRequest], whole: float) -> float:
    """How long something was under way; of a journey, not the time between its requests."""
    waited = sum(request.end - request.start for request in requests)
    seconds = max(waited, trace.duration if trace else 0.0) or whole
    return round(1000 * seconds, 3)


def _edges(trace: Trace | None, requests: Iterable[GatewayRequest]) -> Iterator[Json]:
    """Who called whom, how often, with what result and how long each took."""
    found: defaultdict[tuple[str, str, str, str], list[tuple[float, bool]]] = defaultdict(list)
    segments = trace.segments if trace else []
    for request in requests:
        if request.target is None:
            continue  # the gateway's own answer: nobody was called
        under = next((one for one in segments if _request_of(one, requests) is request), None)
        to = under.name if under else "no service"
        found["gateway", "gateway", to, "service" if under else "other"].append(
            (1000 * (request.end - request.start), request.status >= 500)
        )
    for row in trace.rows if trace else []:
        span, milliseconds = row.span, 1000 * (row.end - row.span.start)
        if span.is_segment:
            queue = _queue_of(trace, span)
            if queue is not None:
                found[queue, "queue", span.name, "service"].append(
                    (milliseconds, mark_of(span) == "fault")
                )
        elif span.namespace == "aws" and span.service is not None:
            kind = {"DynamoDB": "table", "S3": "bucket", "SQS": "queue"}.get(span.name, "other")
            to = " ".join(filter(None, (span.name, span.resource)))
            has_failed = span.fault or span.throttle
            found[span.service, "service", to, kind].append((milliseconds, has_failed))
        elif span.namespace == "remote" and span.service is not None:
            found[span.service, "service", span.name, "other"].append((milliseconds, span.fault))
    for (source, source_kind, to, kind), calls in found.items():
        yield {
            "from": source,
            "fromKind": source_kind,
            "to": to,
            "toKind": kind,
            "ms": [round(milliseconds, 3) for milliseconds, _ in calls],
            "failed": sum(has_failed for _, has_failed in calls),
        }


def _queue_of(trace: Trace | None, segment: Span) -> str | None:
    """The queue whose message a segment dealt with: its sender says so in the metadata."""
    for document in trace.documents if trace else ():
        if document.get("id") == segment.span_id:
            metadata = document.get("metadata")
            default = metadata.get("default") if isinstance(metadata, dict) else None
            system = default.get("messaging.system") if isinstance(default, dict) else None
            return _QUEUES.get(str(system), str(system)) if system else None
    return None


def _request_of(span: Span, requests: Iterable[GatewayRequest]) -> GatewayRequest | None:
    """The request that a service's span is of: the one that it began in, or the next one to it."""

    def gap(request: GatewayRequest) -> float:
        return max(request.start - span.start, span.start - request.end, 0.0)

    near = [
        request
        for request in requests
        if request.start - _LATE_SECONDS <= span.start <= request.end + _TOLERANCE_SECONDS
    ]
    return min(near, key=gap, default=None)


def _rows(trace: Trace | None, requests: Iterable[GatewayRequest]) -> Iterator[Json]:
    """The gateway's requests, and under each the spans that lie within; then what is under none."""
    under: defaultdict[GatewayRequest | None, list[Row]] = defaultdict(list)
    chosen = under[None]
    for row in trace.rows if trace else []:
        if row.depth == 0:  # what is under it goes with it
            chosen = under[_request_of(row.span, requests)]
        chosen.append(row)
    for request in sorted(requests, key=lambda one: one.start):
        within = under[request]
        # Logged late, it seems to have begun late; how long it took is as it says.
        start = min([request.start, *(row.span.start for row in within)])
        yield {
            "name": "gateway",
            "title": f"{request.method} {request.route or 'no route'}",
            "kind": "gateway",
            "depth": 0,
            "start": start,
            "end": max([start + request.end - request.start, *(row.end for row in within)]),
            "status": request.status,
            "mark": request.mark,
            "notes": [],
        }
        yield from (_row(row, row.depth + 1) for row in within)
    yield from (_row(row, row.depth) for row in under[None])


def _row(row: Row, depth: int) -> Json:
    span = row.span
    notes = [
        *(["in progress"] if span.end is None else []),
        *([f"{span.retries} retries"] if span.retries else []),
        *(["without its parent"] if row.is_orphan else []),
        *(
            f"{exception.type}: {exception.message}"
            + (f" ({exception.place})" if exception.place else "")
            for exception in span.exceptions
        ),
    ]
    if span.is_segment:
        title = title_of(span)
    else:
        title = " ".join(filter(None, (span.operation, span.resource))) or (span.url or "")
    return {
        "name": span.name,
        "title": title if title != span.name else "",
        "kind": "service" if span.is_segment else span.namespace or "part",
        "depth": depth,
        "start": span.start,
        "end": row.end,
        "status": span.status,
        "mark": mark_of(span),
        "notes": notes,
    }
