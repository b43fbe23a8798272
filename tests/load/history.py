"""What clients wrote and what became of it: was an acknowledged update lost, was one invented?

Owns the judgement alone: no sockets, no clocks. Progress is a join-semilattice, so what is read back
must hold at least the join of everything acknowledged, and nothing but what was sent. An update
whose answer never came, or was a 5xx, may be in it or not.

Every update of a history must have moments of its own: a document does not say which device a fact
is from, and equal moments would be told apart by the device alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

from services.progress_tracking.domain.progress import (
    ContentProgress,
    CourseProgress,
    CourseSummary,
    Position,
    ProgressUpdate,
    ResumePoint,
    changes,
    join,
    same_record,
)

_NOBODY = ""


class Outcome(Enum):
    """What the client knows of an update that it sent."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """A 4xx: it must not be recorded."""
    UNKNOWN = "unknown"
    """No answer, or one that does not say: it may be recorded."""


@dataclass
class Entry:
    """One update as one device sent it; `answer` is the state in the answer that acknowledged it,
    None where that showed none."""

    update: ProgressUpdate
    outcome: Outcome = Outcome.UNKNOWN
    answer: CourseProgress | None = None


class History:
    """Everything that was sent to one course of one user.

    A device sends its next update when it has its answer: what it has seen must not go away again.
    """

    def __init__(self, course_id: str) -> None:
        self.course_id = course_id
        self.entries: list[Entry] = []

    def sending(self, update: ProgressUpdate) -> Entry:
        """Note an update before it is sent; its outcome is unknown until it is set."""
        entry = Entry(update)
        self.entries.append(entry)
        return entry

    def count(self, outcome: Outcome) -> int:
        """How many updates ended so."""
        return sum(entry.outcome is outcome for entry in self.entries)

    def problems(self, final: CourseProgress | None) -> list[str]:
        """Everything that must not be, one line each; `final` is what is read back at the end."""
        found = [
            f"the answer to {_name(entry)} does not hold it"
            for entry in self._acknowledged()
            if entry.answer is not None and not _holds(entry.answer, self._state(entry))
        ]
        found += self._backward_steps()
        found += [
            f"lost: {_name(entry)} was acknowledged and is not in what is read"
            for entry in self._acknowledged()
            if not _holds(final, self._state(entry))
        ]
        if final is not None:
            sent: set[tuple[object, ...]] = set()
            for entry in self.entries:
                if entry.outcome is not Outcome.REFUSED:
                    sent |= _facts(self._state(entry))
            found += [f"invented: nobody sent {fact}" for fact in _facts(final) - sent]
        return found

    def _acknowledged(self) -> Iterator[Entry]:
        return (entry for entry in self.entries if entry.outcome is Outcome.ACKNOWLEDGED)

    def _backward_steps(self) -> list[str]:
        found = []
        seen: dict[str, CourseProgress] = {}
        for entry in self._acknowledged():
            device = entry.update.device_id
            if entry.answer is None:
                continue
            if device in seen and not _holds(entry.answer, seen[device]):
                found.append(
                    f"backwards: the answer to {_name(entry)} misses what was there before"
                )
            seen[device] = entry.answer
        return found

    def _state(self, entry: Entry) -> CourseProgress:
        anonymous = replace(entry.update, device_id=_NOBODY)
        at = entry.update.occurred_at
        return changes(anonymous, course_id=self.course_id, attempt=1, at=at)


def progress_of(document: Mapping[str, Any]) -> CourseProgress:
    """The state that an answer of `GET` or `PUT /progress/{userId}/{courseId}` shows.

    Without `completedAt` of the course: that is judged by an outline, nobody sends it.
    """
    completions: dict[str, datetime] = {}
    contents: dict[str, ContentProgress] = {}
    for content_id, item in document["items"].items():
        if item["completedAt"] is not None:
            completions[content_id] = _moment(item["completedAt"])
        position = None
        if item["positionSeconds"] is not None:
            position = Position(
                _moment(item["occurredAt"]), _NOBODY, float(item["positionSeconds"])
            )
        content = ContentProgress(
            None if item["fraction"] is None else float(item["fraction"]), position
        )
        if content != ContentProgress():
            contents[content_id] = content
    resume = document["resume"]
    started_at = document["startedAt"]
    summary = CourseSummary(
        course_id=document["courseId"],
        attempt=document["attempt"],
        started_at=None if started_at is None else _moment(started_at),
        completed_at=None,
        completions=completions,
        resume=None
        if resume is None
        else ResumePoint(
            _moment(resume["occurredAt"]),
            _NOBODY,
            resume["contentId"],
            float(resume["positionSeconds"]),
        ),
        updated_at=_moment(document["updatedAt"]),
    )
    return CourseProgress(summary, contents)


def _holds(state: CourseProgress | None, part: CourseProgress) -> bool:
    """Whether `state` is at least `part` in the order of the semilattice."""
    return state is not None and same_record(join(state, part), state)


def _facts(state: CourseProgress) -> set[tuple[object, ...]]:
    """The state taken apart into what one update each must have brought."""
    summary = state.summary
    facts: set[tuple[object, ...]] = {
        ("attempt", summary.attempt),
        ("started", summary.started_at),
    }
    facts |= {("completed", *completion) for completion in summary.completions.items()}
    if summary.resume is not None:
        facts.add(("resume", summary.resume))
    for content_id, content in state.contents.items():
        if content.fraction is not None:
            facts.add(("fraction", content_id, content.fraction))
        if content.position is not None:
            facts.add(("position", content_id, content.position))
    return facts


def _name(entry: Entry) -> str:
    return f"the update of {entry.update.device_id} at {entry.update.occurred_at:%H:%M:%S.%f}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
