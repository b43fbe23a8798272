"""Deployments and roll-backs, on an ECS in simulated time: what is done, told and returned."""

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
from deploy.release._deploy import Limits, Release, Tools
from deploy.release._ecs import ACTIONS, Ecs
from deploy.release._errors import ReleaseError
from deploy.release._report import Report
from deploy.release._services import SERVICES
from deploy.release._status import Status
from deploy.release._task_definition import PREVIOUS_TAG, VERSION_TAG
from tests.unit.release.simulated_ecs import (
    Image,
    SimulatedCloud,
    SimulatedRegistry,
    SimulatedTime,
    refused,
    unreachable,
)

OLD = Image("course_catalog", "0.3.0")
NEW = Image("course_catalog", "0.3.1")
CATALOG = "course_catalog"
LIMITS = Limits(timeout=120.0, verify_within=20.0)


@dataclass
class Operator:
    """Somebody with the tool, in front of a simulated cloud."""

    cloud: SimulatedCloud
    output: io.StringIO
    errors: io.StringIO
    service: str = CATALOG

    def release(
        self, *, limits: Limits = LIMITS, alarms: tuple[str, ...] = (), ask: Any = "balancer"
    ) -> Release:
        time = self.cloud.time
        return Release(
            SERVICES[self.service],
            Tools(
                calls=self.calls(),
                cluster="lyceum",
                registry=lambda host: self.cloud.registry,  # type: ignore[arg-type,return-value]
                report=self.report(),
                clock=time.clock,
                sleep=time.sleep,
                ask=self.cloud.ask(SERVICES[self.service].listens) if ask == "balancer" else ask,
            ),
            limits,
            alarms=alarms,
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
            self.errors,
            as_json=True,
            clock=self.cloud.time.clock,
            now=lambda: datetime(2026, 11, 26, tzinfo=UTC),
        )

    def told(self, event: str | None = None) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.output.getvalue().splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    def last(self) -> dict[str, Any]:
        return self.told()[-1]


def operator(
    *images: Image, breaker: bool = True, rolls_back: bool = True, desired: int = 2
) -> Operator:
    """A cloud that runs the first of the images."""
    cloud = SimulatedCloud(
        SimulatedTime(), SimulatedRegistry(*images), breaker=breaker, rolls_back=rolls_back
    )
    service = SERVICES[images[0].service]
    for name in service.rollouts:
        cloud.run(name, images[0], desired=desired)
    cloud.calls.clear()
    return Operator(cloud, io.StringIO(), io.StringIO(), service.name)


def once(
    operation: str, happens: Callable[[], BaseException], times: int = 1
) -> Callable[[str], None]:
    """A fault of the first calls of an operation."""
    left = [times]

    def fault(called: str) -> None:
        if called == operation and left[0] > 0:
            left[0] -= 1
            raise happens()

    return fault


# It goes well.


def test_a_version_is_rolled_out_watched_and_asked_from_outside() -> None:
    me = operator(OLD, NEW)
    assert me.release().deploy("0.3.1") == 0
    assert me.cloud.running_images(CATALOG) == {NEW.reference}
    assert [
        line["event"] for line in me.told() if line["event"] not in ("ecsEvent", "rolloutChanged")
    ] == [
        "planned",
        "taskDefinitionRegistered",
        "rolloutStarted",
        "verified",
        "deployed",
    ]
    done = me.last()
    assert (done["version"], done["hash"]) == ("0.3.1", NEW.hash)
    assert any("deployment completed" in event["message"] for event in me.told("ecsEvent"))


def test_by_digest_it_is_the_same() -> None:
    me = operator(OLD, NEW)
    assert me.release().deploy(NEW.digest) == 0
    assert me.cloud.image_of(CATALOG) == NEW.reference


def test_nothing_but_the_image_is_another_in_the_new_revision() -> None:
    me = operator(OLD, NEW)
    before = me.cloud.services[CATALOG].primary.definition.arn
    me.release().deploy("0.3.1")
    after = me.cloud.services[CATALOG].primary.definition.arn
    old, new = me.cloud.definitions[before], me.cloud.definitions[after]
    assert {**new, "containerDefinitions": ()} == {**old, "containerDefinitions": ()}
    (old_main, *old_rest), (new_main, *new_rest) = (
        one["containerDefinitions"] for one in (old, new)
    )
    assert new_rest == old_rest
    assert new_main == {**old_main, "image": NEW.reference}
    tags = {tag["key"]: tag["value"] for tag in me.cloud.tags[after]}
    assert tags == {"cost-centre": "learning", PREVIOUS_TAG: before, VERSION_TAG: "0.3.1"}


