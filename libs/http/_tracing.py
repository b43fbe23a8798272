"""One segment a request, continuing the caller's trace and telling the caller which it was.

Owns the trace headers and the server's attributes. It lives here and not in `libs.tracing` because
only this layer knows the route.
"""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from libs.http._access_log import route_template
from libs.http._access_log_policy import METHODS
from libs.http._keys import SPAN
from libs.http._validation import is_identifier
from libs.logging import bind
from libs.tracing import (
    TRACE_HEADER,
    Span,
    TraceHeader,
    Tracer,
    format_header,
    parse_header,
    parse_traceparent,
)

# The part of a path, by its name in the route, that traces can be searched for. Ids of contents
# are not among them: there are too many to group by, and X-Ray keeps 50 annotations a trace.
_COURSE = "courseId"


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
            # What the decision needs; all else is worked out for those that are recorded.
            attributes={
                "http.request.method": method,
                "http.route": route,
                "server.address": request.host,
            },
        ) as span:
            request[SPAN] = span
            if span.is_recording:
                _describe(span, request)
            context = span.context
            if context is None:
                return await handler(request)
            bind(traceId=context.trace_id)
            # A client that hangs up cancels this: the span notes no error of it.
            response = await handler(request)
            if span.is_recording:
                span.set_attribute("http.response.status_code", response.status)
            response.headers[TRACE_HEADER] = format_header(context)
            return response

    return trace


def _describe(span: Span, request: web.Request) -> None:
    span.set_attribute("url.scheme", request.scheme)
    span.set_attribute("user_agent.original", request.headers.get("User-Agent", ""))
    course = request.match_info.get(_COURSE)
    # Only what is an id: any other text could be anything, and a client's to choose.
    if course is not None and is_identifier(course):
        span.set_attribute("lyceum.course", course)


def _incoming(request: web.Request) -> TraceHeader | None:
    """X-Amzn-Trace-Id decides; traceparent is honoured when it comes alone."""
    amazon = request.headers.get(TRACE_HEADER)
    if amazon is not None:
        return parse_header(amazon)
    traceparent = request.headers.get("traceparent")
    return None if traceparent is None else parse_traceparent(traceparent)
