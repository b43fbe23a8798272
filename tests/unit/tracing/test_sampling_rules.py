"""Sampling as X-Ray does it: patterns, priorities, a reservoir and a rate."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.tracing import (
    InvalidSamplingRulesError,
    SamplingRule,
    SamplingRules,
    TraceHeader,
    Tracer,
    create_tracer,
    parse_sampling_rules,
)
from libs.tracing._reservoir import Reservoir
from libs.tracing._wildcards import matches
from libs.tracing.testing import InMemoryEmitter

LETTERS = st.text("aAbB/*?.", max_size=12)


def by_expression(pattern: str, text: str) -> bool:
    """What `matches` says, by a regular expression."""
    parts = {"*": ".*", "?": "."}
    expression = "".join(parts.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(expression, text, re.IGNORECASE | re.DOTALL) is not None


@given(pattern=LETTERS, text=LETTERS)
def test_patterns_match_as_a_regular_expression_would(pattern: str, text: str) -> None:
    assert matches(pattern, text) == by_expression(pattern, text)


@given(text=LETTERS, seed=st.integers())
def test_a_pattern_made_of_a_text_matches_it(text: str, seed: int) -> None:
    source = random.Random(seed)
    pattern = "".join(source.choice([letter, "?", "*", letter.swapcase()]) for letter in text)
    assert matches(pattern, text)


def test_a_pattern_of_many_stars_takes_no_exponential_time() -> None:
    """A regular expression would not come back from this one."""
    assert not matches("*a" * 60 + "b", "a" * 1_000)


TIMES = st.lists(
    st.floats(min_value=0, max_value=4, allow_nan=False) | st.sampled_from([0.0, 1.0, 2.0, 3.0])
)


@given(times=TIMES, size=st.integers(min_value=0, max_value=5))
def test_a_reservoir_gives_no_more_than_its_size_in_any_second_and_no_less(
    times: list[float], size: int
) -> None:
    reservoir = Reservoir(size)
    given_at: list[float] = []
    for now in sorted(times):
        in_the_last_second = sum(1 for at in given_at if now - at < 1)
        taken = reservoir.take(now)
        assert taken == (in_the_last_second < size)
        given_at += [now] if taken else []
    for start in given_at:
        assert sum(1 for at in given_at if start <= at < start + 1) <= size


@given(times=TIMES, size=st.integers(min_value=1, max_value=5))
def test_a_clock_that_jumps_about_gets_no_more_out_of_a_reservoir(
    times: list[float], size: int
) -> None:
    reservoir = Reservoir(size)
    latest = 0.0
    given_at = []
    for now in times:
        latest = max(latest, now)
        if reservoir.take(now):
            given_at.append(latest)
    for start in given_at:
        assert sum(1 for at in given_at if start <= at < start + 1) <= size


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def tracer_of(
    *rules: SamplingRule, rate: float = 0.0, clock: Clock | None = None
) -> tuple[Tracer, InMemoryEmitter]:
    emitter = InMemoryEmitter()
    tracer = create_tracer(
        service="course_catalog",
        version="1",
        daemon_address=None,
        rules=SamplingRules(default_rate=rate, rules=rules),
        random=random.Random(7),
        monotonic=clock or Clock(),
        emitter=emitter,
    )
    return tracer, emitter


def is_sampled(
    tracer: Tracer, method: str = "GET", route: str = "/courses", host: str = "api.example"
) -> bool:
    attributes = {"http.request.method": method, "http.route": route, "server.address": host}
    with tracer.segment(f"{method} {route}", attributes=attributes) as span:
        return span.sampled


def test_a_reservoir_is_guaranteed_each_second_and_the_rate_is_for_the_rest() -> None:
    clock = Clock()
    tracer, _ = tracer_of(SamplingRule("all", 0.0, reservoir_size=3), clock=clock)
    assert [is_sampled(tracer) for _ in range(5)] == [True, True, True, False, False]
    clock.seconds += 0.999
    assert not is_sampled(tracer)
    clock.seconds += 0.001
    assert [is_sampled(tracer) for _ in range(4)] == [True, True, True, False]

    tracer, _ = tracer_of(SamplingRule("all", 0.5, reservoir_size=10), clock=Clock())
    sampled = sum(is_sampled(tracer) for _ in range(2010))
    assert 910 < sampled < 1110


@pytest.mark.parametrize(
    ("rule", "fits", "does_not"),
    [
        (
            SamplingRule("r", 1, http_method="p*"),
            [{"method": "PUT"}, {"method": "POST"}],
            [{}],
        ),
        (
            SamplingRule("r", 1, url_path="/Courses/{*"),
            [{"route": "/courses/{courseId}"}],
            [{"route": "/courses"}],
        ),
        (
            SamplingRule("r", 1, host="*.EXAMPLE"),
            [{"host": "api.example"}, {"host": "a.b.example"}],
            [{"host": "api.example.net"}, {"host": ""}],
        ),
        (SamplingRule("r", 1, service_name="COURSE_*"), [{}], []),
        (SamplingRule("r", 1, service_name="content*"), [], [{}]),
    ],
)
def test_each_field_of_a_rule_is_a_pattern_in_either_case(
    rule: SamplingRule, fits: list[dict[str, str]], does_not: list[dict[str, str]]
) -> None:
    tracer, _ = tracer_of(rule)
    # Twice, since what was found is remembered.
    for _ in range(2):
        assert all(is_sampled(tracer, **request) for request in fits)
        assert not any(is_sampled(tracer, **request) for request in does_not)


def test_the_lowest_priority_goes_first_and_names_decide_among_equals() -> None:
    tracer, emitter = tracer_of(
        SamplingRule("general", 0, priority=20),
        SamplingRule("b", 1, priority=10, url_path="/courses"),
        SamplingRule("a", 1, priority=10, url_path="/courses", http_method="PUT"),
        SamplingRule("hosts", 1, priority=5, host="internal"),
    )
    assert is_sampled(tracer)
    assert is_sampled(tracer, "PUT")
    assert is_sampled(tracer, host="internal")
    assert not is_sampled(tracer, route="/progress")
    rules = [document["aws"]["xray"]["sampling_rule_name"] for document in emitter.documents()]
    assert rules == ["b", "a", "hosts"]


def test_what_a_request_does_not_have_only_a_star_fits() -> None:
    """A message has neither method nor path: a rule for uploads is none for messages."""
    tracer, _ = tracer_of(SamplingRule("uploads", 1, http_method="POST", url_path="/content"))
    with tracer.message_segment("process CourseChanged", {}) as segment:
        assert not segment.sampled
    tracer, _ = tracer_of(SamplingRule("all of it", 1, service_name="course_catalog"))
    with tracer.message_segment("process CourseChanged", {}) as segment:
        assert segment.sampled


def test_a_callers_decision_takes_nothing_out_of_a_reservoir() -> None:
    tracer, _ = tracer_of(SamplingRule("all", 0, reservoir_size=1))
    with tracer.segment("x", header=TraceHeader(None, None, True)) as span:
        assert span.sampled
    assert is_sampled(tracer)
    assert not is_sampled(tracer)


def test_routes_without_end_are_not_remembered_without_end() -> None:
    tracer, _ = tracer_of(SamplingRule("all", 1))
    for number in range(3_000):
        assert is_sampled(tracer, route=f"/courses/{number}")
    table = tracer._samplers[0]._table  # type: ignore[attr-defined]
    assert len(table._candidates) <= 512


def test_rules_are_read_from_json_with_the_fields_of_x_ray() -> None:
    document = [
        {
            "RuleName": "writes",
            "Priority": 10,
            "FixedRate": 0.5,
            "ReservoirSize": 2,
            "ServiceName": "progress*",
            "HTTPMethod": "PUT",
            "URLPath": "/progress/*",
            "Host": "*",
        },
        {"RuleName": "all", "Priority": 9999, "FixedRate": 0},
    ]
    assert parse_sampling_rules(document) == (
        SamplingRule(
            "writes",
            0.5,
            reservoir_size=2,
            priority=10,
            service_name="progress*",
            http_method="PUT",
            url_path="/progress/*",
        ),
        SamplingRule("all", 0, priority=9999),
    )


def test_every_problem_of_the_rules_is_told_at_once() -> None:
    document: list[object] = [
        "all",
        {"RuleName": "no rate", "Priority": 1},
        {"RuleName": "text", "Priority": "1", "FixedRate": True, "Secret": "hunter2"},
        {"RuleName": "far", "Priority": 0, "FixedRate": 1.5, "ReservoirSize": 100_000},
        {"RuleName": "twice", "Priority": 1, "FixedRate": 1, "URLPath": ""},
        {"RuleName": "twice", "Priority": 1, "FixedRate": 1, "URLPath": "x" * 129},
    ]
    with pytest.raises(InvalidSamplingRulesError) as refused:
        parse_sampling_rules(document)
    assert refused.value.problems == (
        "rule 1 must be an object",
        "rule 2: FixedRate is missing",
        "rule 3: Priority must be a whole number",
        "rule 3: FixedRate must be a number",
        "rule 3: only RuleName, Priority, FixedRate, ReservoirSize, ServiceName, HTTPMethod, "
        "URLPath, Host are known",
        "rule far: FixedRate must be between 0 and 1",
        "rule far: ReservoirSize must be between 0 and 1000",
        "rule far: Priority must be between 1 and 9999",
        "rule twice: URLPath must have 1 to 128 characters",
        "rule twice: URLPath must have 1 to 128 characters",
        "rule twice: RuleName must not be there twice",
    )


@pytest.mark.parametrize("document", [{}, "all", 1, None])
def test_rules_that_are_no_array_are_refused(document: object) -> None:
    with pytest.raises(InvalidSamplingRulesError, match="must be an array"):
        parse_sampling_rules(document)


def test_there_is_a_bound_to_the_number_of_rules() -> None:
    rules = [{"RuleName": f"r{n}", "Priority": 1, "FixedRate": 0} for n in range(100)]
    assert len(parse_sampling_rules(rules)) == 100
    with pytest.raises(InvalidSamplingRulesError, match="more than 100 rules"):
        parse_sampling_rules([*rules, *rules])
