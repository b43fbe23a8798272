"""The command ``traces``: which traces it shows, where from, and what it says where there are none."""

from __future__ import annotations

import io
import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from deploy.local import up
from deploy.local._state import StateFolder, write_private
from deploy.local._traces._log import NAME, TraceLog
from deploy.local._traces._table import table, unique_length
from deploy.local._traces._terminal import Surface, cells
from tests.unit.local.trace_documents import (
    BEGAN,
    alone,
    call,
    segment,
    span_id,
    trace_id,
    trace_of,
)


def progress(number: int, *, trace: int, **fields: Any) -> dict[str, Any]:
    annotations = {"operation": "PUT /progress/{userId}/{courseId}"}
    return segment(number, trace=trace, name="progress_tracking", annotations=annotations, **fields)


@pytest.fixture()
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


@pytest.fixture()
def kept(folder: StateFolder) -> StateFolder:
    """Four traces: a good one, a slow one, one that failed, and a journey."""
    folder.root.mkdir(mode=0o700)
    log = TraceLog(folder.traces)
    for document in (
        segment(1, trace=1, subsegments=[call(2)]),
        segment(3, trace=2, start_time=BEGAN + 1, end_time=BEGAN + 1.5),
        progress(4, trace=3, start_time=BEGAN + 2, end_time=BEGAN + 2.02, fault=True),
        segment(5, trace=4, start_time=BEGAN + 3, end_time=BEGAN + 3.01),
        progress(6, trace=4, start_time=BEGAN + 60, end_time=BEGAN + 60.01),
        alone(call(7, error=True, start_time=BEGAN + 60, end_time=BEGAN + 61), parent=6, trace=4),
    ):
        log.add(document)
    log.close()
    return folder


@pytest.fixture()
def run(
    folder: StateFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Runs ``up.py traces``; gives the exit code, its output's lines and its errors'."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        code = up.main(["--state", str(folder.root), "traces", *arguments])
        output, errors = capsys.readouterr()
        return code, output.splitlines(), errors.splitlines()

    return run


def ids(lines: list[str]) -> list[str]:
    return [line.split()[-1] for line in lines[1:]]


def test_the_table_has_the_newest_last(kept: StateFolder, run: Any) -> None:
    code, lines, errors = run()
    assert (code, errors) == (0, [])
    assert lines[0].split() == ["time", "took", "status", "request", "services", "calls", "trace"]
    assert ids(lines) == [trace_id(number) for number in (1, 2, 3, 4)]
    assert lines[1].split()[2:] == [
        *("10.0", "ms", "200", "GET", "/courses/{courseId}", "course_catalog", "1", trace_id(1))
    ]
    assert "  500.0 ms     200  GET /courses/{courseId} " in lines[2]
    assert "  GET /courses/{courseId} +1 " in lines[4]
    assert "  course_catalog, progress_tracking      1  " in lines[4]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--last", "2"], [3, 4]),
        (["--service", "progress_tracking"], [3, 4]),
        (["--service", "progress"], []),
        (["--route", "PUT /progress"], [3, 4]),
        (["--route", "{courseId}", "--last", "1"], [4]),
        (["--slower-than", "499"], [2, 4]),
        (["--slower-than", "20.5"], [2, 4]),
        (["--errors"], [3]),  # a call's error is none of the request's
        (["--errors", "--service", "course_catalog"], []),
    ],
)
def test_filters(kept: StateFolder, run: Any, arguments: list[str], expected: list[int]) -> None:
    code, lines, errors = run(*arguments)
    assert code == 0
    assert ids(lines) == [trace_id(number) for number in expected]
    assert errors == ([] if expected else ["  No trace is like that."])


