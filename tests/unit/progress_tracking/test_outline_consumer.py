"""The consumer in simulated time: what is held, tried again, given back, parked, and when."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.aws import DependencyUnavailable, RequestRejected, Throttled
from libs.circuit_breaker import CircuitOpenError
from libs.metrics.testing import RecordedMetrics
from libs.tracing.testing import recording_tracer
from services.progress_tracking.consumer.consumer import (
    ConsumerMetrics,
    ConsumerSettings,
    OutlineConsumer,
)
from tests.unit.progress_tracking.simulated_queue import (
    SimulatedQueue,
    SimulatedTable,
    SimulatedTime,
    course_row,
    event,
    outline,
)

TRACE_ID = "1-5759e988-bd862e3fe1be46a994272793"
TRACE = f"Root={TRACE_ID};Parent=53995c3f42cd8ad8;Sampled=1"
HOUR = 3600.0


def down() -> None:
    """What the table does in an outage."""
    raise DependencyUnavailable("dynamodb", "PutItem", reason="connection")


class Killed(BaseException):
    """The process was killed: nothing that it would still do is done."""


class Place:
    """A consumer with everything around it."""

    def __init__(self, **changes: object) -> None:
        self.time = SimulatedTime()
        self.queue = SimulatedQueue(self.time)
        self.table = SimulatedTable()
        self.metrics = RecordedMetrics()
        self.tracer, self.spans = recording_tracer()
        self.stop = asyncio.Event()
        self.settings = ConsumerSettings(**changes)  # type: ignore[arg-type]
        self.consumer_metrics = ConsumerMetrics(self.metrics.metrics)

    def consumer(self) -> OutlineConsumer:
        return OutlineConsumer(
            self.queue,
            self.table,
            tracer=self.tracer,
            metrics=self.consumer_metrics,
            settings=self.settings,
            sleep=self.time.sleep,
            random=random.Random(1).random,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Runs, and is stopped in the end, which must not take longer than a poll."""
        task = asyncio.create_task(self.consumer().run(self.stop))
        try:
            yield task
            self.stop.set()
            await self.time.run_for(self.queue.wait_seconds + 1)
            assert task.done(), "it does not stop"
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    def counted(self, name: str, dimension: str = "outlines") -> float:
        """All that was counted until this was first asked."""
        if not self.metrics.documents:
            self.metrics.flush()
        return float(self.metrics.series(name).get((dimension,), 0))


@pytest.fixture()
def place() -> Place:
    return Place()


async def test_what_comes_is_learnt_and_then_deleted(place: Place) -> None:
    for number in range(25):
        place.queue.send(event(f"course-{number}", 1 + number % 3))
    async with place.running():
        await place.time.run_for(1)
        assert place.queue.kept == []
        assert len(place.table.outlines) == 25
    assert place.counted("MessagesReceived") == 25
    assert place.counted("OutlineEvents", "learnt") == 25
    # Deleted by batches, and never more held than may be.
    sizes = [size for name, size in place.queue.batches if name == "delete"]
    assert sum(sizes) == 25
    assert max(sizes) > 1
    assert place.queue.most_held <= place.settings.concurrency


async def test_the_newest_outline_stays_whatever_comes_after(place: Place) -> None:
    for version in (2, 3, 1, 3, 2):
        place.queue.send(event("tides", version))
    async with place.running():
        await place.time.run_for(1)
        assert place.table.outlines == {"tides": outline("tides", 3)}
        assert place.queue.kept == []
    assert place.counted("MessagesFailed") == 0


async def test_other_rows_are_passed_over(place: Place) -> None:
    place.queue.send(course_row("tides"))
    place.queue.send(course_row("slug#tides"))
    async with place.running():
        await place.time.run_for(1)
        assert place.queue.kept == []
        assert place.table.calls == 0
    assert place.counted("OutlineEvents", "ignored") == 2


