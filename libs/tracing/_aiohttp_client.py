"""Outgoing HTTP by aiohttp: one span a request, and the trace header sent along."""

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
        if tracer.current() is None:
            return
        host = params.url.host or "unknown"
        span = tracer.span(
            host,
            kind="client",
            attributes={
                "http.request.method": params.method,
                "url.full": str(params.url.with_query(None).with_fragment(None).with_user(None)),
                "server.address": host,
            },
        )
        setattr(state, _SPAN, span)
        if span.context is not None and TRACE_HEADER not in params.headers:
            params.headers[TRACE_HEADER] = format_header(span.context)

    async def ended(
        _: aiohttp.ClientSession,
        state: SimpleNamespace,
        params: aiohttp.TraceRequestEndParams,
    ) -> None:
        span = getattr(state, _SPAN, None)
        if isinstance(span, Span):
            span.set_attribute("http.response.status_code", params.response.status)
            length = params.response.content_length
            if length is not None:
                span.set_attribute("http.response.body.size", length)
            span.end()

    async def failed(
        _: aiohttp.ClientSession,
        state: SimpleNamespace,
        params: aiohttp.TraceRequestExceptionParams,
    ) -> None:
        span = getattr(state, _SPAN, None)
        if isinstance(span, Span):
            span.end(params.exception)

    config = aiohttp.TraceConfig()
    config.on_request_start.append(started)
    config.on_request_end.append(ended)
    config.on_request_exception.append(failed)
    return config
