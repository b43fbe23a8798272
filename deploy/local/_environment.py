"""The Python environment of the embedded AWS, and the command that starts the embedded AWS in it.

MiniStack pins another botocore than the code, so it has a lock and an environment of its own, made once
by `uv` from the hash-pinned lock and kept in the user's cache. Which package index that comes from is the
machine's business. Knows nothing of what runs in there.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import uv

REPOSITORY_ROOT = Path(__file__).absolute().parents[2]
LOCK = REPOSITORY_ROOT / "3rdparty" / "python" / "embedded_aws.lock"

# Names the interpreter of a ready environment, for machines that make it by other means.
PYTHON_VARIABLE = "LYCEUM_EMBEDDED_AWS_PYTHON"

_UNREACHABLE = ("error sending request", "Failed to fetch", "dns error", "Connection refused")

# What a machine says to pip about its package index holds for uv too, unless it says so to uv itself.
_PIP_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}


class EnvironmentBuildError(Exception):
    """The environment could not be made; one line says why and what to do."""


def embedded_aws_python(
    variables: Mapping[str, str] | None = None, *, lock: Path = LOCK, interpreter: str | None = None
) -> Path:
    """The interpreter that can run the embedded AWS; makes its environment where the cache has none.

    Takes a second where the packages are in uv's cache, longer at the first time. May be called by
    several processes at once: one of them builds, the others wait. Raises EnvironmentBuildError.
    """
    variables = os.environ if variables is None else variables
    interpreter = interpreter or sys.executable
    if ready := variables.get(PYTHON_VARIABLE):
        if not Path(ready).exists():
            raise EnvironmentBuildError(f"{PYTHON_VARIABLE} names {ready}, which does not exist")
        return Path(ready)
    environment = _cache_folder(variables) / _identity(lock)
    python = environment / "bin" / "python"
    try:
        if python.exists():
            return python
        environment.parent.mkdir(parents=True, exist_ok=True)
        with open(environment.with_suffix(".lock"), "w", encoding="ascii") as building:
            fcntl.flock(building, fcntl.LOCK_EX)
            if not python.exists():
                _build(environment, lock, interpreter, variables)
    except OSError as error:
        raise EnvironmentBuildError(
            f"the embedded AWS's environment can not be kept in {environment.parent}"
            f" ({error.strerror or error}); XDG_CACHE_HOME names another folder"
        ) from error
    return python


def embedded_aws_command(
    python: Path,
    *,
    state: Path,
    port: int = 0,
    region: str = "us-east-1",
    services: Sequence[str] = (),
    forwarded_from: Sequence[int] = (),
    docker_host: str | None = None,
    task_logs: Path | None = None,
) -> list[str]:
    """The command that starts the embedded AWS; to be run with `embedded_aws_variables()`.

    `forwarded_from` are ports of 127.0.0.1 by which it may be named besides its own. `docker_host` is
    the container engine that its ECS runs tasks on (`unix:///…`), and `task_logs` the folder of their
    log files.

    When it serves, it prints one JSON line (see `deploy/local/embedded_aws/__main__.py`). It ends with
    the process that calls this. The process must be started from the main thread: the kernel ties a
    child's life to the thread that made it.
    """
    command = [str(python), "-m", "deploy.local.embedded_aws", "--state", str(state)]
    command += ["--port", str(port), "--region", region, "--parent", str(os.getpid())]
    if services:
        command += ["--services", ",".join(services)]
    for forwarding in forwarded_from:
        command += ["--forwarded-from", str(forwarding)]
    if docker_host:
        command += ["--docker-host", docker_host]
    if task_logs:
        command += ["--task-logs", str(task_logs)]
    return command


def embedded_aws_variables(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment variables for `embedded_aws_command`: nothing of the caller's Python leaks in."""
    variables = os.environ if variables is None else variables
    kept = {
        name: value for name, value in variables.items() if not name.startswith(("PEX_", "PYTHON"))
    }
    return kept | {"PYTHONPATH": str(REPOSITORY_ROOT), "PYTHONUNBUFFERED": "1"}


def _cache_folder(variables: Mapping[str, str]) -> Path:
    if base := variables.get("XDG_CACHE_HOME"):
        return Path(base) / "lyceum" / "embedded_aws"
    try:
        home = Path(variables.get("HOME") or Path.home())
    except RuntimeError as error:  # nor does the system know one of this user
        raise EnvironmentBuildError(
            "there is no folder to keep the embedded AWS's environment in: HOME is not set;"
            " XDG_CACHE_HOME names one"
        ) from error
    return home / ".cache" / "lyceum" / "embedded_aws"


def _identity(lock: Path) -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    content = f"{sys.implementation.name} {version} {sys.platform}\n".encode() + lock.read_bytes()
    return hashlib.sha256(content).hexdigest()[:32]


def _build(environment: Path, lock: Path, interpreter: str, variables: Mapping[str, str]) -> None:
    """Make the environment beside its place and move it there, so that it is never there in part."""
    draft = environment.with_suffix(".draft")
    for remains in (environment, draft):  # its interpreter is gone; its builder was killed
        shutil.rmtree(remains, ignore_errors=True)
    try:
        _uv(["venv", "--relocatable", "--python", interpreter, str(draft)], variables)
        _uv(
            [
                *("pip", "install", "--python", str(draft / "bin" / "python")),
                *("--require-hashes", "--compile-bytecode", "--requirement", str(lock)),
            ],
            variables,
        )
        draft.rename(environment)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _uv(arguments: list[str], variables: Mapping[str, str]) -> None:
    environment = dict(variables)
    for pip_name, uv_name in _PIP_TO_UV.items():
        if pip_name in variables:
            environment.setdefault(uv_name, variables[pip_name])
    try:
        command = [uv.find_uv_bin(), "--no-python-downloads", "--no-progress", *arguments]
        finished = subprocess.run(
            command,  # noqa: S603 - uv, with arguments of our own
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except (FileNotFoundError, PermissionError) as error:
        reason = " ".join(str(error).split())
        raise EnvironmentBuildError(
            f"uv, which makes the embedded AWS's environment, cannot be run: {reason}"
        ) from error
    if finished.returncode == 0:
        return
    if any(sign in finished.stderr for sign in _UNREACHABLE):
        raise EnvironmentBuildError(
            "the package index is out of reach: the embedded AWS's environment is installed once from"
            f" {LOCK.name}; connect, or name an index to uv (UV_DEFAULT_INDEX), and try again"
        )
    reason = " ".join(finished.stderr.split())
    raise EnvironmentBuildError(f"the embedded AWS's environment could not be made: {reason}")