def test_json_is_a_line_a_trace(kept: StateFolder, run: Any) -> None:
    code, lines, errors = run("--json")
    assert (code, errors) == (0, [])
    documents = [json.loads(line) for line in lines]
    assert [document["id"] for document in documents] == [trace_id(n) for n in (1, 2, 3, 4)]
    failed, journey = documents[2:]
    assert failed.pop("segments")[0]["id"] == span_id(4)
    assert failed == {
        "id": trace_id(3),
        "startTime": BEGAN + 2,
        "endTime": BEGAN + 2.02,
        "durationMs": pytest.approx(20, abs=0.001),
        "status": 200,
        "mark": "fault",
        "requests": ["PUT /progress/{userId}/{courseId}"],
        "services": ["progress_tracking"],
        "calls": 0,
    }
    assert [part["id"] for part in journey["segments"]] == [span_id(n) for n in (5, 6, 7)]
    assert run(trace_id(3), "--json")[1] == [lines[2]]


@pytest.mark.parametrize(
    "named",
    [trace_id(4), trace_id(4).upper(), f"Root={trace_id(4)};Parent={span_id(9)};Sampled=1"],
)
def test_one_trace_is_a_waterfall(kept: StateFolder, run: Any, named: str) -> None:
    code, lines, errors = run(named)
    assert (code, errors) == (0, [])
    assert lines[0] == f"Trace {trace_id(4)}"
    assert [line.split("  ")[0] for line in lines[4:]] == [
        "course_catalog GET /courses/{courseId} 200",
        "progress_tracking PUT /progress/{userId}/{courseId} 200",
        "└ DynamoDB GetItem CourseCatalog error",
    ]


