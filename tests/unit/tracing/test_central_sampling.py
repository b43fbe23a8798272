"""X-Ray's centralised rules with a clock by hand, and a daemon that answers what a test says."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.tracing import CentralRules, SamplingRule, SamplingRules, Tracer, create_tracer
from libs.tracing._central import AnswerError, read_rules_page, read_targets
from libs.tracing._poller import SamplingPoller
from libs.tracing.testing import InMemoryEmitter

EPOCH = 1_800_000_000.0


def record(name: str, **fields: object) -> dict[str, Any]:
    """A rule as GetSamplingRules answers it."""
    rule = {
        "RuleName": name,
        "RuleARN": f"arn:aws:xray:eu-central-1:111122223333:sampling-rule/{name}",
        "ResourceARN": "*",
        "Priority": 100,
        "FixedRate": 0.0,
        "ReservoirSize": 0,
        "ServiceName": "*",
        "ServiceType": "*",
        "Host": "*",
        "HTTPMethod": "*",
        "URLPath": "*",
        "Version": 1,
        "Attributes": {},
        **fields,
    }
    return {"SamplingRule": rule, "CreatedAt": 0.0, "ModifiedAt": 1.5e9}


class Daemon:
    """Answers from memory, and keeps what it was asked."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.pages: list[list[dict[str, Any]]] = [list(records)]
        self.targets: dict[str, dict[str, Any]] = {}
        self.unprocessed: list[dict[str, Any]] = []
        self.modified = 0.0
        self.problem: Exception | None = None
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    async def ask(self, operation: str, body: Mapping[str, Any]) -> object:
        self.asked.append((operation, body))
        if self.problem is not None:
            raise self.problem
        if operation == "GetSamplingRules":
            number = int(body.get("NextToken", "0"))
            following = {} if number + 1 >= len(self.pages) else {"NextToken": str(number + 1)}
            return {"SamplingRuleRecords": self.pages[number], **following}
        names = [document["RuleName"] for document in body["SamplingStatisticsDocuments"]]
        return {
            "SamplingTargetDocuments": [
                {"RuleName": name, **self.targets[name]} for name in names if name in self.targets
            ],
            "LastRuleModification": self.modified,
            "UnprocessedStatistics": self.unprocessed,
        }

    def count(self, operation: str) -> int:
        return [asked for asked, _ in self.asked].count(operation)

    def reports(self) -> list[dict[str, Any]]:
        """The documents of the last report, without id and time."""
        _, body = [asked for asked in self.asked if asked[0] == "SamplingTargets"][-1]
        return [
            {key: value for key, value in document.items() if key.endswith(("Name", "Count"))}
            for document in body["SamplingStatisticsDocuments"]
        ]


class Bench:
    """A tracer whose configured rules take nothing, above X-Ray's rules, and the poller of those."""

    def __init__(self, daemon: Daemon, *, local_rate: float = 0.0) -> None:
        self.seconds = 50.0
        self.wall = EPOCH
        self.daemon = daemon
        self.rules = CentralRules(
            service="course_catalog",
            random=random.Random(3),
            clock=lambda: self.wall + self.seconds,
            monotonic=lambda: self.seconds,
        )
        self.poller = SamplingPoller(
            daemon,
            self.rules,
            client_id="0" * 24,
            random=random.Random(4),
            clock=lambda: self.wall + self.seconds,
            monotonic=lambda: self.seconds,
        )
        self.tracer: Tracer = create_tracer(
            service="course_catalog",
            version="1",
            daemon_address=None,
            rules=SamplingRules(default_rate=local_rate),
            random=random.Random(5),
            monotonic=lambda: self.seconds,
            emitter=InMemoryEmitter(),
            central=self.rules,
        )

    async def turn(self, later: float = 0.0) -> float:
        self.seconds += later
        return await self.poller.turn()

    def requests(self, number: int, route: str = "/courses", method: str = "GET") -> int:
        """How many of so many requests are sampled."""
        sampled = 0
        for _ in range(number):
            attributes = {"http.request.method": method, "http.route": route}
            with self.tracer.segment("x", attributes=attributes) as span:
                sampled += span.sampled
        return sampled


