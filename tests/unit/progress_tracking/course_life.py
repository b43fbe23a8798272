"""The life of one course for tests: authors change it, devices record in it, learners start anew.

`CourseLife` does each step twice, with the real use cases over any repository and with a small
model of its own, and checks after each step what must hold whatever happened. The model knows no
merge and no rows: it keeps what was completed when, and counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import TypeAlias

from hypothesis import strategies as st

from services.progress_tracking.domain.errors import AttemptNotStartedError
from services.progress_tracking.domain.outline import Outline, OutlineItem, Status
from services.progress_tracking.domain.outlines import KnownOutlines
from services.progress_tracking.domain.progress import CourseProgress, ProgressUpdate
from services.progress_tracking.domain.repository import ProgressRepository
from services.progress_tracking.domain.tracking import (
    BatchEntry,
    CourseFilter,
    CourseView,
    ProgressTracking,
    RecordedView,
)
from tests.unit.progress_tracking.updates import CONTENTS, NOW, completing, progress_updates

COURSE = "crs-1"
SECONDS = 60.0


def tracking_on(repository: ProgressRepository) -> ProgressTracking:
    """The use cases over `repository`, with outlines that are never a moment old."""
    outlines = KnownOutlines(
        repository, maximum_age_seconds=0, maximum_entries=1, monotonic=lambda: 0.0
    )
    return ProgressTracking(repository=repository, outlines=outlines, clock=lambda: NOW)


@dataclass
class _Model:
    outline: Outline | None = None
    attempt: int = 0
    started: bool = False
    completions: dict[str, datetime] = field(default_factory=dict)
    completed_at: datetime | None = None

    def counted(self) -> dict[str, Fraction]:
        items = () if self.outline is None else self.outline.items
        required = {item.content_id: Fraction(item.weight) for item in items if item.required}
        return required or {item.content_id: Fraction(item.weight) for item in items}

    def look(self) -> None:
        """What is seen complete is complete from then on."""
        counted = self.counted()
        if counted and counted.keys() <= self.completions.keys():
            moment = max(self.completions[content_id] for content_id in counted)
            self.completed_at = min(self.completed_at or moment, moment)

    def record(self, update: ProgressUpdate) -> None:
        self.attempt = self.attempt or 1
        if update.attempt not in (None, self.attempt):
            return
        self.started = True
        for item in update.items:
            if item.completed:
                moment = item.occurred_at.replace(
                    microsecond=item.occurred_at.microsecond // 1000 * 1000
                )
                known = self.completions.get(item.content_id, moment)
                self.completions[item.content_id] = min(known, moment)

    def restart(self) -> None:
        self.attempt += 1
        self.started = False
        self.completions = {}
        self.completed_at = None

    def percent(self) -> int | None:
        if self.outline is None:
            return None
        counted = self.counted()
        if counted.keys() <= self.completions.keys():
            return 100 if counted else 0
        weights = counted if any(counted.values()) else dict.fromkeys(counted, Fraction(1))
        done = sum(weights[name] for name in counted if name in self.completions)
        return min(99, int(100 * done / sum(weights.values())))

    def added(self) -> int | None:
        if self.outline is None or self.completed_at is None:
            return None
        then = {name for name, at in self.completions.items() if at <= self.completed_at}
        return len(self.counted().keys() - then)


class CourseLife:
    """One user and one course. Every method is a step; it raises AssertionError where the service
    and the model differ, or where something that must hold does not."""

    def __init__(self, repository: ProgressRepository, user_id: str) -> None:
        self.tracking = tracking_on(repository)
        self._repository = repository
        self._user_id = user_id
        self._model = _Model()
        self._shown: dict[int, datetime] = {}

    async def learn(self, outline: Outline) -> None:
        """The service is told of a version of the outline, in no particular order."""
        await self._repository.learn_outline(outline)
        known = self._model.outline
        if known is None or known.version < outline.version:
            self._model.outline = outline

    async def publish(self, items: Sequence[OutlineItem]) -> None:
        """The author publishes a version, the service is told, and the course is looked at."""
        known = self._model.outline
        version = 1 if known is None else known.version + 1
        await self.learn(Outline(COURSE, version, tuple(items)))
        await self.read()

    async def record(self, update: ProgressUpdate) -> None:
        """A device records something."""
        if update.attempt is not None and update.attempt > max(1, self._model.attempt):
            try:
                await self.tracking.record(self._user_id, COURSE, update)
            except AttemptNotStartedError:
                return
            raise AssertionError("an update began an attempt")
        recorded = await self.tracking.record(self._user_id, COURSE, update)
        assert recorded.created == (self._model.attempt == 0)
        self._model.record(update)
        self._check(recorded.progress.course)

    async def record_batch(self, updates: Sequence[ProgressUpdate]) -> None:
        """A device sends all it kept at once."""
        results = await self.tracking.record_batch(
            self._user_id, [BatchEntry(COURSE, update) for update in updates], seconds=SECONDS
        )
        created = self._model.attempt == 0
        present = max(1, self._model.attempt)
        accepted = [
            update for update in updates if update.attempt is None or update.attempt <= present
        ]
        for update in accepted:
            self._model.record(update)
            # Each of them was judged by the outline when it arrived.
            self._model.look()
        for update, result in zip(updates, results, strict=True):
            if update in accepted:
                assert isinstance(result, RecordedView), result
                assert result.created == created
                self._check(result.progress.course)
            else:
                assert isinstance(result, AttemptNotStartedError)

    async def restart(self, ending: int | None) -> None:
        """The learner starts anew; `ending` as the client believes it."""
        model = self._model
        if ending is not None and model.attempt and ending > model.attempt:
            try:
                await self.tracking.restart(self._user_id, COURSE, ending=ending)
            except AttemptNotStartedError:
                return
            raise AssertionError("an attempt that has not begun was ended")
        view = await self.tracking.restart(self._user_id, COURSE, ending=ending)
        if not model.attempt:
            assert view is None
            return
        if model.started and ending in (None, model.attempt):
            model.restart()
        assert view is not None
        self._check(view.course)

    async def read(self) -> None:
        """The course is looked at."""
        view = await self.tracking.read(self._user_id, COURSE)
        assert (view is None) == (self._model.attempt == 0)
        if view is not None:
            self._check(view.course)

    async def list(self) -> None:
        """The course is looked at in the list."""
        page = await self.tracking.list(self._user_id, chosen=CourseFilter(), after=None, limit=5)
        assert len(page.courses) == (self._model.attempt > 0)
        for view in page.courses:
            self._check(view)

    def _check(self, view: CourseView) -> None:
        self._model.look()
        model, summary, standing = self._model, view.summary, view.standing
        # What the model says.
        assert summary.attempt == model.attempt
        assert dict(summary.completions) == model.completions
        assert summary.completed_at == model.completed_at
        assert standing.percent == model.percent()
        assert standing.new_items_since_completion == model.added()
        # What holds whatever happened.
        completed = standing.status is Status.COMPLETED
        assert completed == (summary.completed_at is not None)
        assert standing.percent is None or 0 <= standing.percent <= 100
        assert standing.percent != 100 or completed
        if summary.attempt in self._shown:
            assert completed
            assert summary.completed_at is not None
            assert summary.completed_at <= self._shown[summary.attempt]
        if summary.completed_at is not None:
            self._shown[summary.attempt] = summary.completed_at


Step: TypeAlias = Callable[[CourseLife], Awaitable[None]]

_items = st.builds(
    OutlineItem,
    content_id=st.sampled_from(CONTENTS),
    required=st.sampled_from([True, True, True, False]),
    weight=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
)


_contents = st.lists(_items, max_size=3, unique_by=lambda item: item.content_id)


def _outlines() -> st.SearchStrategy[list[Outline]]:
    """Versions of one course's outline: items come, go, weigh otherwise, change places. Between
    two of them there is room for others."""
    return st.lists(_contents, min_size=2, max_size=5).map(
        lambda versions: [
            Outline(COURSE, 10 * number, tuple(items))
            for number, items in enumerate(versions, start=1)
        ]
    )


_attempts = st.sampled_from([None, None, None, 1, 2, 3])
# Mostly completions of single contents, so that courses are completed again and again.
_updates: st.SearchStrategy[ProgressUpdate] = st.one_of(
    st.builds(
        lambda minute, content_id, attempt: completing(minute, content_id, attempt=attempt),
        st.integers(0, 9),
        st.sampled_from(CONTENTS),
        _attempts,
    ),
    st.builds(
        lambda update, attempt: replace(update, attempt=attempt), progress_updates, _attempts
    ),
)


def _steps(outlines: list[Outline]) -> st.SearchStrategy[list[Step]]:
    learning = st.sampled_from(outlines).map(lambda outline: lambda life: life.learn(outline))
    publishing = _contents.map(lambda items: lambda life: life.publish(items))
    recording = _updates.map(lambda update: lambda life: life.record(update))
    step: st.SearchStrategy[Step] = st.one_of(
        learning,
        publishing,
        publishing,
        recording,
        recording,
        st.lists(_updates, min_size=1, max_size=3).map(
            lambda updates: lambda life: life.record_batch(updates)
        ),
        _attempts.map(lambda ending: lambda life: life.restart(ending)),
        st.just(CourseLife.read),
        st.just(CourseLife.list),
    )
    return st.lists(step, min_size=6, max_size=20)


lives: st.SearchStrategy[list[Step]] = _outlines().flatmap(_steps)
"""Whole lives, each a list of steps to be done in order."""

Epoch: TypeAlias = tuple[Outline, list[ProgressUpdate]]

epochs: st.SearchStrategy[list[Epoch]] = _outlines().flatmap(
    lambda outlines: st.tuples(
        *(st.tuples(st.just(outline), st.lists(_updates, max_size=4)) for outline in outlines)
    ).map(list)
)
"""Spells between two versions of the outline, each with what devices record in it."""


async def live_through(
    repository: ProgressRepository,
    user_id: str,
    spells: Sequence[Epoch],
    arranged: Callable[[list[ProgressUpdate]], list[ProgressUpdate]] = list,
    *,
    together: bool = False,
) -> CourseProgress | None:
    """Record what each spell holds, `arranged` and, if `together`, as one batch; and start anew
    in the middle. Gives the state that is left."""
    tracking = tracking_on(repository)
    for number, (outline, updates) in enumerate(spells):
        await repository.learn_outline(outline)
        if number == len(spells) // 2:
            await tracking.restart(user_id, COURSE, ending=1)
        entries = [BatchEntry(COURSE, update) for update in arranged(updates)]
        for sent in [entries] if together else [[entry] for entry in entries]:
            await tracking.record_batch(user_id, sent, seconds=SECONDS)
    await tracking.read(user_id, COURSE)
    return await repository.read(user_id, COURSE)
