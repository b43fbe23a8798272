"""Spans around functions: `@traced("merge")`.

Works on functions of modules, where no tracer is known: the span goes where the current span goes,
and outside of any segment nothing happens. A generator's span is current only while its body runs,
never for whoever takes its items.
"""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from types import FunctionType
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast, get_args

from libs.tracing._record import AttributeValue, InnerSpanKind
from libs.tracing._span import (
    CurrentSpan,
    RecordingSpan,
    Span,
    current_span,
    leave,
    start_span,
)

P = ParamSpec("P")
R = TypeVar("R")

_NO_ATTRIBUTES: Final[Mapping[str, AttributeValue]] = {}
_Start = Callable[[], Span]


class TracedDecorator(Protocol):
    """Gives a function of the same signature."""

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """The function with a span around each call."""
        ...


def traced(
    name: str,
    *,
    kind: InnerSpanKind = "internal",
    attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES,
) -> TracedDecorator:
    """A decorator that runs each call of a function within a span, as `with tracer.span(…)` does.

    Takes functions, coroutine functions, generator functions and asynchronous generator functions,
    and gives one of the same kind. The span of a generator begins with its first item and ends with
    its end, the time between its items included.

    Raises TypeError for what has no call of its own to be traced: a class, a `classmethod` or
    `staticmethod` (put this below them), a coroutine or generator that is already made, and for
    the kinds of a segment; and for a forgotten name.
    """
    if not isinstance(name, str):
        raise TypeError('a span needs a name: @traced("merge")')
    if kind not in get_args(InnerSpanKind):
        raise TypeError(f"a decorated function is one of {get_args(InnerSpanKind)}, not {kind!r}")
    start = functools.partial(start_span, name, kind, dict(attributes))

    def decorate(function: Callable[P, R], /) -> Callable[P, R]:
        _refuse(function)
        return cast(Callable[P, R], _wrapped(function, start))

    return decorate


def _refuse(function: object) -> None:
    if isinstance(function, classmethod | staticmethod):
        kind = type(function).__name__
        raise TypeError(f"put @traced below @{kind}, nearer to the function")
    if isinstance(function, property | functools.cached_property):
        raise TypeError("put @traced below the property, nearer to the function")
    if inspect.isclass(function):
        raise TypeError(f"@traced is for functions, and {function.__name__} is a class")
    if not isinstance(function, FunctionType | functools.partial):
        # An object with __call__ does not tell whether that is a coroutine function, and of what
        # is already running only the rest could be traced.
        raise TypeError(f"@traced is for functions, not for a {type(function).__name__}")


def _wrapped(function: Callable[..., Any], start: _Start) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return _async_generator(function, start)
    if inspect.isgeneratorfunction(function):
        return _generator(function, start)
    if inspect.iscoroutinefunction(function):
        return _coroutine(function, start)
    return _function(function, start)


def _function(function: Callable[..., Any], start: _Start) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        # A look at the variable is all that an unsampled request pays.
        if type(current_span.get()) is not RecordingSpan:
            return function(*args, **kwargs)
        with start():
            return function(*args, **kwargs)

    return call


def _coroutine(function: Callable[..., Any], start: _Start) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        if type(current_span.get()) is not RecordingSpan:
            return await function(*args, **kwargs)
        with start():
            return await function(*args, **kwargs)

    return call


class _Body:
    """The span of a generator, and what is current where its body stands still.

    A body can stand still within a span of its own; that one is then none of the caller's, and is
    current again when the body goes on.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self._current: CurrentSpan = span if isinstance(span, RecordingSpan) else current_span.get()

    def __enter__(self) -> None:
        self._token = current_span.set(self._current)

    def __exit__(self, *_: object) -> None:
        self._current = current_span.get()
        leave(self._token)


def _generator(
    function: Callable[..., Generator[Any, Any, Any]], start: _Start
) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator = function(*args, **kwargs)
        if type(current_span.get()) is not RecordingSpan:
            return (yield from generator)
        body = _Body(start())
        step: Callable[[Any], Any] = generator.send
        sent: Any = None
        try:
            while True:
                with body:
                    item = step(sent)
                try:
                    sent = yield item
                    step = generator.send
                except GeneratorExit:
                    with body:
                        generator.close()
                    raise
                except BaseException as error:
                    step, sent = generator.throw, error
        except StopIteration as stop:
            body.span.end()
            return stop.value
        except BaseException as error:
            body.span.end(error)
            raise

    return call


def _async_generator(
    function: Callable[..., AsyncGenerator[Any, Any]], start: _Start
) -> Callable[..., Any]:
    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        body = _Body(start())
        step: Callable[[Any], Any] = generator.asend
        sent: Any = None
        try:
            while True:
                with body:
                    item = await step(sent)
                try:
                    sent = yield item
                    step = generator.asend
                except GeneratorExit:
                    with body:
                        await generator.aclose()
                    raise
                except BaseException as error:
                    step, sent = generator.athrow, error
        except StopAsyncIteration:
            body.span.end()
        except BaseException as error:
            body.span.end(error)
            raise

    return call
