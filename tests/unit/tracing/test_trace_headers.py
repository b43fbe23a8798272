"""Trace headers as callers send them, rightly and wrongly."""

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from libs.tracing import (
    TraceContext,
    TraceHeader,
    format_header,
    parse_header,
    parse_traceparent,
)

TRACE = "1-5759e988-bd862e3fe1be46a994272793"
PARENT = "53995c3f42cd8ad8"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"Root={TRACE};Parent={PARENT};Sampled=1", TraceHeader(TRACE, PARENT, True)),
        (f"Root={TRACE};Parent={PARENT};Sampled=0", TraceHeader(TRACE, PARENT, False)),
        (f"Root={TRACE};Parent={PARENT};Sampled=?", TraceHeader(TRACE, PARENT, None)),
        (f"Root={TRACE}", TraceHeader(TRACE)),
        (f" Root={TRACE} ; Sampled=1 ", TraceHeader(TRACE, None, True)),
        (f"Sampled=1;Parent={PARENT};Root={TRACE}", TraceHeader(TRACE, PARENT, True)),
        (f"Root={TRACE.upper()};Parent={PARENT.upper()}", TraceHeader(TRACE, PARENT)),
        # A load balancer puts itself in front.
        (f"Self=1-67891234-12456789abcdef012345678;Root={TRACE}", TraceHeader(TRACE)),
        (f"Root={TRACE};Lineage=a87bd80c:1|68fd508a:5|c512fbe3:2", TraceHeader(TRACE)),
        # The SDKs' way to say "not this one" without naming a trace.
        ("Sampled=0", TraceHeader(None, None, False)),
        (
            "Root=1-00000000-000000000000000000000000;Parent=0000000000000000;Sampled=0",
            TraceHeader(None, None, False),
        ),
        # A bad part counts as absent.
        (f"Root={TRACE};Parent=xyz;Sampled=1", TraceHeader(TRACE, None, True)),
        (f"Root={TRACE};Parent=0000000000000000", TraceHeader(TRACE)),
        (f"Root={TRACE};Sampled=yes", TraceHeader(TRACE)),
        (f"Root=nonsense;Parent={PARENT};Sampled=1", TraceHeader(None, None, True)),
        # The first of several.
        (f"Root={TRACE};Root=1-00000001-{'a' * 24}", TraceHeader(TRACE)),
    ],
)
def test_x_ray_headers(value: str, expected: TraceHeader) -> None:
    assert parse_header(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        ";",
        "=",
        "Root",
        "Root=",
        f"Parent={PARENT}",
        f"Root=2{TRACE[1:]}",
        f"Root={TRACE}0",
        f"Root={TRACE[:-1]}",
        f"Root={TRACE}\r\nX-Injected: 1",
        "Root=1-5759e988-bd862e3fe1be46a99427279\N{ARABIC-INDIC DIGIT THREE}",
        f"Root={TRACE};" + "a=b;" * 400,
        "\0",
    ],
)
def test_malformed_x_ray_headers_count_as_absent(value: str) -> None:
    assert parse_header(value) is None


@settings(derandomize=True, database=None)
@given(st.text())
def test_no_text_makes_the_parsers_raise(text: str) -> None:
    for value in (text, f"Root={text};Parent={text};Sampled={text}", f"00-{text}"):
        for header in (parse_header(value), parse_traceparent(value)):
            assert header is None or header.trace_id is not None or header.sampled is not None


@settings(derandomize=True, database=None)
@given(
    trace=st.tuples(st.integers(1, 16**8 - 1), st.integers(1, 16**24 - 1)),
    parent=st.none() | st.integers(1, 16**16 - 1),
    sampled=st.booleans(),
)
def test_what_is_formatted_can_be_parsed(
    trace: tuple[int, int], parent: int | None, sampled: bool
) -> None:
    context = TraceContext(
        f"1-{trace[0]:08x}-{trace[1]:024x}",
        None if parent is None else f"{parent:016x}",
        sampled,
    )
    assert parse_header(format_header(context)) == TraceHeader(
        context.trace_id, context.parent_id, sampled
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01",
            TraceHeader(TRACE, PARENT, True),
        ),
        (
            "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-00",
            TraceHeader(TRACE, PARENT, False),
        ),
        # Other flags than the lowest bit don't matter.
        (
            " 00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-fe ",
            TraceHeader(TRACE, PARENT, False),
        ),
        # A future version may add fields.
        (
            "01-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-03-more",
            TraceHeader(TRACE, PARENT, True),
        ),
    ],
)
def test_w3c_traceparent(value: str, expected: TraceHeader) -> None:
    assert parse_traceparent(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        "ff-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01",
        "00-5759E988BD862E3FE1BE46A994272793-53995c3f42cd8ad8-01",
        "00-00000000000000000000000000000000-53995c3f42cd8ad8-01",
        "00-5759e988bd862e3fe1be46a994272793-0000000000000000-01",
        "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01-more",
        "01-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01more",
        "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-0x",
        "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8",
        "01-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01-" + "x" * 2000,
    ],
)
def test_malformed_traceparents_count_as_absent(value: str) -> None:
    assert parse_traceparent(value) is None