async def test_the_configured_rules_go_until_x_rays_are_there() -> None:
    bench = Bench(Daemon(record("Default", Priority=10_000)), local_rate=1.0)
    assert bench.requests(10) == 10
    await bench.turn()
    assert bench.requests(10) == 0


async def test_rules_are_read_page_by_page_and_tried_by_priority() -> None:
    daemon = Daemon()
    daemon.pages = [
        [record("Default", Priority=10_000)],
        [record("courses", Priority=2, URLPath="/courses*", FixedRate=1)],
        [record("reads", Priority=1, URLPath="/courses", HTTPMethod="get")],
    ]
    bench = Bench(daemon)
    await bench.turn()
    assert [body for _, body in daemon.asked] == [{}, {"NextToken": "1"}, {"NextToken": "2"}]
    assert bench.requests(5, "/courses", "GET") == 0
    assert bench.requests(5, "/courses", "PUT") == 5
    assert bench.requests(5, "/progress", "PUT") == 0


async def test_a_request_that_no_rule_of_x_ray_fits_goes_by_the_configured_ones() -> None:
    bench = Bench(Daemon(record("courses", URLPath="/courses")), local_rate=1.0)
    await bench.turn()
    assert bench.requests(5, "/courses") == 0
    assert bench.requests(5, "/progress") == 5


async def test_rules_that_cannot_be_followed_are_left_out() -> None:
    bench = Bench(
        Daemon(
            record("later", Version=2, FixedRate=1, Priority=1),
            record("one bucket", ResourceARN="arn:aws:s3:::b", FixedRate=1, Priority=2),
            record("attributed", Attributes={"tier": "gold"}, FixedRate=1, Priority=3),
            record("Default", Priority=10_000),
        )
    )
    await bench.turn()
    assert bench.requests(5) == 0


async def test_without_a_quota_one_a_second_is_borrowed() -> None:
    bench = Bench(Daemon(record("all", ReservoirSize=50)))
    await bench.turn()
    assert bench.requests(10) == 1
    bench.seconds += 1
    assert bench.requests(10) == 1
    await bench.turn(later=10)
    assert bench.daemon.reports() == [
        {"RuleName": "all", "RequestCount": 20, "SampledCount": 2, "BorrowCount": 2}
    ]


async def test_a_rule_without_a_reservoir_borrows_nothing() -> None:
    bench = Bench(Daemon(record("all", FixedRate=0)))
    await bench.turn()
    assert bench.requests(10) == 0


async def test_a_quota_is_honoured_until_it_ends() -> None:
    daemon = Daemon(record("all", ReservoirSize=50))
    bench = Bench(daemon)
    await bench.turn()
    bench.requests(3)
    daemon.targets["all"] = {
        "FixedRate": 0,
        "ReservoirQuota": 7,
        "ReservoirQuotaTTL": EPOCH + 80,
        "Interval": 10,
    }
    await bench.turn(later=10)  # 60
    assert bench.requests(20) == 7
    bench.seconds += 19.5
    assert bench.requests(20) == 7
    bench.seconds += 1  # 80.5, past its end: what is left is to borrow
    assert bench.requests(20) == 1


async def test_a_quota_of_nought_is_no_leave_to_borrow() -> None:
    daemon = Daemon(record("all", ReservoirSize=50))
    bench = Bench(daemon)
    await bench.turn()
    bench.requests(1)
    daemon.targets["all"] = {"FixedRate": 0, "ReservoirQuota": 0, "ReservoirQuotaTTL": EPOCH + 90}
    await bench.turn(later=10)
    assert bench.requests(20) == 0


