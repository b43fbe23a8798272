"""Canaries in simulated time: what is led where, what is taken back, and what is told."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.release._calls import Calls
from deploy.release._canary import (
    ON_AWS,
    CanaryLimits,
    CanaryRelease,
    CanaryTools,
    show_traffic,
)
from deploy.release._ecs import ACTIONS
from deploy.release._errors import ReleaseError
from deploy.release._judgement import Policy
from deploy.release._report import Report
from deploy.release._services import SERVICES
from deploy.release._stages import TRAFFIC_ACTIONS
from tests.unit.release.simulated_ecs import (
    Image,
    SimulatedRegistry,
    SimulatedTime,
    refused,
    unreachable,
)
from tests.unit.release.simulated_gateway import Backend, SimulatedGateway

CATALOG = "course_catalog"
OLD, NEW = "balancer:8000", "balancer:8001"
STEPS = [1.0, 10.0, 50.0, 100.0]
# 1 % of 20 requests a second are 60 in this time.
LIMITS = CanaryLimits(Policy(min_requests=40), watch_for=300.0, timeout=120.0)


@dataclass
class Operator:
    """Somebody with the tool, in front of a simulated cloud."""

    cloud: SimulatedGateway
    output: io.StringIO

    def canary(
        self, *, limits: CanaryLimits = LIMITS, cluster: str | None = "lyceum"
    ) -> CanaryRelease:
        time = self.cloud.time
        return CanaryRelease(
            SERVICES[CATALOG],
            CanaryTools(
                calls=self.calls(),
                cluster=cluster,
                report=self.report(),
                clock=time.clock,
                now=self.cloud.now,
                sleep=time.sleep,
                rhythm=ON_AWS,
            ),
            limits,
        )

    def calls(self) -> Calls:
        return Calls(
            self.cloud.clients(),  # type: ignore[arg-type]
            sleep=self.cloud.time.sleep,
            chance=random.Random(1).random,
        )

    def report(self) -> Report:
        return Report(
            self.output,
            io.StringIO(),
            as_json=True,
            clock=self.cloud.time.clock,
            now=lambda: datetime(2026, 11, 26, tzinfo=UTC),
        )

    def told(self, event: str | None = None) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.output.getvalue().splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    @property
    def last(self) -> dict[str, Any]:
        return self.told()[-1]

    @property
    def percents(self) -> list[float]:
        """The shares that were led somewhere else, in order."""
        return [one["percent"] for one in self.told("trafficLed") if not one["wasThere"]]

    @property
    def leads_as_before(self) -> bool:
        stage = self.cloud.stage
        return stage["variables"]["target"] == OLD and "canarySettings" not in stage


def operator(
    new: Backend | None = None,
    *,
    tasks: int = 4,
    monolith_tasks: int = 8,
    **options: Any,
) -> Operator:
    """A service that the monolith still answers for, whose own tasks run already."""
    image = Image(CATALOG, "0.3.0")
    monolith = Image("content_delivery", "1.0.0")
    cloud = SimulatedGateway(
        SimulatedTime(),
        SimulatedRegistry(image, monolith),
        "lyceum-course-catalog",
        {"monolith": OLD, "service": NEW},
        {OLD: Backend(error_rate=0.001), NEW: new or Backend()},
        **options,
    )
    cloud.run(CATALOG, image, desired=tasks)
    cloud.run("monolith", monolith, desired=monolith_tasks)
    cloud.time.sleep(300)  # what is usual here
    cloud.calls.clear()
    cloud.failed.clear()
    return Operator(cloud, io.StringIO())


def from_now_on(*operations: str, happens: Callable[[], BaseException]) -> Callable[[str], None]:
    """A fault of some operations."""

    def fault(called: str) -> None:
        if called in operations:
            raise happens()

    return fault


# It goes well.


def test_a_good_one_is_walked_all_the_way_and_promoted() -> None:
    me = operator()
    assert me.canary().walk(STEPS, None, promote=True) == 0
    assert me.percents == STEPS
    assert [one["outcome"] for one in me.told("stepPassed")] == ["passed"] * 4
    assert me.cloud.stage["variables"]["target"] == NEW
    assert "canarySettings" not in me.cloud.stage
    assert me.last["event"] == "canaryPromoted"
    assert (me.last["from"], me.last["target"]) == ("monolith", "service")
    assert "all to service, promoted (before: monolith)" in me.cloud.stage["description"]
    assert me.cloud.stage["deploymentId"] == "d1"  # Terraform's
    assert me.cloud.failed.get(NEW, 0) == 0


def test_each_step_is_watched_for_its_time() -> None:
    me = operator()
    began = me.cloud.time.now
    me.canary(limits=CanaryLimits(Policy(), watch_for=900.0)).walk([10.0], None)
    assert 900 + ON_AWS.lag <= me.cloud.time.now - began <= 900 + ON_AWS.lag + 60 + 120
    assert me.last["event"] == "canaryPassed"
    assert me.cloud.stage["canarySettings"]["percentTraffic"] == 10
    assert me.cloud.stage["canarySettings"]["stageVariableOverrides"] == {"target": NEW}
    assert "10 % to service passed:" in me.cloud.stage["description"]


def test_tasks_come_first_for_each_step() -> None:
    """As many as the monolith has, for its share; never fewer than there are."""
    me = operator(tasks=1, monolith_tasks=8)
    me.canary(limits=CanaryLimits(Policy(), watch_for=None)).walk(STEPS, None)
    assert [(one["from"], one["to"]) for one in me.told("preScaled")] == [(1, 4), (4, 8)]
    order = [one["event"] for one in me.told() if one["event"] in ("preScaled", "trafficLed")]
    assert order == [
        "trafficLed",
        "trafficLed",
        "preScaled",
        "trafficLed",
        "preScaled",
        "trafficLed",
    ]
    me = operator(tasks=2)
    limits = CanaryLimits(Policy(), watch_for=None, tasks=20)
    assert me.canary(limits=limits).walk([50.0], None) == 0
    assert me.cloud.services[CATALOG].desired == 10


def test_the_calls_are_those_that_an_operator_may_make() -> None:
    me = operator(tasks=1)
    me.canary().walk([50.0, 100.0], None, promote=True)
    me.canary().abort()
    namespaces = {"elbv2": "elasticloadbalancing"}
    called = {
        f"{namespaces.get(service, service)}:{''.join(map(str.capitalize, operation.split('_')))}"
        for service, _, operation in (call.partition(":") for call in me.cloud.calls)
    }
    verbs = {
        "apigateway:GetRestApis": "apigateway:GET",
        "apigateway:GetStage": "apigateway:GET",
        "apigateway:UpdateStage": "apigateway:PATCH",
    }
    used = {verbs.get(action, action) for action in called}
    assert used <= ACTIONS | TRAFFIC_ACTIONS
    assert used >= TRAFFIC_ACTIONS


def test_without_watching_it_is_set_and_said_so() -> None:
    me = operator()
    began = me.cloud.time.now
    assert me.canary(limits=CanaryLimits(Policy(), watch_for=None)).walk([10.0], "service") == 0
    assert me.cloud.time.now - began < 10
    assert me.last["event"] == "canarySet"


def test_without_an_ecs_nothing_is_scaled() -> None:
    me = operator()
    assert me.canary(cluster=None).walk([10.0], None) == 0
    assert me.told("notPreScaled")
    assert not [call for call in me.cloud.calls if call.startswith("ecs:")]


def test_a_version_is_tried_beside_another() -> None:
    """Once the stage leads to the service, its candidate is what is tried."""
    me = operator()
    other = "balancer:8101"
    me.cloud.stage["variables"] |= {"target": NEW, "target_candidate": other}
    me.cloud.backends[other] = Backend()
    me.cloud.registry.images.append(Image(CATALOG, "0.4.0"))
    me.cloud.run(f"{CATALOG}-candidate", me.cloud.registry.images[-1], desired=1)
    assert me.canary().walk([50.0], None) == 0
    assert me.last["target"] == "candidate"
    assert me.cloud.services[f"{CATALOG}-candidate"].desired == 2  # of the service's four


# It goes wrong, and is taken back.


@pytest.mark.parametrize("counts_all", [False, True], ids=["apart", "counted twice"])
@pytest.mark.parametrize(
    ("bad", "why"),
    [(Backend(error_rate=0.3), "requests failed"), (Backend(latency_ms=400.0), "p99")],
    ids=["errors", "slow"],
)
def test_a_bad_one_is_aborted_at_the_first_step(bad: Backend, why: str, counts_all: bool) -> None:
    me = operator(bad, counts_all=counts_all)
    assert me.canary().walk(STEPS, None, promote=True) == 1
    assert me.percents == [1]
    assert me.last["event"] == "canaryAborted"
    assert why in me.last["reason"]
    assert me.leads_as_before
    assert f"1 % to service aborted: {me.last['reason']}" in me.cloud.stage["description"]


def test_errors_are_seen_long_before_the_time_is_over() -> None:
    me = operator(Backend(error_rate=1.0))
    began = me.cloud.time.now
    me.canary(limits=CanaryLimits(Policy(), watch_for=3_600.0)).walk([10.0], None)
    assert me.cloud.time.now - began < 300


def test_what_goes_bad_at_a_later_step_is_taken_back_there() -> None:
    me = operator()

    def overload() -> None:
        if me.cloud.stage.get("canarySettings", {}).get("percentTraffic", 0) >= 50:
            me.cloud.backends[NEW] = Backend(error_rate=0.2)

    me.cloud.time.every_step.append(overload)
    assert me.canary().walk(STEPS, None, promote=True) == 1
    assert me.percents == [1, 10, 50]
    assert me.leads_as_before


def test_with_all_requests_it_is_compared_with_before() -> None:
    me = operator(Backend(error_rate=0.05))
    assert me.canary().walk([100.0], None) == 1
    assert me.leads_as_before


def test_no_traffic_is_no_proof() -> None:
    me = operator(requests_a_second=0.0)
    assert me.canary().walk([10.0], None) == 1
    assert me.last["reason"] == "only 0 requests, at least 40 are needed"
    assert me.leads_as_before


def test_an_outage_of_both_sides_is_no_time_for_it() -> None:
    me = operator()
    me.cloud.time.after(
        120, lambda: me.cloud.backends.update({OLD: Backend(0.5), NEW: Backend(0.5)})
    )
    assert me.canary().walk([10.0], None) == 1
    assert "of the stable side" in me.last["reason"]


def test_too_few_healthy_tasks_get_no_requests() -> None:
    me = operator(tasks=4)

    def sick() -> None:
        for task in me.cloud.services[CATALOG].tasks:
            task.healthy = False

    sick()
    me.cloud.time.every_step.append(sick)
    assert me.canary().walk([50.0], None) == 1
    assert "healthy tasks of 4 after 120 s" in me.last["reason"]
    assert me.percents == []
    assert me.leads_as_before


def test_a_service_without_tasks_gets_no_requests() -> None:
    me = operator(tasks=0, monolith_tasks=0)
    assert me.canary().walk([10.0], None) == 1
    assert "has no tasks: --tasks says" in me.last["reason"]


# AWS, and other people.


def test_throttled_calls_and_a_short_outage_change_nothing() -> None:
    me = operator()
    down = from_now_on("get_metric_data", "get_stage", happens=unreachable)
    me.cloud.time.after(200, lambda: me.cloud.faults.append(down))
    me.cloud.time.after(330, me.cloud.faults.clear)
    assert me.canary().walk([10.0], None) == 0
    assert len(me.told("awsUnavailable")) >= 1


def test_what_can_not_be_seen_has_not_passed() -> None:
    me = operator()
    denied = from_now_on("get_metric_data", happens=lambda: refused("AccessDenied"))
    me.cloud.time.after(200, lambda: me.cloud.faults.append(denied))
    assert me.canary().walk([10.0], None) == 1
    assert "AccessDenied" in me.last["reason"]
    assert me.leads_as_before


def test_where_it_can_not_be_taken_back_that_is_said_loudest() -> None:
    me = operator(Backend(error_rate=0.5))
    broken = from_now_on("update_stage", happens=lambda: refused("AccessDenied"))
    me.cloud.time.after(60, lambda: me.cloud.faults.append(broken))
    assert me.canary().walk([10.0], None) == 3
    assert me.last["event"] == "abortFailed"
    assert "requests failed" in me.last["reason"]
    assert "AccessDenied" in me.last["trouble"]


def test_an_unanswered_change_is_not_taken_for_none() -> None:
    me = operator()
    me.cloud.faults.append(from_now_on("update_stage", happens=unreachable))
    assert me.canary().walk([10.0], None) == 3
    assert me.last["event"] == "lostSight"
    assert me.last["hasBegun"]
    assert "not known" in me.last["reason"]


@pytest.mark.parametrize(
    "operation", ["get_rest_apis", "get_stage", "get_metric_data", "update_stage"]
)
def test_what_is_refused_beforehand_changes_nothing(operation: str) -> None:
    me = operator()
    me.cloud.faults.append(from_now_on(operation, happens=lambda: refused("AccessDenied")))
    with pytest.raises(ReleaseError, match="AccessDenied"):
        me.canary().walk([10.0], None)
    assert me.leads_as_before


def test_somebody_elses_move_is_left_alone() -> None:
    me = operator()

    def somebody() -> None:
        me.cloud.stage = {
            **me.cloud.stage,
            "canarySettings": {**me.cloud.stage["canarySettings"], "percentTraffic": 33.0},
        }

    me.cloud.time.after(200, somebody)
    assert me.canary().walk(STEPS, None) == 3
    assert me.last["event"] == "leftAsItIs"
    assert me.last["reason"].endswith("33 % to service")
    assert me.cloud.stage["canarySettings"]["percentTraffic"] == 33


def test_the_stage_being_without_words_stops_nothing() -> None:
    me = operator()

    def no_words(called: str) -> None:
        canary = me.cloud.stage.get("canarySettings")
        if called == "update_stage" and canary and me.cloud.time.now > began + 300:
            raise refused("LimitExceeded")

    began = me.cloud.time.now
    me.cloud.faults.append(no_words)
    assert me.canary().walk([10.0], None) == 0
    assert me.told("notDescribed")


# Again, and by hand.


def test_the_same_command_takes_it_up_again() -> None:
    me = operator()
    me.canary().walk([1.0, 10.0], None)
    me.output.truncate(0)
    me.output.seek(0)
    assert me.canary().walk(STEPS, None) == 0
    assert [(one["percent"], one["wasThere"]) for one in me.told("trafficLed")] == [
        (10, True),
        (50, False),
        (100, False),
    ]


def test_a_single_step_may_go_down() -> None:
    me = operator()
    me.canary().walk([50.0], None)
    assert me.canary().walk([10.0], None) == 0
    assert me.cloud.stage["canarySettings"]["percentTraffic"] == 10


def test_a_stop_leaves_the_canary_and_says_so() -> None:
    me = operator()
    canary = me.canary()

    class Stop(BaseException):
        pass

    def stop() -> None:
        raise Stop

    me.cloud.time.after(200, stop)
    with pytest.raises(Stop):
        canary.walk([10.0], None)
    assert canary.stopped(130) == 130
    assert me.last["event"] == "stopped"
    assert "10 % of the requests still go to the canary" in me.last["reason"]
    assert me.cloud.stage["canarySettings"]["percentTraffic"] == 10


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("nowhere", "there is no target 'nowhere'; there are monolith, service"),
        ("monolith", "requests go to monolith already"),
    ],
)
def test_where_it_can_not_be_led(to: str, said: str) -> None:
    me = operator()
    with pytest.raises(ReleaseError, match=said):
        me.canary().walk([10.0], to)


def test_without_a_candidate_a_service_has_nothing_to_try() -> None:
    me = operator()
    me.cloud.stage["variables"]["target"] = NEW
    with pytest.raises(
        ReleaseError, match="no target is named and it leads to the service already"
    ):
        me.canary().walk([10.0], None)


def test_another_canary_is_refused() -> None:
    me = operator()
    me.cloud.stage["variables"]["target_other"] = "balancer:9"
    me.cloud.backends["balancer:9"] = Backend()
    me.canary(limits=CanaryLimits(Policy(), watch_for=None)).walk([10.0], "other")
    with pytest.raises(ReleaseError, match=r"has a canary to other already \(10 %\)"):
        me.canary().walk([10.0], "service")


def test_a_dry_run_changes_nothing_and_says_all() -> None:
    me = operator(tasks=1)
    assert me.canary().walk(STEPS, None, promote=True, dry_run=True) == 0
    assert [one["then"] for one in me.told("wouldLead")] == [
        "1 % to service",
        "10 % to service",
        "50 % to service, course_catalog with 4 tasks instead of 1",
        "100 % to service, course_catalog with 8 tasks instead of 1",
        "all to service",
    ]
    assert me.canary().abort(dry_run=True) == 0
    assert me.cloud.patches == []
    assert "ecs:update_service" not in me.cloud.calls


def test_promotion_wants_all_requests_or_force() -> None:
    me = operator()
    with pytest.raises(ReleaseError, match="has no canary"):
        me.canary().promote()
    unwatched = CanaryLimits(Policy(), watch_for=None)
    me.canary(limits=unwatched).walk([50.0], None)
    with pytest.raises(ReleaseError, match="gets 50 % of the requests"):
        me.canary().promote()
    assert me.canary().promote(force=True, dry_run=True) == 0
    assert me.cloud.stage["variables"]["target"] == OLD
    assert me.canary().promote(force=True) == 0
    assert me.cloud.stage["variables"]["target"] == NEW
    # In one call: there is no moment in which requests go nowhere.
    assert [one["path"] for one in me.cloud.patches[-1]] == [
        "/variables/target",
        "/canarySettings",
        "/description",
    ]


def test_abort_takes_back_and_says_where_there_is_nothing_to() -> None:
    me = operator()
    me.canary(limits=CanaryLimits(Policy(), watch_for=None)).walk([50.0], None)
    assert me.canary().abort() == 0
    assert me.leads_as_before
    assert "50 % to service aborted by hand" in me.cloud.stage["description"]
    assert me.canary().abort() == 0
    assert me.last["event"] == "nothingToAbort"


@pytest.mark.parametrize("command", ["promote", "abort"])
def test_an_unanswered_end_is_not_taken_for_none(command: str) -> None:
    me = operator()
    me.canary(limits=CanaryLimits(Policy(), watch_for=None)).walk([100.0], None)
    me.cloud.faults.append(from_now_on("update_stage", happens=unreachable))
    assert getattr(me.canary(), command)() == 3
    assert me.last["event"] == "lostSight"


def test_status_tells_the_next_operator() -> None:
    me = operator()
    me.canary().walk([10.0], None)
    show_traffic(SERVICES[CATALOG], me.calls(), me.report())
    assert me.last["event"] == "serviceTraffic"
    assert (me.last["target"], me.last["canaryTarget"]) == ("monolith", "service")
    assert me.last["canaryPercent"] == 10
    assert "10 % to service passed" in me.last["description"]
    me.cloud.faults.append(from_now_on("get_rest_apis", happens=lambda: refused("AccessDenied")))
    show_traffic(SERVICES[CATALOG], me.calls(), me.report())
    assert me.last["event"] == "noTraffic"
