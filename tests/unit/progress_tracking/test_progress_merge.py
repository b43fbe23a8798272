"""Merging progress is commutative, associative and idempotent, on the pure domain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.progress_tracking.domain.errors import AttemptNotStartedError, TooManyContentsError
from services.progress_tracking.domain.outline import Outline, settle
from services.progress_tracking.domain.progress import (
    MAX_CONTENTS_PER_COURSE,
    ContentProgress,
    CourseProgress,
    ItemUpdate,
    Position,
    ProgressUpdate,
    ResumePoint,
    blank,
    changes,
    join,
    same_record,
)
from services.progress_tracking.domain.recording import recorded
from tests.unit.progress_tracking.updates import (
    NOW,
    OUTLINE,
    completing,
    heartbeat,
    merged,
    minutes,
    progress_updates,
)

COURSE = "crs-1"

states = st.builds(
    lambda update, attempt, seconds: changes(
        update, course_id=COURSE, attempt=attempt, at=NOW + timedelta(seconds=seconds)
    ),
    progress_updates,
    st.integers(1, 2),
    st.integers(0, 2),
)


def record_all(
    updates: list[ProgressUpdate], *, outline: Outline | None = OUTLINE
) -> CourseProgress | None:
    progress: CourseProgress | None = None
    for update in updates:
        progress = recorded(progress, update, course_id=COURSE, outline=outline, at=NOW)
    return progress


def after(*updates: ProgressUpdate, outline: Outline | None = OUTLINE) -> CourseProgress:
    progress = record_all(list(updates), outline=outline)
    assert progress is not None
    return progress


@given(states, states, states)
def test_the_join_is_a_semilattice(
    one: CourseProgress, two: CourseProgress, three: CourseProgress
) -> None:
    assert join(one, two) == join(two, one)
    assert join(join(one, two), three) == join(one, join(two, three))
    assert join(one, one) == one
    assert join(join(one, two), two) == join(one, two)


@given(st.lists(progress_updates, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_gives_the_same_state(
    updates: list[ProgressUpdate], random: Random
) -> None:
    shuffled = updates + updates[: len(updates) // 2 + 1]
    random.shuffle(shuffled)
    assert (
        record_all(shuffled)
        == record_all(updates)
        == merged(updates, course_id=COURSE, outline=OUTLINE)
    )


@given(st.lists(progress_updates, min_size=1, max_size=6), progress_updates)
def test_nothing_recorded_is_lost_or_goes_backwards(
    updates: list[ProgressUpdate], late: ProgressUpdate
) -> None:
    before, now = after(*updates), after(*updates, late)
    assert before.summary.completions.keys() <= now.summary.completions.keys()
    for content_id, content in before.contents.items():
        present = now.contents[content_id]
        assert content.fraction is None or (present.fraction or 0) >= content.fraction
        assert content.position is None or (
            present.position is not None and present.position >= content.position
        )
    if before.summary.completed_at is not None:
        assert now.summary.completed_at is not None
        assert now.summary.completed_at <= before.summary.completed_at


@given(st.lists(progress_updates, min_size=1, max_size=6), st.data())
def test_a_repeated_update_changes_nothing_at_all(
    updates: list[ProgressUpdate], data: st.DataObject
) -> None:
    progress = after(*updates)
    repeated = data.draw(st.sampled_from(updates))
    later = NOW + timedelta(hours=1)
    again = recorded(progress, repeated, course_id=COURSE, outline=OUTLINE, at=later)
    assert again is progress


def test_completed_is_or_with_the_earliest_moment() -> None:
    progress = after(completing(5, "intro"), completing(2, "intro"), completing(9, "intro"))
    assert progress.summary.completions == {"intro": minutes(2)}


def test_not_completed_takes_nothing_back() -> None:
    not_completed = ProgressUpdate(minutes(9), "phone", items=(ItemUpdate("intro", minutes(9)),))
    progress = after(completing(5, "intro"), not_completed)
    assert progress.summary.completions == {"intro": minutes(5)}


def test_fraction_is_the_maximum_and_position_the_latest() -> None:
    def at(minute: float, fraction: float, position: float) -> ProgressUpdate:
        item = ItemUpdate("intro", minutes(minute), fraction=fraction, position_seconds=position)
        return ProgressUpdate(minutes(minute), "phone", items=(item,))

    progress = after(at(1, 0.8, 80.0), at(3, 0.2, 20.0), at(2, 0.5, 50.0))
    assert progress.contents == {"intro": ContentProgress(0.8, Position(minutes(3), "phone", 20.0))}


def test_an_items_own_moment_goes_before_the_updates() -> None:
    item = ItemUpdate("intro", minutes(-5), completed=True, position_seconds=1.0)
    progress = after(ProgressUpdate(minutes(1), "phone", items=(item,)))
    assert progress.summary.started_at == minutes(-5)
    assert progress.summary.completions == {"intro": minutes(-5)}
    assert progress.contents["intro"].position == Position(minutes(-5), "phone", 1.0)


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        (heartbeat(1, "tides", 90.0), heartbeat(2, "intro", 10.0)),
        (
            heartbeat(1, "tides", 90.0, device="laptop"),
            heartbeat(1, "intro", 10.0, device="phone"),
        ),
        (heartbeat(1, "intro", 90.0), heartbeat(1, "tides", 10.0)),
        (heartbeat(1, "intro", 10.0), heartbeat(1, "intro", 90.0)),
    ],
    ids=["moment", "device", "content", "position"],
)
def test_the_resume_point_is_decided_in_a_total_order(
    loser: ProgressUpdate, winner: ProgressUpdate
) -> None:
    expected = ResumePoint(
        winner.occurred_at,
        winner.device_id,
        winner.resume_content_id or "",
        winner.resume_position_seconds,
    )
    assert after(loser, winner).summary.resume == expected
    assert after(winner, loser).summary.resume == expected


def test_a_start_that_is_reported_late_is_still_the_start() -> None:
    assert after(heartbeat(9, "intro", 1), heartbeat(3, "intro", 2)).summary.started_at == minutes(
        3
    )


def test_values_are_kept_as_exactly_as_they_are_stored() -> None:
    item = ItemUpdate(
        "intro",
        minutes(1) + timedelta(microseconds=1999),
        fraction=1 / 3,
        position_seconds=-0.0,
    )
    progress = after(ProgressUpdate(minutes(1), "phone", items=(item,)))
    content = progress.contents["intro"]
    assert content.fraction == 0.333333
    assert content.position == Position(minutes(1) + timedelta(milliseconds=1), "phone", 0.0)
    assert str(content.position.position_seconds) == "0.0"


def test_the_course_is_complete_when_its_last_content_was_whatever_arrives_first() -> None:
    one, two = completing(7, "tides"), completing(4, "intro")
    assert after(one, two).summary.completed_at == minutes(7)
    assert after(two, one).summary.completed_at == minutes(7)
    # A device reports late that it finished the last content earlier.
    assert after(one, two, completing(5, "tides")).summary.completed_at == minutes(5)


def test_completeness_stays_when_authors_add_to_the_course() -> None:
    complete = after(completing(1, "intro", "tides"))
    grown = replace(
        OUTLINE,
        version=4,
        items=(*OUTLINE.items, replace(OUTLINE.items[0], content_id="new")),
    )
    later = recorded(complete, heartbeat(9, "new", 1), course_id=COURSE, outline=grown, at=NOW)
    assert later.summary.completed_at == minutes(1)


def test_settling_never_moves_completeness_later() -> None:
    complete = after(completing(1, "intro", "tides")).summary
    moved = replace(complete, completions={"intro": minutes(8), "tides": minutes(9)})
    assert settle(moved, OUTLINE).completed_at == minutes(1)


class TestAttempts:
    restarted = blank(COURSE, attempt=2, at=NOW)

    def test_an_update_without_attempt_belongs_to_the_current_one(self) -> None:
        progress = recorded(
            self.restarted, completing(1, "intro"), course_id=COURSE, outline=None, at=NOW
        )
        assert progress.summary.attempt == 2
        assert progress.summary.completions == {"intro": minutes(1)}

    def test_an_update_of_an_earlier_attempt_changes_nothing(self) -> None:
        late = completing(1, "intro", attempt=1)
        progress = recorded(self.restarted, late, course_id=COURSE, outline=None, at=NOW)
        assert progress is self.restarted

    @pytest.mark.parametrize("current", [None, restarted])
    def test_an_attempt_that_has_not_begun_is_refused(self, current: CourseProgress | None) -> None:
        ahead = completing(1, "intro", attempt=3)
        with pytest.raises(AttemptNotStartedError) as refusal:
            recorded(current, ahead, course_id=COURSE, outline=None, at=NOW)
        assert refusal.value.current == (1 if current is None else 2)

    def test_joining_keeps_the_later_attempt_as_a_whole(self) -> None:
        first = after(completing(1, "intro"))
        assert same_record(join(first, self.restarted), self.restarted)
        assert same_record(join(self.restarted, first), self.restarted)


def test_a_course_holds_a_bounded_number_of_contents() -> None:
    def contents(first: int, count: int) -> ProgressUpdate:
        names = [f"c{number}" for number in range(first, first + count)]
        return completing(1, *names)

    full = after(contents(0, MAX_CONTENTS_PER_COURSE))
    with pytest.raises(TooManyContentsError):
        recorded(full, contents(9999, 1), course_id=COURSE, outline=None, at=NOW)
    # What is there already goes on being recorded.
    earlier = recorded(full, completing(0, "c7"), course_id=COURSE, outline=None, at=NOW)
    assert earlier.summary.completions["c7"] == minutes(0)


def test_two_courses_are_never_merged() -> None:
    other = changes(completing(1, "intro"), course_id="crs-2", attempt=1, at=NOW)
    with pytest.raises(ValueError, match="different courses"):
        join(after(completing(1, "intro")), other)


def test_updated_at_is_the_services_time_and_never_goes_back() -> None:
    first = after(completing(1, "intro"))
    earlier_clock = NOW - timedelta(seconds=9)
    second = recorded(
        first, completing(2, "tides"), course_id=COURSE, outline=None, at=earlier_clock
    )
    assert first.summary.updated_at == second.summary.updated_at == NOW
