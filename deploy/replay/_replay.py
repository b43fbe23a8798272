"""The replay itself: which courses, in which order, sent how, and from where it goes on.

Owns the order (by course id) and the checkpoint. Sending one outline twice does nothing, so the
checkpoint may lag behind what was sent, and never runs ahead of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from deploy.replay._catalog import CatalogError, Page
from deploy.replay._events import NotACourseError, outline_event

# A draft's outline is its author's alone; an archived course goes on for who is in the middle of it.
STATUSES = ("published", "archived")

_AT_ONCE = 8
_STEP = 40  # courses between two checkpoints
_MOST_PER_BATCH = 10
# SQS's old limit for a whole batch: more than is needed, and good for every queue there is.
_LARGEST_BATCH = 256 * 1024
_SEND_ATTEMPTS = 5


class Courses(Protocol):
    """The catalog's API."""

    async def page(self, *, status: str, updated_since: str | None, cursor: str | None) -> Page:
        """A page of ids."""

    async def course(self, course_id: str) -> Mapping[str, Any] | None:
        """A course; None where it is there no more."""


class Sender(Protocol):
    """The queue."""

    async def send(self, bodies: Sequence[str]) -> Sequence[int]:
        """Send up to 10 messages; the places of those that were not taken."""


class SendError(Exception):
    """The queue does not take messages."""


@dataclass
class Report:
    """What was done. `failed`: courses by id, with the reason."""

    courses: int = 0
    skipped: int = 0
    sent: int = 0
    gone: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """As `--json` prints it."""
        return vars(self)


class Checkpoint:
    """How far a replay came, in a file; without a path it is kept nowhere."""

    def __init__(self, path: Path | None, scope: Mapping[str, str | None]) -> None:
        """`scope`: what the replay is of; the checkpoint of another one counts for nothing."""
        self._path = path
        self._scope = dict(scope)

    def read(self) -> str | None:
        """The course id up to which all was sent."""
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8")) if self._path else {}
        except (OSError, ValueError):
            return None
        if not isinstance(kept, dict) or kept.get("scope") != self._scope:
            return None
        after = kept.get("after")
        return after if isinstance(after, str) else None

    def write(self, after: str) -> None:
        """All courses up to this one were sent."""
        if self._path is not None:
            draft = self._path.with_name(f"{self._path.name}.draft")
            draft.write_text(json.dumps({"scope": self._scope, "after": after}), encoding="utf-8")
            draft.replace(self._path)

    def remove(self) -> None:
        """The replay is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


class Replay:
    """Reads every outline that learners see and sends it as an event."""

    def __init__(
        self,
        courses: Courses,
        sender: Sender | None,
        checkpoint: Checkpoint,
        *,
        updated_since: str | None,
        tell: Callable[[int, int], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`sender` None sends nothing. `tell` hears how many of how many courses are done."""
        self._courses = courses
        self._sender = sender
        self._checkpoint = checkpoint
        self._updated_since = updated_since
        self._tell = tell
        self._sleep = sleep
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> Report:
        """Replay. Raises CatalogError where the courses can't be listed, SendError."""
        report = Report()
        course_ids = sorted(await self._list())
        report.courses = len(course_ids)
        after = self._checkpoint.read()
        left = [course_id for course_id in course_ids if after is None or course_id > after]
        report.skipped = len(course_ids) - len(left)
        self._tell(report.skipped, report.courses)
        for start in range(0, len(left), _STEP):
            step = left[start : start + _STEP]
            bodies = await asyncio.gather(*(self._event(one, report) for one in step))
            await self._send([body for body in bodies if body is not None], report)
            # Not past a course that failed: the next run has to try it again.
            if self._sender is not None and not report.failed:
                self._checkpoint.write(step[-1])
            self._tell(report.skipped + start + len(step), report.courses)
        if self._sender is not None and not report.failed:
            self._checkpoint.remove()
        return report

    async def _list(self) -> set[str]:
        found: set[str] = set()
        for status in STATUSES:
            cursor: str | None = None
            while True:
                page = await self._courses.page(
                    status=status, updated_since=self._updated_since, cursor=cursor
                )
                found.update(page.course_ids)
                if page.cursor is None:
                    break
                cursor = page.cursor
        return found

    async def _event(self, course_id: str, report: Report) -> str | None:
        async with self._turns:
            try:
                course = await self._courses.course(course_id)
                if course is None:
                    report.gone += 1
                    return None
                return outline_event(course)
            except (CatalogError, NotACourseError) as error:
                report.failed[course_id] = str(error)
                return None

    async def _send(self, bodies: Sequence[str], report: Report) -> None:
        if self._sender is None:
            return
        for batch in _batches(bodies):
            waiting = list(batch)
            for attempt in range(_SEND_ATTEMPTS):
                if attempt:
                    await self._sleep(0.5 * 2.0**attempt)
                refused = await self._sender.send(waiting)
                report.sent += len(waiting) - len(refused)
                waiting = [waiting[place] for place in refused]
                if not waiting:
                    break
            else:
                raise SendError("the queue does not take all messages")


def _batches(bodies: Sequence[str]) -> Iterator[Sequence[str]]:
    batch: list[str] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if batch and (len(batch) == _MOST_PER_BATCH or size + length > _LARGEST_BATCH):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch
