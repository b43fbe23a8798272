"""The trace headers: X-Ray's own and W3C's. Reads what anybody may send, so it trusts nothing."""

import re
from typing import Final, NamedTuple

TRACE_HEADER: Final = "X-Amzn-Trace-Id"

_LONGEST_HEADER: Final = 1024
_TRACE_ID: Final = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}", re.ASCII)
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_TRACEPARENT: Final = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<future>-.*)?",
    re.ASCII,
)
# What the X-Ray SDKs send for a trace they did not keep.
_NO_TRACE: Final = "1-00000000-000000000000000000000000"
_NO_SPAN: Final = "0000000000000000"
# The header as all but all of them are: a load balancer's or gateway's, and that of AWS's SDKs.
_USUAL: Final = re.compile(
    r"Root=(1-(?!0{8}-0{24})[0-9a-f]{8}-[0-9a-f]{24})"
    r"(?:;Parent=((?!0{16})[0-9a-f]{16}))?(?:;Sampled=([01]))?",
    re.ASCII,
)
_DECISIONS: Final = {"1": True, "0": False}


class TraceHeader(NamedTuple):
    """What a caller said about the trace that this request belongs to.

    trace_id: X-Ray form `1-<8 hex>-<24 hex>`, or None where only a decision was sent.
    parent_id: the caller's span, 16 hex digits.
    sampled: the caller's decision, or None where it leaves that to us.
    """

    trace_id: str | None
    parent_id: str | None = None
    sampled: bool | None = None


class TraceContext(NamedTuple):
    """Where the running code is: the trace, the span that new ones go under, the decision."""

    trace_id: str
    parent_id: str | None
    sampled: bool


def parse_header(value: str) -> TraceHeader | None:
    """Reads `X-Amzn-Trace-Id`, for example `Root=1-…;Parent=…;Sampled=1`.

    None when it holds neither a trace id nor a decision. A malformed part counts as absent, a
    repeated one by its first value. `Self`, which load balancers add, and parts unknown to us
    are passed over.
    https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
    """
    usual = _USUAL.fullmatch(value)
    if usual is not None:
        trace_id, parent_id, sampled = usual.groups()
        return TraceHeader(trace_id, parent_id, _DECISIONS.get(sampled))
    return _parse_parts(value)


def format_header(context: TraceContext) -> str:
    """Writes `X-Amzn-Trace-Id` for an answer or for a request to the next service."""
    parent = f";Parent={context.parent_id}" if context.parent_id else ""
    return f"Root={context.trace_id}{parent};Sampled={int(context.sampled)}"


def parse_traceparent(value: str) -> TraceHeader | None:
    """Reads W3C `traceparent`; None when it is malformed, for then it has to be passed over.

    https://www.w3.org/TR/trace-context/#traceparent-header: lower-case hex, no version ff, no
    all-zero ids, nothing after the flags in version 00.
    """
    match = _TRACEPARENT.fullmatch(value.strip()) if len(value) <= _LONGEST_HEADER else None
    if match is None or match["version"] == "ff":
        return None
    if match["version"] == "00" and match["future"] is not None:
        return None
    trace, parent = match["trace"], match["parent"]
    if trace == "0" * 32 or parent == _NO_SPAN:
        return None
    return TraceHeader(
        trace_id=f"1-{trace[:8]}-{trace[8:]}",
        parent_id=parent,
        sampled=bool(int(match["flags"], 16) & 1),
    )


def _parse_parts(value: str) -> TraceHeader | None:
    if len(value) > _LONGEST_HEADER:
        return None
    parts: dict[str, str] = {}
    for part in value.split(";"):
        key, _, content = part.strip().partition("=")
        parts.setdefault(key, content.strip())
    trace_id = parts.get("Root", "").lower()
    parent_id = parts.get("Parent", "").lower()
    sampled = _DECISIONS.get(parts.get("Sampled", ""))
    has_trace = _TRACE_ID.fullmatch(trace_id) is not None and trace_id != _NO_TRACE
    has_parent = has_trace and _SPAN_ID.fullmatch(parent_id) is not None and parent_id != _NO_SPAN
    if not has_trace and sampled is None:
        return None
    return TraceHeader(
        trace_id=trace_id if has_trace else None,
        parent_id=parent_id if has_parent else None,
        sampled=sampled,
    )
