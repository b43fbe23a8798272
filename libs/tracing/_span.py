"""Spans and the current one.

The current span is one ContextVar. A span knows its parent and is not changed by its children,
so a task that copies the context goes its own way: copy-on-write without a copy. An unsampled
request has one small object for all of its spans.

Every public method is fenced: whatever goes wrong here stays here.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

from libs.tracing._attributes import MOST_ATTRIBUTES, clean_text, clean_value, describe
from libs.tracing._header import TraceContext
from libs.tracing._record import (
    AttributeValue,
    FinishedSpan,
    InnerSpanKind,
    RecordedException,
    SpanKind,
)

# A loop that makes spans without end must not fill the memory: a segment holds this many
# finished ones until its own end, later ones are emitted one by one.
MOST_HELD_SPANS: Final = 200
_MOST_EXCEPTIONS: Final = 5  # that a span records, each with
_MOST_CAUSES: Final = 8  # so many others that it was raised from or is a group of
_MOST_KNOWN_ERRORS: Final = 8
_MOST_FRAMES: Final = 10


class Span:
    """A piece of work, to be used in a `with` statement. This class itself records nothing."""

    __slots__ = ("_context",)

    def __init__(self, context: TraceContext | None) -> None:
        self._context = context

    @property
    def trace_id(self) -> str | None:
        """The trace, also of an unsampled request; None outside of any segment."""
        return self._context.trace_id if self._context else None

    @property
    def sampled(self) -> bool:
        """The decision that goes out with calls to others."""
        return self._context is not None and self._context.sampled

    @property
    def is_recording(self) -> bool:
        """Whether attributes and errors are kept, so that it is worth to work them out."""
        return False

    @property
    def context(self) -> TraceContext | None:
        """What a call made within this span sends on; None outside of any segment."""
        return self._context

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Sets an attribute by its OpenTelemetry name. Without effect after the end."""

    def record_error(self, exc: BaseException, fault: bool, *, throttled: bool = False) -> None:
        """Notes what went wrong. A cancellation is neither error nor fault, and not noted.

        fault: True for a failure of ours or of a dependency (5xx), False for the caller's
        mistake (4xx, a failed condition).
        throttled: refused for too many requests (429).
        """

    def end(self, exc: BaseException | None = None) -> None:
        """Ends the span, `exc` being what its work raised. A `with` statement does this."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(exc)


NO_SPAN: Final = Span(None)


class UnrecordedSegment(Span):
    """The whole of an unsampled request: keeps the trace id and the decision, nothing else."""

    __slots__ = ("_child", "_token")

    def __init__(self, context: TraceContext) -> None:
        self._context = context
        self._child: Span | None = None
        self._token: Token[CurrentSpan] | None = None

    @property
    def child(self) -> Span:
        """The one object that stands for every span within the request."""
        if self._child is None:
            self._child = Span(self._context)
        return self._child

    def __enter__(self) -> Self:
        self._token = current_span.set(self)
        return self

    def end(self, exc: BaseException | None = None) -> None:
        token, self._token = self._token, None
        leave(token)


class OpenSegment:
    """What the spans of one recorded request share."""

    __slots__ = (
        "_clock_offset",
        "_emit",
        "_held",
        "_lock",
        "_monotonic",
        "_recent_errors",
        "new_id",
        "segment_id",
        "trace_id",
        "warn",
    )

    def __init__(
        self,
        trace_id: str,
        *,
        new_id: Callable[[], str],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        emit: "Callable[[list[RecordingSpan]], None]",
        warn: Callable[[Exception], None],
    ) -> None:
        self.trace_id = trace_id
        self.warn = warn
        self.new_id = new_id
        self.segment_id = new_id()
        self._recent_errors: deque[_KnownError] = deque(maxlen=_MOST_KNOWN_ERRORS)
        self._monotonic = monotonic
        # One reading of the wall clock a segment: when it jumps, no span ends before it began.
        self._clock_offset = clock() - monotonic()
        self._emit = emit
        # Spans may end in threads (asyncio.to_thread).
        self._lock = threading.Lock()
        self._held: list[RecordingSpan] | None = []

    def now(self) -> float:
        return self._clock_offset + self._monotonic()

    def finish(self, span: "RecordingSpan") -> None:
        """Holds a span until the segment ends; emits it at once where that has happened."""
        batch = [span]
        with self._lock:
            held = self._held
            if held is not None:
                if span.span_id == self.segment_id:
                    batch += held
                    self._held = None
                    self._recent_errors.clear()
                elif len(held) < MOST_HELD_SPANS:
                    held.append(span)
                    return
        self._emit(batch)

    def remember(self, error: "_KnownError") -> None:
        """Keeps the verdict on an exception for the spans that it passes through."""
        # An exception holds frames, so it is let go when the segment ends.
        with self._lock:
            if self._held is not None:
                self._recent_errors.append(error)

    def known(self, exception: BaseException | None) -> "_KnownError | None":
        for error in tuple(self._recent_errors):
            if error.exception is exception:
                return error
        return None


class RecordingSpan(Span):
    __slots__ = (
        "_attributes",
        "_end",
        "_error",
        "_exceptions",
        "_fault",
        "_inherited_exception",
        "_kind",
        "_name",
        "_parent_id",
        "_recorded",
        "_start",
        "_throttled",
        "_token",
        "segment",
        "span_id",
    )

    def __init__(
        self,
        segment: OpenSegment,
        *,
        span_id: str,
        parent_id: str | None,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, AttributeValue],
    ) -> None:
        super().__init__(TraceContext(segment.trace_id, span_id, sampled=True))
        self.segment: Final = segment
        self.span_id: Final = span_id
        self._parent_id = parent_id
        self._name = name
        self._kind = kind
        self._attributes: dict[str, AttributeValue] = {}
        self._exceptions: list[RecordedException] = []
        self._recorded = 0
        self._inherited_exception: str | None = None
        self._error = False
        self._fault = False
        self._throttled = False
        self._token: Token[CurrentSpan] | None = None
        self._end: float | None = None
        for key, value in attributes.items():
            self.set_attribute(key, value)
        self._start = segment.now()

    @property
    def is_recording(self) -> bool:
        return self._end is None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        with suppress(Exception):
            if self._end is None and (
                key in self._attributes or len(self._attributes) < MOST_ATTRIBUTES
            ):
                self._attributes[clean_text(str(key))] = clean_value(value)

    def record_error(self, exc: BaseException, fault: bool, *, throttled: bool = False) -> None:
        with suppress(Exception):
            if self._end is None and isinstance(exc, Exception):
                self._record(exc, _Verdict(fault=fault, throttled=throttled))

    def end(self, exc: BaseException | None = None) -> None:
        token, self._token = self._token, None
        leave(token)
        if self._end is not None:
            return
        with suppress(Exception):
            if isinstance(exc, Exception):
                self._note_escaping(exc)
        with suppress(Exception):
            self._end = max(self._start, self.segment.now())
            self.segment.finish(self)

    def __enter__(self) -> Self:
        self._token = current_span.set(self)
        return self

    def finished(self) -> FinishedSpan:
        """The record of this span, which has ended."""
        status = self._attributes.get("http.response.status_code")
        if not isinstance(status, int):
            status = 0
        return FinishedSpan(
            trace_id=self.segment.trace_id,
            span_id=self.span_id,
            parent_id=self._parent_id,
            segment_id=self.segment.segment_id,
            name=self._name,
            kind=self._kind,
            start=self._start,
            end=self._start if self._end is None else self._end,
            attributes=self._attributes,
            error=self._error or 400 <= status < 500,
            fault=self._fault or status >= 500,
            throttled=self._throttled or status == 429,
            exceptions=tuple(self._exceptions),
            inherited_exception=self._inherited_exception,
        )

    def _note_escaping(self, exc: Exception) -> None:
        """An exception leaves this span: judged as further down, where it was judged there."""
        known = self.segment.known(exc)
        if known is None:
            self._record(exc, self._verdict_of(exc))
        elif all(recorded.id != known.id for recorded in self._exceptions):
            self._inherited_exception = known.id
            self._mark(known.verdict)

    def _verdict_of(self, exc: BaseException) -> "_Verdict":
        known = self.segment.known(exc) or self.segment.known(_translated(exc))
        if known is not None:
            return known.verdict
        if isinstance(exc, BaseExceptionGroup):
            verdicts = [self._verdict_of(e) for e in exc.exceptions]
            return _Verdict(
                fault=any(verdict.fault for verdict in verdicts),
                throttled=any(verdict.throttled for verdict in verdicts),
            )
        # An exception with an HTTP status is judged by it.
        status = getattr(exc, "status", None)
        if isinstance(status, int) and 400 <= status < 500:
            return _Verdict(fault=False, throttled=status == 429)
        return _Verdict(fault=True, throttled=False)

    def _record(self, exc: Exception, verdict: "_Verdict") -> None:
        self._mark(verdict)
        if self._recorded == _MOST_EXCEPTIONS:
            return
        self._recorded += 1
        for exception, exception_id, caused_by in self._chain(exc):
            self._exceptions.append(
                RecordedException(
                    id=exception_id,
                    type=type(exception).__name__,
                    message=clean_text(describe(exception)),
                    stack=tuple(_frames(exception.__traceback__))[-_MOST_FRAMES:],
                    caused_by=caused_by,
                )
            )
            # Only this one has been judged, not what it was raised from.
            if exception is exc:
                self.segment.remember(_KnownError(exc, exception_id, verdict))

    def _chain(self, exc: Exception) -> list[tuple[BaseException, str, str | None]]:
        """The exception, and behind it what it was raised from or is a group of: each with its id
        and its cause's. What another span has recorded is not there again, only its id is."""
        ids = {id(exc): self.segment.new_id()}
        chain: list[tuple[BaseException, str, str | None]] = []
        pending: deque[BaseException] = deque([exc])
        while pending:
            exception = pending.popleft()
            cause = _cause(exception)
            behind = [] if cause is None else [cause]
            if isinstance(exception, BaseExceptionGroup):
                behind += exception.exceptions[:_MOST_CAUSES]
            for found in behind:
                known = self.segment.known(found)
                if id(found) in ids:
                    pass  # two may be raised from one, even from each other
                elif known is not None:
                    ids[id(found)] = known.id
                elif len(ids) <= _MOST_CAUSES:
                    ids[id(found)] = self.segment.new_id()
                    pending.append(found)
            hidden = self.segment.known(_translated(exception))
            caused_by = ids.get(id(cause)) or (hidden.id if hidden else None)
            chain.append((exception, ids[id(exception)], caused_by))
        return chain

    def _mark(self, verdict: "_Verdict") -> None:
        self._fault = self._fault or verdict.fault
        self._error = self._error or not verdict.fault
        self._throttled = self._throttled or verdict.throttled