def test_what_runs_already_is_asked_and_nothing_is_changed() -> None:
    me = operator(OLD)
    assert me.release().deploy("0.3.0") == 0
    assert "ecs:update_service" not in me.cloud.calls
    assert "ecs:register_task_definition" not in me.cloud.calls
    assert me.told("verified")


def test_a_service_with_a_second_process_rolls_both() -> None:
    old, new = Image("progress_tracking", "0.3.0"), Image("progress_tracking", "0.3.1")
    me = operator(old, new)
    assert me.release().deploy("0.3.1") == 0
    for name in ("progress_tracking", "progress_tracking-consumer"):
        assert me.cloud.running_images(name) == {new.reference}


def test_a_service_of_no_tasks_is_rolled_without_being_asked() -> None:
    me = operator(OLD, NEW, desired=0)
    assert me.release().deploy("0.3.1") == 0
    assert me.told("notVerified")[0]["reason"] == "none of its tasks listens"


def test_only_documented_actions_are_called() -> None:
    """The list in the README is what an operator's policy allows."""
    sick = Image(CATALOG, "0.3.2", is_sick=True)
    me = operator(OLD, NEW, sick)
    me.cloud.alarms["errors"] = "OK"
    me.release(alarms=("errors",)).deploy("0.3.1")
    me.release(alarms=("errors",)).deploy("0.3.2")
    me.release().rollback({})
    status = Status(
        Ecs(me.calls(), "lyceum"),
        me.report(),
        clock=me.cloud.time.clock,
        sleep=me.cloud.time.sleep,
    )
    status.follow([SERVICES[CATALOG]])
    prefixes = {"ecs": "ecs", "elbv2": "elasticloadbalancing", "cloudwatch": "cloudwatch"}
    called = {
        f"{prefixes[service]}:{''.join(part.title() for part in operation.split('_'))}"
        for service, _, operation in (call.partition(":") for call in me.cloud.calls)
    }
    # Not calls of their own: what registering with tags, and with roles, also needs.
    assert called == ACTIONS - {"ecs:TagResource", "iam:PassRole", "ecs:ListTaskDefinitions"}


# It goes wrong, and is taken back.


@pytest.mark.parametrize("rolls_back", [True, False], ids=["by ECS", "by us"])
@pytest.mark.parametrize(
    "bad",
    [Image(CATALOG, "0.3.1", crashes=True), Image(CATALOG, "0.3.1", is_sick=True)],
    ids=["crashes", "is sick"],
)
def test_what_the_circuit_breaker_gives_up_is_rolled_back(bad: Image, rolls_back: bool) -> None:
    me = operator(OLD, bad, rolls_back=rolls_back)
    assert me.release().deploy("0.3.1") == 1
    assert me.cloud.running_images(CATALOG) == {OLD.reference}
    assert me.cloud.services[CATALOG].primary.rollout == "COMPLETED"
    assert "circuit breaker" in me.told("rolloutFailed")[0]["reason"]
    assert me.last()["event"] == "rolledBack"
    assert me.last()["version"] == "0.3.0"
    assert me.told("verified")[-1]["whose"] == "previous"
    # ECS is told once to go forward; back it goes by itself, or is told.
    assert me.cloud.calls.count("ecs:update_service") == (1 if rolls_back else 2)


def test_why_tasks_ended_is_told() -> None:
    me = operator(OLD, Image(CATALOG, "0.3.1", crashes=True))
    me.release().deploy("0.3.1")
    assert "exited 1" in me.told("taskStopped")[0]["reason"]


def test_what_is_not_done_in_time_is_rolled_back() -> None:
    slow = Image(CATALOG, "0.3.1", starts_within=10_000)
    me = operator(OLD, slow)
    assert me.release().deploy("0.3.1") == 1
    failed = me.told("rolloutFailed")[0]
    assert failed["end"] == "timedOut"
    assert "not done within 120 s" in failed["reason"]
    assert "unhealthy (Health checks failed)" in failed["reason"]
    assert me.cloud.running_images(CATALOG) == {OLD.reference}


