"""What a roll-out of one ECS service has come to: decided from what ECS shows, and from nothing else.

ECS is read again and again while it changes. What is read may be old (it is eventually consistent),
events come late, twice and out of order, and somebody else, or ECS's own circuit breaker, may set
another goal meanwhile. This module takes one snapshot after another and says what it means. It
calls nobody and has no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from deploy.release._ecs import COMPLETED, FAILED, Deployment, Event, Snapshot, short_name

# How long ECS may go on showing what was before an update.
SETTLES_WITHIN_SECONDS = 30.0


class Outcome(StrEnum):
    """Of a roll-out."""

    ROLLING = "rolling"
    DONE = "done"
    FAILED = "failed"
    """It was given up; ECS may be rolling back by itself, see `Verdict.ecs_rolls_back`."""
    SUPERSEDED = "superseded"
    """Somebody else rolls out something else, or the service is being removed."""


@dataclass(frozen=True)
class Verdict:
    """What one snapshot means.

    Args:
        outcome: see there.
        reason: a line.
        done: tasks that are as they are to be, and old ones that are gone.
        total: what `done` comes to.
        ecs_rolls_back: ECS itself goes back to what was before.
    """

    outcome: Outcome
    reason: str
    done: int
    total: int
    ecs_rolls_back: bool = False


@dataclass
class Rollout:
    """The way of one service to a task definition.

    Args:
        service: its name.
        goal: the ARN of the task definition it goes to.
        previous: the ARN of the one it comes from; None where that is not known.
        began: when, in seconds of the caller's clock.
        deployment: the id of ECS's deployment; None where it is to be found by its goal.
    """

    service: str
    goal: str
    previous: str | None
    began: float
    deployment: str | None = None
    _seen: bool = field(default=False, init=False)
    _most_old: int = field(default=0, init=False)

    def observe(self, snapshot: Snapshot, now: float) -> Verdict:
        """What a snapshot means, taken at `now`."""
        primary = snapshot.primary
        ours = self._ours(snapshot)
        others = [one for one in snapshot.deployments if one.task_definition != self.goal]
        old = sum(one.running for one in others)
        self._most_old = max(self._most_old, old)
        new = min(ours.running, snapshot.desired) if ours else 0
        done, total = new + self._most_old - old, snapshot.desired + self._most_old

        def verdict(outcome: Outcome, reason: str, *, ecs_rolls_back: bool = False) -> Verdict:
            return Verdict(outcome, reason, done, total, ecs_rolls_back)

        if snapshot.status != "ACTIVE":
            return verdict(Outcome.SUPERSEDED, f"the ECS service is {snapshot.status}")
        if primary.task_definition == self.goal:
            self._seen = True
            if primary.state == FAILED:
                return verdict(Outcome.FAILED, primary.reason or "the deployment has failed")
            is_there = primary.running >= snapshot.desired and primary.pending == 0
            # COMPLETED alone would do on AWS; what still answers must be gone before it is asked.
            if primary.state in (COMPLETED, "") and is_there and old == 0:
                return verdict(Outcome.DONE, primary.reason or "the deployment is completed")
            return verdict(Outcome.ROLLING, _standing(primary, snapshot, old))
        if ours is not None and ours.state == FAILED:
            return verdict(
                Outcome.FAILED,
                ours.reason or "the deployment has failed",
                ecs_rolls_back=self._goes_back(primary),
            )
        if not self._seen and now - self.began < SETTLES_WITHIN_SECONDS:
            return verdict(Outcome.ROLLING, "ECS does not show the deployment yet")
        if self._goes_back(primary) and (
            snapshot.breaker.rolls_back or "roll" in primary.reason.lower()
        ):
            return verdict(
                Outcome.FAILED,
                self._why_it_went_back(snapshot),
                ecs_rolls_back=True,
            )
        return verdict(
            Outcome.SUPERSEDED,
            f"another deployment was started meanwhile, to {short_name(primary.task_definition)}",
        )

    def _ours(self, snapshot: Snapshot) -> Deployment | None:
        """The deployment itself: an earlier one to the same goal may have failed."""
        to_goal = [one for one in snapshot.deployments if one.task_definition == self.goal]
        for is_it in (
            lambda one: one.status == "PRIMARY",
            lambda one: one.id == self.deployment,
            lambda one: self.deployment is None,
        ):
            found = [one for one in to_goal if is_it(one)]
            if found:
                return max(found, key=lambda one: one.changed)
        return None

    def _why_it_went_back(self, snapshot: Snapshot) -> str:
        """Of a deployment that ECS does not show any more, the events remain."""
        for event in sorted(snapshot.events, key=lambda event: event.at, reverse=True):
            if self.deployment and self.deployment in event.message and "failed" in event.message:
                return f"ECS deployment circuit breaker: {event.message}"
        return f"ECS went back to {short_name(snapshot.primary.task_definition)} by itself"

    def _goes_back(self, primary: Deployment) -> bool:
        return self.previous is not None and primary.task_definition == self.previous


def _standing(primary: Deployment, snapshot: Snapshot, old: int) -> str:
    parts = [f"{min(primary.running, snapshot.desired)} of {snapshot.desired} new tasks run"]
    if primary.pending:
        parts.append(f"{primary.pending} starting")
    if primary.failed:
        parts.append(f"{primary.failed} failed")
    if old:
        parts.append(f"{old} old still there")
    return ", ".join(parts)


class EventLog:
    """Which of ECS's events were not told yet. They come late, twice and in any order."""

    def __init__(self, known: Iterable[Event] = ()) -> None:
        self._known = {event.id for event in known}

    def news(self, events: Iterable[Event]) -> list[Event]:
        """Those that are new, the oldest first."""
        fresh = {event.id: event for event in events if event.id not in self._known}
        self._known.update(fresh)
        return sorted(fresh.values(), key=lambda event: (event.at, event.id))
