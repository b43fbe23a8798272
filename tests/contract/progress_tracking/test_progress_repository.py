"""What every progress repository does; run on memory, MiniStack and moto."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from services.progress_tracking.domain.errors import AttemptNotStartedError, TooManyContentsError
from services.progress_tracking.domain.outline import Outline, OutlineItem
from services.progress_tracking.domain.progress import (
    MAX_CONTENTS_PER_COURSE,
    ContentProgress,
    CourseProgress,
    CourseSummary,
    ItemUpdate,
    Position,
    ProgressUpdate,
    ResumePoint,
    same_record,
)
from services.progress_tracking.domain.repository import ProgressRepository
from tests.unit.progress_tracking.updates import (
    NOW,
    OUTLINE,
    completing,
    heartbeat,
    merged,
    minutes,
)

LATER = NOW + timedelta(minutes=1)


async def record(
    repository: ProgressRepository,
    *updates: ProgressUpdate,
    user: str = "user-1",
    course: str = "crs-1",
    outline: Outline | None = OUTLINE,
) -> CourseProgress:
    """Record in this order and give the last answer."""
    assert updates
    for update in updates:
        answer = await repository.record(user, course, update, outline=outline, at=NOW)
    return answer.progress


async def test_a_course_never_started_is_nothing(repository: ProgressRepository) -> None:
    assert await repository.read("user-1", "crs-1") is None
    assert await repository.start_attempt("user-1", "crs-1", following=1, at=NOW) is None
    page = await repository.list_summaries("user-1", after=None, limit=10)
    assert (page.summaries, page.more) == ((), False)


async def test_the_first_update_starts_the_course(repository: ProgressRepository) -> None:
    update = ProgressUpdate(
        occurred_at=minutes(3),
        device_id="phone",
        resume_content_id="tides",
        resume_position_seconds=12.25,
        items=(
            ItemUpdate("intro", minutes(2), completed=True, fraction=1.0, position_seconds=62.0),
            ItemUpdate("tides", minutes(3), fraction=1 / 3),
            ItemUpdate("quiz", minutes(3)),
        ),
    )
    first = await repository.record("user-1", "crs-1", update, outline=None, at=NOW)
    assert first.created
    assert first.progress == CourseProgress(
        CourseSummary(
            course_id="crs-1",
            attempt=1,
            started_at=minutes(2),
            completed_at=None,
            completions={"intro": minutes(2)},
            resume=ResumePoint(minutes(3), "phone", "tides", 12.25),
            updated_at=NOW,
        ),
        {
            "intro": ContentProgress(1.0, Position(minutes(2), "phone", 62.0)),
            "tides": ContentProgress(0.333333, None),
        },
    )
    assert await repository.read("user-1", "crs-1") == first.progress
    again = await repository.record("user-1", "crs-1", update, outline=None, at=LATER)
    assert again == replace(first, created=False)


async def test_an_update_that_only_says_when_starts_the_course(
    repository: ProgressRepository,
) -> None:
    progress = await record(repository, ProgressUpdate(minutes(1), "phone"))
    assert progress.summary.started_at == minutes(1)
    assert progress == await repository.read("user-1", "crs-1")


async def test_updates_in_any_order_meet(repository: ProgressRepository) -> None:
    updates = [
        heartbeat(5, "tides", 50.0),
        heartbeat(4, "quiz", 99.0, device="laptop"),
        completing(1, "intro", "quiz"),
        completing(9, "tides", device="laptop"),
        completing(6, "tides"),
        heartbeat(9, "intro", 3.0, device="laptop"),
        ProgressUpdate(
            minutes(7), "phone", items=(ItemUpdate("tides", minutes(-4), position_seconds=1.0),)
        ),
    ]
    expected = merged(updates, course_id="crs-1", outline=OUTLINE)
    await record(repository, *updates)
    await record(repository, *reversed(updates), course="crs-2")
    forwards = await repository.read("user-1", "crs-1")
    backwards = await repository.read("user-1", "crs-2")
    assert forwards is not None
    assert backwards is not None
    assert same_record(forwards, expected)
    assert backwards.contents == forwards.contents
    assert replace(backwards.summary, course_id="crs-1") == forwards.summary


async def test_one_of_concurrent_first_updates_starts_the_course(
    repository: ProgressRepository,
) -> None:
    updates = [completing(number, f"c{number}") for number in range(8)]
    answers = await asyncio.gather(
        *(
            repository.record("user-1", "crs-1", update, outline=OUTLINE, at=NOW)
            for update in updates
        )
    )
    assert [answer.created for answer in answers].count(True) == 1
    progress = await repository.read("user-1", "crs-1")
    assert progress is not None
    assert same_record(progress, merged(updates, course_id="crs-1", outline=OUTLINE))
    # Each answer held what was sent.
    for update, answer in zip(updates, answers, strict=True):
        assert update.items[0].content_id in answer.progress.summary.completions


async def test_two_devices_that_finish_at_once_complete_the_course(
    repository: ProgressRepository,
) -> None:
    await record(repository, heartbeat(0, "intro", 0.0))
    await asyncio.gather(
        record(repository, completing(7, "tides", device="laptop")),
        record(repository, completing(4, "intro", device="phone")),
        record(repository, completing(5, "tides", device="phone")),
    )
    progress = await repository.read("user-1", "crs-1")
    assert progress is not None
    assert progress.summary.completed_at == minutes(5)


async def test_completeness_is_kept_when_the_outline_grows(repository: ProgressRepository) -> None:
    await record(repository, completing(1, "intro", "tides"))
    grown = Outline("crs-1", 4, (*OUTLINE.items, OutlineItem("new", required=True, weight=1.0)))
    progress = await record(repository, heartbeat(9, "new", 1.0), outline=grown)
    assert progress.summary.completed_at == minutes(1)


async def test_a_course_whose_outline_was_learnt_late_is_completed_by_the_next_update(
    repository: ProgressRepository,
) -> None:
    before = await record(repository, completing(1, "intro", "tides"), outline=None)
    assert before.summary.completed_at is None
    after = await record(repository, heartbeat(9, "intro", 1.0), outline=OUTLINE)
    assert after.summary.completed_at == minutes(1)
    assert after == await repository.read("user-1", "crs-1")


async def test_every_kind_of_change_is_seen_in_updated_at(repository: ProgressRepository) -> None:
    item = ItemUpdate("quiz", minutes(1), fraction=0.5)
    changes = [
        completing(1, "intro"),
        heartbeat(2, "intro", 1.0),
        ProgressUpdate(minutes(1), "phone", items=(item,)),
        ProgressUpdate(minutes(1), "phone", items=(replace(item, fraction=0.7),)),
        completing(1, "tides"),
        ProgressUpdate(minutes(-9), "phone"),
    ]
    for number, update in enumerate(changes):
        at = NOW + timedelta(minutes=number)
        answer = await repository.record("user-1", "crs-1", update, outline=OUTLINE, at=at)
        page = await repository.list_summaries("user-1", after=None, limit=1)
        assert answer.progress.summary.updated_at == at
        assert page.summaries == (answer.progress.summary,)
    unchanged = await record(repository, *changes)
    assert unchanged.summary.updated_at == at


async def test_a_clock_behind_another_process_does_not_turn_updated_at_back(
    repository: ProgressRepository,
) -> None:
    await record(repository, heartbeat(1, "intro", 1.0))
    behind = NOW - timedelta(seconds=3)
    for update in (heartbeat(2, "intro", 2.0), completing(2, "intro"), completing(1, "tides")):
        answer = await repository.record("user-1", "crs-1", update, outline=None, at=behind)
        assert answer.progress.summary.updated_at == NOW


async def test_users_and_courses_are_kept_apart(repository: ProgressRepository) -> None:
    # Ids that are prefixes of each other, and one that holds what separates keys elsewhere.
    courses = ["a", "a-", "a-b", "a_", "ab", "A", "0", "_", "-"]
    for number, course in enumerate(courses):
        await record(
            repository, completing(number, f"c-{number}"), heartbeat(1, "x", 1.0), course=course
        )
    await record(repository, completing(1, "other"), user="user-10", course="a")
    for number, course in enumerate(courses):
        progress = await repository.read("user-1", course)
        assert progress is not None
        assert progress.summary.course_id == course
        assert set(progress.summary.completions) == {f"c-{number}"}
    page = await repository.list_summaries("user-1", after=None, limit=100)
    assert [summary.course_id for summary in page.summaries] == sorted(courses)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_hold_whole_courses_in_order(
    repository: ProgressRepository, limit: int
) -> None:
    courses = [f"crs-{number}" for number in range(7)]
    for number, course in enumerate(courses):
        # Courses with one row and with two, in every neighbourhood.
        updates = [completing(1, "intro")] + [heartbeat(2, "intro", 1.0)] * (number % 3 > 0)
        await record(repository, *updates, course=course)
    seen: list[CourseSummary] = []
    after, more = None, True
    while more:
        page = await repository.list_summaries("user-1", after=after, limit=limit)
        assert 0 < len(page.summaries) <= limit
        seen += page.summaries
        after, more = page.summaries[-1].course_id, page.more
    assert [summary.course_id for summary in seen] == courses
    for number, summary in enumerate(seen):
        assert (summary.resume is not None) == (number % 3 > 0)


async def test_paging_goes_on_after_a_course_that_does_not_exist(
    repository: ProgressRepository,
) -> None:
    for course in ("crs-1", "crs-3"):
        await record(repository, completing(1, "intro"), course=course)
    page = await repository.list_summaries("user-1", after="crs-2", limit=5)
    assert [summary.course_id for summary in page.summaries] == ["crs-3"]
    assert not page.more


async def test_a_new_attempt_begins_empty(repository: ProgressRepository) -> None:
    item = ItemUpdate("intro", minutes(1), fraction=0.9, position_seconds=9.0)
    await record(
        repository,
        completing(1, "intro", "tides"),
        heartbeat(5, "intro", 5.0),
        ProgressUpdate(minutes(1), "phone", items=(item,)),
    )
    begun = await repository.start_attempt("user-1", "crs-1", following=1, at=LATER)
    assert begun == CourseProgress(
        CourseSummary(
            course_id="crs-1",
            attempt=2,
            started_at=None,
            completed_at=None,
            completions={},
            resume=None,
            updated_at=LATER,
        ),
        {},
    )
    assert await repository.read("user-1", "crs-1") == begun
    page = await repository.list_summaries("user-1", after=None, limit=5)
    assert page.summaries == (begun.summary,)
    # Asking again, as after a lost answer, begins nothing further.
    assert await repository.start_attempt("user-1", "crs-1", following=1, at=LATER) == begun


async def test_a_new_attempt_takes_the_place_of_the_old_values(
    repository: ProgressRepository,
) -> None:
    old = ProgressUpdate(
        minutes(50),
        "phone",
        resume_content_id="tides",
        resume_position_seconds=50.0,
        items=(
            ItemUpdate("intro", minutes(50), completed=True, fraction=0.9, position_seconds=9.0),
            ItemUpdate("tides", minutes(50), fraction=0.9, position_seconds=9.0),
            ItemUpdate("quiz", minutes(50), fraction=0.9, position_seconds=9.0),
        ),
    )
    new = ProgressUpdate(
        minutes(2),
        "phone",
        items=(
            ItemUpdate("intro", minutes(2), fraction=0.1),
            ItemUpdate("tides", minutes(2), position_seconds=1.0),
        ),
    )
    await record(repository, old)
    await repository.start_attempt("user-1", "crs-1", following=1, at=NOW)
    # Less, and earlier, than in the first attempt: it counts all the same.
    progress = await record(repository, new)
    assert progress.summary.resume is None
    assert progress.contents == {
        "intro": ContentProgress(0.1, None),
        "tides": ContentProgress(None, Position(minutes(2), "phone", 1.0)),
    }
    progress = await record(repository, heartbeat(3, "intro", 3.0))
    assert progress.summary.resume == ResumePoint(minutes(3), "phone", "intro", 3.0)
    assert progress == await repository.read("user-1", "crs-1")


async def test_updates_of_an_earlier_attempt_change_nothing(repository: ProgressRepository) -> None:
    late = replace(
        heartbeat(50, "tides", 50.0, attempt=1), items=completing(1, "intro", "tides").items
    )
    await record(repository, completing(1, "intro"))
    begun = await repository.start_attempt("user-1", "crs-1", following=1, at=NOW)
    assert begun is not None
    answer = await repository.record("user-1", "crs-1", late, outline=OUTLINE, at=LATER)
    assert answer.progress == begun
    assert not answer.created
    assert await repository.read("user-1", "crs-1") == begun


async def test_a_completion_is_kept_as_the_outline_shows_it(repository: ProgressRepository) -> None:
    before = await record(repository, completing(5, "intro"), heartbeat(9, "intro", 1.0))
    seen = replace(before.summary, completed_at=minutes(5))
    kept = await repository.keep_completion("user-1", seen, at=LATER)
    assert kept == replace(seen, updated_at=LATER)
    after = await repository.read("user-1", "crs-1")
    assert after == CourseProgress(kept, before.contents)
    # A later moment, or the same again, changes nothing; an earlier one does.
    much_later = LATER + timedelta(hours=1)
    for completed_at in (minutes(5), minutes(6)):
        again = replace(kept, completed_at=completed_at)
        assert await repository.keep_completion("user-1", again, at=much_later) == kept
    earlier = replace(kept, completed_at=minutes(4))
    assert await repository.keep_completion("user-1", earlier, at=NOW) == earlier
    page = await repository.list_summaries("user-1", after=None, limit=5)
    assert page.summaries == (earlier,)


async def test_a_completion_of_an_attempt_that_is_over_is_not_kept(
    repository: ProgressRepository,
) -> None:
    before = await record(repository, completing(5, "intro"))
    begun = await repository.start_attempt("user-1", "crs-1", following=1, at=LATER)
    seen = replace(before.summary, completed_at=minutes(5))
    assert await repository.keep_completion("user-1", seen, at=LATER) == seen
    assert await repository.read("user-1", "crs-1") == begun


async def test_an_attempt_that_has_not_begun_is_refused_and_nothing_is_written(
    repository: ProgressRepository,
) -> None:
    with pytest.raises(AttemptNotStartedError):
        await record(repository, completing(1, "intro", attempt=2))
    assert await repository.read("user-1", "crs-1") is None
    before = await record(repository, completing(1, "intro", attempt=1))
    with pytest.raises(AttemptNotStartedError):
        await record(repository, completing(1, "tides", attempt=2))
    assert await repository.read("user-1", "crs-1") == before


async def test_a_course_holds_a_bounded_number_of_contents(repository: ProgressRepository) -> None:
    names = [f"{number:0>64}" for number in range(MAX_CONTENTS_PER_COURSE)]
    # The API takes 100 at once; the store is indifferent to how many come together.
    await record(repository, completing(1, *names))
    with pytest.raises(TooManyContentsError):
        await record(repository, completing(2, "one-more"))
    item = ItemUpdate("one-more", minutes(2), fraction=0.5)
    with pytest.raises(TooManyContentsError):
        await record(repository, ProgressUpdate(minutes(2), "phone", items=(item,)))
    progress = await record(repository, completing(0, names[7]))
    assert progress.summary.completions[names[7]] == minutes(0)
    assert len(progress.summary.completions) == MAX_CONTENTS_PER_COURSE


async def test_outlines_are_learnt_in_the_order_of_their_versions(
    repository: ProgressRepository,
) -> None:
    newer = Outline(
        "crs-1",
        10,
        (
            OutlineItem("intro", required=True, weight=0.1),
            OutlineItem("tides", required=False, weight=2.0),
        ),
    )
    older = Outline("crs-1", 9, ())
    assert await repository.read_outlines(["crs-1"]) == {}
    assert await repository.learn_outline(newer)
    assert not await repository.learn_outline(older)
    assert not await repository.learn_outline(newer)
    assert await repository.read_outlines(["crs-1", "crs-2"]) == {"crs-1": newer}
    newest = replace(newer, version=11, items=newer.items[:1])
    assert await repository.learn_outline(newest)
    assert await repository.read_outlines(["crs-1"]) == {"crs-1": newest}


async def test_outlines_arriving_at_once_leave_the_newest(repository: ProgressRepository) -> None:
    outlines = [Outline("crs-1", version, OUTLINE.items) for version in range(1, 9)]
    await asyncio.gather(*(repository.learn_outline(outline) for outline in outlines))
    assert (await repository.read_outlines(["crs-1"]))["crs-1"].version == 8


async def test_more_outlines_than_one_request_takes(repository: ProgressRepository) -> None:
    outlines = [Outline(f"crs-{number}", 1, OUTLINE.items) for number in range(130)]
    for outline in outlines:
        await repository.learn_outline(outline)
    found = await repository.read_outlines([outline.course_id for outline in outlines])
    assert found == {outline.course_id: outline for outline in outlines}


async def test_an_outline_is_no_users_progress(repository: ProgressRepository) -> None:
    await repository.learn_outline(OUTLINE)
    page = await repository.list_summaries("crs-1", after=None, limit=5)
    assert page.summaries == ()
