"""Sampling by local rules, and what an unsampled request costs: no span is built."""

import random

import pytest

from libs.tracing import (
    SamplingRule,
    SamplingRules,
    TraceContext,
    TraceHeader,
    Tracer,
    create_tracer,
    format_header,
)
from libs.tracing.testing import InMemoryEmitter

TRACE = "1-5759e988-bd862e3fe1be46a994272793"


def tracer_with(rules: SamplingRules, emitter: InMemoryEmitter) -> Tracer:
    return create_tracer(
        service="catalog",
        version="1",
        daemon_address=None,
        rules=rules,
        random=random.Random(7),
        clock=lambda: 0x5759E988,
        emitter=emitter,
    )


def request(tracer: Tracer, route: str, method: str = "GET", decided: bool | None = None) -> bool:
    header = None if decided is None else TraceHeader(TRACE, None, decided)
    attributes = {"http.request.method": method, "http.route": route}
    with tracer.segment(f"{method} {route}", header=header, attributes=attributes) as span:
        return span.sampled


def test_a_fixed_share_of_requests_is_sampled() -> None:
    emitter = InMemoryEmitter()
    tracer = tracer_with(SamplingRules(default_rate=0.25), emitter)
    sampled = sum(request(tracer, "/courses") for _ in range(4000))
    assert sampled == len(emitter.spans)
    assert 900 < sampled < 1100


def test_rates_of_nought_and_one_are_exact() -> None:
    emitter = InMemoryEmitter()
    assert not any(
        request(tracer_with(SamplingRules(default_rate=0), emitter), "/courses")
        for _ in range(1000)
    )
    assert all(
        request(tracer_with(SamplingRules(default_rate=1), emitter), "/courses")
        for _ in range(1000)
    )


def test_the_first_rule_that_fits_gives_the_rate() -> None:
    rules = SamplingRules(
        default_rate=0,
        rules=(
            SamplingRule("third", 0.0, url_path="/content/{contentId}", priority=3),
            SamplingRule("first", 1.0, url_path="/courses", http_method="POST", priority=1),
            SamplingRule("second", 1.0, url_path="/content/{contentId}", priority=2),
        ),
    )
    tracer = tracer_with(rules, InMemoryEmitter())
    assert request(tracer, "/courses", "POST")
    assert not request(tracer, "/courses", "GET")
    assert request(tracer, "/content/{contentId}", "GET")
    assert request(tracer, "/content/{contentId}", "HEAD")
    assert not request(tracer, "/content/42")


def test_an_incoming_decision_wins_over_the_rules() -> None:
    emitter = InMemoryEmitter()
    assert request(tracer_with(SamplingRules(default_rate=0), emitter), "/courses", decided=True)
    assert not request(
        tracer_with(SamplingRules(default_rate=1), emitter), "/courses", decided=False
    )
    assert [span.trace_id for span in emitter.spans] == [TRACE]


@pytest.mark.parametrize("route", ["/healthz", "/readyz"])
@pytest.mark.parametrize("decided", [None, True])
def test_health_routes_are_never_sampled(route: str, decided: bool | None) -> None:
    emitter = InMemoryEmitter()
    assert not request(tracer_with(SamplingRules(default_rate=1), emitter), route, decided=decided)
    assert emitter.spans == []


def test_an_unsampled_request_keeps_its_trace_and_passes_the_decision_on() -> None:
    tracer = tracer_with(SamplingRules(default_rate=0), InMemoryEmitter())
    assert tracer.current() is None
    with tracer.segment("GET /courses", header=TraceHeader(TRACE, "53995c3f42cd8ad8")) as span:
        assert span.trace_id == TRACE
        current = tracer.current()
        assert current == TraceContext(TRACE, "53995c3f42cd8ad8", sampled=False)
        assert format_header(current) == f"Root={TRACE};Parent=53995c3f42cd8ad8;Sampled=0"
    assert tracer.current() is None


def test_a_request_without_a_header_gets_a_trace_of_its_own() -> None:
    tracer = tracer_with(SamplingRules(default_rate=0), InMemoryEmitter())
    with tracer.segment("one") as one, tracer.segment("two") as two:
        assert one.trace_id is not None
        assert one.trace_id.startswith("1-5759e988-")
        assert one.trace_id != two.trace_id


def test_an_unsampled_request_builds_no_spans() -> None:
    tracer = tracer_with(SamplingRules(default_rate=0), InMemoryEmitter())
    with tracer.segment("GET /courses"):
        with tracer.span("one") as one, tracer.span("two", kind="aws") as two:
            one.set_attribute("key", "value")
            two.record_error(ValueError(), fault=True)
        assert one is two, "one object does for all of them"


def test_without_daemon_and_emitter_decisions_are_passed_on_and_nothing_is_recorded() -> None:
    tracer = create_tracer(
        service="catalog", version="1", daemon_address=None, rules=SamplingRules(default_rate=1)
    )
    with tracer.segment("GET /courses", header=TraceHeader(TRACE)) as segment:
        with tracer.span("one") as one, tracer.span("two") as two:
            assert one is two
        assert segment.sampled
        assert tracer.current() == TraceContext(TRACE, None, sampled=True)


def test_every_rate_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match="default_rate") as caught:
        SamplingRules(
            default_rate=1.5,
            rules=(
                SamplingRule("reads", -0.1),
                SamplingRule("content", 0.5),
                SamplingRule("writes", float("nan"), http_method="PUT"),
            ),
        )
    assert "rule reads: FixedRate" in str(caught.value)
    assert "rule writes: FixedRate" in str(caught.value)
    assert "content" not in str(caught.value)
