"""Services and tasks for the scheduler, without any container."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field

from deploy.local.embedded_aws._containers._definition import ContainerDefinition, TaskDefinition
from deploy.local.embedded_aws._containers._model import (
    Deployment,
    DeploymentRules,
    Service,
    Task,
    TaskStatus,
)
from deploy.local.embedded_aws._containers._scheduler import Action, Scheduler, Start, Stop


def definition(revision: int) -> TaskDefinition:
    return TaskDefinition(
        f"arn:aws:ecs:r:a:task-definition/web:{revision}",
        "web",
        revision,
        (ContainerDefinition("web", "image"),),
    )


@dataclass
class World:
    """A service, the scheduler, and tasks that do what they are told to."""

    desired: int = 2
    rules: DeploymentRules = field(
        default_factory=lambda: DeploymentRules(breaker=True, rollback=True)
    )
    clock: float = 0.0

    def __post_init__(self) -> None:
        ids = itertools.count(1)
        self._revisions = itertools.count(1)
        self._tasks = itertools.count(1)
        self.scheduler = Scheduler(
            now=lambda: self.clock, clock=lambda: self.clock, new_id=lambda: str(next(ids))
        )
        self.service = Service(
            "arn:service", "web", "arn:cluster/c", self.desired, "FARGATE", self.rules, (), 0, 0.0
        )

    def deploy(self) -> Deployment:
        """A new revision becomes the primary deployment."""
        revision = next(self._revisions)
        deployment = Deployment(f"d{revision}", definition(revision), self.service.desired, 0, 0)
        self.scheduler.deploy(self.service, deployment)
        return deployment

    def step(self) -> list[Action]:
        """One decision, carried out: what is started is on its way, what is stopped is stopping."""
        actions = self.scheduler.step(self.service)
        for action in actions:
            match action:
                case Start(deployment, count):
                    for _ in range(count):
                        number = next(self._tasks)
                        task = Task(
                            f"arn/{number}",
                            "arn:cluster/c",
                            deployment.definition,
                            "service:web",
                            deployment.id,
                            "FARGATE",
                            0.0,
                            deployment_id=deployment.id,
                        )
                        self.service.tasks.append(task)
                case Stop(task, reason):
                    task.desired_status = "STOPPED"
                    task.stop_code, task.stopped_reason = "ServiceSchedulerInitiated", reason
                    task.status = TaskStatus.DEACTIVATING
        return actions

    def until_nothing_happens(self, *, sick: Collection[str | None] = ()) -> None:
        """Everything that is started becomes healthy, but for tasks of deployments that are `sick`;
        everything that is told to stop ends."""
        quiet = 0
        for _ in range(200):
            self.clock += 100
            before = [(task.arn, task.status, task.healthy) for task in self.service.tasks]
            events = len(self.service.events)
            for task in list(self.service.tasks):
                if task.desired_status == "STOPPED":
                    end(task)
                elif task.deployment_id in sick:
                    fail(task)
                else:
                    become_healthy(task)
            actions = self.step()
            after = [(task.arn, task.status, task.healthy) for task in self.service.tasks]
            rests = not actions and before == after and events == len(self.service.events)
            quiet = quiet + 1 if rests else 0
            if quiet == 3:  # a delay may have been over only then
                return
        raise AssertionError("it never comes to rest")

    def said(self) -> list[str]:
        return [event["message"] for event in reversed(self.service.events)]


def become_healthy(task: Task) -> None:
    task.status, task.healthy = TaskStatus.RUNNING, True


def fail(task: Task) -> None:
    """Its program ends by itself."""
    task.status, task.healthy = TaskStatus.STOPPED, False
    task.desired_status, task.stop_code = "STOPPED", "EssentialContainerExited"


def end(task: Task) -> None:
    """It has stopped, as it was told to."""
    task.status, task.healthy = TaskStatus.STOPPED, False
