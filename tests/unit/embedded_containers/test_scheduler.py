"""What the scheduler decides: bounds, the circuit breaker, the way back, sick tasks."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deploy.local.embedded_aws._containers._model import (
    DeploymentRules,
    Rollout,
    TaskStatus,
)
from deploy.local.embedded_aws._containers._scheduler import Start, Stop
from tests.unit.embedded_containers.services import World, become_healthy, end, fail


def test_a_new_service_starts_its_tasks_and_is_steady_when_they_are_healthy() -> None:
    world = World()
    deployment = world.deploy()
    assert world.step() == [Start(deployment, 2)]
    assert world.step() == []
    world.until_nothing_happens()
    assert deployment.rollout is Rollout.COMPLETED
    assert world.said() == [
        "(service web) (deployment d1) deployment completed.",
        "(service web) has reached a steady state.",
    ]


def test_an_old_task_goes_only_when_a_new_one_is_healthy() -> None:
    world = World()
    world.deploy()
    world.until_nothing_happens()
    second = world.deploy()
    assert world.step() == [Start(second, 2)]
    new = [task for task in world.service.tasks if task.deployment_id == "d2"]
    for task in new:
        task.status = TaskStatus.RUNNING  # and not healthy yet
    assert world.step() == []
    become_healthy(new[0])
    (stop,) = world.step()
    assert isinstance(stop, Stop)
    assert stop.task.deployment_id == "d1"
    assert world.step() == []


def test_a_deployment_that_fails_goes_back_to_the_last_completed_one() -> None:
    world = World()
    first = world.deploy()
    world.until_nothing_happens()
    served = list(world.service.tasks)
    second = world.deploy()
    world.until_nothing_happens(sick=["d2"])
    assert second.rollout is Rollout.FAILED
    assert second.rollout_reason == "ECS deployment circuit breaker: tasks failed to start."
    assert world.service.deployments == [first]
    assert first.rollout is Rollout.COMPLETED
    assert world.service.tasks == served  # they went on all the time
    assert world.said()[-4:] == [
        "(service web) (deployment d2) deployment failed: tasks failed to start.",
        "(service web) rolling back to (deployment d1).",
        "(service web) (deployment d1) deployment completed.",
        "(service web) has reached a steady state.",
    ]


def test_the_failed_deployment_can_be_read_until_the_way_back_is_done() -> None:
    world = World()
    first = world.deploy()
    world.until_nothing_happens()
    second = world.deploy()
    for _ in range(3):
        world.clock += 100
        world.step()
        for task in world.service.tasks:
            if task.deployment_id == "d2" and task.active:
                fail(task)
    world.step()
    assert world.service.deployments == [first, second]
    assert first.rollout is Rollout.IN_PROGRESS
    assert first.rollout_reason.startswith(
        "ECS deployment circuit breaker: rolling back to deploymentId d1"
    )


def test_without_a_completed_deployment_there_is_no_way_back() -> None:
    world = World()
    first = world.deploy()
    world.until_nothing_happens(sick=["d1"])
    assert first.rollout is Rollout.FAILED
    assert not any("rolling back" in text for text in world.said())
    assert all(not task.active for task in world.service.tasks)


def test_without_the_breaker_it_tries_again_ever_more_slowly() -> None:
    world = World(rules=DeploymentRules())
    deployment = world.deploy()
    waits = []
    for _ in range(12):
        began = world.clock
        while not any(isinstance(action, Start) for action in world.step()):
            world.clock += 0.5
        waits.append(world.clock - began)
        for task in world.service.tasks:
            if task.active:
                fail(task)
    assert waits[:2] == [0, 0]
    assert waits == sorted(waits)
    assert waits[-1] == 60
    assert deployment.rollout is Rollout.IN_PROGRESS
    assert (
        world.said().count("(service web) is unable to consistently start tasks successfully.") == 1
    )


@pytest.mark.parametrize(
    ("desired", "threshold"), [(0, 3), (1, 3), (6, 3), (7, 4), (100, 50), (1000, 200)]
)
def test_the_threshold_is_half_of_the_tasks_within_its_bounds(desired: int, threshold: int) -> None:
    world = World(desired=desired)
    assert world.scheduler.breaker_threshold(world.service) == threshold


def test_a_healthy_task_sets_the_failures_back() -> None:
    world = World(desired=1)
    deployment = world.deploy()
    for _ in range(2):
        world.step()
        fail(next(task for task in world.service.tasks if task.active))
    world.step()
    assert deployment.failed_tasks == 2
    become_healthy(next(task for task in world.service.tasks if task.active))
    world.step()
    assert deployment.failed_tasks == 0


def test_a_task_that_was_well_is_replaced_before_it_is_stopped() -> None:
    world = World()
    deployment = world.deploy()
    world.until_nothing_happens()
    sick = world.service.tasks[0]
    sick.healthy, sick.verdict = False, "Task failed ELB health checks"
    assert world.step() == [Start(deployment, 1)]
    become_healthy(world.service.tasks[-1])
    assert world.step() == [Stop(sick, "Task failed ELB health checks")]


def test_a_sick_task_that_recovers_makes_the_replacement_one_too_many() -> None:
    world = World()
    world.deploy()
    world.until_nothing_happens()
    sick = world.service.tasks[0]
    sick.healthy, sick.verdict = False, "Task failed ELB health checks"
    world.step()
    sick.healthy, sick.verdict = True, None
    (stop,) = world.step()
    assert isinstance(stop, Stop)
    assert stop.task is world.service.tasks[-1]


def test_at_full_capacity_a_sick_task_goes_first() -> None:
    world = World(rules=DeploymentRules(minimum_percent=50, maximum_percent=100))
    world.deploy()
    world.until_nothing_happens()
    sick = world.service.tasks[0]
    sick.healthy, sick.verdict = False, "sick"
    assert Stop(sick, "sick") in world.step()


def test_scaling_to_nothing_is_steady() -> None:
    world = World()
    world.deploy()
    world.until_nothing_happens()
    world.service.desired = world.service.primary.desired = 0
    world.until_nothing_happens()
    assert world.service.tasks == []
    assert world.said()[-1] == "(service web) has reached a steady state."


class Rolling(RuleBasedStateMachine):
    """Deployments, failures and scaling in any order: the bounds hold, and in the end there is rest."""

    @initialize(
        desired=st.integers(1, 5),
        minimum=st.sampled_from([0, 50, 100]),
        maximum=st.sampled_from([100, 150, 200]),
        breaker=st.booleans(),
        rollback=st.booleans(),
    )
    def begin(
        self, desired: int, minimum: int, maximum: int, breaker: bool, rollback: bool
    ) -> None:
        self.world = World(desired, DeploymentRules(minimum, maximum, breaker, rollback))
        self.deployments = 1
        self.world.deploy()
        self.decide()

    @precondition(lambda self: self.deployments < 4)
    @rule()
    def deploy(self) -> None:
        self.deployments += 1
        self.world.deploy()

    @rule(desired=st.integers(0, 6))
    def scale(self, desired: int) -> None:
        self.world.service.desired = self.world.service.primary.desired = desired

    @rule(data=st.data())
    def a_task_becomes_healthy(self, data: st.DataObject) -> None:
        if tasks := [task for task in self.world.service.tasks if task.active]:
            task = data.draw(st.sampled_from(tasks))
            become_healthy(task)
            task.verdict = None

    @rule(data=st.data())
    def a_task_dies(self, data: st.DataObject) -> None:
        if tasks := [task for task in self.world.service.tasks if task.active]:
            fail(data.draw(st.sampled_from(tasks)))

    @rule(data=st.data())
    def a_task_is_found_sick(self, data: st.DataObject) -> None:
        if tasks := [task for task in self.world.service.tasks if task.running]:
            task = data.draw(st.sampled_from(tasks))
            task.healthy, task.verdict = False, "sick"

    @rule(data=st.data())
    def a_task_has_stopped(self, data: st.DataObject) -> None:
        stopping = [
            task
            for task in self.world.service.tasks
            if task.desired_status == "STOPPED" and not task.ended
        ]
        if stopping:
            end(data.draw(st.sampled_from(stopping)))

    @rule(seconds=st.sampled_from([0.5, 5, 100]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock += seconds

    @rule()
    def decide(self) -> None:
        service = self.world.service
        healthy_before = sum(task.running and task.healthy for task in service.tasks)
        active_before = sum(task.active for task in service.tasks)
        actions = self.world.step()
        lower = math.ceil(service.desired * service.rules.minimum_percent / 100)
        upper = max(1, service.desired * service.rules.maximum_percent // 100)
        healthy = sum(task.running and task.healthy for task in service.tasks)
        active = sum(task.active for task in service.tasks)
        assert healthy >= min(lower, healthy_before), "it stopped healthy tasks below the minimum"
        assert active <= max(upper, active_before), "it started tasks beyond the maximum"
        stopped = [action.task for action in actions if isinstance(action, Stop)]
        assert len(stopped) == len(set(stopped))
        assert not any(
            isinstance(action, Start) and action.deployment.rollout is Rollout.FAILED
            for action in actions
        )
        assert self.world.step() == [], "the same decision twice"

    @invariant()
    def one_deployment_is_primary(self) -> None:
        if hasattr(self, "world"):
            deployments = self.world.service.deployments
            assert [one.primary for one in deployments].count(True) == 1
            assert deployments[0].primary

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        for task in world.service.tasks:
            task.verdict = None
        world.step()  # what has failed so far is counted
        if world.service.primary.rollout is Rollout.FAILED:
            world.deploy()  # somebody has to; it never starts a task again
        if world.service.desired * world.service.rules.maximum_percent // 100 <= math.ceil(
            world.service.desired * world.service.rules.minimum_percent / 100
        ):
            return  # minimum 100 and maximum 100: nothing may ever move, on AWS either
        world.until_nothing_happens()
        service = world.service
        assert [one.rollout for one in service.deployments] == [Rollout.COMPLETED]
        assert len(service.tasks) == service.desired
        assert all(task.healthy for task in service.tasks)


TestRolling = Rolling.TestCase
TestRolling.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