async def test_the_rate_of_a_target_takes_the_place_of_the_rules_rate() -> None:
    daemon = Daemon(record("all", FixedRate=0))
    bench = Bench(daemon)
    await bench.turn()
    assert bench.requests(5) == 0
    daemon.targets["all"] = {"FixedRate": 1}
    await bench.turn(later=10)
    assert bench.requests(5) == 5
    # Reading the same rules again is no reason to forget it.
    await bench.turn(later=300)
    assert daemon.count("GetSamplingRules") == 2
    assert bench.requests(5) == 5
    # A rule that was changed is.
    daemon.pages = [[record("all", FixedRate=0.0, Priority=5), record("x", Priority=9)]]
    daemon.pages[0][0]["SamplingRule"]["FixedRate"] = 0.000001
    daemon.targets.clear()
    await bench.turn(later=301)
    assert bench.requests(5) == 0


async def test_each_rule_is_reported_as_often_as_x_ray_wants() -> None:
    daemon = Daemon(record("courses", URLPath="/courses"), record("other", Priority=200))
    daemon.targets = {
        "courses": {"FixedRate": 0, "Interval": 30},
        "other": {"FixedRate": 0, "Interval": 10},
    }
    bench = Bench(daemon)
    await bench.turn()
    reported = []
    for _ in range(5):
        bench.requests(1, "/courses")
        bench.requests(1, "/progress")
        await bench.turn(later=10)
        reported.append([document["RuleName"] for document in daemon.reports()])
    assert reported == [["courses", "other"], ["other"], ["other"], ["courses", "other"], ["other"]]


async def test_rules_that_were_not_used_are_not_reported() -> None:
    daemon = Daemon(record("courses", URLPath="/courses"), record("other", Priority=200))
    bench = Bench(daemon)
    await bench.turn()
    await bench.turn(later=10)
    assert daemon.count("SamplingTargets") == 0
    bench.requests(2, "/progress")
    await bench.turn(later=1)
    assert [document["RuleName"] for document in daemon.reports()] == ["other"]


async def test_a_modification_is_fetched_at_once_and_once() -> None:
    daemon = Daemon(record("all", FixedRate=0))
    bench = Bench(daemon)
    await bench.turn()
    bench.requests(1)
    daemon.modified = EPOCH + 55
    daemon.pages = [[record("all", FixedRate=1)]]
    await bench.turn(later=10)
    assert daemon.count("GetSamplingRules") == 2
    assert bench.requests(3) == 3
    await bench.turn(later=10)
    assert daemon.count("GetSamplingRules") == 2


async def test_counts_are_reported_once_and_none_is_lost_when_a_report_fails() -> None:
    daemon = Daemon(record("all", FixedRate=1))
    bench = Bench(daemon)
    await bench.turn()
    bench.requests(3)
    daemon.problem = ConnectionRefusedError()
    await bench.turn(later=10)
    bench.requests(2)
    daemon.problem = None
    await bench.turn(later=1)
    assert daemon.reports()[0]["RequestCount"] == 5
    # What X-Ray says that it did not take is reported again.
    bench.requests(4)
    daemon.unprocessed = [{"RuleName": "all", "ErrorCode": "500", "Message": "busy"}]
    await bench.turn(later=10)
    assert daemon.reports()[0]["RequestCount"] == 4
    daemon.unprocessed = []
    await bench.turn(later=10)
    assert daemon.reports()[0]["RequestCount"] == 4
    await bench.turn(later=10)
    assert daemon.count("SamplingTargets") == 4


async def test_what_is_decided_while_a_report_is_under_way_is_in_the_next() -> None:
    daemon = Daemon(record("all", FixedRate=1))
    bench = Bench(daemon)
    await bench.turn()
    bench.requests(3)
    inner = daemon.ask

    async def ask(operation: str, body: Mapping[str, Any]) -> object:
        bench.requests(4)
        return await inner(operation, body)

    daemon.ask = ask  # type: ignore[method-assign]
    await bench.turn(later=10)
    daemon.ask = inner  # type: ignore[method-assign]
    await bench.turn(later=10)
    assert daemon.reports()[0]["RequestCount"] == 4


async def test_without_a_daemon_the_last_rules_go_on_for_an_hour() -> None:
    daemon = Daemon(record("all", FixedRate=1))
    bench = Bench(daemon)
    await bench.turn()
    daemon.problem = ConnectionRefusedError()
    await bench.turn(later=3_599)
    assert bench.requests(5) == 5
    await bench.turn(later=1)
    assert bench.requests(5) == 0
    daemon.problem = None
    await bench.turn(later=1)
    assert bench.requests(5) == 5


