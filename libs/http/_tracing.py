"""One segment a request, continuing the caller's trace and telling the caller which it was.

Owns the trace headers and the server's attributes. It lives here and not in `libs.tracing` because
only this layer knows the route.
"""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from libs.http._access_log import route_template
from libs.http._access_log_policy import METHODS
from libs.http._keys import SPAN
from libs.logging import bind
from libs.tracing import (
    TRACE_HEADER,
    TraceHeader,
    Tracer,
    format_header,
    parse_header,
    parse_traceparent,
)


def tracing_middleware(tracer: Tracer) -> Middleware:
    """Which requests are recorded is decided by the tracer's rules (health checks never are); each
    gets a trace id, for its log lines and its answer."""

    @web.middleware
    async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_template(request)
        method = request.method if request.method in METHODS else "_OTHER"
        with tracer.segment(
            f"{method} {route}",
            header=_incoming(request),
            attributes={
                "http.request.method": method,
                "http.route": route,
                "url.scheme": request.scheme,
                "server.address": request.host,
                "user_agent.original": request.headers.get("User-Agent", ""),
            },
        ) as span:
            request[SPAN] = span
            context = tracer.current()
            if context is not None:
                bind(traceId=context.trace_id)
            # A client that hangs up cancels this: the span notes no error of it.
            response = await handler(request)
            span.set_attribute("http.response.status_code", response.status)
            if context is not None:
                response.headers[TRACE_HEADER] = format_header(context)
            return response

    return trace


def _incoming(request: web.Request) -> TraceHeader | None:
    """X-Amzn-Trace-Id decides; traceparent is honoured when it comes alone."""
    amazon = request.headers.get(TRACE_HEADER)
    if amazon is not None:
        return parse_header(amazon)
    traceparent = request.headers.get("traceparent")
    return None if traceparent is None else parse_traceparent(traceparent)
