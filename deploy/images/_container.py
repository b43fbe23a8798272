"""A service's container as production runs it, for as long as it is looked at.

The same restrictions as in the task definitions: no root, nothing writable, no capability.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.images._docker import DockerError, docker, output_and_code

RESTRICTIONS = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
# On a machine that is busy with other things a start of one second takes a minute.
_READY_SECONDS = 120.0
# How often it is asked: as exactly as a good start is measured, and then without being in its way.
_EXACT_SECONDS, _PATIENT_SECONDS = 0.005, 0.25
_LOOK_SECONDS = 2.0
_UNITS = {"B": 1, "KIB": 1024, "MIB": 1024**2, "GIB": 1024**3, "KB": 1e3, "MB": 1e6, "GB": 1e9}


class Container:
    """One container; `id` is its own."""

    def __init__(self, identity: str, port: int) -> None:
        self.id = identity
        self._port = port

    def start(self) -> float:
        """Start it, and wait until it is ready; seconds from one to the other.

        Raises DockerError, with what it wrote, if it ends before or is not ready in time.
        """
        started = time.monotonic()
        docker("start", self.id)
        looked = started
        while not self._is_ready():
            now = time.monotonic()
            if now - started > _READY_SECONDS:
                raise DockerError(f"not ready within {_READY_SECONDS:.0f} s: {self.output()}")
            if now - looked > _LOOK_SECONDS:
                if not self._is_running():
                    raise DockerError(f"it ended before it was ready: {self.output()}")
                looked = now
            time.sleep(_EXACT_SECONDS if now - started < _LOOK_SECONDS else _PATIENT_SECONDS)
        return time.monotonic() - started

    def stop(self) -> tuple[float, int]:
        """SIGTERM; the seconds until it has ended, and its exit code."""
        started = time.monotonic()
        docker("kill", "--signal=TERM", self.id)
        code = int(docker("wait", self.id))
        return time.monotonic() - started, code

    def memory(self) -> int:
        """Bytes that the kernel charges it with, reclaimable page cache not counted: what a task's
        memory limit is compared with."""
        used = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", self.id).split("/")[0]
        number, unit = re.fullmatch(r"([0-9.]+)\s*([A-Za-z]+)", used.strip()).groups()  # type: ignore[union-attr]
        return int(float(number) * _UNITS[unit.upper()])

    def resident(self) -> int | None:
        """Bytes of its process in memory, shared libraries included; None where the engine's
        processes can't be seen, as inside a virtual machine."""
        process = docker("inspect", "--format", "{{.State.Pid}}", self.id)
        with suppress(OSError):
            status = Path(f"/proc/{process}/status").read_text()
            found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
            return int(found[1]) * 1024 if found else None
        return None

    def execute(self, *command: str) -> tuple[str, int, float]:
        """Run a command in it: what it wrote, its exit code, and the seconds it took."""
        started = time.monotonic()
        output, code = output_and_code("exec", self.id, *command)
        return output, code, time.monotonic() - started

    def version(self) -> dict[str, str]:
        """What `/version` says."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/version")
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def output(self) -> str:
        """The last lines that it wrote."""
        return output_and_code("logs", "--tail=5", self.id)[0]

    def _is_running(self) -> bool:
        return docker("inspect", "--format", "{{.State.Running}}", self.id) == "true"

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def container(
    image: str, variables: Mapping[str, str], port: int, *command: str
) -> Iterator[Container]:
    """A container of `image`, made and not yet started; it is removed afterwards.

    It shares the network of this machine. `command` takes the place of the image's own. Raises
    DockerError.
    """
    settings = [f"--env={name}={value}" for name, value in variables.items()]
    identity = docker(
        "create",
        "--network=host",
        "--label=lyceum.images.check=1",
        *RESTRICTIONS,
        *settings,
        image,
        *command,
    )
    try:
        yield Container(identity, port)
    finally:
        output_and_code("rm", "--force", "--volumes", identity)
