"""What runs now, and how far a roll-out is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from deploy.release._calls import AwsError, TransientAwsError
from deploy.release._ecs import Ecs, Snapshot, Target, TaskDefinition, short_name
from deploy.release._report import Report
from deploy.release._rollout import Rollout
from deploy.release._services import Service
from deploy.release._task_definition import VERSION_TAG, image_of, main_container
from deploy.release._watch import POLL_SECONDS, Watch
from libs.console import Style

_EVENTS_SHOWN = 3


@dataclass
class Status:
    """Args:
    ecs: read.
    report: told.
    clock: monotonic seconds.
    sleep: pauses for seconds.
    """

    ecs: Ecs
    report: Report
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    _definitions: dict[str, TaskDefinition] = field(default_factory=dict, init=False)

    def show(self, services: Sequence[Service]) -> bool:
        """Tells of each; whether none of their roll-outs has failed. Raises AwsError."""
        snapshots = [one for service in services for one in self.ecs.services(service.rollouts)]
        for snapshot in snapshots:
            self._show(snapshot)
        return not any(one.primary.state == "FAILED" for one in snapshots)

    def follow(self, services: Sequence[Service]) -> bool:
        """Until no roll-out is in progress; whether none has failed. Raises AwsError."""
        watch = Watch(self.ecs, self.report, self.clock, self.sleep)
        names = [name for service in services for name in service.rollouts]
        snapshots = self._look(services)
        watch.know(snapshots, but_of_roll_outs=True)
        began = self.clock()
        rollouts = {
            one.name: Rollout(one.name, one.primary.task_definition, None, began)
            for one in snapshots
        }
        progress = self.report.progress(1, ", ".join(names))
        while any(one.is_rolling for one in snapshots):
            self.sleep(POLL_SECONDS)
            try:
                snapshots = self._look(services)
            except TransientAwsError as error:
                self.report.warn(
                    "awsUnavailable", f"AWS does not answer: {error}", {"reason": str(error)}
                )
                continue
            verdicts = []
            for one in snapshots:
                watch.tell_events(one)
                if rollouts[one.name].goal != one.primary.task_definition:
                    rollouts[one.name] = Rollout(one.name, one.primary.task_definition, None, began)
                verdicts.append(rollouts[one.name].observe(one, self.clock()))
            if progress is not None:
                progress.doing("; ".join(dict.fromkeys(one.reason for one in verdicts)))
                progress.reach(
                    sum(one.done for one in verdicts),
                    total=sum(one.total for one in verdicts) or 1,
                )
        self.report.end_progress()
        return self.show(services)

    def _look(self, services: Sequence[Service]) -> list[Snapshot]:
        return [one for service in services for one in self.ecs.services(service.rollouts)]

    def _show(self, snapshot: Snapshot) -> None:
        primary = snapshot.primary
        definition = self._definition(primary.task_definition)
        image = main_container(definition)["image"]
        version = definition.tags.get(VERSION_TAG) or image_of(image).tag or "no version said"
        targets = self._targets(snapshot)
        state = primary.state or primary.status
        lines = [
            f"{snapshot.name}  {version}  {definition.name}  {state}"
            f"  {primary.running} of {snapshot.desired} tasks"
            + (f", {primary.pending} starting" if primary.pending else "")
            + (f", {primary.failed} failed" if primary.failed else ""),
            f"  image    {image}",
            f"  since    {primary.began:%Y-%m-%d %H:%M:%S}Z"
            + (f", {primary.reason}" if primary.reason else ""),
            f"  breaker  {snapshot.breaker}",
        ]
        if targets:
            shown = ", ".join(
                f"{target.address} {target.state}"
                + (f" ({target.detail})" if target.detail else "")
                for target in targets
            )
            lines.append(f"  targets  {shown}")
        lines += [
            f"  besides  {short_name(one.task_definition)}  {one.state or one.status}"
            f"  {one.running} tasks" + (f", {one.reason}" if one.reason else "")
            for one in snapshot.deployments
            if one is not primary
        ]
        recent = sorted(snapshot.events, key=lambda event: event.at)[-_EVENTS_SHOWN:]
        lines += [f"  {event.at:%H:%M:%S}  {event.message}" for event in recent]
        style = {"FAILED": Style.RED, "IN_PROGRESS": Style.YELLOW}.get(state)
        self.report.came_out(
            "serviceStatus",
            "\n".join(lines),
            _document(snapshot, definition, image, version, targets),
            style=style,
        )

    def _definition(self, arn: str) -> TaskDefinition:
        if arn not in self._definitions:  # a revision never changes
            self._definitions[arn] = self.ecs.task_definition(arn)
        return self._definitions[arn]

    def _targets(self, snapshot: Snapshot) -> list[Target]:
        try:
            return self.ecs.targets(snapshot.target_groups)
        except AwsError as error:
            self.report.warn(
                "noTargetHealth", f"target health is not shown: {error}", {"reason": str(error)}
            )
            return []


def _document(
    snapshot: Snapshot,
    definition: TaskDefinition,
    image: str,
    version: str,
    targets: Sequence[Target],
) -> Mapping[str, object]:
    return {
        "service": snapshot.name,
        "version": definition.tags.get(VERSION_TAG) and version,
        "image": image,
        "taskDefinition": definition.arn,
        "desired": snapshot.desired,
        "circuitBreaker": snapshot.breaker.enabled,
        "circuitBreakerRollsBack": snapshot.breaker.rolls_back,
        "deployments": [
            {
                "id": one.id,
                "status": one.status,
                "state": one.state,
                "reason": one.reason,
                "taskDefinition": one.task_definition,
                "desired": one.desired,
                "running": one.running,
                "pending": one.pending,
                "failed": one.failed,
                "began": one.began.isoformat(),
            }
            for one in snapshot.deployments
        ],
        "targets": [
            {"address": one.address, "state": one.state, "detail": one.detail} for one in targets
        ],
    }
