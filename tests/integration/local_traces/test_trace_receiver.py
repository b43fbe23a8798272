"""The receiver of traces over real sockets: what is sent well is kept, and nothing else hurts it."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local._ports import receive
from deploy.local._traces._log import NAME, Limits, TraceLog, read_log
from deploy.local._traces._receiver import Receiver
from libs.tracing import SamplingRules, create_tracer
from tests.integration.service_process import python_path
from tests.unit.local.trace_documents import HEADER, call, datagram, segment, trace_id

DEADLINE_SECONDS = 60
FLOOD = 20_000


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for what can be observed."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")
        os.sched_yield()


class Process:
    """``python -m deploy.local._traces`` on a socket of ours."""

    def __init__(self, source: socket.socket, folder: Path, said: Path) -> None:
        self._said = said
        with said.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "deploy.local._traces"),
                    *("--fd", str(source.fileno()), "--folder", str(folder)),
                ],
                env={**os.environ, "PYTHONPATH": python_path()},
                stdout=output,
                stderr=output,
                pass_fds=[source.fileno()],
            )

    @property
    def lines(self) -> list[str]:
        return self._said.read_text().splitlines()

    @property
    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def until_ready(self) -> None:
        until(lambda: "receiving" in self.lines or self.process.poll() is not None, "it receives")
        assert self.process.poll() is None, self.lines

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture()
def source() -> Iterator[socket.socket]:
    with receive() as made:
        yield made


@pytest.fixture()
def sender(source: socket.socket) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(source.getsockname())
        yield made


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    return tmp_path / "traces"


@pytest.fixture()
def start(source: socket.socket, folder: Path, tmp_path: Path) -> Iterator[Callable[[], Process]]:
    started: list[Process] = []

    def start() -> Process:
        started.append(Process(source, folder, tmp_path / f"said-{len(started)}"))
        return started[-1]

    yield start
    for process in started:
        process.end()


def hostile(random: random.Random) -> bytes:
    """What nobody should send."""
    return random.choice(
        [
            b"",
            random.randbytes(random.randrange(65_000)),
            HEADER + b"[" * 65_000,
            HEADER + b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
            HEADER + b"9" * 60_000,
            HEADER + b'{"trace_id":"' + b"\\u0000" * 10_000 + b'"}',
            datagram(segment())[: random.randrange(400)],
            datagram(segment(id="../../etc/passwd")),
            datagram(segment(start_time=1e308)),
            b'{"format":"json","version":1e9999}\n{}',
        ]
    )


def test_what_the_tracing_library_sends_arrives(source: socket.socket, folder: Path) -> None:
    host, port = source.getsockname()
    tracer = create_tracer(
        service="course_catalog",
        version="1.0.0",
        daemon_address=f"{host}:{port}",
        rules=SamplingRules(default_rate=1.0),
        random=random.Random(0),
    )
    with tracer.segment("GET /courses/{courseId}") as request:
        with tracer.span("GetItem", kind="aws", attributes={"rpc.service": "DynamoDB"}):
            pass
        assert request.context is not None
        traced = request.context.trace_id
    tracer.close()
    log = TraceLog(folder)
    receiver = Receiver(source, log, print)
    receiver.read()
    log.close()
    assert (receiver.kept, receiver.dropped) == (1, {})
    (line,) = read_log(folder)[traced]
    document = json.loads(line)
    assert document["name"] == "course_catalog"
    assert [part["name"] for part in document["subsegments"]] == ["DynamoDB"]


def test_a_flood_leaves_others_their_turn(
    source: socket.socket, sender: socket.socket, folder: Path
) -> None:
    log = TraceLog(folder)
    receiver = Receiver(source, log, print)
    for number in range(100):
        sender.send(datagram(segment(number)))
    receiver.read()
    assert receiver.kept == 64
    receiver.read()
    assert receiver.kept == 100
    receiver.read()  # nothing there
    log.close()


def test_what_is_dropped_is_counted_and_said_less_and_less_often(
    source: socket.socket, sender: socket.socket, folder: Path
) -> None:
    log = TraceLog(folder, Limits(documents=1))
    said: list[str] = []
    receiver = Receiver(source, log, said.append)
    for _ in range(40):
        sender.send(b"\x1b[2J")
        sender.send(datagram(segment()))
        sender.send(HEADER + b'{"a": 1e999}')
        receiver.read()
    log.close()
    assert receiver.kept == 1
    assert receiver.dropped == {
        "without the header line": 40,
        "more than is kept of one trace": 39,
        "without a valid trace_id": 40,
    }
    for reason in receiver.dropped:
        told = [line for line in said if line.endswith(reason)]
        assert told == [f"dropped {count} so far, {reason}" for count in (1, 2, 4, 8, 16, 32)]


def test_numbers_that_can_be_read_and_not_be_written_are_dropped(
    source: socket.socket, sender: socket.socket, folder: Path
) -> None:
    log = TraceLog(folder)
    receiver = Receiver(source, log, print)
    good = datagram(segment(metadata={"n": 1}))
    sender.send(good.replace(b'"n": 1', b'"n": 1e999'))
    sender.send(good.replace(b'"n": 1', b'"n": ' + b"[" * 600 + b"]" * 600))
    sender.send(good)
    receiver.read()
    log.close()
    assert receiver.dropped["not JSON"] >= 1
    for line in read_log(folder)[trace_id(1)]:
        json.loads(line, parse_constant=pytest.fail)


def test_a_disk_that_is_full_costs_traces_and_nothing_else(
    source: socket.socket, sender: socket.socket, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TraceLog(folder)
    receiver = Receiver(source, log, print)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    sender.send(datagram(segment(trace=1)))
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        receiver.read()
    sender.send(datagram(segment(trace=2)))
    receiver.read()
    log.close()
    assert receiver.dropped == {"not written: No space left on device": 1}
    assert list(read_log(folder)) == [trace_id(2)]


def test_the_process_survives_a_flood_and_stays_small(
    source: socket.socket, sender: socket.socket, folder: Path, start: Callable[[], Process]
) -> None:
    process = start()
    process.until_ready()
    noise = random.Random(7)
    kinds = [hostile(noise) for _ in range(200)]
    for number in range(FLOOD):
        sender.send(kinds[number % len(kinds)])
        if number % 10 == 0:  # well-formed, and of traces without end
            sender.send(datagram(segment(number, trace=1_000 + number, subsegments=[call()])))

    def a_good_one_arrives() -> bool:
        # What came in the flood's last moments may have been lost, as UDP's may.
        sender.send(datagram(segment(trace=1)))
        return trace_id(1) in read_log(folder)

    until(a_good_one_arrives, "it still receives")
    assert process.resident_bytes < 200 * 1024 * 1024
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20 * 1024 * 1024
    assert len(process.lines) < 200
    assert all(line.isascii() and line.isprintable() for line in process.lines)
    assert process.stop() == 0


def test_what_was_sent_before_the_stop_is_kept(
    source: socket.socket, sender: socket.socket, folder: Path, start: Callable[[], Process]
) -> None:
    process = start()
    process.until_ready()
    process.process.send_signal(signal.SIGSTOP)
    for number in range(50):
        sender.send(datagram(segment(trace=number)))
    process.process.send_signal(signal.SIGTERM)
    process.process.send_signal(signal.SIGCONT)
    assert process.process.wait(DEADLINE_SECONDS) == 0
    assert len(read_log(folder)) == 50
    assert process.lines[-1] == "kept 50, dropped 0"


def test_what_comes_while_it_is_started_again_waits_for_it(
    source: socket.socket, sender: socket.socket, folder: Path, start: Callable[[], Process]
) -> None:
    first = start()
    first.until_ready()
    sender.send(datagram(segment(trace=1)))
    until(lambda: trace_id(1) in read_log(folder), "the first is kept")
    first.end()  # SIGKILL
    sender.send(datagram(segment(trace=2)))
    second = start()
    until(lambda: trace_id(2) in read_log(folder), "the second is kept")
    assert list(read_log(folder)) == [trace_id(1), trace_id(2)]
    assert second.stop() == 0


def test_a_folder_that_can_not_be_used_is_one_line(
    folder: Path, start: Callable[[], Process]
) -> None:
    folder.write_text("")
    process = start()
    assert process.process.wait(DEADLINE_SECONDS) == 2
    (line,) = process.lines
    assert line.startswith("traces: ")


def test_a_reader_sees_whole_lines_while_they_are_written(
    source: socket.socket, sender: socket.socket, folder: Path, start: Callable[[], Process]
) -> None:
    process = start()
    process.until_ready()
    seen = 0
    for number in range(300):
        sender.send(datagram(segment(number, trace=number // 10, metadata={"x": "y" * 20_000})))
        for lines in read_log(folder).values():
            seen += len([json.loads(line) for line in lines[-1:]])
    until(lambda: bool(read_log(folder)), "something is kept")
    assert process.stop() == 0
    assert seen > 0
    assert {path.name for path in folder.iterdir()} <= {NAME, NAME + ".1"}
