"""`@traced`: the same as a `with` statement around the call, for every kind of function."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import aclosing
from typing import Any, assert_type

import pytest

from libs.tracing import FinishedSpan, SamplingRules, TraceHeader, create_tracer, traced
from libs.tracing.testing import InMemoryEmitter, recording_tracer


class NotFoundError(Exception):
    status = 404


@traced("double", attributes={"numbers": "whole"})
def double(number: int, *, times: int = 1) -> int:
    """Twice as much."""
    return 2 * number * times


@traced("load", kind="client")
async def load(name: str) -> str:
    await asyncio.sleep(0)
    with tracer_span("inside"):
        return name.upper()


@traced("page")
def pages(number: int) -> Generator[int, str, str]:
    heard = []
    for page in range(number):
        with tracer_span(f"page {page}"):
            heard.append((yield page))
    return ",".join(map(str, heard))


@traced("stream")
async def stream(number: int) -> AsyncIterator[int]:
    for item in range(number):
        with tracer_span(f"item {item}"):
            await asyncio.sleep(0)
            yield item


TRACER, EMITTER = recording_tracer()
tracer_span = TRACER.span


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    EMITTER.spans.clear()
    yield
    assert TRACER.current() is None


def parents() -> dict[str, str | None]:
    """Each span's parent, by names."""
    names = {span.span_id: span.name for span in EMITTER.spans}
    return {span.name: names.get(span.parent_id or "") for span in EMITTER.spans}


def named(name: str) -> FinishedSpan:
    return EMITTER.named(name)


def test_a_function() -> None:
    with TRACER.segment("request"):
        assert double(3, times=2) == 12
    assert parents() == {"request": None, "double": "request"}
    assert named("double").kind == "internal"
    assert named("double").attributes == {"numbers": "whole"}


async def test_a_coroutine_function() -> None:
    with TRACER.segment("request"):
        assert await load("tides") == "TIDES"
    assert parents() == {"request": None, "load": "request", "inside": "load"}
    assert named("load").kind == "client"


def test_signature_name_and_kind_of_the_function_stay() -> None:
    assert str(inspect.signature(double)) == "(number: int, *, times: int = 1) -> int"
    assert (double.__name__, double.__doc__) == ("double", "Twice as much.")
    assert inspect.iscoroutinefunction(load)
    assert inspect.isgeneratorfunction(pages)
    assert inspect.isasyncgenfunction(stream)
    assert not inspect.iscoroutinefunction(double)


def test_a_method_and_what_stands_above_it() -> None:
    class Repository:
        @traced("method")
        def method(self) -> str:
            return type(self).__name__

        @classmethod
        @traced("class method")
        def of_class(cls) -> str:
            return cls.__name__

        @staticmethod
        @traced("static method")
        def static() -> str:
            return "static"

    with TRACER.segment("request"):
        found = [Repository().method(), Repository.of_class(), Repository.static()]
    assert found == ["Repository", "Repository", "static"]
    assert set(parents()) == {"request", "method", "class method", "static method"}


async def test_partials_of_either_kind() -> None:
    with TRACER.segment("request"):
        assert traced("partial")(functools.partial(double, times=5))(1) == 10
        assert await traced("loading")(functools.partial(load, "x"))() == "X"
    assert parents()["double"] == "partial"
    assert parents()["load"] == "loading"


async def test_a_recursive_call_is_a_span_below() -> None:
    @traced("walk")
    async def walk(depth: int) -> None:
        if depth:
            await walk(depth - 1)

    with TRACER.segment("request") as segment:
        await walk(2)
    outermost, *_ = (span for span in EMITTER.spans if span.parent_id == segment.context.parent_id)  # type: ignore[union-attr]
    assert outermost.name == "walk"
    assert len(EMITTER.spans) == 4


@pytest.mark.parametrize(
    ("exception", "flags"),
    [
        (RuntimeError("bug"), (False, True)),
        (NotFoundError(), (True, False)),
        (asyncio.CancelledError(), (False, False)),
    ],
)
async def test_what_a_function_raises_is_noted_as_in_a_with_statement(
    exception: BaseException, flags: tuple[bool, bool]
) -> None:
    @traced("sync")
    def fail() -> None:
        raise exception

    @traced("async")
    async def fail_later() -> None:
        raise exception

    @traced("generator")
    def fail_within() -> Iterator[int]:
        yield 1
        raise exception

    @traced("stream of it")
    async def fail_streaming() -> AsyncIterator[int]:
        yield 1
        raise exception

    async def take() -> None:
        async for _ in fail_streaming():
            pass

    for name, call in (("sync", fail), ("generator", lambda: list(fail_within()))):
        with pytest.raises(type(exception)) as caught, TRACER.segment("request"):
            call()
        assert caught.value is exception
        assert (named(name).error, named(name).fault) == flags
    for name, start in (("async", fail_later), ("stream of it", take)):
        with pytest.raises(type(exception)) as caught, TRACER.segment("request"):
            await start()
        assert caught.value is exception
        assert (named(name).error, named(name).fault) == flags


def test_a_generator_is_current_only_while_its_body_runs() -> None:
    with TRACER.segment("request") as segment:
        generator = pages(2)
        assert next(generator) == 0
        assert TRACER.current() == segment.context, "not in the body of the loop"
        with TRACER.span("the caller's"):
            assert generator.send("a") == 1
        with pytest.raises(StopIteration) as stop:
            generator.send("b")
        assert stop.value.value == "a,b"
        assert TRACER.current() == segment.context
    assert parents() == {
        "request": None,
        "page": "request",
        "page 0": "page",
        "the caller's": "request",
        "page 1": "page",
    }


