"""Updates for tests: one maker with short defaults, and Hypothesis strategies that collide often.

The strategies draw from few moments, devices, contents and values, so that ties, repetitions and
late arrivals are the rule and not the exception.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce

from hypothesis import strategies as st

from services.progress_tracking.domain.outline import Outline, OutlineItem, settle
from services.progress_tracking.domain.progress import (
    CourseProgress,
    ItemUpdate,
    ProgressUpdate,
    changes,
    join,
)

START = datetime(2026, 2, 1, 9, tzinfo=UTC)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONTENTS = ("intro", "tides", "quiz")
DEVICES = ("laptop", "phone")
OUTLINE = Outline(
    "crs-1",
    3,
    (
        OutlineItem("intro", required=True, weight=1.0),
        OutlineItem("tides", required=True, weight=2.0),
        OutlineItem("extra", required=False, weight=5.0),
    ),
)


def minutes(count: float) -> datetime:
    """So many minutes after `START`."""
    return START + timedelta(minutes=count)


def heartbeat(
    minute: float,
    content_id: str,
    position: float,
    *,
    device: str = "phone",
    attempt: int | None = None,
) -> ProgressUpdate:
    """An update of the resume point alone."""
    return ProgressUpdate(
        occurred_at=minutes(minute),
        device_id=device,
        attempt=attempt,
        resume_content_id=content_id,
        resume_position_seconds=position,
    )


def completing(
    minute: float, *content_ids: str, device: str = "phone", attempt: int | None = None
) -> ProgressUpdate:
    """An update that completes contents and says nothing else."""
    return ProgressUpdate(
        occurred_at=minutes(minute),
        device_id=device,
        attempt=attempt,
        items=tuple(
            ItemUpdate(content_id, minutes(minute), completed=True) for content_id in content_ids
        ),
    )


def merged(
    updates: list[ProgressUpdate], *, course_id: str, outline: Outline | None
) -> CourseProgress:
    """What all the updates of the first attempt come to: the reference for every order."""
    states = [changes(update, course_id=course_id, attempt=1, at=NOW) for update in updates]
    progress = reduce(join, states)
    return CourseProgress(settle(progress.summary, outline), progress.contents)


_moments = st.sampled_from([minutes(count) for count in (0, 1, 1.00001, 2, 60)])
_positions = st.sampled_from([0.0, 1.5, 20.0, 20.0005, 604_800.0])
_items = st.builds(
    ItemUpdate,
    content_id=st.sampled_from(CONTENTS),
    occurred_at=_moments,
    completed=st.booleans(),
    fraction=st.none() | st.sampled_from([0.0, 0.25, 1 / 3, 1.0]),
    position_seconds=st.none() | _positions,
)


def _update(
    occurred_at: datetime,
    device_id: str,
    attempt: int | None,
    resume: tuple[str, float] | None,
    items: list[ItemUpdate],
) -> ProgressUpdate:
    return ProgressUpdate(
        occurred_at=occurred_at,
        device_id=device_id,
        attempt=attempt,
        resume_content_id=None if resume is None else resume[0],
        resume_position_seconds=0.0 if resume is None else resume[1],
        items=tuple(items),
    )


progress_updates = st.builds(
    _update,
    occurred_at=_moments,
    device_id=st.sampled_from(DEVICES),
    attempt=st.sampled_from([None, 1]),
    resume=st.none() | st.tuples(st.sampled_from(CONTENTS), _positions),
    items=st.lists(_items, max_size=3, unique_by=lambda item: item.content_id),
)
