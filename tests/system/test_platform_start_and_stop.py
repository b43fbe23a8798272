"""``up.py`` as a whole: it starts, says what it must, keeps its state, and leaves no process."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local._report import Journey, journey_line
from tests.system.platform_process import RunningPlatform, is_alive, run_up, until, up

pytestmark = pytest.mark.timeout(600)

# The embedded AWS, three services, the consumer of outlines, the gateway, the receiver of traces, the
# faults, the pages.
PROCESSES = 9

Start = Callable[..., RunningPlatform]


@pytest.fixture()
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a platform on this test's state folder; whatever runs at the end is ended."""
    started: list[RunningPlatform] = []

    def start(*arguments: str, **options: bool) -> RunningPlatform:
        running = RunningPlatform(
            tmp_path, tmp_path / "state", "--port", "0", *arguments, **options
        )
        started.append(running)
        return running

    yield start
    for running in started:
        running.end()


def in_progress(platform: RunningPlatform) -> list[str]:
    answer = platform.request("/progress/me")
    assert answer.status == 200, answer.body
    return [item["courseId"] for item in answer.json["items"]]


def record(platform: RunningPlatform, course: str) -> None:
    update = {"occurredAt": "2026-01-02T03:04:05Z", "deviceId": "test", "items": {}}
    answer = platform.request(f"/progress/me/{course}", method="PUT", body=update)
    assert answer.status == 201, answer.body


def process_of(platform: RunningPlatform, module: str) -> int:
    """The id of the process that runs ``python -m module``."""
    argument = f"\0{module}\0".encode()
    return next(
        process_id
        for process_id in platform.process_ids
        if argument in Path(f"/proc/{process_id}/cmdline").read_bytes()
    )


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_first_start_serves_and_says_where(start: Start) -> None:
    platform = start("--fresh")
    document = platform.document
    assert document.keys() == {"gateway", "services", "aws", "s3", "users"}
    assert document["services"].keys() == {
        "course_catalog",
        "content_delivery",
        "progress_tracking",
    }
    assert document["users"].keys() == {"learner-a", "learner-b", "author", "staff"}
    for user in document["users"].values():
        assert user.keys() == {"sub", "accessToken"}
    urls = [document["gateway"], *document["services"].values(), document["aws"], document["s3"]]
    assert all(url.startswith("http://127.0.0.1:") for url in urls)
    assert len(platform.process_ids) == PROCESSES

    state = platform.state
    assert (state / "platform.json").read_text() == platform.line
    assert (mode(state), mode(state / "platform.json")) == (0o700, 0o600)

    courses = platform.request("/courses?limit=100")
    assert courses.status == 200
    assert len(courses.json["items"]) >= 12
    assert in_progress(platform) == []
    # Players go to S3 by way of what can let it fail; nothing else is told of that way.
    assert document["s3"] != document["aws"]
    assert platform.request("/content/tides-1-1").json["url"].startswith(f"{document['s3']}/")

    token = run_up("token", "staff", "--state", str(state), directory=platform.directory)
    assert (token.returncode, token.stdout.count("\n")) == (0, 1), token.stderr
    document["users"]["staff"]["accessToken"] = token.stdout.strip()
    learner = document["users"]["learner-a"]["sub"]
    assert platform.request(f"/progress/{learner}", user="staff").status == 200
    assert platform.request(f"/progress/{learner}", user="learner-b").status == 403

    second = run_up("--port", "0", "--state", str(state), directory=platform.directory)
    assert second.returncode == 2
    assert second.stderr == (
        f"up.py: the platform runs already on {state} (process {platform.process.pid})\n"
    )

    assert platform.signal(signal.SIGTERM) == 0
    assert not any(map(is_alive, platform.process_ids))
    assert not (state / "platform.json").exists()
    late = run_up("token", "staff", "--state", str(state), directory=platform.directory)
    assert late.returncode == 1
    assert late.stderr.startswith(f"up.py: the platform does not run on {state}; ")
    assert late.stderr.count("\n") == 1