def test_what_is_thrown_into_a_generator_arrives_there() -> None:
    @traced("patient")
    def patient() -> Iterator[str]:
        try:
            yield "first"
        except KeyError as error:
            yield f"caught {error.args[0]}"

    with TRACER.segment("request"):
        generator = patient()
        assert isinstance(generator, Generator)
        next(generator)
        assert generator.throw(KeyError("key")) == "caught key"
        assert list(generator) == []
    assert not named("patient").fault


def test_a_generator_that_is_left_is_closed_and_its_span_ended_without_error() -> None:
    closed = []

    @traced("left")
    def left() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(TRACER.current())

    with TRACER.segment("request"):
        for _ in left():
            break
    assert closed[0] is not None
    assert closed[0].parent_id == named("left").span_id
    assert not named("left").fault


async def test_an_async_generator_is_current_only_while_its_body_runs() -> None:
    with TRACER.segment("request") as segment:
        found = []
        async for item in stream(2):
            assert TRACER.current() == segment.context
            with TRACER.span(f"work on {item}"):
                await asyncio.sleep(0)
            found.append(item)
        assert found == [0, 1]
    assert parents() == {
        "request": None,
        "stream": "request",
        "item 0": "stream",
        "item 1": "stream",
        "work on 0": "request",
        "work on 1": "request",
    }


async def test_an_async_generator_that_is_left_is_closed() -> None:
    closed = []

    @traced("left")
    async def left() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    with TRACER.segment("request"):
        generator: Any = left()
        async with aclosing(generator):
            async for _ in generator:
                break
    assert closed == [True]
    assert not named("left").fault


async def test_what_is_sent_and_thrown_into_an_async_generator_arrives_there() -> None:
    @traced("echo")
    async def echo() -> Any:
        heard: object = None
        while True:
            try:
                heard = yield heard
            except KeyError as error:
                heard = f"caught {error.args[0]}"

    with TRACER.segment("request"):
        generator: Any = echo()
        assert await generator.asend(None) is None
        assert await generator.asend("word") == "word"
        assert await generator.athrow(KeyError("key")) == "caught key"
        await generator.aclose()
    assert not named("echo").fault


async def test_interleaved_generators_keep_apart() -> None:
    async def take(number: int) -> None:
        @traced(f"stream {number}")
        async def numbered() -> AsyncIterator[int]:
            for item in range(3):
                await asyncio.sleep(0)
                with TRACER.span(f"item {number}.{item}"):
                    await asyncio.sleep(0)
                    yield item

        async for _ in numbered():
            await asyncio.sleep(0)

    with TRACER.segment("request"):
        await asyncio.gather(*(take(number) for number in range(5)))
    found = parents()
    for number in range(5):
        assert found[f"stream {number}"] == "request"
        assert all(found[f"item {number}.{item}"] == f"stream {number}" for item in range(3))


async def test_outside_of_a_segment_and_unsampled_nothing_happens() -> None:
    async def all_kinds() -> None:
        assert double(1) == 2
        assert await load("a") == "A"
        assert list(pages(2)) == [0, 1]
        assert [item async for item in stream(2)] == [0, 1]

    await all_kinds()
    emitter = InMemoryEmitter()
    never = create_tracer(
        service="s",
        version="1",
        daemon_address=None,
        rules=SamplingRules(default_rate=0),
        emitter=emitter,
    )
    with never.segment("request", header=TraceHeader("1-5759e988-bd862e3fe1be46a994272793")) as it:
        await all_kinds()
        assert never.current() == it.context
    assert emitter.spans == EMITTER.spans == []


async def test_the_span_goes_to_the_tracer_of_the_segment() -> None:
    """The function is of a module that knows no tracer; two services may use it at once."""
    other, emitter = recording_tracer()
    with other.segment("elsewhere"):
        double(1)
    assert [span.name for span in emitter.spans] == ["elsewhere", "double"]
    assert EMITTER.spans == []


def test_the_tracer_has_the_decorator_too() -> None:
    @TRACER.traced("by the tracer")
    def work() -> None:
        pass

    with TRACER.segment("request"):
        work()
    assert parents()["by the tracer"] == "request"


async def coroutine() -> None:
    pass


class Callable:
    def __call__(self) -> None:
        pass


def test_what_cannot_be_traced_is_refused_with_the_reason() -> None:
    made = coroutine()
    try:
        for wrong, reason in (
            (Callable, "Callable is a class"),
            (Callable(), "not for a Callable"),
            (classmethod(lambda cls: None), "below @classmethod"),
            (staticmethod(double), "below @staticmethod"),
            (property(double), "below the property"),
            (made, "not for a coroutine"),
            (pages(1), "not for a generator"),
            (None, "not for a NoneType"),
        ):
            with pytest.raises(TypeError, match=reason):
                traced("x")(wrong)  # type: ignore[arg-type]
    finally:
        made.close()
    with pytest.raises(TypeError, match="needs a name"):
        traced(double)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not 'server'"):
        traced("x", kind="server")  # type: ignore[arg-type]


async def test_a_type_checker_sees_the_same_signature() -> None:
    """The type checker that runs over the tests makes the assertions; they do nothing here."""
    with TRACER.segment("request"):
        assert_type(double(1, times=2), int)
        assert_type(await load("tides"), str)
        assert_type(pages(1), Generator[int, str, str])
        assert_type(stream(1), AsyncIterator[int])
        with pytest.raises(TypeError):
            double("one", 2)  # type: ignore[call-arg, arg-type]
