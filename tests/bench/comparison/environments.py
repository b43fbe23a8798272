"""Where the peers live: an environment of Python and one of Node, made once from their locks.

Owns making them and keeping them in the user's cache. Where packages come from is the machine's
business. What cannot be made is missing on this machine, which is no error: the report names it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uv

ROOT = Path(__file__).parents[3]
PEERS = ROOT / "tests" / "bench" / "peers"
_PYTHON_LOCK = ROOT / "3rdparty" / "python" / "bench_peers.lock"
_BUILD_SECONDS = 300.0
# What a machine says to pip about its package index holds for uv too, unless it says so to uv itself.
_PIP_TO_UV = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}


class MissingPeerError(Exception):
    """A contestant cannot run on this machine; one line says why."""


def python_of_peers() -> Path:
    """The interpreter that has FastAPI, uvicorn and aioboto3. Raises MissingPeerError."""
    version = ".".join(map(str, sys.version_info[:3]))

    def build(draft: Path) -> None:
        environment = dict(os.environ)
        for pip_name, uv_name in _PIP_TO_UV.items():
            if pip_name in environment:
                environment.setdefault(uv_name, environment[pip_name])
        command = [uv.find_uv_bin(), "--no-python-downloads", "--no-progress"]
        python = str(draft / "bin" / "python")
        _run(
            [*command, "venv", "--relocatable", "--python", sys.executable, str(draft)],
            environment=environment,
        )
        _run(
            [
                *(*command, "pip", "install", "--python", python),
                *("--require-hashes", "--compile-bytecode", "--requirement", str(_PYTHON_LOCK)),
            ],
            environment=environment,
        )

    return _kept("python", version.encode() + _PYTHON_LOCK.read_bytes(), build) / "bin" / "python"


def program_of_fastify() -> tuple[str, Path]:
    """Node, and the program beside its packages. Raises MissingPeerError."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise MissingPeerError("Node.js with npm is not on this machine")
    source = PEERS / "fastify"
    files = ("package.json", "package-lock.json")

    def build(draft: Path) -> None:
        draft.mkdir()
        for name in files:
            shutil.copy(source / name, draft / name)
        _run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            environment=os.environ,
            folder=draft,
        )

    content = b"".join((source / name).read_bytes() for name in files)
    folder = _kept("node", content, build)
    shutil.copy(source / "server.mjs", folder / "server.mjs")
    return node, folder / "server.mjs"


def _kept(kind: str, content: bytes, build: Callable[[Path], None]) -> Path:
    """The folder that was built from `content`, at the first time by `build`, beside its place, so
    that it is never there in part."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = (
        Path(base) / "lyceum" / "bench_peers" / f"{kind}-{hashlib.sha256(content).hexdigest()[:24]}"
    )
    if folder.exists():
        return folder
    draft = folder.with_suffix(f".{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        build(draft)
        draft.rename(folder)
    except OSError as error:
        raise MissingPeerError(f"its environment could not be made: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _run(
    command: Sequence[str], *, environment: Mapping[str, str], folder: Path | None = None
) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_BUILD_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingPeerError(
            f"its packages could not be installed: {type(error).__name__}"
        ) from error
    if done.returncode:
        # What a package client says last is its reason; addresses are the machine's business.
        lines = [line for line in done.stderr.splitlines() if line.strip() and "://" not in line]
        raise MissingPeerError(f"its packages could not be installed: {' '.join(lines[-1:])[:200]}")
