"""The platform's state folder: whose it is, who runs on it, and what other commands find there.

::

    .lyceum/                 mode 0700
      lock                   held while the platform runs
      platform.json          what `--json` prints, while the platform runs; mode 0600
      session.json           what `token` needs, while the platform runs; mode 0600
      secrets.json           the keys that sign cursors; mode 0600
      durations.json         how long each step of the start took (see _durations.py)
      demo-users.json        the demo users' passwords (see _provision.py)
      samples                digest of the sample courses that were loaded
      headers/               a file a demo user, for `curl -H @FILE`: the Authorization header
      containers.json        the engine that containers run in, until none is left
      operator.env           who may release and lead traffic, while it runs; mode 0600
      migration.env          who may migrate, while it runs with a monolith; mode 0600
      gateway.json           what the gateway routes where (see _gateway/_configuration.py)
      control-plane.json     which stages it follows, while it runs (see _gateway/_control_plane.py); mode 0600
      aws/                   all that the embedded AWS keeps (see embedded_aws/_state.py)
      logs/                  a file a process; the last run's end in .1
      traces/                the last traces (see _traces/_log.py); they stay after a stop
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

DEFAULT_FOLDER = Path(".lyceum")

_OURS = frozenset(
    {
        "aws",
        "containers.json",
        "control-plane.json",
        "demo-users.json",
        "durations.json",
        "gateway.json",
        "headers",
        "lock",
        "logs",
        "migration.env",
        "operator.env",
        "platform.json",
        "samples",
        "secrets.json",
        "session.json",
        "traces",
    }
)


_LAST_RUN_STOPS_WITHIN_SECONDS = 30.0


class StateError(Exception):
    """The state folder can not be used; one line says why."""


@dataclass(frozen=True)
class StateFolder:
    """The paths of one state folder."""

    root: Path

    @property
    def id(self) -> str:
        """What the embedded AWS labels its containers with: always the same for one folder."""
        return hashlib.sha256(str(self.aws.resolve()).encode()).hexdigest()[:16]

    @property
    def aws(self) -> Path:
        return self.root / "aws"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def traces(self) -> Path:
        return self.root / "traces"

    @property
    def gateway(self) -> Path:
        return self.root / "gateway.json"

    @property
    def control_plane(self) -> Path:
        return self.root / "control-plane.json"

    @property
    def platform(self) -> Path:
        return self.root / "platform.json"

    @property
    def session(self) -> Path:
        return self.root / "session.json"

    @property
    def containers(self) -> Path:
        return self.root / "containers.json"

    @property
    def durations(self) -> Path:
        return self.root / "durations.json"

    @property
    def operator(self) -> Path:
        return self.root / "operator.env"

    @property
    def migration(self) -> Path:
        return self.root / "migration.env"

    @property
    def samples(self) -> Path:
        return self.root / "samples"

    def header_file(self, user: str) -> Path:
        """The file of the user's Authorization header."""
        return self.root / "headers" / user

    def write_header(self, user: str, token: str) -> None:
        """Keeps a token where curl can take it from (``-H @FILE``)."""
        _write(self.header_file(user), f"Authorization: Bearer {token}\n")

    def write_operator(self, variables: Mapping[str, str]) -> None:
        """Keeps the operator's variables, a line each, as a shell and `deploy/release` read them."""
        _write(self.operator, "".join(f"{name}={value}\n" for name, value in variables.items()))

    def write_migration(self, variables: Mapping[str, str]) -> None:
        """Keeps the variables of who migrates, as `deploy/migration` reads them."""
        _write(self.migration, "".join(f"{name}={value}\n" for name, value in variables.items()))

    def claim(self) -> Claim:
        """Makes the folder and takes it for this process.

        Raises:
            StateError: another platform runs on it, or it is a folder of something else.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            foreign = self._foreign()
            if foreign:
                raise StateError(
                    f"{self.root} holds what is not ours ({foreign[0]}); --state names another folder"
                )
            self.root.chmod(0o700)
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(f"{self.root} can not be used: {error.strerror}") from error
        try:
            self._lock(descriptor)
        except StateError:
            os.close(descriptor)
            raise
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:  # a full disk
            os.close(descriptor)
            raise OSError(error.errno, error.strerror, str(self.root / "lock")) from error
        return Claim(self, descriptor)

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + _LAST_RUN_STOPS_WITHIN_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
                # The embedded AWS holds the lock too: where its platform was killed, it is still
                # writing its state, and will be done in a moment.
                if not holder.isdecimal() or _is_alive(int(holder)):
                    raise StateError(
                        f"the platform runs already on {self.root} (process {holder or 'starting'})"
                    ) from None
                if time.monotonic() > deadline:
                    raise StateError(
                        f"the last run on {self.root} was killed and has not ended yet"
                    ) from None
                time.sleep(0.05)
            else:
                return

    def is_in_use(self) -> bool:
        """Whether a platform runs on it now."""
        try:
            with (self.root / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def _foreign(self) -> list[str]:
        # `.draft` and `.new`: a file that was being written when the last run was killed.
        return sorted(
            entry.name
            for entry in self.root.iterdir()
            if entry.name not in _OURS and entry.suffix not in {".draft", ".new"}
        )


class Claim:
    """A state folder that this process has for itself; a context manager that gives it back."""

    def __init__(self, folder: StateFolder, descriptor: int) -> None:
        self._folder = folder
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """What holds the lock, also in a process that inherits it."""
        return self._descriptor

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._forget_what_runs()
        os.close(self._descriptor)

    def clear(self) -> None:
        """Empties the folder (``--fresh``), but for what is needed to end what a killed run left."""
        for name in _OURS - {"lock", "containers.json"}:
            path = self._folder.root / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def prepare(self) -> None:
        """Makes the folders, and removes what only a running platform has."""
        for name in ("aws", "headers", "logs", "traces"):
            (self._folder.root / name).mkdir(mode=0o700, exist_ok=True)
        self._forget_what_runs()

    def _forget_what_runs(self) -> None:
        folder = self._folder
        for path in (
            folder.platform,
            folder.session,
            folder.operator,
            folder.migration,
            folder.control_plane,
        ):
            path.unlink(missing_ok=True)

    def cursor_secret(
        self, service: str, *, new: Callable[[], str] = lambda: secrets.token_urlsafe(48)
    ) -> str:
        """The key that signs a service's cursors, made at the first time: cursors survive a stop."""
        path = self._folder.root / "secrets.json"
        known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        if service not in known:
            known[service] = new()
            write_private(path, known)
        return known[service]


def write_private(path: Path, content: Mapping[str, object]) -> None:
    """Writes one line of JSON that only its owner can read, whole or not at all."""
    _write(path, json.dumps(content) + "\n")


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".draft")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        # Where it was written to it is known by a number alone.
        raise OSError(error.errno, error.strerror, str(path)) from error


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
