"""Exceptions with their cause, and what is never a fault: 4xx, failed conditions, cancellations."""

import asyncio
from collections.abc import Callable

import pytest

from libs.circuit_breaker import BreakerPolicy, CircuitBreaker, CircuitOpenError
from libs.tracing import FinishedSpan
from libs.tracing.testing import recording_tracer


class ConditionFailedError(Exception):
    pass


class VersionConflictError(Exception):
    status = 412


class TooManyError(Exception):
    status = 429


def flags(span: FinishedSpan) -> set[str]:
    found = {"error": span.error, "fault": span.fault, "throttled": span.throttled}
    return {name for name, is_set in found.items() if is_set}


def chain(span: FinishedSpan) -> list[str]:
    """The types of the first exception of a span, of its cause, of that one's cause and so on."""
    by_id = {exception.id: exception for exception in span.exceptions}
    found = []
    exception = span.exceptions[0]
    while True:
        found.append(exception.type)
        if exception.caused_by is None:
            return found
        exception = by_id[exception.caused_by]


def recorded(work: Callable[[], object]) -> FinishedSpan:
    """The one segment in which `work` raised."""
    tracer, emitter = recording_tracer()
    with pytest.raises(Exception) as raised, tracer.segment("request"):  # noqa: PT011
        work()
    assert raised.value.__traceback__ is not None
    return emitter.named("request")


def read() -> None:
    raise ConnectionResetError("peer went away")


def test_raise_from_is_recorded_with_its_causes() -> None:
    def work() -> None:
        try:
            try:
                read()
            except ConnectionResetError as error:
                raise LookupError("no answer") from error
        except LookupError as error:
            raise RuntimeError("cannot serve") from error

    span = recorded(work)
    assert chain(span) == ["RuntimeError", "LookupError", "ConnectionResetError"]
    assert span.exceptions[2].message == "peer went away"
    assert span.exceptions[2].stack[-1][2] == "read", "each with its own frames"
    assert flags(span) == {"fault"}


def test_what_is_raised_while_another_is_handled_is_recorded_with_it() -> None:
    def work() -> None:
        try:
            read()
        except ConnectionResetError:
            _ = 1 / 0

    span = recorded(work)
    assert chain(span) == ["ZeroDivisionError", "ConnectionResetError"]
    assert flags(span) == {"fault"}


def test_a_cause_that_was_hidden_stays_hidden() -> None:
    def work() -> None:
        try:
            read()
        except ConnectionResetError:
            raise RuntimeError("cannot serve") from None

    assert chain(recorded(work)) == ["RuntimeError"]


def test_a_cause_below_a_4xx_makes_no_fault_of_it() -> None:
    def work() -> None:
        try:
            raise ConditionFailedError("the version is 4")
        except ConditionFailedError as error:
            raise VersionConflictError from error

    span = recorded(work)
    assert chain(span) == ["VersionConflictError", "ConditionFailedError"]
    assert flags(span) == {"error"}


def test_a_cause_that_a_span_below_has_recorded_is_named_by_its_id_only() -> None:
    tracer, emitter = recording_tracer()

    def save() -> None:
        try:
            with tracer.span("save") as span:
                failed = ConditionFailedError("the version is 4")
                span.record_error(failed, fault=False)
                raise failed
        except ConditionFailedError as error:
            raise LookupError("changed meanwhile") from error

    def work() -> None:
        try:
            save()
        except LookupError as error:
            raise RuntimeError from error

    with pytest.raises(RuntimeError), tracer.segment("request"):
        work()
    segment, below = emitter.named("request"), emitter.named("save")
    assert [exception.type for exception in segment.exceptions] == ["RuntimeError", "LookupError"]
    assert segment.exceptions[1].caused_by == below.exceptions[0].id
    assert flags(below) == {"error"}


def test_a_group_is_recorded_with_its_members_and_their_causes() -> None:
    def work() -> None:
        try:
            read()
        except ConnectionResetError as error:
            failed = RuntimeError("one")
            failed.__cause__ = error
            raise ExceptionGroup("both", [failed, ValueError("two")]) from None

    span = recorded(work)
    types = [exception.type for exception in span.exceptions]
    assert types == ["ExceptionGroup", "RuntimeError", "ValueError", "ConnectionResetError"]
    assert span.exceptions[1].caused_by == span.exceptions[3].id
    assert flags(span) == {"fault"}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([VersionConflictError(), VersionConflictError()], {"error"}),
        ([VersionConflictError(), TooManyError()], {"error", "throttled"}),
        ([VersionConflictError(), ExceptionGroup("", [VersionConflictError()])], {"error"}),
        ([VersionConflictError(), ExceptionGroup("", [OSError()])], {"fault"}),
    ],
)
def test_a_group_is_a_fault_when_one_of_its_members_is(
    members: list[Exception], expected: set[str]
) -> None:
    def work() -> None:
        raise ExceptionGroup("all", members)

    assert flags(recorded(work)) == expected


