"""What progress tracking asks of its store.

Implementations lie in `storage` and pass one suite, tests/contract/progress_tracking. Recording is
not a transaction: an error in the middle leaves a part recorded, and repeating the same call, as a
client does, records the rest. Nothing is ever taken back by it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.progress_tracking.domain.outline import Outline
from services.progress_tracking.domain.progress import (
    CourseProgress,
    CourseSummary,
    ProgressUpdate,
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The state after an update; `created` when the update began the course."""

    progress: CourseProgress
    created: bool


@dataclass(frozen=True, slots=True)
class SummaryPage:
    """Summaries ordered by course id; `more` when there are further ones."""

    summaries: tuple[CourseSummary, ...]
    more: bool


class ProgressRepository(Protocol):
    """Progress by user and course, and the outlines that were learnt."""

    async def read(self, user_id: str, course_id: str) -> CourseProgress | None:
        """The current attempt, None where the user never started the course.

        A write that was acknowledged before the call is seen.
        """

    async def record(
        self,
        user_id: str,
        course_id: str,
        update: ProgressUpdate,
        *,
        outline: Outline | None,
        at: datetime,
    ) -> Recorded:
        """Join the update to what is there and give the result.

        An update that adds nothing, or belongs to an earlier attempt, writes nothing. `outline`
        decides whether the course is complete now. Of concurrent first updates exactly one is
        told `created`; none, where the answer to that one's write was lost. Raises AttemptNotStartedError, TooManyContentsError.
        """

    async def keep_completion(
        self, user_id: str, summary: CourseSummary, *, at: datetime
    ) -> CourseSummary:
        """Keep `summary.completed_at`, which `settle` found for what is stored, and give the
        summary with what is kept then.

        Changes nothing where an earlier completion is kept, or the attempt is over.
        """

    async def start_attempt(
        self, user_id: str, course_id: str, *, following: int, at: datetime
    ) -> CourseProgress | None:
        """Begin the attempt after `following` and give the current state.

        When `following` is not the current attempt the next one has been begun already (or never
        could be): nothing changes. None where the user never started the course.
        """

    async def list_summaries(self, user_id: str, *, after: str | None, limit: int) -> SummaryPage:
        """Up to `limit` (1 to 100) of the user's courses whose id follows `after`.

        A page may be shorter although `more` is set, but is never empty then.
        """

    async def read_outlines(self, course_ids: Collection[str]) -> Mapping[str, Outline]:
        """The outlines that are known of these courses. May lag behind `learn_outline` a little."""

    async def learn_outline(self, outline: Outline) -> bool:
        """Keep the outline unless this or a later version is known. Whether it was kept."""