def test_the_printed_journey_plays(start: Start, tmp_path: Path) -> None:
    platform = start("--state", str(tmp_path / "a state; it's here"))
    platform.state = tmp_path / "a state; it's here"
    course = next(
        item["id"]
        for item in platform.request("/courses?limit=100").json["items"]
        if "video" in str(platform.request(f"/courses/{item['id']}").json["outline"])
    )
    outline = platform.request(f"/courses/{course}").json["outline"]
    video = next(
        item["contentId"]
        for section in outline
        for item in section["items"]
        if item["type"] == "video"
    )
    shell, curl = shutil.which("sh"), shutil.which("curl")
    assert shell, "the printed lines need sh"
    assert curl, "the printed lines need curl"
    header = platform.state / "headers" / "learner-a"
    assert mode(header) == 0o600
    played = subprocess.run(
        [shell, "-c", journey_line(platform.gateway, header, Journey(course, video))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert played.returncode == 0, played.stderr
    assert "video: HTTP 206, 1048576 bytes" in played.stdout
    assert in_progress(platform) == [course]
    progress = json.loads(played.stdout.strip().splitlines()[-1])
    assert progress["items"][0]["percent"] is not None
    assert platform.signal(signal.SIGINT) == 0


def test_state_survives_a_clean_stop_and_not_a_fresh_start(start: Start) -> None:
    first = start(group_of_its_own=True)
    record(first, "a-course")
    cursor = first.request("/courses?limit=1").json["nextCursor"]
    assert first.interrupt_group() == 0
    assert "killed" not in first.errors
    assert not any(map(is_alive, first.process_ids))

    second = start()
    assert in_progress(second) == ["a-course"]
    assert second.request(f"/courses?limit=1&cursor={cursor}").status == 200
    assert second.document["users"]["author"]["sub"] == first.document["users"]["author"]["sub"]
    assert "did not stop cleanly" not in second.errors
    record(second, "another-course")

    # Killed: nothing is left running, what was recorded since the last stop may be lost, and the
    # next start says so. The embedded AWS alone has time to write what it holds.
    second.process.kill()
    second.process.wait()
    until(lambda: not any(map(is_alive, second.process_ids)), "every process ends")
    third = start()
    assert "a-course" in in_progress(third)
    assert third.signal(signal.SIGTERM) == 0

    fourth = start("--fresh")
    assert in_progress(fourth) == []
    assert fourth.request(f"/courses?limit=1&cursor={cursor}").status == 400


def test_after_an_unclean_stop_it_says_what_it_came_back_with(start: Start) -> None:
    first = start()
    record(first, "saved")
    assert first.signal(signal.SIGTERM) == 0
    second = start()
    record(second, "lost")
    # As when the machine loses its power: all at once, the embedded AWS first.
    for process_id in [*second.process_ids, second.process.pid]:
        os.kill(process_id, signal.SIGSTOP)
    for process_id in [*second.process_ids, second.process.pid]:
        os.kill(process_id, signal.SIGKILL)
    second.process.wait()
    until(lambda: not any(map(is_alive, second.process_ids)), "every process ends")

    third = start()
    told = next(line for line in third.errors.splitlines() if "did not stop cleanly" in line)
    assert "Came back with what was saved at the stop before it" in told
    for table in ("Content", "CourseCatalog", "Progress"):
        assert f"{table} " in told
    assert in_progress(third) == ["saved"]


def test_a_service_that_dies_is_reported_and_comes_back(start: Start) -> None:
    platform = start()
    before = platform.process_ids
    catalog = process_of(platform, "services.course_catalog")
    os.kill(catalog, signal.SIGKILL)
    until(lambda: "course_catalog is back" in platform.errors, "the service is back")
    assert "course_catalog was ended by SIGKILL; it is started again in " in platform.errors
    assert platform.request("/courses?limit=1").status == 200
    after = platform.descendants()
    assert before - after == {catalog}
    assert len(after) == PROCESSES
    assert platform.signal(signal.SIGINT) == 0
    assert not any(map(is_alive, after))


def test_an_embedded_aws_that_dies_comes_back_with_what_the_platform_needs(start: Start) -> None:
    platform = start()
    record(platform, "lost")
    aws = process_of(platform, "deploy.local.embedded_aws")
    os.kill(aws, signal.SIGKILL)
    until(lambda: "embedded-aws is back" in platform.errors, "the embedded AWS is back")
    platform.document = json.loads((platform.state / "platform.json").read_text())
    assert len(platform.request("/courses?limit=100").json["items"]) >= 12
    record(platform, "a-course")
    after = platform.descendants()
    assert platform.signal(signal.SIGTERM) == 0
    assert not any(map(is_alive, after))


@pytest.mark.parametrize("is_ignored", [False, True])
def test_a_hang_up_stops_it_unless_it_was_started_to_outlive_its_terminal(
    start: Start, is_ignored: bool
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
    try:
        platform = start()  # what is ignored stays ignored over exec, as under nohup
    finally:
        signal.signal(signal.SIGHUP, before)
    if not is_ignored:
        assert platform.signal(signal.SIGHUP) == 0
        return
    for process_id in [platform.process.pid, *platform.process_ids]:
        os.kill(process_id, signal.SIGHUP)
    assert platform.request("/courses?limit=1").status == 200
    assert platform.descendants() == platform.process_ids
    assert "stopping" not in platform.errors
    assert platform.signal(signal.SIGTERM) == 0


class _Canary(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802 - its name
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"canary")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
        """Says nothing."""


def test_a_canary_gets_its_share_and_a_daemon_the_traces(start: Start) -> None:
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Canary) as canary,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon,
    ):
        threading.Thread(target=canary.serve_forever, daemon=True).start()
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(60)
        platform = start(
            *("--canary", f"content_delivery=100@http://127.0.0.1:{canary.server_port}"),
            *("--xray", f"127.0.0.1:{daemon.getsockname()[1]}"),
        )
        assert platform.request("/content/anything").body == b"canary"
        assert platform.request("/courses?limit=1").status == 200
        header, _, document = daemon.recv(65_536).partition(b"\n")
        assert json.loads(header)["format"] == "json"
        assert json.loads(document)["trace_id"].startswith("1-")
        # From here on it is led as on AWS: by the stages that the gateway follows.
        aborted = release("abort", "content_delivery", "--local", str(platform.state), "--json")
        assert json.loads(aborted.splitlines()[-1])["event"] == "canaryAborted"
        until(
            lambda: platform.request("/content/anything").body != b"canary",
            "the canary gets nothing",
        )
        canary.shutdown()


def release(*arguments: str) -> str:
    """Runs deploy/release; gives what it told."""
    _, environment = up()
    done = subprocess.run(
        [sys.executable, "-m", "deploy.release.release", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stopped_while_it_starts_it_leaves_nothing(tmp_path: Path) -> None:
    command, environment = up("--port", "0", "--state", str(tmp_path / "state"))
    errors = tmp_path / "errors"
    with errors.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    until(lambda: "embedded AWS  " in errors.read_text(), "the embedded AWS runs")
    children = {
        int(word)
        for path in Path(f"/proc/{process.pid}/task").glob("*/children")
        for word in path.read_text().split()
    }
    assert children
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0
    assert not any(map(is_alive, children))
    assert "Traceback" not in errors.read_text()


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_up("--port", str(port), "--state", "state", directory=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"up.py: port {port} of 127.0.0.1 is taken; --port N takes another, 0 a free one\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "65536"], "is not a port"),
        (["--canary", "catalog=10@http://127.0.0.1:1"], "is none of course_catalog"),
        (["--canary", "course_catalog=101@http://127.0.0.1:1"], "is not a percentage"),
        (["--canary", "course_catalog=10@elsewhere"], "is not like http://"),
        (["--xray", "2000"], "is not like 127.0.0.1:2000"),
        (["token", "nobody"], "invalid choice"),
    ],
)
def test_what_is_called_wrongly_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    ended = run_up(*arguments, directory=tmp_path)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert not (tmp_path / ".lyceum").exists()


def test_help_has_examples(tmp_path: Path) -> None:
    ended = run_up("--help", directory=tmp_path)
    assert ended.returncode == 0
    assert "./pantsw run deploy/local/up.py -- token learner-a" in ended.stdout
