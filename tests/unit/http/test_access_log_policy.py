"""Which requests have a line, which are slow, and what a slow one tells."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from libs.circuit_breaker.testing import ManualClock
from libs.http import AccessLogPolicy, note_dependency_call
from libs.http._dependency_calls import MAX_CALLS, DependencyCalls
from libs.logging.testing import captured_logs
from libs.tracing import SamplingRules, Tracer, create_tracer
from tests.unit.http.sample_app import Sample, lines, running


class Timed(Sample):
    """A sample whose requests take as long as its handlers say, by a clock of its own."""

    def __init__(self, policy: AccessLogPolicy) -> None:
        super().__init__()
        self.manual = ManualClock()
        self.clock = self.manual
        self.access_log = policy

    def routes(self) -> list[web.RouteDef]:
        return [
            *super().routes(),
            web.get("/takes/{milliseconds}", self.takes),
            web.get("/calls", self.calls),
            web.get("/many/{number}", self.many),
        ]

    async def takes(self, request: web.Request) -> web.StreamResponse:
        self.manual.advance(int(request.match_info["milliseconds"]) / 1000)
        return web.Response(status=int(request.query.get("status", "200")))

    async def calls(self, request: web.Request) -> web.StreamResponse:
        self.manual.advance(0.1)

        async def call(operation: str, seconds: float, outcome: str) -> None:
            note_dependency_call(
                dependency="dynamodb", operation=operation, seconds=seconds, outcome=outcome
            )

        self.manual.advance(1.0)
        # Two at the same time, in tasks of their own, as a repository makes them.
        async with asyncio.TaskGroup() as group:
            group.create_task(call("Query", 0.75, "success"))
            group.create_task(call("GetItem", 1.0, "timeout"))
        self.manual.advance(0.5)
        note_dependency_call(
            dependency="s3", operation="HeadObject", seconds=0.25, outcome="success"
        )
        return web.Response()

    async def many(self, request: web.Request) -> web.StreamResponse:
        number = int(request.match_info["number"])
        for call in range(number):
            self.manual.advance(0.01)
            note_dependency_call(
                dependency="dynamodb",
                operation=f"Call{call}",
                seconds=0.01 + (call % 7) / 1000,
                outcome="success",
            )
        return web.Response()


def unsampled() -> Tracer:
    return create_tracer(
        service="sample",
        version="1",
        daemon_address=None,
        rules=SamplingRules(default_rate=0),
        random=random.Random(7),
    )


async def logged(
    policy: AccessLogPolicy, *paths: str, headers: Mapping[str, str] | None = None
) -> list[Mapping[str, Any]]:
    with captured_logs("INFO") as events:
        async with running(Timed(policy), unsampled()) as client:
            for path in paths:
                await client.call("GET", path, headers=headers)
    return lines(events)


def summary(events: list[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    return [(event["event"], event["level"], event["status"]) for event in events]


ALL = ("/takes/1", "/takes/1?status=304", "/takes/1?status=404", "/takes/1?status=503")


@pytest.mark.parametrize(
    ("level", "statuses"),
    [
        ("DEBUG", [200, 304, 404, 503]),
        ("INFO", [200, 304, 404, 503]),
        ("WARNING", [404, 503]),
        ("ERROR", [503]),
        ("CRITICAL", []),
    ],
)
async def test_lines_below_the_level_are_not_written(level: str, statuses: list[int]) -> None:
    events = await logged(AccessLogPolicy(level=level), *ALL)
    assert [event["status"] for event in events] == statuses


async def test_errors_and_slow_requests_are_logged_at_any_rate() -> None:
    events = await logged(AccessLogPolicy(sample_rate=0), *ALL, "/takes/1001")
    assert summary(events) == [
        ("request", "warning", 404),
        ("request", "error", 503),
        ("request", "info", 200),
        ("slow_request", "warning", 200),
    ]


async def test_a_slow_request_is_logged_at_any_level() -> None:
    events = await logged(AccessLogPolicy(level="CRITICAL"), "/takes/1", "/takes/1001")
    assert summary(events) == [("request", "info", 200), ("slow_request", "warning", 200)]


async def test_one_trace_is_logged_whole_or_not_at_all() -> None:
    """Two services with the same rate decide alike, each request of a trace like the others."""
    policy = AccessLogPolicy(sample_rate=0.5)
    for number in range(12):
        trace = {"X-Amzn-Trace-Id": f"Root=1-5f000000-{number * 7919:024x}"}
        first = await logged(policy, "/takes/1", "/takes/2", headers=trace)
        second = await logged(policy, "/me", headers=trace)
        assert (len(first), len(second)) in ((0, 0), (2, 1))


def test_the_rate_is_the_share_that_is_logged() -> None:
    source = random.Random(11)
    ids = [f"1-5f000000-{source.getrandbits(96):024x}" for _ in range(20_000)]
    taken = {
        rate: {
            trace_id
            for trace_id in ids
            if AccessLogPolicy(sample_rate=rate).takes(status=200, trace_id=trace_id)
        }
        for rate in (0.0, 0.1, 0.5, 1.0)
    }
    assert taken[0.0] == set()
    assert len(taken[0.1]) / len(ids) == pytest.approx(0.1, abs=0.01)
    assert len(taken[0.5]) / len(ids) == pytest.approx(0.5, abs=0.02)
    assert taken[1.0] == set(ids)
    # What a low rate logs, a higher one logs too: services with different rates share the traces.
    assert taken[0.1] < taken[0.5]


async def test_health_checks_have_no_line() -> None:
    assert await logged(AccessLogPolicy(slow_seconds=0.000001), "/healthz") == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"level": "LOUD"}, "level must be one of"),
        ({"sample_rate": 1.5}, "sample_rate must be"),
        ({"sample_rate": float("nan")}, "sample_rate must be"),
        ({"slow_seconds": -1}, "slow_seconds must be"),
        ({"level": "", "sample_rate": -1, "slow_seconds": float("inf")}, "level.*rate.*slow"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AccessLogPolicy(**wrong)


@pytest.mark.parametrize(
    ("threshold", "milliseconds", "slow"),
    [(1.0, 1000, False), (1.0, 1001, True), (0.2, 201, True), (0, 60_000, False)],
)
async def test_what_is_slow(threshold: float, milliseconds: int, slow: bool) -> None:
    events = await logged(AccessLogPolicy(slow_seconds=threshold), f"/takes/{milliseconds}")
    assert [event["event"] for event in events] == ["request", *["slow_request"] * slow]


async def test_a_slow_request_tells_where_its_time_went() -> None:
    """Unsampled: nothing was traced, and the line knows all the same."""
    trace_id = "1-5f000000-00000000000000000000abcd"
    _, slow = await logged(
        AccessLogPolicy(), "/calls", headers={"X-Amzn-Trace-Id": f"Root={trace_id};Sampled=0"}
    )
    assert {name: slow[name] for name in ("traceId", "sampled", "route", "method", "sub")} == {
        "traceId": trace_id,
        "sampled": False,
        "route": "/calls",
        "method": "GET",
        "sub": "learner-a",
    }
    assert (slow["durationMs"], slow["dependencyCalls"], slow["dependencyMs"]) == (1600, 3, 2000)
    assert slow["elsewhereMs"] == pytest.approx(350)  # before the calls, and between them
    assert slow["slowestCalls"] == [
        {
            "dependency": "dynamodb",
            "operation": "Query",
            "startMs": 350,
            "durationMs": 750,
            "outcome": "success",
        },
        {
            "dependency": "dynamodb",
            "operation": "GetItem",
            "startMs": 100,
            "durationMs": 1000,
            "outcome": "timeout",
        },
        {
            "dependency": "s3",
            "operation": "HeadObject",
            "startMs": 1350,
            "durationMs": 250,
            "outcome": "success",
        },
    ]


async def test_of_many_calls_the_slowest_are_told() -> None:
    _, slow = await logged(AccessLogPolicy(), "/many/700")
    assert slow["dependencyCalls"] == 700
    assert len(slow["slowestCalls"]) == MAX_CALLS
    assert {call["durationMs"] for call in slow["slowestCalls"]} == {16}


async def test_the_calls_of_one_request_are_not_anothers() -> None:
    events = await logged(AccessLogPolicy(), "/calls", "/takes/1001")
    assert [event["dependencyCalls"] for event in events if event["event"] == "slow_request"] == [
        3,
        0,
    ]


def test_a_call_outside_of_a_request_is_nobodys() -> None:
    note_dependency_call(dependency="jwks", operation="Fetch", seconds=1, outcome="success")


def test_time_that_is_covered_is_counted_once() -> None:
    clock = ManualClock(start=0)
    calls = DependencyCalls(clock, 0)
    for end, seconds in ((2, 2), (2, 1), (3, 1.5), (10, 1)):
        clock.now = end
        calls.note("d", "o", seconds, "success")
    assert calls.covered_seconds() == 4
    assert calls.seconds == 5.5