async def test_a_message_that_can_not_be_read_is_parked_and_counted_and_the_others_go_on(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    poison = place.queue.send('{"secret": "what it holds"}')
    for version in range(1, 6):
        place.queue.send(event("tides", version))
    async with place.running():
        await place.time.run_for(20)
        assert place.table.outlines["tides"].version == 5
        assert [one.message_id for one in place.queue.dead] == [poison]
        assert place.queue.kept == []
    assert place.queue.dead[0].receive_count == place.queue.limit
    assert place.counted("MessagesParked") == 1
    assert place.counted("MessagesFailed") == place.queue.limit
    written = capsys.readouterr()
    assert "what it holds" not in written.out + written.err


async def test_an_outage_of_the_table_parks_nothing(place: Place) -> None:
    """An hour, many visibility time-outs and more attempts than a message may be received."""

    for number in range(30):
        place.queue.send(event(f"course-{number}", 1))
    place.table.before = down
    async with place.running():
        await place.time.run_for(HOUR)
        assert place.table.outlines == {}
        assert place.table.calls > 100
        # Those that are held have been received once; the rest not at all.
        assert {one.receive_count for one in place.queue.kept} == {0, 1}
        assert place.queue.dead == []
        place.table.before = lambda: None
        await place.time.run_for(2 * place.settings.max_backoff_seconds)
        assert len(place.table.outlines) == 30
        assert place.queue.kept == []
    assert place.counted("MessagesParked") == 0
    assert place.counted("MessagesFailed") > 100


@pytest.mark.parametrize(
    "error",
    [
        DependencyUnavailable("dynamodb", "PutItem", reason="connection"),
        Throttled("dynamodb", "PutItem", reason="throttled"),
        CircuitOpenError("dynamodb:write", 5.0),
        RequestRejected("dynamodb", "PutItem", "AccessDeniedException", 400),
        RequestRejected("dynamodb", "PutItem", "ResourceNotFoundException", 400),
    ],
)
async def test_what_is_not_the_messages_fault_is_tried_again(
    place: Place, error: Exception
) -> None:
    failures = iter([error, error, error])

    def fail() -> None:
        for failure in failures:
            raise failure

    place.table.before = fail
    place.queue.send(event("tides", 1))
    async with place.running():
        await place.time.run_for(30)
        assert place.table.calls == 4
        assert place.table.outlines == {"tides": outline("tides", 1)}
        assert place.queue.kept == []
    if isinstance(error, CircuitOpenError):
        assert sum(5.0 <= seconds <= 7.0 for seconds in place.time.sleeps) == 3


async def test_an_outline_that_the_table_never_takes_is_parked(place: Place) -> None:
    def refuse() -> None:
        raise RequestRejected("dynamodb", "PutItem", "ValidationException", 400)

    place.table.before = refuse
    place.queue.send(event("tides", 1))
    async with place.running():
        await place.time.run_for(20)
        assert len(place.queue.dead) == 1
    assert place.counted("MessagesParked") == 1


async def test_a_bug_gives_the_message_back_for_later_and_parks_it_in_the_end(
    place: Place,
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    place.table.before = fail
    place.queue.send(event("tides", 1))
    async with place.running():
        await place.time.run_for(1)
        assert place.queue.dead == []
        await place.time.run_for(5 * place.settings.max_backoff_seconds)
        assert len(place.queue.dead) == 1
    assert place.counted("MessagesParked") == 1


async def test_who_takes_long_keeps_the_message(place: Place) -> None:
    ended: list[asyncio.Future[None]] = []

    def slow() -> asyncio.Future[None]:
        ended.append(asyncio.get_running_loop().create_future())
        return ended[-1]

    place.table.work = slow
    place.queue.send(event("tides", 1))
    async with place.running():
        await place.time.run_for(20 * place.settings.visibility_seconds)
        assert len(ended) == 1
        assert place.queue.kept[0].receive_count == 1
        ended[0].set_result(None)
        await place.time.run_for(1)
        assert place.queue.kept == []


async def test_a_lost_deletion_is_repeated_and_not_the_work(place: Place) -> None:
    left = iter(range(3))

    def fail(operation: str) -> None:
        if operation == "delete" and next(left, None) is not None:
            raise DependencyUnavailable("sqs", "DeleteMessageBatch", reason="timeout")

    place.queue.before = fail
    place.queue.send(event("tides", 1))
    async with place.running():
        await place.time.run_for(30)
        assert place.queue.kept == []
        assert place.table.calls == 1


async def test_a_queue_that_fails_is_asked_again_and_less_and_less_often(place: Place) -> None:
    asked: list[float] = []

    def fail(operation: str) -> None:
        if operation == "receive":
            asked.append(place.time.now)
            if place.time.now < HOUR:
                raise CircuitOpenError("sqs:read", 1.0)

    place.queue.before = fail
    place.queue.send(event("tides", 1))
    async with place.running():
        await place.time.run_for(HOUR + place.settings.max_backoff_seconds + 1)
        assert place.queue.kept == []
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked) if earlier < HOUR]
    assert all(1.0 <= pause <= 1.0 + place.settings.max_backoff_seconds for pause in pauses)
    assert len(pauses) < 2 * HOUR / place.settings.max_backoff_seconds + 10
    assert max(pauses) > 10 * min(pauses)


async def test_stopping_finishes_what_was_begun_and_gives_the_rest_back(place: Place) -> None:
    writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    place.table.work = lambda: writing
    place.queue.send(event("tides", 1))
    async with place.running() as task:
        await place.time.run_for(1)  # one is being written, a poll is under way
        place.stop.set()
        late = place.queue.send(event("tides", 2))
        await place.time.run_for(place.queue.wait_seconds)
        assert not task.done()
        # What the last poll brought is visible again at once.
        assert [(one.message_id, one.visible_at <= place.time.now) for one in place.queue.kept][
            1:
        ] == [(late, True)]
        writing.set_result(None)
        await place.time.run_for(1)
        assert task.done()
        assert place.table.outlines == {"tides": outline("tides", 1)}
        assert [one.message_id for one in place.queue.kept] == [late]


