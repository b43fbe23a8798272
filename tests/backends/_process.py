"""A server of the tests as a process: started, waited for until it says that it serves, ended by its id."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from deploy.local._environment import REPOSITORY_ROOT

_STOP_SECONDS = 20


class NotStartedError(Exception):
    """The process ended before it served; the text is what it said."""

    def __init__(self, exit_code: int, errors: str) -> None:
        super().__init__(f"exit code {exit_code}: {errors}")
        self.exit_code = exit_code
        self.errors = errors


@dataclass(frozen=True)
class Server:
    """A serving process and the JSON line that it printed."""

    process: subprocess.Popen[str]
    ready: Mapping[str, Any]

    def stop(self) -> int:
        """SIGTERM, then SIGKILL where that does not end it; gives the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextlib.contextmanager
def serving(command: Sequence[str], variables: Mapping[str, str] = os.environ) -> Iterator[Server]:
    """Run a server until the block ends; it is to print one JSON line when it serves.

    Raises NotStartedError where it ends before.
    """
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))
        process = stack.enter_context(
            subprocess.Popen(
                list(command),
                cwd=REPOSITORY_ROOT,
                env=dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        )
        server = Server(process, {})
        stack.callback(server.stop)
        assert process.stdout is not None
        line = process.stdout.readline()  # comes with the line, or with the end of the process
        if not line:
            raise NotStartedError(process.wait(), _content(errors))
        yield Server(process, json.loads(line))


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
