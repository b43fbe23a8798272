"""The judge of what loads wrote: it lets every honest history pass and catches every dishonest one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.progress_tracking.api.schemas import course_document
from services.progress_tracking.domain.outline import settle, standing
from services.progress_tracking.domain.progress import (
    CourseProgress,
    ItemUpdate,
    ProgressUpdate,
    changes,
    join,
    same_record,
)
from services.progress_tracking.domain.tracking import CourseView, DetailedView
from tests.load.history import History, Outcome, progress_of

COURSE = "course"
START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def update(number: int, *, content: str | None = None, fraction: float = 0.5) -> ProgressUpdate:
    """The update number `number` of its history: moments of its own, a content of its own."""
    moment = START + timedelta(seconds=number)
    content_id = content or f"item-{number}"
    return ProgressUpdate(
        occurred_at=moment,
        device_id=f"device-{number % 3}",
        resume_content_id=content_id,
        resume_position_seconds=number + 0.5,
        items=(
            ItemUpdate(
                content_id, moment, completed=True, fraction=fraction, position_seconds=number
            ),
        ),
    )


def state(*updates: ProgressUpdate) -> CourseProgress:
    """What the service shows when these are recorded, as a client reads it."""
    recorded = reduce(
        join, (changes(one, course_id=COURSE, attempt=1, at=one.occurred_at) for one in updates)
    )
    view = CourseView(settle(recorded.summary, None), standing(recorded.summary, None))
    return progress_of(course_document("user", DetailedView(view, dict(recorded.contents))))


def history(*entries: tuple[ProgressUpdate, Outcome]) -> History:
    """A history in which each acknowledgement shows what was acknowledged or unknown until then."""
    made = History(COURSE)
    before: list[ProgressUpdate] = []
    for sent, outcome in entries:
        entry = made.sending(sent)
        entry.outcome = outcome
        if outcome is not Outcome.REFUSED:
            before.append(sent)
        if outcome is Outcome.ACKNOWLEDGED:
            entry.answer = state(*before)
    return made


ACK, REFUSED, UNKNOWN = Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN


def test_what_is_acknowledged_must_be_there_and_what_is_unknown_may_be() -> None:
    one, two, three = update(1), update(2), update(3)
    made = history((one, ACK), (two, UNKNOWN), (three, ACK))
    assert made.problems(state(one, two, three)) == []
    made = History(COURSE)
    for sent, outcome in ((one, ACK), (two, UNKNOWN), (three, ACK)):
        entry = made.sending(sent)
        entry.outcome = outcome
        if outcome is ACK:
            entry.answer = state(one, sent)
    assert made.problems(state(one, three)) == []
    assert [made.count(outcome) for outcome in (ACK, UNKNOWN, REFUSED)] == [2, 1, 0]


def test_a_lost_update_is_caught() -> None:
    one, two = update(1), update(2)
    (problem,) = history((one, ACK), (two, ACK)).problems(state(one))
    assert problem.startswith("lost: the update of device-2 at 05:06:09")
    assert history((one, ACK)).problems(None) == [
        "lost: the update of device-1 at 05:06:08.000000 was acknowledged and is not in what is read"
    ]


@pytest.mark.parametrize("part", ["completion", "fraction", "position", "resume", "started_at"])
def test_a_lost_part_of_an_update_is_caught(part: str) -> None:
    sent = update(1)
    final = state(sent)
    content = final.contents["item-1"]
    mutilated = {
        "completion": replace(final, summary=replace(final.summary, completions={})),
        "fraction": replace(final, contents={"item-1": replace(content, fraction=None)}),
        "position": replace(final, contents={"item-1": replace(content, position=None)}),
        "resume": replace(final, summary=replace(final.summary, resume=None)),
        "started_at": replace(final, summary=replace(final.summary, started_at=None)),
    }[part]
    problems = history((sent, ACK)).problems(mutilated)
    assert any(problem.startswith("lost") for problem in problems)


def test_a_value_that_went_backwards_is_caught() -> None:
    early, late = update(1, content="same", fraction=0.9), update(2, content="same", fraction=0.1)
    made = history((early, ACK), (late, ACK))
    assert made.problems(state(early, late)) == []
    # The last writer's values, as a store would have them that does not merge.
    assert any(problem.startswith("lost") for problem in made.problems(state(late)))
    assert any(problem.startswith("lost") for problem in made.problems(state(early)))


def test_an_invented_update_is_caught() -> None:
    one, two = update(1), update(2)
    problems = history((one, ACK)).problems(state(one, two))
    assert problems
    assert all(problem.startswith("invented") for problem in problems)


def test_a_refused_update_that_was_recorded_is_caught() -> None:
    one, two = update(1), update(2)
    made = history((one, ACK), (two, REFUSED))
    assert made.problems(state(one)) == []
    assert any(problem.startswith("invented") for problem in made.problems(state(one, two)))


def test_an_invented_value_between_two_sent_ones_is_caught() -> None:
    low, high = update(1, content="same", fraction=0.2), update(2, content="same", fraction=0.8)
    made = history((low, ACK), (high, UNKNOWN))
    mixed = state(low, replace(update(1, content="same", fraction=0.5)))
    (problem,) = made.problems(mixed)
    assert problem == "invented: nobody sent ('fraction', 'same', 0.5)"


def test_an_answer_without_the_update_that_it_acknowledges_is_caught() -> None:
    made = history((update(1), ACK))
    made.entries[0].answer = state(update(0))
    assert "the answer to the update of device-1 at 05:06:08.000000 does not hold it" in (
        made.problems(state(update(1)))
    )


def test_an_answer_that_forgets_what_the_device_has_seen_is_caught() -> None:
    first, second = update(1), update(4)  # both of device-1
    made = history((first, ACK), (second, ACK))
    made.entries[1].answer = state(second)
    (problem,) = made.problems(state(first, second))
    assert problem.startswith("backwards: the answer to the update of device-1")


_NUMBERS = st.lists(st.integers(0, 30), min_size=1, max_size=12, unique=True)


@st.composite
def sent_updates(draw: st.DrawFn) -> list[tuple[ProgressUpdate, Outcome]]:
    contents = st.sampled_from([None, "a", "b"])
    return [
        (
            update(number, content=draw(contents), fraction=draw(st.integers(0, 10)) / 10),
            draw(st.sampled_from([ACK, UNKNOWN])),
        )
        for number in draw(_NUMBERS)
    ]


@given(sent=sent_updates(), data=st.data())
def test_every_honest_outcome_passes_in_any_order(
    sent: list[tuple[ProgressUpdate, Outcome]], data: st.DataObject
) -> None:
    kept = [one for one, outcome in sent if outcome is ACK or data.draw(st.booleans())]
    made = _silent_history(sent)
    final = state(*data.draw(st.permutations(kept))) if kept else None
    assert made.problems(final) == []


@given(sent=sent_updates(), data=st.data())
def test_leaving_an_acknowledged_update_out_is_caught_unless_the_others_hold_all_of_it(
    sent: list[tuple[ProgressUpdate, Outcome]], data: st.DataObject
) -> None:
    lost = data.draw(st.sampled_from([one for one, _ in sent]))
    rest = [one for one, _ in sent if one is not lost]
    made = _silent_history([(one, ACK) for one, _ in sent])
    final = state(*rest) if rest else None
    whole = state(*(one for one, _ in sent))
    dominated = final is not None and same_record(whole, final)
    assert bool(made.problems(final)) is not dominated


def _silent_history(sent: Sequence[tuple[ProgressUpdate, Outcome]]) -> History:
    """A history whose acknowledgements show everything: only what is read back is judged."""
    made = History(COURSE)
    everything = state(*(one for one, _ in sent))
    for one, outcome in sent:
        entry = made.sending(one)
        entry.outcome = outcome
        entry.answer = everything if outcome is ACK else None
    return made