async def test_stopping_in_an_outage_gives_the_messages_back(place: Place) -> None:
    place.table.before = down
    place.queue.send(event("tides", 1))
    async with place.running():
        await place.time.run_for(HOUR)
    (kept,) = place.queue.kept
    assert kept.visible_at <= place.time.now
    assert kept.receive_count == 1


async def test_a_segment_for_each_message_continues_the_trace_of_the_change(place: Place) -> None:
    place.queue.send(event("tides", 1, trace_header=TRACE))
    place.queue.send(event("soil", 1))
    place.queue.send("unreadable")
    async with place.running():
        await place.time.run_for(1)
    segments = [span for span in place.spans.spans if span.is_segment]
    by_course = {span.attributes.get("lyceum.course"): span for span in segments}
    assert by_course["tides"].trace_id == TRACE_ID
    assert by_course["tides"].parent_id == "53995c3f42cd8ad8"
    assert by_course["soil"].parent_id is None
    assert len({span.trace_id for span in segments}) == len(segments)
    assert by_course[None].exceptions


async def test_the_lag_is_what_has_passed_since_a_message_was_sent(place: Place) -> None:
    place.queue.send(event("tides", 1))
    async with place.running():
        await place.time.run_for(1)
    place.metrics.flush()
    # Its clock is the real one, so the message of the simulated 1970 is out of any queue's reach.
    assert place.metrics.series("MessagesReceived") == {("outlines",): 1}


# --- nothing is lost, whatever happens ----------------------------------------------------------


def sent(place: Place, events: list[tuple[int, int]]) -> dict[str, int]:
    """Send these, and give the newest version of each course."""
    newest: dict[str, int] = {}
    for course, version in events:
        course_id = f"course-{course}"
        place.queue.send(event(course_id, version))
        newest[course_id] = max(version, newest.get(course_id, 0))
    return newest


def versions(place: Place) -> dict[str, int]:
    return {course_id: known.version for course_id, known in place.table.outlines.items()}


@given(
    events=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=30),
    failures=st.lists(st.sampled_from(["fine", "before", "after"]), max_size=80),
    concurrency=st.integers(1, 10),
)
@settings(max_examples=60, deadline=None)
def test_any_order_duplication_and_failure_ends_with_the_newest_outline(
    events: list[tuple[int, int]], failures: list[str], concurrency: int
) -> None:
    """Every operation, of the queue and of the table, may fail before or after its effect."""

    async def scenario() -> None:
        place = Place(concurrency=concurrency)
        place.queue.limit = 1000
        coming = iter(failures)
        current = {"failure": "fine"}

        def before(_: str = "") -> None:
            current["failure"] = next(coming, "fine")
            if current["failure"] == "before":
                raise DependencyUnavailable("any", "Any", reason="connection")

        def after(_: str = "") -> None:
            if current["failure"] == "after":
                current["failure"] = "fine"
                raise DependencyUnavailable("any", "Any", reason="timeout")

        place.queue.before = place.table.before = before
        place.queue.after = place.table.after = after
        newest = sent(place, events)
        async with place.running():
            await place.time.run_for(300)
            assert versions(place) == newest
            assert place.queue.kept == []
            assert place.queue.dead == []

    asyncio.run(scenario())


async def killed_at(step: int, *, effect: bool) -> bool:
    """Kill a consumer at its n-th operation, before or after the effect of that; then another takes
    over. Whether there was such an operation."""
    place = Place(concurrency=3)
    place.queue.limit = 1000
    left = step
    dead = False

    def killer(here: bool) -> Callable[..., None]:
        def maybe(_: str = "") -> None:
            nonlocal left, dead
            if here:
                left -= 1
            if dead or (left < 0 and here):
                dead = True
                raise Killed

        return maybe

    place.queue.before = place.table.before = killer(not effect)
    place.queue.after = place.table.after = killer(effect)
    newest = sent(place, [(0, 2), (1, 1), (0, 1), (1, 3), (0, 3), (0, 3), (1, 2)])
    first = asyncio.create_task(place.consumer().run(place.stop))
    await place.time.run_for(5)
    was_killed = dead
    first.cancel()
    await asyncio.wait([first])
    assert not was_killed or first.cancelled() or first.exception() is not None
    place.queue.before = place.queue.after = lambda _: None
    place.table.before = place.table.after = lambda: None
    async with place.running():
        # What the dead one held comes back after its visibility time-out.
        await place.time.run_for(place.queue.visibility_seconds + 30)
        assert versions(place) == newest
        assert place.queue.kept == []
        assert place.queue.dead == []
    return was_killed


@pytest.mark.parametrize("effect", [False, True])
async def test_killed_at_any_operation_it_loses_nothing(effect: bool) -> None:
    steps = 0
    while await killed_at(steps, effect=effect):
        steps += 1
        assert steps < 200
    assert steps >= 12  # a poll, a write a message, a deletion each at the least
