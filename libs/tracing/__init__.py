"""Distributed tracing: spans in business terms, X-Ray segment documents on the wire.

Owns: trace ids and their headers, the sampling decision, the current span, the emission.
Must not know: routes, handlers, AWS clients; the HTTP server middleware is in `libs.http`.
Nothing here raises into the code that is traced, and nothing happens at import: the X-Ray SDK
itself is imported by `create_tracer`, and only when there is a daemon to send to.
"""

from libs.tracing._aiohttp_client import client_trace_config
from libs.tracing._central import CentralRules
from libs.tracing._decorator import traced
from libs.tracing._header import (
    TRACE_HEADER,
    TraceContext,
    TraceHeader,
    format_header,
    parse_header,
    parse_traceparent,
)
from libs.tracing._messages import (
    message_header,
    trace_message_attributes,
    trace_system_attributes,
)
from libs.tracing._poller import keep_sampling_fresh
from libs.tracing._pseudonym import pseudonym
from libs.tracing._record import (
    AttributeValue,
    Emitter,
    FinishedSpan,
    RecordedException,
    SpanKind,
)
from libs.tracing._sampling import (
    InvalidSamplingRulesError,
    SamplingRule,
    SamplingRules,
    parse_sampling_rules,
)
from libs.tracing._span import Span
from libs.tracing._tracer import Tracer, create_tracer

__all__ = [
    "TRACE_HEADER",
    "AttributeValue",
    "CentralRules",
    "Emitter",
    "FinishedSpan",
    "InvalidSamplingRulesError",
    "RecordedException",
    "SamplingRule",
    "SamplingRules",
    "Span",
    "SpanKind",
    "TraceContext",
    "TraceHeader",
    "Tracer",
    "client_trace_config",
    "create_tracer",
    "format_header",
    "keep_sampling_fresh",
    "message_header",
    "parse_header",
    "parse_sampling_rules",
    "parse_traceparent",
    "pseudonym",
    "trace_message_attributes",
    "trace_system_attributes",
    "traced",
]