CurrentSpan = UnrecordedSegment | RecordingSpan | None

current_span: Final[ContextVar[CurrentSpan]] = ContextVar("lyceum_current_span", default=None)


def start_span(name: str, kind: InnerSpanKind, attributes: Mapping[str, AttributeValue]) -> Span:
    """A span within the current one, whichever tracer made that; see `Tracer.span`."""
    parent = current_span.get()
    if parent is None:
        return NO_SPAN
    if isinstance(parent, UnrecordedSegment):
        return parent.child
    try:
        return RecordingSpan(
            parent.segment,
            span_id=parent.segment.new_id(),
            parent_id=parent.span_id,
            name=name,
            kind=kind,
            attributes=attributes,
        )
    except Exception as problem:
        with suppress(Exception):
            parent.segment.warn(problem)
        return NO_SPAN


class _Verdict:
    __slots__ = ("fault", "throttled")

    def __init__(self, *, fault: bool, throttled: bool) -> None:
        self.fault = fault
        self.throttled = throttled


class _KnownError:
    __slots__ = ("exception", "id", "verdict")

    def __init__(self, exception: Exception, recorded_id: str, verdict: _Verdict) -> None:
        self.exception = exception
        self.id = recorded_id
        self.verdict = verdict


def leave(token: "Token[CurrentSpan] | None") -> None:
    """Makes current again what was before."""
    if token is not None:
        # A span can end in another context than it began in (a generator closed elsewhere, a
        # callback); that context's current span is then none of our business.
        with suppress(ValueError):
            current_span.reset(token)


def _translated(exc: BaseException) -> BaseException | None:
    """The exception that this one was raised instead of: `raise X from Y`, `raise X from None`."""
    if exc.__cause__ is not None:
        return exc.__cause__
    return exc.__context__ if exc.__suppress_context__ else None


def _cause(exc: BaseException) -> BaseException | None:
    """The exception that Python would show as this one's cause, or as what it was raised during."""
    if exc.__cause__ is not None or exc.__suppress_context__:
        return exc.__cause__
    return exc.__context__


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    # Not traceback.extract_tb: it reads source files.
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield code.co_filename.rpartition("/")[2], traceback.tb_lineno, code.co_name
        traceback = traceback.tb_next