def test_what_answers_with_another_version_is_rolled_back() -> None:
    wrong = Image(CATALOG, "0.3.1", says="0.2.9")
    me = operator(OLD, wrong)
    assert me.release().deploy("0.3.1") == 1
    assert "0.2.9" in me.told("rolloutFailed")[0]["reason"]
    assert me.cloud.running_images(CATALOG) == {OLD.reference}


def test_an_alarm_takes_it_back() -> None:
    me = operator(OLD, Image(CATALOG, "0.3.1", starts_within=30))
    me.cloud.alarms["errors"] = "OK"
    me.cloud.time.after(10, lambda: me.cloud.alarms.update(errors="ALARM"))
    assert me.release(alarms=("errors",)).deploy("0.3.1") == 1
    assert me.told("rolloutFailed")[0]["end"] == "alarm"
    assert me.cloud.running_images(CATALOG) == {OLD.reference}


def test_if_one_of_two_fails_both_go_back() -> None:
    old = Image("progress_tracking", "0.3.0")
    sick = Image("progress_tracking", "0.3.1", is_sick=True)
    me = operator(old, sick)
    assert me.release().deploy("0.3.1") == 1
    for name in ("progress_tracking", "progress_tracking-consumer"):
        assert me.cloud.running_images(name) == {old.reference}


def test_if_the_second_can_not_be_updated_the_first_goes_back() -> None:
    old, new = Image("progress_tracking", "0.3.0"), Image("progress_tracking", "0.3.1")
    me = operator(old, new)
    seen = []

    def second_is_denied(operation: str) -> None:
        seen.append(operation)
        if operation == "update_service" and seen.count(operation) == 2:
            raise refused("AccessDeniedException", "not the consumer")

    me.cloud.faults.append(second_is_denied)
    assert me.release().deploy("0.3.1") == 1
    assert "AccessDeniedException" in me.last()["reason"]
    assert me.cloud.running_images("progress_tracking") == {old.reference}


def test_what_ran_the_image_before_is_not_taken_back_with_the_other() -> None:
    old, new = Image("progress_tracking", "0.3.0"), Image("progress_tracking", "0.3.1")
    me = operator(old, new)
    # Only the API runs the new one; the consumer's deployment was never begun.
    me.cloud.deploy_by_somebody_else("progress_tracking", new)
    me.cloud.time.sleep(20)
    me.cloud.faults.append(
        once("update_service", lambda: refused("AccessDeniedException", "not the consumer"))
    )
    with pytest.raises(ReleaseError, match="nothing was rolled out"):
        me.release().deploy("0.3.1")
    assert me.cloud.running_images("progress_tracking") == {new.reference}


def test_a_roll_back_that_fails_is_told_and_is_another_exit_code() -> None:
    me = operator(OLD, Image(CATALOG, "0.3.1", is_sick=True), rolls_back=False)
    updates = []

    def no_way_back(operation: str) -> None:
        if operation == "update_service":
            updates.append(operation)
            if len(updates) > 1:
                raise refused("AccessDeniedException", "no more")

    me.cloud.faults.append(no_way_back)
    assert me.release().deploy("0.3.1") == 3
    assert me.last()["event"] == "rollbackFailed"
    assert "AccessDeniedException" in me.last()["trouble"]
    assert "circuit breaker" in me.last()["reason"]


def test_an_old_version_that_does_not_answer_again_is_a_failed_roll_back() -> None:
    me = operator(OLD, Image(CATALOG, "0.3.1", is_sick=True))
    answers = me.cloud.ask(CATALOG)
    release = me.release(
        ask=lambda: type(answers())(trouble="503") if me.told("rolloutFailed") else answers()
    )
    assert release.deploy("0.3.1") == 3
    assert "503" in me.last()["trouble"]


# Others, meanwhile.


def test_a_roll_out_of_somebody_else_is_not_disturbed() -> None:
    other = Image(CATALOG, "0.4.0", starts_within=30)
    me = operator(OLD, NEW, other)
    me.cloud.deploy_by_somebody_else(CATALOG, other)
    with pytest.raises(ReleaseError, match="a roll-out is in progress, to course_catalog:2"):
        me.release().deploy("0.3.1")
    assert "ecs:update_service" not in me.cloud.calls


