"""The local platform as its user meets it: the command, its output, its signals, its processes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 120
# Images are sent, and containers started: more for a busy machine to do.
CONTAINERS_DEADLINE_SECONDS = 300


def up(*arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of ``up.py``."""
    command = [sys.executable, str(ROOT / "deploy" / "local" / "up.py"), *arguments]
    return command, {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def run_up(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``up.py`` to its end."""
    command, environment = up(*arguments)
    return subprocess.run(
        command,
        env=environment,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningPlatform:
    """A platform that was started with ``--json`` and is ready."""

    def __init__(
        self, directory: Path, state: Path, *arguments: str, group_of_its_own: bool = False
    ) -> None:
        self.directory = directory
        self.state = state
        self._errors = directory / f"errors-{time.monotonic_ns()}"
        self._ready_within = (
            CONTAINERS_DEADLINE_SECONDS if "--containers" in arguments else DEADLINE_SECONDS
        )
        command, environment = up("--state", str(state), "--json", *arguments)
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=directory,
                stdout=subprocess.PIPE,
                stderr=errors,
                process_group=0 if group_of_its_own else None,
            )
        try:
            self.line = self._first_line()
            self.document: dict[str, Any] = json.loads(self.line)
            self.process_ids = self.descendants()
        except BaseException:
            self.end()
            raise

    @property
    def errors(self) -> str:
        """What was written to standard error until now."""
        return self._errors.read_text()

    @property
    def gateway(self) -> str:
        url = self.document["gateway"]
        assert isinstance(url, str)
        return url

    def descendants(self) -> set[int]:
        """The ids of the processes that it started."""
        found: set[int] = set()
        waiting = [self.process.pid]
        while waiting:
            for path in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
                children = {int(word) for word in path.read_text().split()}
                waiting += children - found
                found |= children
        return found

    def request(
        self, path: str, *, user: str = "learner-a", method: str = "GET", body: object = None
    ) -> Answer:
        """Asks the gateway as a demo user."""
        headers = {"Authorization": f"Bearer {self.document['users'][user]['accessToken']}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        request = urllib.request.Request(
            self.gateway + path, data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read())

    def signal(self, number: signal.Signals) -> int:
        """Sends a signal to the command alone; gives its exit code."""
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)

    def interrupt_group(self) -> int:
        """Ctrl-C, as a terminal sends it: to every process of the group; gives the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(DEADLINE_SECONDS)

    def end(self) -> None:
        """Ends it if a test did not."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _first_line(self) -> str:
        assert self.process.stdout is not None
        deadline = time.monotonic() + self._ready_within
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], 1)
            chunk = os.read(self.process.stdout.fileno(), 65_536) if readable else b""
            line += chunk
            if (readable and not chunk) or time.monotonic() > deadline:
                raise AssertionError(f"the platform was not ready:\n{self.errors}")
        return line.decode()


def is_alive(process_id: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for what can be observed."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")
        os.sched_yield()
