"""The traces of the local platform: a receiver (a process of its own), its log, and ``traces``.

Depends on what goes over the wire alone, X-Ray's segment documents over UDP, and on nothing of the
code that sends it: any sender of that format can be looked at.
"""

from deploy.local._traces._command import (
    Platform,
    Query,
    add_arguments,
    query_of,
    show_traces,
)
from deploy.local._traces._document import Span
from deploy.local._traces._trace import Row, Trace, mark_of, read_trace, title_of

__all__ = [
    "Platform",
    "Query",
    "Row",
    "Span",
    "Trace",
    "add_arguments",
    "mark_of",
    "query_of",
    "read_trace",
    "show_traces",
    "title_of",
]
