"""Decides what becomes of a service: which tasks are started, which are stopped, when a deployment is done.

ECS's rolling update, as the developer guide tells it: no fewer healthy tasks than minimumHealthyPercent,
no more tasks than maximumPercent, the circuit breaker with its way back, a task that is unhealthy
replaced. Pure: takes the service as it is and the time, changes deployments and events, gives what is
to be done with tasks. Asked again whenever something changed; being asked too often does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ._model import Deployment, Rollout, Service, Task

# "The minimum threshold is 3 … the maximum is 200", of half of the desired tasks.
_BREAKER_SHARE, _BREAKER_MINIMUM, _BREAKER_MAXIMUM = 0.5, 3, 200
# Tasks that keep on failing are started ever more slowly; ECS too begins at once and slows down.
_FAILURES_AT_FULL_SPEED = 3
_SLOWEST_SECONDS = 60.0
# For so long at least a failed deployment can be read beside the one that is gone back to.
_FAILURE_SHOWN_SECONDS = 3.0
_FAILED_TO_RUN = frozenset({"EssentialContainerExited", "TaskFailedToStart"})


@dataclass(frozen=True)
class Start:
    """So many tasks of a deployment are to be started."""

    deployment: Deployment
    count: int


@dataclass(frozen=True)
class Stop:
    """A task is to be stopped, and why."""

    task: Task
    reason: str


Action = Start | Stop


class Scheduler:
    """Scheduling rules with their sources of time and ids.

    Args:
        now: Unix time, for what is shown.
        clock: monotonic seconds, for delays.
        new_id: makes the id of an event.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float],
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._now = now
        self._clock = clock
        self._new_id = new_id

    def tell(self, service: Service, text: str) -> None:
        """Adds an event to a service."""
        service.event(text, self._now(), self._new_id())

    def deploy(self, service: Service, deployment: Deployment) -> None:
        """Makes a deployment the service's primary one; what was primary is on its way out."""
        for other in service.deployments:
            other.primary = False
            other.desired = 0
        deployment.primary = True
        deployment.rollout = Rollout.IN_PROGRESS
        deployment.desired = service.desired
        deployment.failed_tasks = 0
        if deployment in service.deployments:
            service.deployments.remove(deployment)
        service.deployments.insert(0, deployment)
        service.failures = 0
        service.not_before = 0.0
        service.settled_after = 0.0
        service.steady = False

    def step(self, service: Service) -> list[Action]:
        """What is to be done now; the same call after that has been begun gives nothing."""
        service.tasks = [task for task in service.tasks if not self._forgotten(service, task)]
        self._count_failures(service)
        self._trip(service)
        sick = self._replace_sick(service)
        actions: list[Action] = [*sick]
        stopped = {stop.task for stop in sick}
        if service.primary.rollout is not Rollout.FAILED:
            actions += self._roll(service, stopped)
        self._settle(service)
        return actions

    def breaker_threshold(self, service: Service) -> int:
        """How many failures in a row fail a deployment ("Deployment circuit breaker")."""
        share = math.ceil(_BREAKER_SHARE * service.desired)
        return min(max(share, _BREAKER_MINIMUM), _BREAKER_MAXIMUM)

    def _forgotten(self, service: Service, task: Task) -> bool:
        return task.ended and (task.failure_counted or task.stop_code not in _FAILED_TO_RUN)

    def _count_failures(self, service: Service) -> None:
        for task in service.tasks:
            if task.healthy and not task.was_healthy:
                task.was_healthy = True
                service.failures = 0
                for deployment in service.deployments:
                    if deployment.id == task.deployment_id:
                        deployment.failed_tasks = 0
            failed = task.stop_code in _FAILED_TO_RUN or (
                task.verdict is not None and not task.was_healthy
            )
            if not failed or task.failure_counted:
                continue
            task.failure_counted = True
            service.failures += 1
            over = service.failures - _FAILURES_AT_FULL_SPEED
            if over >= 0:
                delay = min(2.0 ** min(over, 30), _SLOWEST_SECONDS)
                service.not_before = self._clock() + delay
                if over == 0:
                    self.tell(service, "is unable to consistently start tasks successfully.")
            primary = service.primary
            if task.deployment_id == primary.id and primary.rollout is Rollout.IN_PROGRESS:
                primary.failed_tasks += 1
                primary.updated_at = self._now()

    def _trip(self, service: Service) -> None:
        failed = service.primary
        if (
            not service.rules.breaker
            or failed.rollout is not Rollout.IN_PROGRESS
            or failed.failed_tasks < self.breaker_threshold(service)
            or failed is service.last_completed  # it is the way back itself
        ):
            return
        failed.rollout = Rollout.FAILED
        failed.rollout_reason = "ECS deployment circuit breaker: tasks failed to start."
        failed.updated_at = self._now()
        self.tell(service, f"(deployment {failed.id}) deployment failed: tasks failed to start.")
        back = service.last_completed
        if not service.rules.rollback or back is None:
            return
        self.deploy(service, back)
        back.rollout_reason = (
            f"ECS deployment circuit breaker: rolling back to deploymentId {back.id}."
        )
        back.updated_at = self._now()
        self.tell(service, f"rolling back to (deployment {back.id}).")
        service.settled_after = self._clock() + _FAILURE_SHOWN_SECONDS

    def _replace_sick(self, service: Service) -> list[Stop]:
        """Stops the tasks that are found unhealthy: at once where they never served, else when there
        is a replacement, or as far as there is no room for one beside them."""
        own = service.tasks_of(service.primary)
        sick = [task for task in own if task.running and task.verdict is not None]
        fit = [task for task in own if task.active and task.verdict is None]
        healthy = sum(task.running and task.healthy for task in service.tasks)
        room = self._upper(service) - sum(task.active for task in service.tasks)
        lacking = service.desired - len(fit) - room
        stops: list[Stop] = []
        for task in sorted(sick, key=lambda task: task.was_healthy):
            assert task.verdict is not None
            if not task.was_healthy or healthy >= service.desired or lacking > 0:
                stops.append(Stop(task, task.verdict))
                lacking -= 1
        return stops

    def _roll(self, service: Service, stopped: set[Task]) -> list[Action]:
        primary = service.primary
        live = [task for task in service.tasks if task.active and task not in stopped]
        new = [task for task in live if task.deployment_id == primary.id]
        old = [task for task in live if task.deployment_id != primary.id]
        fit = [task for task in new if task.verdict is None]
        healthy_new = [task for task in fit if task.running and task.healthy]
        healthy = len(healthy_new) + sum(task.running and task.healthy for task in old)
        lower = math.ceil(service.desired * service.rules.minimum_percent / 100)

        actions: list[Action] = []
        wanted = service.desired - len(fit)
        # Of the old ones, what does not run yet or is found sick helps nobody. The others go as they
        # are replaced, or to make room, those that do not serve first and never below the lower bound.
        useless = [task for task in old if task.starting or task.verdict is not None]
        actions += [Stop(task, _reason(primary)) for task in useless]
        kept = sorted((task for task in old if task not in useless), key=lambda task: task.healthy)
        room = self._upper(service) - len(new) - len(kept)
        replaced = len(kept) - max(0, service.desired - len(healthy_new))
        for_room = max(0, wanted - room)
        spare = max(0, healthy - lower)
        for task in kept[: max(0, replaced, for_room)]:
            if task.healthy:
                if not spare:
                    break
                spare -= 1
            room += 1
            actions.append(Stop(task, _reason(primary)))

        if wanted < 0:
            # Scaled in: those that serve stay.
            by_use = sorted(fit, key=lambda task: (task.healthy, task.running))
            actions += [Stop(task, _reason(primary)) for task in by_use[:-wanted]]
        startable = min(wanted, max(0, room))
        if startable > 0 and self._clock() >= service.not_before:
            actions.append(Start(primary, startable))
        return actions

    def _settle(self, service: Service) -> None:
        primary = service.primary
        others = [task for task in service.tasks if task.deployment_id != primary.id]
        own = [task for task in service.tasks if task.deployment_id == primary.id]
        fit = sum(task.running and task.healthy for task in own)
        steady = (
            self._clock() >= service.settled_after
            and primary.rollout is not Rollout.FAILED
            and fit == service.desired
            and sum(not task.ended for task in own) == service.desired
            and all(task.ended for task in others)
        )
        service.deployments = [
            one
            for one in service.deployments
            if one is primary
            or any(task.deployment_id == one.id and not task.ended for task in others)
            # Until the way back is done, its failure and the reason can be read.
            or (one.rollout is Rollout.FAILED and not steady)
        ]
        if steady and primary.rollout is Rollout.IN_PROGRESS:
            primary.rollout = Rollout.COMPLETED
            primary.rollout_reason = f"ECS deployment {primary.id} completed."
            primary.updated_at = self._now()
            service.last_completed = primary
            self.tell(service, f"(deployment {primary.id}) deployment completed.")
        if steady and not service.steady:
            self.tell(service, "has reached a steady state.")
        service.steady = steady

    def _upper(self, service: Service) -> int:
        # A service of one task with 100 percent could never start a second one, nor needs to.
        return max(1, service.desired * service.rules.maximum_percent // 100)


def _reason(primary: Deployment) -> str:
    return f"Scaling activity initiated by (deployment {primary.id})"