def test_or_waited_for() -> None:
    other = Image(CATALOG, "0.4.0", starts_within=30)
    me = operator(OLD, NEW, other)
    me.cloud.deploy_by_somebody_else(CATALOG, other)
    assert me.release().deploy("0.3.1", wait=True) == 0
    assert me.cloud.running_images(CATALOG) == {NEW.reference}


def test_and_waiting_has_its_bound() -> None:
    other = Image(CATALOG, "0.4.0", starts_within=10_000)
    me = operator(OLD, NEW, other)
    me.cloud.deploy_by_somebody_else(CATALOG, other)
    with pytest.raises(ReleaseError, match="did not end within 120 s"):
        me.release().deploy("0.3.1", wait=True)


def test_another_deployment_meanwhile_is_left_alone() -> None:
    other = Image(CATALOG, "0.4.0")
    me = operator(OLD, Image(CATALOG, "0.3.1", starts_within=60), other)
    me.cloud.time.after(15, lambda: me.cloud.deploy_by_somebody_else(CATALOG, other))
    assert me.release().deploy("0.3.1") == 3
    assert me.last()["event"] == "leftAsItIs"
    assert "another deployment was started meanwhile" in me.last()["reason"]
    assert me.cloud.calls.count("ecs:update_service") == 1
    me.cloud.time.sleep(30)
    assert me.cloud.running_images(CATALOG) == {other.reference}


def test_another_deployment_while_it_is_taken_back_is_left_alone() -> None:
    other = Image(CATALOG, "0.4.0", starts_within=60)
    me = operator(OLD, Image(CATALOG, "0.3.1", says="0.2.9"), other)

    def interferes(operation: str) -> None:
        if me.told("rolloutFailed") and not any(
            one.definition.containers[0].image == other.reference
            for one in me.cloud.services[CATALOG].deployments
        ):
            me.cloud.deploy_by_somebody_else(CATALOG, other)

    me.cloud.faults.append(interferes)
    assert me.release().deploy("0.3.1") == 3
    assert me.cloud.image_of(CATALOG) == other.reference


def test_one_that_was_interrupted_is_taken_up_by_the_same_command() -> None:
    slow = Image(CATALOG, "0.3.1", starts_within=20)
    me = operator(OLD, slow)

    class Interrupted(BaseException):
        pass

    def ctrl_c() -> None:
        raise Interrupted

    me.cloud.time.after(8, ctrl_c)
    release = me.release()
    with pytest.raises(Interrupted):
        release.deploy("0.3.1")
    assert release.stopped(130) == 130
    assert "the same command takes up watching" in me.last()["reason"]
    assert me.last()["hasBegun"] is True
    me.cloud.calls.clear()
    assert me.release().deploy("0.3.1") == 0
    assert "ecs:update_service" not in me.cloud.calls
    assert "ecs:register_task_definition" not in me.cloud.calls
    assert me.cloud.running_images(CATALOG) == {slow.reference}


def test_one_that_was_interrupted_can_still_be_taken_back() -> None:
    sick = Image(CATALOG, "0.3.1", is_sick=True)
    me = operator(OLD, sick, breaker=False)
    me.release(limits=Limits(timeout=1, verify_within=1))
    first = me.release()

    class Interrupted(BaseException):
        pass

    def ctrl_c() -> None:
        raise Interrupted

    me.cloud.time.after(4, ctrl_c)
    with pytest.raises(Interrupted):
        first.deploy("0.3.1")
    assert me.release().deploy("0.3.1") == 1
    assert me.cloud.running_images(CATALOG) == {OLD.reference}


def test_stopped_before_anything_was_begun_it_says_so() -> None:
    me = operator(OLD)
    assert me.release().stopped(130) == 130
    assert me.last()["reason"] == "stopped; nothing that runs was changed"


# AWS itself.


def test_throttled_calls_are_repeated() -> None:
    me = operator(OLD, NEW)
    for operation in ("describe_services", "register_task_definition", "update_service"):
        me.cloud.faults.append(once(operation, lambda: refused("ThrottlingException"), times=3))
    assert me.release().deploy("0.3.1") == 0


def test_an_outage_of_the_api_is_sat_out() -> None:
    me = operator(OLD, Image(CATALOG, "0.3.1", starts_within=20))

    def outage(operation: str) -> None:
        if operation == "describe_services" and began + 5 < me.cloud.time.now < began + 60:
            raise unreachable()

    began = me.cloud.time.now
    me.cloud.faults.append(outage)
    assert me.release().deploy("0.3.1") == 0
    assert len(me.told("awsUnavailable")) == 1


