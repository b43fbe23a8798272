"""What a course consists of, as far as progress must know, and where a learner stands in it.

Owns percent, completeness and status. They are computed when read, from what was recorded and the
outline that is known at that moment; nothing here is stored except the outline itself. It does not
know how outlines reach this service.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from services.progress_tracking.domain.progress import CourseSummary


class Status(enum.Enum):
    """A learner's status in a course; the values are those of the API."""

    NOT_STARTED = "not_started"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class OutlineItem:
    """One published content of a course. `weight` is finite and not negative."""

    content_id: str
    required: bool
    weight: float


# Without slots: what is worked out of an outline is kept with it.
@dataclass(frozen=True)
class Outline:
    """The published contents of a course at one version of its outline."""

    course_id: str
    version: int
    items: tuple[OutlineItem, ...]

    @cached_property
    def counted(self) -> Mapping[str, int]:
        """The contents that make up the course, each with its weight as a whole number of parts.

        These are the required ones. A course that requires nothing consists of all it offers:
        otherwise it would be complete before it was begun. A content that stands in the outline
        twice counts once. Where every weight is zero the contents weigh the same. Worked out once:
        every learner of a course is judged by the same outline.
        """
        required = [item for item in self.items if item.required] or list(self.items)
        # Through text: 0.1 means a tenth here, not the binary number next to it, so that seven
        # tenths of the weight are 70 per cent and not 69.
        weights = {item.content_id: Fraction(repr(item.weight)) for item in required}
        if not any(weights.values()):
            return dict.fromkeys(weights, 1)
        parts = math.lcm(*(weight.denominator for weight in weights.values()))
        return {content_id: int(weight * parts) for content_id, weight in weights.items()}

    @cached_property
    def total(self) -> int:
        """The weights of all counted contents together, in the same parts."""
        return sum(self.counted.values())

    def completed_at(self, completions: Mapping[str, datetime]) -> datetime | None:
        """The moment at which the last content of the course was completed, None before."""
        counted = self.counted
        if not counted or not counted.keys() <= completions.keys():
            return None
        return max(completions[content_id] for content_id in counted)


class Standing(NamedTuple):
    """Where a learner stands. What needs the outline is None while it is unknown.

    `completed_count` counts contents of the outline, or all completed ones while it is unknown.
    `new_items_since_completion` is None until the course was completed. Then it counts the contents
    of the course that were not completed at that moment: all that counted then was, so these were
    added since, and remain so when the learner completes them too.
    """

    status: Status
    percent: int | None
    completed_count: int
    total_count: int | None
    outline_version: int | None
    new_items_since_completion: int | None


def settle(summary: CourseSummary, outline: Outline | None) -> CourseSummary:
    """The summary with `completed_at` as this outline makes it.

    It is only ever set or moved to an earlier moment, so that it is sticky when authors add to
    the course, and the same whatever order the completions arrived in.
    """
    moment = None if outline is None else outline.completed_at(summary.completions)
    if moment is None or (summary.completed_at is not None and summary.completed_at <= moment):
        return summary
    return replace(summary, completed_at=moment)


def standing(summary: CourseSummary, outline: Outline | None) -> Standing:
    """Where the learner of `summary` stands in a course of this outline."""
    return standing_of_settled(settle(summary, outline), outline)


def standing_of_settled(settled: CourseSummary, outline: Outline | None) -> Standing:
    """`standing` of a summary that `settle` has given for this outline."""
    status = _status(settled)
    if outline is None:
        return Standing(
            status=status,
            percent=None,
            completed_count=len(settled.completions),
            total_count=None,
            outline_version=None,
            new_items_since_completion=None,
        )
    counted = outline.counted
    done = counted.keys() & settled.completions.keys()
    return Standing(
        status=status,
        percent=_percent(outline, done),
        completed_count=len(done),
        total_count=len(counted),
        outline_version=outline.version,
        new_items_since_completion=_added_since_completion(counted, settled),
    )


def _status(summary: CourseSummary) -> Status:
    if summary.completed_at is not None:
        return Status.COMPLETED
    return Status.NOT_STARTED if summary.started_at is None else Status.IN_PROGRESS


def _added_since_completion(counted: Collection[str], summary: CourseSummary) -> int | None:
    """See `Standing`. Nothing is stored for it: it follows from moments that merge, so it is the
    same whatever order updates arrived in."""
    completed_at = summary.completed_at
    if completed_at is None:
        return None
    moments = map(summary.completions.get, counted)
    return sum(1 for moment in moments if moment is None or moment > completed_at)


def _percent(outline: Outline, done: Collection[str]) -> int:
    """The share by weight, rounded down; 100 only when nothing is missing."""
    counted = outline.counted
    if not counted:
        return 0
    if len(done) == len(counted):
        return 100
    share = sum(map(counted.__getitem__, done))
    # Contents of no weight can be all that is missing.
    return min(100 * share // outline.total, 99)
