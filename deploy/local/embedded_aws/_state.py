"""The state folder: who may read it, who uses it, and how the last run of it ended.

Knows files and nothing of AWS. Everything in the folder is private to its owner.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path


class PreviousStop(StrEnum):
    """How the run before this one ended."""

    NONE = "none"  # there was none: the folder is new
    CLEAN = "clean"  # all of its state was written
    UNCLEAN = "unclean"  # what it did after its own start is lost, but for the bytes of objects


class StateInUseError(Exception):
    """Another process runs on this state folder."""


@dataclass(frozen=True)
class StateFolder:
    """Paths of one state folder."""

    root: Path

    @property
    def services(self) -> Path:
        """What MiniStack writes at a stop and reads at a start, a file a service."""
        return self.root / "services"

    @property
    def objects(self) -> Path:
        """The bytes of S3 objects."""
        return self.root / "objects"

    @property
    def temporary(self) -> Path:
        return self.root / "temporary"

    @property
    def administrator(self) -> Path:
        """The administrator's credentials, as JSON `{"accessKeyId", "secretAccessKey"}`."""
        return self.root / "administrator.json"

    @property
    def _running(self) -> Path:
        return self.root / "running"

    @property
    def _stopped(self) -> Path:
        return self.root / "stopped.json"

    def create(self) -> None:
        """Make the folders, readable by their owner alone, also where the root was there before."""
        for folder in (self.root, self.services, self.objects, self.temporary):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Hold the folder for this process; raises StateInUseError where another one holds it."""
        with open(self.root / "lock", "w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateInUseError(str(self.root)) from None
            yield

    def previous_stop(self) -> tuple[PreviousStop, datetime | None]:
        """How the last run ended, and of when the state is that the next one starts with."""
        stopped_at = None
        with contextlib.suppress(FileNotFoundError):
            stopped = json.loads(self._stopped.read_text(encoding="utf-8"))
            stopped_at = datetime.fromisoformat(stopped["stoppedAt"])
        if self._running.exists():
            return PreviousStop.UNCLEAN, stopped_at
        return (PreviousStop.CLEAN if stopped_at else PreviousStop.NONE), stopped_at

    def mark_running(self) -> None:
        """From here on, an end without `mark_stopped` is an unclean one."""
        self._running.write_text(f"{os.getpid()}\n", encoding="ascii")

    def mark_stopped(self, now: datetime) -> None:
        """Everything is written: the next start begins with the state of `now`."""
        write_private(self._stopped, {"stoppedAt": now.astimezone(UTC).isoformat()})
        self._running.unlink(missing_ok=True)


def platform_id(root: Path) -> str:
    """What the containers of a state folder are labelled with: always the same for one folder."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]


def write_private(path: Path, content: dict[str, str]) -> None:
    """Write JSON that only its owner can read, whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