async def test_a_task_group_of_failed_conditions_is_an_error() -> None:
    tracer, emitter = recording_tracer()

    async def save(number: int) -> None:
        with tracer.span(f"save {number}") as span:
            failed = ConditionFailedError(str(number))
            span.record_error(failed, fault=False)
            raise failed

    async def save_both() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(save(number))

    with pytest.raises(ExceptionGroup), tracer.segment("request"):
        await save_both()
    assert [flags(span) for span in emitter.spans] == [{"error"}] * 3


async def test_siblings_that_a_task_group_cancels_are_not_marked() -> None:
    tracer, emitter = recording_tracer()
    waits = asyncio.Event()

    async def wait() -> None:
        with tracer.span("sibling"):
            waits.set()
            await asyncio.Event().wait()

    async def fail() -> None:
        await waits.wait()
        raise OSError

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup), tracer.segment("request"):
        await both()
    assert flags(emitter.named("sibling")) == set()
    assert emitter.named("sibling").exceptions == ()
    assert flags(emitter.named("request")) == {"fault"}


async def test_a_deadline_is_a_fault_of_what_it_was_set_for_and_not_of_what_it_cuts_off() -> None:
    tracer, emitter = recording_tracer()

    async def serve() -> None:
        async with asyncio.timeout(0):
            with tracer.span("cut off"), tracer.span("deeper"):
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError), tracer.segment("request"):
        await serve()
    for name in ("cut off", "deeper"):
        assert flags(emitter.named(name)) == set()
        assert emitter.named(name).exceptions == ()
    request = emitter.named("request")
    assert flags(request) == {"fault"}
    assert chain(request) == ["TimeoutError", "CancelledError"]


async def test_a_cancelled_request_is_not_marked_anywhere() -> None:
    tracer, emitter = recording_tracer()
    waits = asyncio.Event()

    async def request() -> None:
        with tracer.segment("request"), tracer.span("below"):
            waits.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await waits.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [(span.name, flags(span), span.exceptions) for span in emitter.spans] == [
        ("request", set(), ()),
        ("below", set(), ()),
    ]


async def test_an_error_while_a_cancellation_is_handled_is_a_fault() -> None:
    tracer, emitter = recording_tracer()

    def work() -> None:
        try:
            raise asyncio.CancelledError
        except asyncio.CancelledError:
            raise RuntimeError("cannot roll back")  # noqa: B904 - what a bug looks like

    with pytest.raises(RuntimeError), tracer.segment("request"):
        work()
    assert flags(emitter.named("request")) == {"fault"}
    assert chain(emitter.named("request")) == ["RuntimeError", "CancelledError"]


async def test_an_open_circuit_is_a_fault_with_its_name() -> None:
    tracer, emitter = recording_tracer()
    breaker = CircuitBreaker("dynamodb:read", BreakerPolicy(failure_threshold=1))

    async def refuse() -> None:
        raise ConnectionRefusedError

    for name in ("the call that opens it", "the call that is rejected"):
        with (
            pytest.raises((ConnectionRefusedError, CircuitOpenError)),
            tracer.segment(name),
            tracer.span(f"DynamoDB of {name}", kind="aws"),
        ):
            await breaker.call(refuse)
    rejected = emitter.named("DynamoDB of the call that is rejected")
    assert [exception.type for exception in rejected.exceptions] == ["CircuitOpenError"]
    assert "dynamodb:read" in rejected.exceptions[0].message
    assert all(flags(span) == {"fault"} for span in emitter.spans)


def test_causes_in_a_circle_and_without_end_are_cut() -> None:
    one, two = ValueError("one"), ValueError("two")

    def circle() -> None:
        one.__cause__, two.__cause__ = two, one
        raise one

    span = recorded(circle)
    assert [exception.message for exception in span.exceptions] == ["one", "two"]
    assert span.exceptions[1].caused_by == span.exceptions[0].id

    def endless() -> None:
        error = ValueError("0")
        for number in range(1, 1_000):
            following = ValueError(str(number))
            following.__cause__ = error
            error = following
        raise error

    assert len(recorded(endless).exceptions) == 9

    def crowd() -> None:
        raise ExceptionGroup("all", [ValueError(str(number)) for number in range(10_000)])

    assert len(recorded(crowd).exceptions) == 9


def test_a_cause_names_no_secret_of_a_url() -> None:
    def work() -> None:
        try:
            raise OSError("could not get https://bucket.example/key?X-Amz-Signature=pa55")
        except OSError as error:
            raise RuntimeError("cannot serve") from error

    span = recorded(work)
    assert chain(span) == ["RuntimeError", "OSError"]
    assert "pa55" not in repr(span)
