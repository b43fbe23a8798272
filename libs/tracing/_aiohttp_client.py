"""Outgoing HTTP by aiohttp: one span a request, and the trace header sent along."""

from contextlib import suppress
from types import SimpleNamespace
from typing import Final

import aiohttp

from libs.tracing._header import TRACE_HEADER, format_header
from libs.tracing._span import Span
from libs.tracing._tracer import Tracer

_SPAN: Final = "lyceum_span"


def client_trace_config(tracer: Tracer) -> aiohttp.TraceConfig:
    """For `aiohttp.ClientSession(trace_configs=[…])`.

    A request within a segment becomes a span named by its host and carries `X-Amzn-Trace-Id`,
    unless the caller has set one. The span ends with the answer's headers; redirects count to
    their first request. Outside of a segment nothing happens.
    """

    async def started(
        _: aiohttp.ClientSession,
        state: SimpleNamespace,
        params: aiohttp.TraceRequestStartParams,
    ) -> None:
        # What a trace hook raises, the request raises: so none of them may.
        with suppress(Exception):
            _start(tracer, state, params)

    async def ended(
        _: aiohttp.ClientSession,
        state: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        with suppress(Exception):
            _end(state, params.response)

    async def failed(
        _: aiohttp.ClientSession,
        state: SimpleNamespace,
        params: aiohttp.TraceRequestExceptionParams,
    ) -> None:
        with suppress(Exception):
            _fail(state, params.exception)

    config = aiohttp.TraceConfig()
    config.on_request_start.append(started)
    config.on_request_end.append(ended)
    config.on_request_exception.append(failed)
    return config


def _start(tracer: Tracer, state: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
    if tracer.current() is None:
        return
    host = params.url.host or "unknown"
    span = tracer.span(
        host,
        kind="client",
        attributes={
            "http.request.method": params.method,
            # User info and query may be secret; the tracer cuts both off.
            "url.full": str(params.url),
            "server.address": host,
        },
    )
    setattr(state, _SPAN, span)
    if span.context is not None and TRACE_HEADER not in params.headers:
        params.headers[TRACE_HEADER] = format_header(span.context)


def _end(state: SimpleNamespace, response: aiohttp.ClientResponse) -> None:
    span = getattr(state, _SPAN, None)
    if not isinstance(span, Span):
        return
    span.set_attribute("http.response.status_code", response.status)
    length = response.headers.get("Content-Length", "")
    if length.isascii() and length.isdecimal():
        span.set_attribute("http.response.body.size", int(length))
    span.end()


def _fail(state: SimpleNamespace, exception: BaseException) -> None:
    span = getattr(state, _SPAN, None)
    if isinstance(span, Span):
        span.end(exception)