async def test_one_log_line_a_change_and_none_in_between(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "libs.tracing")
    daemon = Daemon(record("all"))
    daemon.problem = ConnectionRefusedError("nobody at 10.0.0.7")
    bench = Bench(daemon)
    for _ in range(5):
        await bench.turn(later=60)
    daemon.problem = None
    for _ in range(5):
        await bench.turn(later=60)
    daemon.problem = AnswerError("the answer is not JSON")
    for _ in range(5):
        bench.requests(1)
        await bench.turn(later=60)
    await bench.turn(later=4_000)
    daemon.problem = None
    await bench.turn(later=60)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "central sampling: the daemon gives no answer, the configured rules are in force "
            "(ConnectionRefusedError)",
        ),
        ("INFO", "central sampling: the daemon answers, X-Ray's rules are in force"),
        (
            "WARNING",
            "central sampling: the daemon gives no answer, its last rules go on "
            "(the answer is not JSON)",
        ),
        (
            "WARNING",
            "central sampling: the daemon gives no answer, the configured rules are in force "
            "(the answer is not JSON)",
        ),
        ("INFO", "central sampling: the daemon answers, X-Ray's rules are in force"),
    ]


async def test_the_pause_after_failures_grows_up_to_a_minute_and_ends_with_an_answer() -> None:
    daemon = Daemon(record("all"))
    daemon.problem = TimeoutError()
    bench = Bench(daemon)
    pauses = [await bench.turn() for _ in range(12)]
    for number, pause in enumerate(pauses):
        longest = min(2.0**number, 60.0)
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == len(pauses), "by chance, so that a fleet does not come as one"
    daemon.problem = None
    assert 10 <= await bench.turn() <= 11
    daemon.problem = TimeoutError()
    assert await bench.turn(later=300) <= 1


async def test_a_defect_of_ours_does_not_end_the_task() -> None:
    daemon = Daemon(record("all", FixedRate=1))
    daemon.problem = RuntimeError("a bug")
    bench = Bench(daemon)
    slept: list[float] = []
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        daemon.problem = None
        if len(slept) == 2:
            done.set()
            await asyncio.Event().wait()

    bench.poller._sleep = sleep
    task = asyncio.create_task(bench.poller.run())
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert bench.requests(1) == 1