def test_an_outage_that_does_not_end_is_not_a_failed_deployment() -> None:
    me = operator(OLD, NEW)

    def outage(operation: str) -> None:
        if "ecs:update_service" in me.cloud.calls and operation != "update_service":
            raise unreachable()

    me.cloud.faults.append(outage)
    assert me.release().deploy("0.3.1") == 3
    assert me.last()["event"] == "lostSight"
    assert me.cloud.calls.count("ecs:update_service") == 1


def test_an_update_that_may_have_arrived_is_not_called_nothing() -> None:
    me = operator(OLD, NEW)
    me.cloud.faults.append(once("update_service", unreachable, times=100))
    assert me.release().deploy("0.3.1") == 3
    assert me.last()["event"] == "lostSight"
    assert me.last()["hasBegun"] is True


def test_an_update_that_was_throttled_for_good_changed_nothing() -> None:
    me = operator(OLD, NEW)
    me.cloud.faults.append(
        once("update_service", lambda: refused("ThrottlingException"), times=100)
    )
    with pytest.raises(ReleaseError, match="nothing was rolled out"):
        me.release().deploy("0.3.1")


def test_credentials_that_expire_are_looked_for_once_more() -> None:
    me = operator(OLD, Image(CATALOG, "0.3.1", starts_within=10))
    began = me.cloud.time.now

    def expired(operation: str) -> None:
        if me.cloud.time.now > began + 5 and me.cloud.renewals == 0:
            raise refused("ExpiredTokenException", "The security token is expired")

    me.cloud.faults.append(expired)
    assert me.release().deploy("0.3.1") == 0
    assert me.cloud.renewals == 1


def test_credentials_that_stay_expired_end_watching_and_nothing_else() -> None:
    me = operator(OLD, Image(CATALOG, "0.3.1", starts_within=10))
    began = me.cloud.time.now

    def expired(operation: str) -> None:
        if me.cloud.time.now > began + 5:
            raise refused("ExpiredTokenException", "The security token is expired")

    me.cloud.faults.append(expired)
    assert me.release().deploy("0.3.1") == 3
    assert "ExpiredTokenException" in me.last()["reason"]
    assert "the same command takes up watching" in me.last()["reason"]


def test_target_health_that_may_not_be_read_is_told_once_and_decides_nothing() -> None:
    me = operator(OLD, NEW)

    def denied(operation: str) -> None:
        if operation == "describe_target_health":
            raise refused("AccessDenied", "not this")

    me.cloud.faults.append(denied)
    assert me.release().deploy("0.3.1") == 0
    assert len(me.told("noTargetHealth")) == 1


def test_answers_of_before_the_update_are_not_taken_for_anything() -> None:
    """DescribeServices is eventually consistent."""
    me = operator(OLD, NEW)
    began = me.cloud.time.now
    me.cloud.stale_until = began + 12
    assert me.release().deploy("0.3.1") == 0


def test_each_event_of_ecs_is_told_once_though_they_come_twice_and_in_disorder() -> None:
    me = operator(OLD, NEW)
    me.cloud.duplicate_events = True
    assert me.release().deploy("0.3.1") == 0
    ids = [event["id"] for event in me.told("ecsEvent")]
    assert len(ids) == len(set(ids)) > 0


# What is refused before anything is changed.


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("9.9.9", "has no lyceum/course_catalog of 9.9.9"), ("sha256:" + "0" * 64, "has no")],
)
def test_an_image_that_is_not_there(wanted: str, message: str) -> None:
    me = operator(OLD)
    with pytest.raises(ReleaseError, match=message):
        me.release().deploy(wanted)
    assert "ecs:register_task_definition" not in me.cloud.calls


def test_a_service_that_is_not_there() -> None:
    me = operator(OLD)
    me.service = "content_delivery"
    with pytest.raises(ReleaseError, match="there is no ECS service content_delivery"):
        me.release(ask=None).deploy("0.3.0")


def test_alarms_that_are_not_there_or_on_are_told_together() -> None:
    me = operator(OLD, NEW)
    me.cloud.alarms["errors"] = "ALARM"
    with pytest.raises(ReleaseError) as found:
        me.release(alarms=("errors", "latency")).deploy("0.3.1")
    assert found.value.problems == (
        "the alarm errors is on already: too many errors",
        "there is no alarm latency",
    )
    assert "ecs:register_task_definition" not in me.cloud.calls


