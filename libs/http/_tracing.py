"""One segment a request, continuing the caller's trace and telling the caller which it was.

Owns the trace headers and the server's attributes. It lives here and not in `libs.tracing` because
only this layer knows the route.
"""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from libs.http._access_log import QUIET_ROUTES, route_template
from libs.http._keys import REQUEST_ID, SPAN
from libs.logging import bind
from libs.tracing import (
    TRACE_HEADER,
    TraceHeader,
    Tracer,
    format_header,
    parse_header,
    parse_traceparent,
)


def tracing_middleware(tracer: Tracer, *, service_name: str) -> Middleware:
    """Health checks get no segment: they would be most of the traces and tell nothing."""

    @web.middleware
    async def trace(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = route_template(request)
        if route in QUIET_ROUTES:
            return await handler(request)
        with tracer.segment(
            service_name,
            header=_incoming(request),
            attributes={
                "http.request.method": request.method,
                "http.route": route,
                "server.address": request.host.partition(":")[0],
                "request.id": request[REQUEST_ID],
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
