"""The tracer: decides on sampling, makes segments and spans, hands finished ones to the emitter."""

import logging
import random as random_module
import time
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final

from libs.tracing._decorator import traced
from libs.tracing._header import TraceContext, TraceHeader
from libs.tracing._messages import message_attributes_of, message_header
from libs.tracing._record import AttributeValue, Emitter, InnerSpanKind, SegmentKind
from libs.tracing._sampling import LocalSampler, Sampler, SamplingRules
from libs.tracing._span import (
    NO_SPAN,
    OpenSegment,
    RecordingSpan,
    Span,
    UnrecordedSegment,
    current_span,
    start_span,
)

_log: Final = logging.getLogger(__name__)

_NO_ATTRIBUTES: Final[Mapping[str, AttributeValue]] = {}


class Tracer:
    """Makes segments and spans. A service has one, which `create_tracer` puts together."""

    # Decorators of functions that are made where the tracer is known; `libs.tracing.traced` is for
    # all others.
    traced = staticmethod(traced)

    def __init__(
        self,
        *,
        samplers: Sequence[Sampler],
        never_sampled: Set[str],
        random: random_module.Random,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        emitter: Emitter | None,
    ) -> None:
        self._samplers = tuple(samplers)
        self._never_sampled = never_sampled
        self._random = random
        self._clock = clock
        self._monotonic = monotonic
        self._emitter = emitter
        self._has_warned = False

    def segment(
        self,
        name: str,
        *,
        header: TraceHeader | None = None,
        attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES,
    ) -> Span:
        """The work for one request that this service answers, as a context manager.

        name: the operation, for example "GET /courses/{courseId}"; never a raw path.
        header: what the caller sent. Its trace is continued, its decision kept.
        attributes: `http.request.method`, `http.route` and `server.address` choose the sampling
        rule.
        """
        try:
            return self._segment(name, "server", header, attributes)
        except Exception as problem:
            self._warn(problem)
            return NO_SPAN

    def message_segment(
        self,
        name: str,
        message: Mapping[str, Any],
        *,
        attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES,
    ) -> Span:
        """The work for one message of a queue, as a context manager; a batch has one for each.

        name: the operation, for example "process CourseChanged"; never a part of the message.
        message: as SQS's ReceiveMessage gives it. The trace of the sender is continued where the
        message names it, in any of the ways of `message_header`.
        """
        try:
            return self._segment(
                name,
                "consumer",
                message_header(message),
                {**message_attributes_of(message), **attributes},
            )
        except Exception as problem:
            self._warn(problem)
            return NO_SPAN

    def span(
        self,
        name: str,
        *,
        kind: InnerSpanKind = "internal",
        attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES,
    ) -> Span:
        """Work within the current span, as a context manager.

        Outside of any segment and in an unsampled request nothing is recorded.
        """
        return start_span(name, kind, attributes)

    def current(self) -> TraceContext | None:
        """The current trace, for headers and log lines; None outside of any segment."""
        span = current_span.get()
        return None if span is None else span.context

    def close(self) -> None:
        """Closes the emitter; spans that end later are dropped."""
        emitter, self._emitter = self._emitter, None
        if emitter is not None:
            try:
                emitter.close()
            except Exception as problem:
                self._warn(problem)

    def _segment(
        self,
        name: str,
        kind: SegmentKind,
        header: TraceHeader | None,
        attributes: Mapping[str, AttributeValue],
    ) -> Span:
        trace_id = parent_id = decided = None
        if header is not None:
            trace_id, parent_id, decided = header.trace_id, header.parent_id, header.sampled
        if trace_id is None:
            trace_id = f"1-{int(self._clock()):08x}-{self._random.getrandbits(96):024x}"
        sampled, rule = self._decide(decided, attributes)
        if not sampled or self._emitter is None:
            return UnrecordedSegment(TraceContext(trace_id, parent_id, sampled))
        segment = OpenSegment(
            trace_id,
            new_id=self._new_id,
            clock=self._clock,
            monotonic=self._monotonic,
            emit=self._emit,
            warn=self._warn,
        )
        span = RecordingSpan(
            segment,
            span_id=segment.segment_id,
            parent_id=parent_id,
            name=name,
            kind=kind,
            attributes=attributes,
        )
        if rule is not None:
            span.set_attribute("sampling.rule", rule)
        return span

    def _decide(
        self, decided: bool | None, attributes: Mapping[str, AttributeValue]
    ) -> tuple[bool, str | None]:
        """Whether to trace, and by which rule where no caller has decided."""
        route = attributes.get("http.route")
        if route in self._never_sampled:
            return False, None
        if decided is not None:
            return decided, None
        method, host = attributes.get("http.request.method"), attributes.get("server.address")
        for sampler in self._samplers:
            decision = sampler.decide(
                method=method if isinstance(method, str) else None,
                route=route if isinstance(route, str) else None,
                host=host if isinstance(host, str) else None,
            )
            if decision is not None:
                return decision
        return False, None

    def _new_id(self) -> str:
        return f"{self._random.getrandbits(64):016x}"

    def _emit(self, spans: list[RecordingSpan]) -> None:
        emitter = self._emitter
        if emitter is None:
            return
        try:
            emitter.emit([span.finished() for span in spans])
        except Exception as problem:
            self._warn(problem)

    def _warn(self, problem: Exception) -> None:
        # Once: a broken emitter must not write to the log at the rate of the requests.
        if not self._has_warned:
            self._has_warned = True
            _log.warning("tracing is broken, spans are lost", exc_info=problem)


def create_tracer(
    *,
    service: str,
    version: str,
    daemon_address: str | None,
    rules: SamplingRules,
    random: random_module.Random | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    emitter: Emitter | None = None,
    central: Sampler | None = None,
) -> Tracer:
    """Puts a tracer together.

    service, version: name and version of every segment.
    daemon_address: "host:port" of the UDP daemon (X-Ray's, or the OpenTelemetry collector's
    `awsxray` receiver). None, and no `emitter`: trace ids and decisions are passed on, nothing
    is recorded. A host name is looked up here, once, blocking: call this before readiness.
    random: source of ids and of the sampling.
    clock, monotonic: seconds; the first since 1970, the second for durations.
    emitter: replaces the daemon.
    central: decides before `rules` do, and leaves to them what it has no rule for.

    Raises ValueError for a malformed daemon address. A daemon that is not there is no error.
    """
    if emitter is None and daemon_address is not None:
        emitter = _xray_emitter(daemon_address, service=service, version=version)
    random = random or random_module.Random()  # noqa: S311 - ids, not secrets
    local = LocalSampler(rules, service=service, random=random, monotonic=monotonic)
    return Tracer(
        samplers=[local] if central is None else [central, local],
        never_sampled=rules.never_sampled,
        random=random,
        clock=clock,
        monotonic=monotonic,
        emitter=emitter,
    )


def _xray_emitter(address: str, *, service: str, version: str) -> Emitter:
    # Not at the top: the SDK is for nothing where no daemon is configured.
    from libs.tracing._xray import XRayEmitter

    return XRayEmitter(address, service=service, version=version)
