"""Structured logs: one JSON object a line, with the request's context, and nothing secret in it.

Owns how an event becomes a line: context, levels, exceptions, redaction, rendering, audit lines,
and the standard library's logging, which goes the same way; documents of metrics share its stream. It must not know HTTP servers, AWS or any
service; the access log is written by the HTTP layer through `get_logger`.
"""

from __future__ import annotations

from libs.logging._audit import AuditAction, AuditOutcome, audit
from libs.logging._configuration import configure
from libs.logging._context import bind, clear, request_context
from libs.logging._logger import BoundLogger, get_logger
from libs.logging._metrics import write_metrics
from libs.logging._redaction import REDACTED, redact_headers, redact_text, redact_url
from libs.logging._values import redact_event

__all__ = [
    "REDACTED",
    "AuditAction",
    "AuditOutcome",
    "BoundLogger",
    "audit",
    "bind",
    "clear",
    "configure",
    "get_logger",
    "redact_event",
    "redact_headers",
    "redact_text",
    "redact_url",
    "request_context",
    "write_metrics",
]