async def test_pages_without_end_and_rules_without_number_are_refused() -> None:
    endless = Daemon()
    endless.pages = [[record(f"r{number}")] for number in range(50)]
    bench = Bench(endless, local_rate=1)
    await bench.turn()
    assert endless.count("GetSamplingRules") == 20
    assert bench.requests(3) == 3
    many = Daemon()
    many.pages = [[record(f"r{page}-{n}") for n in range(400)] for page in range(3)]
    bench = Bench(many, local_rate=1)
    await bench.turn()
    assert many.count("GetSamplingRules") == 2
    assert bench.requests(3) == 3


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "rules",
        {},
        {"SamplingRuleRecords": {}},
        {"SamplingRuleRecords": [None]},
        {"SamplingRuleRecords": [{}]},
        {"SamplingRuleRecords": [record("")]},
        {"SamplingRuleRecords": [record("x" * 300)]},
        {"SamplingRuleRecords": [record("r", FixedRate=2)]},
        {"SamplingRuleRecords": [record("r", FixedRate=float("nan"))]},
        {"SamplingRuleRecords": [record("r", FixedRate=True)]},
        {"SamplingRuleRecords": [record("r", ReservoirSize=-1)]},
        {"SamplingRuleRecords": [record("r", ReservoirSize=1.5)]},
        {"SamplingRuleRecords": [record("r", Priority="1")]},
        {"SamplingRuleRecords": [record("r", URLPath=None)]},
        {"SamplingRuleRecords": [record("r")], "NextToken": 7},
        {"SamplingRuleRecords": [record("r")], "NextToken": "x" * 10_000},
        {"SamplingRuleRecords": [record("r")] * 501},
    ],
)
def test_rubbish_instead_of_rules_is_refused(answer: object) -> None:
    with pytest.raises(AnswerError):
        read_rules_page(answer)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"SamplingTargetDocuments": {}},
        {"SamplingTargetDocuments": [None]},
        {"SamplingTargetDocuments": [{"RuleName": "r"}]},
        {"SamplingTargetDocuments": [{"RuleName": "r", "FixedRate": -1}]},
        {"SamplingTargetDocuments": [{"RuleName": "r", "FixedRate": 1, "ReservoirQuota": -1}]},
        {"SamplingTargetDocuments": [{"RuleName": "r", "FixedRate": 1, "ReservoirQuotaTTL": "x"}]},
        {"SamplingTargetDocuments": [], "LastRuleModification": float("inf")},
        {"SamplingTargetDocuments": [], "UnprocessedStatistics": "all"},
    ],
)
def test_rubbish_instead_of_targets_is_refused(answer: object) -> None:
    with pytest.raises(AnswerError):
        read_targets(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("SamplingRuleRecords", "SamplingRule", "NextToken", "RuleName"),
                    *("SamplingTargetDocuments", "FixedRate", "ReservoirQuota", "Interval"),
                    *("LastRuleModification", "UnprocessedStatistics", "ReservoirQuotaTTL"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(answer=JSON)
def test_no_answer_raises_anything_but_that_it_is_refused(answer: object) -> None:
    for read in (read_rules_page, read_targets):
        with contextlib.suppress(AnswerError):
            read(answer)


STEPS = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=3, allow_nan=False),  # seconds until
        st.integers(min_value=0, max_value=12),  # so many requests
        st.none() | st.tuples(st.integers(0, 5), st.floats(min_value=-5, max_value=20)),
    ),
    max_size=25,
)


@given(steps=STEPS)
def test_quotas_and_borrowing_keep_within_their_second_and_counts_add_up(
    steps: list[tuple[float, int, tuple[int, float] | None]],
) -> None:
    """Whatever is assigned and when: no second has more than its quota, or than the one borrowed."""
    daemon = Daemon(record("all", ReservoirSize=5))
    bench = Bench(daemon)
    asyncio.run(bench.turn())
    quota, quota_ends = 0, 0.0
    taken: list[tuple[float, str]] = []
    requests = sampled = 0
    for later, number, target in steps:
        bench.seconds += later
        if target is not None and requests > 0:
            quota, quota_ends = target[0], bench.seconds + target[1]
            daemon.targets["all"] = {
                "FixedRate": 0,
                "ReservoirQuota": quota,
                "ReservoirQuotaTTL": max(0.0, EPOCH + quota_ends),
                "Interval": 1,
            }
            bench.seconds += 10
            asyncio.run(bench.turn())
            (reported,) = daemon.reports()
            assert (reported["RequestCount"], reported["SampledCount"]) == (requests, sampled)
            assert reported["BorrowCount"] <= reported["SampledCount"]
            requests = sampled = 0
        for _ in range(number):
            requests += 1
            if bench.requests(1):
                sampled += 1
                # The wall clock's large numbers cost digits: right at the end it may be either.
                if abs(bench.seconds - quota_ends) > 1e-4:
                    kind = "quota" if bench.seconds < quota_ends else "borrowed"
                    taken.append((bench.seconds, kind))
    for at, kind in taken:
        same = [when for when, other in taken if other == kind and at <= when < at + 1]
        assert len(same) <= {"quota": 5, "borrowed": 1}[kind]


def test_a_rule_keeps_its_decisions_per_name() -> None:
    rules = CentralRules(service="s", random=random.Random(1), monotonic=lambda: 1.0)
    assert rules.decide(method=None, route=None, host=None) is None
    rules.load_rules([SamplingRule("everything", 1.0)])
    decision = rules.decide(method=None, route=None, host=None)
    assert decision is not None
    assert (decision.sampled, decision.rule) == (True, "everything")