def test_the_beginning_of_an_id_has_to_be_the_beginning_of_one_alone(
    kept: StateFolder, run: Any
) -> None:
    log = TraceLog(kept.traces)
    log.add(segment(8, trace=0x77 << 88))
    log.close()
    assert run("1-69a40fa0-77")[1][0] == f"Trace {trace_id(0x77 << 88)}"
    code, lines, (error,) = run("1-69a40fa0-0")
    assert (code, lines) == (2, [])
    assert error == (
        "up.py: 4 traces begin with 1-69a40fa0-0: "
        f"{trace_id(1)}, {trace_id(2)}, {trace_id(3)}, …"
    )
    code, lines, (error,) = run("1-00")
    assert (code, lines) == (2, [])
    assert error == "up.py: no trace 1-00; the last 1000 are kept, traces lists them"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["7"], "is not like 1-6a5b3c2d-"),
        (["1-xyz"], "is not like 1-6a5b3c2d-"),
        (["1-" + "0" * 40], "is not like 1-6a5b3c2d-"),
        (["--last", "0"], "is not a number from 1 to 1000"),
        (["--last", "1001"], "is not a number from 1 to 1000"),
        (["--last", "٣"], "is not a number from 1 to 1000"),
        (["--slower-than", "nan"], "is not a number of milliseconds"),
        (["--slower-than", "-1"], "is not a number of milliseconds"),
        (["1-69", "--last", "3", "--errors"], "--last, --errors: TRACE_ID names one trace"),
    ],
)
def test_what_is_asked_wrongly_is_said(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        up.main(["traces", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        up.main(["traces", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "./pantsw run deploy/local/up.py -- traces --errors" in text
    assert "newest last" in text


def test_without_a_platform_and_traces_it_says_what_to_do(run: Any, folder: StateFolder) -> None:
    for arguments in ([], [trace_id(1)], ["--json"]):
        code, lines, (error,) = run(*arguments)
        assert (code, lines) == (1, [])
        assert error == (
            f"up.py: no traces: the platform does not run on {folder.root};"
            " ./pantsw run deploy/local/up.py starts it, and each request to it leaves a trace"
        )
    assert not folder.root.exists()  # looking makes nothing


def test_a_platform_that_has_not_been_asked_anything_is_no_failure(
    run: Any, folder: StateFolder
) -> None:
    with folder.claim() as claim:
        claim.prepare()
        assert run() == (0, [], ["  No traces yet: send a request."])
        assert run(trace_id(1))[0] == 2


def test_a_daemon_that_gets_the_traces_is_named(kept: StateFolder, run: Any) -> None:
    with kept.claim() as claim:
        claim.prepare()
        write_private(kept.session, {"tracesSentTo": "127.0.0.1:2000"})
        code, lines, (said,) = run("--last", "1")
        assert (code, ids(lines)) == (0, [trace_id(4)])
        assert "sends its traces to 127.0.0.1:2000 (--xray)" in said
    assert run("--last", "1")[2] == []  # it does not run any more


def test_traces_that_can_not_be_read_are_one_line(kept: StateFolder, run: Any) -> None:
    (kept.traces / NAME).unlink()
    (kept.traces / NAME).mkdir()
    code, lines, (error,) = run()
    assert (code, lines) == (1, [])
    assert error.startswith(f"up.py: the traces in {kept.traces} can not be read: ")


def test_lines_that_are_none_are_passed_over(kept: StateFolder, run: Any) -> None:
    broken = json.dumps(segment(trace=9), separators=(",", ":"))
    with (kept.traces / NAME).open("a") as log:
        for line in ("", "{}", "\x00", broken.replace("end_time", "end"), broken[:80] + "}"):
            log.write(line + "\n")
    assert ids(run()[1]) == [trace_id(number) for number in (1, 2, 3, 4)]
    assert run(trace_id(9))[0] == 2


class TestTableOnATerminal:
    def lines(self, width: int | None) -> list[str]:
        long = progress(1, trace=1 << 90, subsegments=[call(2)])
        other = segment(3, trace=2 << 90, name="content_delivery")
        surface = Surface(width, "utf-8", has_colours=False)
        traces = [trace_of(long), trace_of(other)]
        known = [trace.trace_id for trace in traces]
        return table(traces, surface, known_ids=known, timezone=UTC)

    def test_a_pipe_gets_everything(self) -> None:
        _, line, _ = self.lines(None)
        assert line.startswith("2026-03-01 10:00:00.000  ")
        assert "  PUT /progress/{userId}/{courseId}  progress_tracking      1  " in line
        assert line.endswith(trace_id(1 << 90))

    @pytest.mark.parametrize("width", [60, 80, 100, 120, 140, 200])
    def test_no_line_is_wider_and_each_says_which_trace(self, width: int) -> None:
        for number, line in enumerate(self.lines(width)[1:], start=1):
            assert cells(line) <= width
            shown = line.split()[-1]
            assert trace_id(number << 90).startswith(shown)
            assert len(shown) >= 15

    def test_what_is_missed_least_goes_first(self) -> None:
        assert "2026-03-01" in self.lines(140)[1]
        assert self.lines(130)[1].startswith("10:00:00 ")
        assert "progress_tracking" in self.lines(105)[1]
        assert "progress_tracking" not in self.lines(80)[1]
        assert "PUT /progress/" in self.lines(60)[1]


def test_a_shortened_id_is_still_unique() -> None:
    known = [trace_id(number) for number in (0x10, 0x11, 0x200)]
    assert unique_length(known[:1], known) == 35
    assert unique_length(known[2:], known) == 33
    assert unique_length([trace_id(1 << 95)], [trace_id(1 << 95), *known]) == 15


def test_a_reader_that_has_enough_is_no_error(kept: StateFolder, tmp_path: Path) -> None:
    from deploy.local._traces import Platform, Query, show_traces

    class Gone(io.StringIO):
        encoding = "utf-8"

        def write(self, text: str) -> int:
            raise BrokenPipeError

    said: list[str] = []
    platform = Platform(kept.root, "up", is_running=False, sends_to=None)
    code = show_traces(
        kept.traces,
        Query(),
        platform,
        as_json=False,
        output=Gone(),
        say=said.append,
        fail=said.append,
    )
    assert (code, said) == (0, [])