def test_a_container_of_another_image_needs_a_registry_named() -> None:
    me = operator(OLD, NEW)
    arn = me.cloud.services[CATALOG].primary.definition.arn
    me.cloud.definitions[arn]["containerDefinitions"][0]["image"] = "public.ecr.aws/nginx:1"
    with pytest.raises(ReleaseError, match="is no lyceum/course_catalog: say where its image is"):
        me.release().deploy("0.3.1")


def test_a_dry_run_changes_nothing_and_shows_what_would_be() -> None:
    me = operator(OLD, NEW)
    assert me.release().deploy("0.3.1", dry_run=True) == 0
    assert set(me.cloud.calls) == {
        "ecs:describe_services",
        "ecs:describe_task_definition",
    }
    shown = me.told("wouldChange")[0]
    changed = [
        line for line in shown["difference"] if line[0] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert [line.strip("+- ") for line in changed] == [
        f'"image": "{OLD.reference}",',
        f'"image": "{NEW.reference}",',
    ]


# Rolling back by hand.


def test_rolled_back_it_runs_what_was_before() -> None:
    me = operator(OLD, NEW)
    me.release().deploy("0.3.1")
    assert me.release().rollback({}) == 0
    assert me.cloud.running_images(CATALOG) == {OLD.reference}
    assert me.last()["version"] == "0.3.0"


def test_a_revision_that_failed_is_not_what_was_before() -> None:
    sick, last = Image(CATALOG, "0.3.1", is_sick=True), Image(CATALOG, "0.3.2")
    me = operator(OLD, sick, last)
    assert me.release().deploy("0.3.1") == 1
    assert me.release().deploy("0.3.2") == 0
    assert me.release().rollback({}) == 0
    assert me.cloud.running_images(CATALOG) == {OLD.reference}


def test_rolled_back_to_a_named_revision() -> None:
    last = Image(CATALOG, "0.3.2")
    me = operator(OLD, NEW, last)
    for version in ("0.3.1", "0.3.2"):
        assert me.release().deploy(version) == 0
    assert me.release().rollback({CATALOG: 1}) == 0
    assert me.cloud.running_images(CATALOG) == {OLD.reference}


def test_where_no_tag_says_what_was_before_it_is_the_revision_before() -> None:
    me = operator(OLD, NEW)
    me.cloud.deploy_by_somebody_else(CATALOG, NEW)
    me.cloud.time.sleep(30)
    assert me.release().rollback({}) == 0
    assert me.cloud.running_images(CATALOG) == {OLD.reference}
    assert "ecs:list_task_definitions" in me.cloud.calls


def test_the_first_revision_has_nothing_before_it() -> None:
    me = operator(OLD)
    with pytest.raises(ReleaseError, match="there is nothing to go back to"):
        me.release().rollback({})


def test_a_revision_that_was_deregistered_is_refused() -> None:
    me = operator(OLD, NEW)
    first = me.cloud.services[CATALOG].primary.definition.arn
    me.release().deploy("0.3.1")
    me.cloud.inactive.add(first)
    with pytest.raises(ReleaseError, match="course_catalog:1 was deregistered"):
        me.release().rollback({})


def test_a_roll_back_by_hand_that_fails_is_left_as_it_is() -> None:
    me = operator(OLD, NEW, breaker=False)
    me.release().deploy("0.3.1")
    broken = me.cloud.registry.images[0] = Image(CATALOG, "0.3.0", starts_within=10_000)
    arn = next(iter(me.cloud.definitions))
    me.cloud.definitions[arn]["containerDefinitions"][0]["image"] = broken.reference
    assert me.release().rollback({}) == 3
    assert me.last()["event"] == "leftAsItIs"


def test_a_roll_out_that_goes_wrong_can_be_rolled_back_while_it_is_in_progress() -> None:
    me = operator(OLD, Image(CATALOG, "0.3.1", starts_within=10_000))
    me.cloud.deploy_by_somebody_else(CATALOG, me.cloud.registry.images[1])
    me.cloud.time.sleep(5)
    assert me.release().rollback({}) == 0
    assert me.cloud.running_images(CATALOG) == {OLD.reference}
