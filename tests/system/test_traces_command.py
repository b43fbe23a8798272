"""``up.py traces`` beside a running platform, and after it: a request is found and looked into."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.system.exchange import ask
from tests.system.platform_process import RunningPlatform, run_up, until

pytestmark = pytest.mark.timeout(600)

OLD_TRACE = f"1-{int(time.time()):08x}-{'5' * 24}"


def traces(platform: RunningPlatform, *arguments: str) -> list[str]:
    """The command's output; it must have nothing to complain of."""
    ended = run_up(
        "traces", "--state", str(platform.state), *arguments, directory=platform.directory
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout.splitlines()


def request(platform: RunningPlatform, trace: str, path: str, **options: object) -> int:
    token = platform.document["users"]["learner-a"]["accessToken"]
    headers = {"X-Amzn-Trace-Id": f"Root={trace};Sampled=1"}
    answer = ask(platform.gateway + path, token=token, headers=headers, **options)  # type: ignore[arg-type]
    return answer.status


def is_kept(platform: RunningPlatform, trace: str, documents: int = 1) -> bool:
    path = platform.state / "traces" / "segments.jsonl"
    return path.read_text().count(f'{{"trace_id":"{trace}"') >= documents


def fresh(number: int) -> str:
    return f"1-{int(time.time()):08x}-{number:024x}"


def test_a_request_is_found_and_looked_into(platform: RunningPlatform) -> None:
    trace = fresh(1)
    assert request(platform, trace, "/courses/tides") == 200
    until(lambda: is_kept(platform, trace), "the trace is kept")

    heading, *lines = traces(platform)
    assert heading.split() == ["time", "took", "status", "request", "services", "calls", "trace"]
    (line,) = (line for line in lines if line.endswith(trace))
    assert re.search(
        r" [0-9.]+ ms +200  GET /courses/\{courseId\} +course_catalog +1  1-", line
    ), line

    text = traces(platform, trace)
    assert text[0] == f"Trace {trace}"
    ((at, whole),) = (found for found in enumerate(text) if "GET /courses/{courseId}" in found[1])
    assert whole.startswith("course_catalog GET /courses/{courseId} 200 ")
    assert text[at + 1].startswith("└ DynamoDB GetItem CourseCatalog ")
    assert "█" in text[at + 1]
    assert traces(platform, trace[:-1]) == text


def test_a_journey_is_one_trace_with_a_request_below_the_other(platform: RunningPlatform) -> None:
    trace = fresh(2 << 90)
    update = {"occurredAt": "2026-03-01T10:00:00Z", "deviceId": "phone", "items": {}}
    assert request(platform, trace, "/courses?limit=1") == 200
    assert request(platform, trace, "/courses/no-such-course") == 404
    assert request(platform, trace, "/content/tides-1-1") == 200
    assert request(platform, trace, "/progress/me/tides", method="PUT", json_body=update) == 201
    until(lambda: is_kept(platform, trace, 4), "the journey is kept")

    requests = [line for line in traces(platform, trace) if re.match(r"[a-z]+_[a-z]+ ", line)]
    assert [line.split()[:3] for line in requests] == [
        ["course_catalog", "GET", "/courses"],
        ["course_catalog", "GET", "/courses/{courseId}"],
        ["content_delivery", "GET", "/content/{contentId}"],
        ["progress_tracking", "PUT", "/progress/{userId}/{courseId}"],
    ]
    assert " 404 error " in requests[1]

    (line,) = (
        json.loads(line)
        for line in traces(platform, "--errors", "--route", "PUT /progress", "--json")
    )
    assert (line["id"], line["status"], line["mark"]) == (trace, 404, "error")
    assert line["services"] == ["course_catalog", "content_delivery", "progress_tracking"]
    assert line["calls"] >= 3
    assert len(line["segments"]) == 4


def test_hostile_datagrams_do_not_hurt_the_platform(platform: RunningPlatform) -> None:
    documents = (platform.state / "traces" / "segments.jsonl").read_text().splitlines()
    address = tracing_address(platform)
    evil = documents[-1].replace("course_catalog", "\\u001b[2Jevil")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(3_000):
            sender.sendto(b'{"format":"json","version":1}\n' + b"[" * (number % 9_000), address)
        sender.sendto(b'{"format":"json","version":1}\n' + evil.encode(), address)
    trace = fresh(3 << 90)

    def arrives() -> bool:
        assert request(platform, trace, "/courses/tides") == 200
        return is_kept(platform, trace)

    until(arrives, "a trace is kept after the flood")
    assert platform.descendants() == platform.process_ids
    assert "dropped" in (platform.state / "logs" / "traces.log").read_text()
    assert not any("\x1b" in line for line in traces(platform, "--last", "1000"))


def tracing_address(platform: RunningPlatform) -> tuple[str, int]:
    """Where the services send their segments, from the environment of one of them."""
    for process_id in platform.process_ids:
        for variable in Path(f"/proc/{process_id}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.decode(errors="replace").partition("=")
            if name == "CATALOG_TRACING_DAEMON":
                host, _, port = value.rpartition(":")
                return host, int(port)
    raise AssertionError("no service was told where its segments go")


def test_the_traces_stay_after_a_stop_and_not_after_a_fresh_start(tmp_path: Path) -> None:
    started = []

    def start(*arguments: str) -> RunningPlatform:
        started.append(RunningPlatform(tmp_path, tmp_path / "state", "--port", "0", *arguments))
        return started[-1]

    try:
        first = start()
        # Sent on the way to the stop: the receiver ends after those that send.
        assert request(first, OLD_TRACE, "/progress/me") == 200
        assert first.signal(signal.SIGTERM) == 0
        assert any(line.endswith(OLD_TRACE) for line in traces(first))
        assert traces(first, OLD_TRACE)[0] == f"Trace {OLD_TRACE}"
        unknown = run_up("traces", "--state", str(first.state), "1-0", directory=tmp_path)
        assert (unknown.returncode, unknown.stdout) == (2, "")
        assert unknown.stderr.startswith("up.py: no trace 1-0; ")
        assert unknown.stderr.count("\n") == 1

        second = start("--fresh")
        ended = run_up("traces", "--state", str(second.state), directory=tmp_path)
        assert OLD_TRACE not in ended.stdout
        assert second.signal(signal.SIGTERM) == 0
    finally:
        for platform in started:
            platform.end()


def test_a_platform_that_can_not_keep_traces_runs_without(tmp_path: Path) -> None:
    in_the_way = tmp_path / "state" / "traces" / "segments.jsonl"
    in_the_way.mkdir(parents=True)
    platform = RunningPlatform(tmp_path, tmp_path / "state", "--port", "0")
    try:
        (said,) = (line for line in platform.errors.splitlines() if "No traces" in line)
        assert said.startswith("No traces are kept: traces ended with exit code 2. traces: ")
        assert request(platform, OLD_TRACE, "/courses?limit=1") == 200
        ended = run_up("traces", "--state", str(platform.state), directory=tmp_path)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "can not be read: " in ended.stderr
        assert platform.signal(signal.SIGTERM) == 0
    finally:
        platform.end()


def test_without_a_platform_it_says_what_to_do(tmp_path: Path) -> None:
    ended = run_up("traces", "--state", str(tmp_path / "none"), directory=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("up.py: no traces: the platform does not run on ")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_help_has_examples(tmp_path: Path) -> None:
    ended = run_up("traces", "--help", directory=tmp_path)
    assert ended.returncode == 0
    assert "./pantsw run deploy/local/up.py -- traces --errors" in ended.stdout
