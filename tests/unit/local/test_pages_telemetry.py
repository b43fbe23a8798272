"""What the pages make of the files that the platform writes anyway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.local._pages._board import Board
from deploy.local._pages._telemetry import Telemetry

TRACE = "1-6a5b3c2d-53995c3f42cd8ad8a1b2c3d4"
OTHER = "1-6a5b3c2d-000000000000000000000001"
AT = 1_783_250_000.0  # 2026-07-05T11:13:20Z


class Files:
    """The folders of a platform, and what stands in them."""

    def __init__(self, folder: Path) -> None:
        self.traces, self.logs = folder / "traces", folder / "logs"
        self.traces.mkdir()
        self.logs.mkdir()
        self.telemetry = Telemetry(self.traces, self.logs, Board())

    def segment(self, trace: str, **fields: object) -> None:
        document = {
            "trace_id": trace,
            "id": "0" * 16,
            "name": "course_catalog",
            "start_time": AT,
            "end_time": AT + 0.02,
            **fields,
        }
        self.write(self.traces / "segments.jsonl", document)

    def gateway(self, trace: str, **fields: object) -> None:
        line = {
            "timestamp": "2026-07-05T11:13:20.025Z",
            "event": "request",
            "traceId": f"Root={trace};Sampled=1",
            "method": "GET",
            "route": "/courses/{courseId}",
            "target": "stable",
            "status": 200,
            "durationMs": 30,
            **fields,
        }
        self.write(self.logs / "gateway.log", line)

    def write(self, path: Path, document: object) -> None:
        with path.open("a") as file:
            file.write(json.dumps(document, separators=(",", ":")) + "\n")

    def rows(self, trace: str) -> list[dict[str, object]]:
        self.telemetry.read()
        found = self.telemetry.detail(trace)
        assert found is not None
        rows = found["rows"]
        assert isinstance(rows, list)
        return rows

    def summaries(self, after: int = 0) -> tuple[int, list[dict[str, object]]]:
        self.telemetry.read()
        return self.telemetry.summaries(after)


def test_a_request_is_told_by_gateway_service_and_table(tmp_path: Path) -> None:
    files = Files(tmp_path)
    call = {
        "id": "1" * 16,
        "name": "DynamoDB",
        "namespace": "aws",
        "start_time": AT + 0.005,
        "end_time": AT + 0.015,
        "fault": True,
        "aws": {"operation": "GetItem", "table_name": "CourseCatalog"},
    }
    files.segment(TRACE, subsegments=[call], annotations={"operation": "GET /courses/{courseId}"})
    files.gateway(TRACE, status=503)
    files.write(
        files.logs / "course_catalog.log",
        {"timestamp": "b", "traceId": TRACE, "event": "request", "route": "/courses/{courseId}"},
    )
    files.write(
        files.logs / "course_catalog.log", {"timestamp": "a", "traceId": TRACE, "event": "failed"}
    )

    _, (summary,) = files.summaries()
    assert (summary["id"], summary["status"], summary["mark"]) == (TRACE, 503, "fault")
    assert summary["titles"] == ["GET /courses/{courseId}"]
    edges = summary["edges"]
    assert isinstance(edges, list)
    assert [(edge["from"], edge["to"], edge["failed"]) for edge in edges] == [
        ("gateway", "course_catalog", 1),
        ("course_catalog", "DynamoDB CourseCatalog", 1),
    ]
    detail = files.telemetry.detail(TRACE)
    assert detail is not None
    rows = detail["rows"]
    assert isinstance(rows, list)
    assert [(row["name"], row["depth"]) for row in rows] == [
        ("gateway", 0),
        ("course_catalog", 1),
        ("DynamoDB", 2),
    ]
    assert [line["event"] for line in detail["lines"]] == ["failed", "request"]  # type: ignore[attr-defined]


def test_only_what_changed_is_given_again(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.gateway(TRACE)
    change, first = files.summaries()
    assert [trace["id"] for trace in first] == [TRACE]
    files.gateway(OTHER)
    later, second = files.summaries(change)
    assert [trace["id"] for trace in second] == [OTHER]
    assert files.summaries(later) == (later, [])
    # Of a process before this one: everything.
    assert len(files.summaries(later + 1000)[1]) == 2


def test_what_is_no_trace_is_none(tmp_path: Path) -> None:
    files = Files(tmp_path)
    # The pages' own questions, a log line alone, a torn line, and what is no JSON.
    files.gateway(TRACE, route="/-/assets/{file}")
    files.write(files.logs / "course_catalog.log", {"traceId": OTHER, "event": "request"})
    (files.traces / "segments.jsonl").write_text(f'{{"trace_id":"{TRACE}","id"')
    (files.logs / "traces.log").write_text("receiving\n{]\n[1]\n")
    assert files.summaries()[1] == []
    assert files.telemetry.detail(TRACE) is None
    assert files.telemetry.detail(OTHER) is None


def test_a_queues_message_comes_from_the_queue(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.segment(TRACE, name="consumer", metadata={"default": {"messaging.system": "aws_sqs"}})
    _, (summary,) = files.summaries()
    edges = summary["edges"]
    assert isinstance(edges, list)
    assert [(edge["from"], edge["fromKind"], edge["to"]) for edge in edges] == [
        ("SQS", "queue", "consumer")
    ]


def test_files_that_are_moved_are_read_to_their_end(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.segment(TRACE)
    files.summaries()
    files.segment(OTHER)
    log = files.traces / "segments.jsonl"
    log.replace(log.with_name("segments.jsonl.1"))
    third = "1-6a5b3c2d-000000000000000000000003"
    files.segment(third)
    assert [trace["id"] for trace in files.summaries()[1]] == [TRACE, OTHER, third]


def test_the_oldest_are_forgotten(tmp_path: Path) -> None:
    files = Files(tmp_path)
    for number in range(1_005):
        files.gateway(f"1-6a5b3c2d-{number:024x}")
    _, traces = files.summaries()
    assert len(traces) == 1_000
    assert traces[0]["id"] == f"1-6a5b3c2d-{5:024x}"


def test_a_request_that_was_logged_late_is_still_over_what_it_called(tmp_path: Path) -> None:
    """A busy machine writes the gateway's line when the service has long ended."""
    files = Files(tmp_path)
    files.segment(TRACE)
    files.gateway(TRACE, timestamp="2026-07-05T11:13:20.900Z")
    gateway, service = files.rows(TRACE)
    assert (gateway["name"], service["name"]) == ("gateway", "course_catalog")
    assert (gateway["depth"], service["depth"]) == (0, 1)
    assert gateway["start"] == service["start"] == AT
    # It takes as long as it says.
    assert gateway["end"] == pytest.approx(AT + 0.03)
    _, (summary,) = files.summaries()
    edges = summary["edges"]
    assert isinstance(edges, list)
    assert [(edge["from"], edge["to"]) for edge in edges] == [("gateway", "course_catalog")]


def test_requests_of_one_trace_have_each_its_own(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.segment(TRACE, id="1" * 16)
    files.segment(TRACE, id="2" * 16, start_time=AT + 0.5, end_time=AT + 0.51)
    files.gateway(TRACE)
    files.gateway(TRACE, timestamp="2026-07-05T11:13:20.515Z")
    assert [row["name"] for row in files.rows(TRACE)] == ["gateway", "course_catalog"] * 2
