"""Follows roll-outs until they have come to something, and tells what is seen meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from deploy.release._calls import AwsError, TransientAwsError
from deploy.release._ecs import Ecs, Snapshot, Target
from deploy.release._errors import ReleaseError
from deploy.release._report import Report
from deploy.release._rollout import EventLog, Outcome, Rollout, Verdict
from libs.console import Style

POLL_SECONDS = 2.0


class LostSightError(Exception):
    """What becomes of a roll-out can not be seen any more. It goes on by itself."""


class End(StrEnum):
    """How following ended."""

    DONE = "done"
    FAILED = "failed"
    ALARM = "alarm"
    TIMED_OUT = "timedOut"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Followed:
    """What came of it. `rolled_back_by_ecs`: services that ECS itself takes back."""

    end: End
    reason: str
    rolled_back_by_ecs: frozenset[str] = frozenset()


@dataclass
class Watch:
    """Args:
    ecs: read.
    report: told.
    clock: monotonic seconds.
    sleep: pauses for seconds.
    alarms: names of CloudWatch alarms; one in ALARM ends it.
    """

    ecs: Ecs
    report: Report
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    alarms: Sequence[str] = ()
    _logs: dict[str, EventLog] = field(default_factory=dict, init=False)
    _said: dict[str, str] = field(default_factory=dict, init=False)
    _no_targets: bool = field(default=False, init=False)

    def know(self, snapshots: Iterable[Snapshot], *, but_of_roll_outs: bool = False) -> None:
        """What ECS told before is no news; but of a roll-out that is under way, where it is wanted,
        all that was told since it began."""
        for snapshot in snapshots:
            wanted = but_of_roll_outs and snapshot.is_rolling
            self._logs[snapshot.name] = EventLog(
                event
                for event in snapshot.events
                if not wanted or event.at < snapshot.primary.began
            )

    def follow(self, rollouts: Sequence[Rollout], *, what: str, timeout: float) -> Followed:
        """Follows roll-outs until all are done, or one of them can not be.

        Raises LostSightError.
        """
        deadline = self.clock() + timeout
        progress = self.report.progress(1, what)
        silent: str | None = None
        standing: dict[str, str] = {}
        while True:
            try:
                found = self._look(rollouts)
            except TransientAwsError as error:
                if silent is None:
                    self.report.warn(
                        "awsUnavailable", f"AWS does not answer: {error}", {"reason": str(error)}
                    )
                silent = str(error)
            except AwsError as error:
                raise LostSightError(str(error)) from None
            except ReleaseError as error:
                return Followed(End.SUPERSEDED, str(error))
            else:
                silent = None
                verdicts, targets = found
                standing = {
                    name: _with_targets(verdict.reason, targets.get(name, ()))
                    for name, verdict in verdicts.items()
                }
                self._tell(verdicts, standing)
                if progress is not None:
                    progress.doing("; ".join(dict.fromkeys(standing.values())))
                    progress.reach(
                        sum(verdict.done for verdict in verdicts.values()),
                        total=sum(verdict.total for verdict in verdicts.values()) or 1,
                    )
                ended = _ended(verdicts) or self._alarmed()
                if ended is not None:
                    self.report.end_progress()
                    return ended
            if self.clock() >= deadline:
                self.report.end_progress()
                if silent is not None:
                    raise LostSightError(silent)
                still = "; ".join(f"{name}: {text}" for name, text in standing.items())
                return Followed(End.TIMED_OUT, f"not done within {timeout:g} s ({still})")
            self.sleep(min(POLL_SECONDS, max(deadline - self.clock(), 0.0)))

    def _look(
        self, rollouts: Sequence[Rollout]
    ) -> tuple[dict[str, Verdict], Mapping[str, Sequence[Target]]]:
        snapshots = self.ecs.services([rollout.service for rollout in rollouts])
        verdicts = {}
        targets: dict[str, Sequence[Target]] = {}
        for rollout, snapshot in zip(rollouts, snapshots, strict=True):
            self.tell_events(snapshot)
            verdicts[rollout.service] = rollout.observe(snapshot, self.clock())
            targets[rollout.service] = self._targets(snapshot)
        return verdicts, targets

    def tell_events(self, snapshot: Snapshot) -> None:
        """Tells what ECS told since the last time."""
        log = self._logs.setdefault(snapshot.name, EventLog())
        for event in log.news(snapshot.events):
            self.report.goes_on(
                "ecsEvent",
                f"  {event.at:%H:%M:%S}  {event.message}",
                {
                    "service": snapshot.name,
                    "id": event.id,
                    "createdAt": event.at.isoformat(),
                    "message": event.message,
                },
                style=Style.DIM,
            )

    def _targets(self, snapshot: Snapshot) -> Sequence[Target]:
        if self._no_targets:
            return ()
        try:
            return self.ecs.targets(snapshot.target_groups)
        except TransientAwsError:
            return ()
        except AwsError as error:
            # It explains; nothing is decided by it.
            self._no_targets = True
            self.report.warn(
                "noTargetHealth", f"target health is not shown: {error}", {"reason": str(error)}
            )
            return ()

    def _alarmed(self) -> Followed | None:
        try:
            states = self.ecs.alarms(self.alarms)
        except TransientAwsError:
            return None
        except AwsError as error:
            raise LostSightError(str(error)) from None
        for name, (state, reason) in states.items():
            if state == "ALARM":
                return Followed(End.ALARM, f"the alarm {name} went off: {reason}".rstrip(": "))
        return None

    def _tell(self, verdicts: Mapping[str, Verdict], standing: Mapping[str, str]) -> None:
        for name, verdict in verdicts.items():
            text = standing[name]
            if self._said.get(name) == text:
                continue
            self._said[name] = text
            self.report.quietly(
                "rolloutChanged",
                {
                    "service": name,
                    "outcome": verdict.outcome,
                    "reason": text,
                    "done": verdict.done,
                    "total": verdict.total,
                },
            )


def _ended(verdicts: Mapping[str, Verdict]) -> Followed | None:
    def first(outcome: Outcome) -> str | None:
        return next(
            (
                f"{name}: {verdict.reason}"
                for name, verdict in verdicts.items()
                if verdict.outcome is outcome
            ),
            None,
        )

    by_ecs = frozenset(name for name, verdict in verdicts.items() if verdict.ecs_rolls_back)
    failed, superseded = first(Outcome.FAILED), first(Outcome.SUPERSEDED)
    if superseded is not None:
        return Followed(End.SUPERSEDED, superseded, by_ecs)
    if failed is not None:
        return Followed(End.FAILED, failed, by_ecs)
    if all(verdict.outcome is Outcome.DONE for verdict in verdicts.values()):
        return Followed(End.DONE, "; ".join(verdict.reason for verdict in verdicts.values()))
    return None


def _with_targets(reason: str, targets: Sequence[Target]) -> str:
    if not targets:
        return reason
    counts: dict[str, int] = {}
    for target in targets:
        counts[target.state] = counts.get(target.state, 0) + 1
    shown = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    why = next(
        (f" ({one.detail})" for one in targets if one.state == "unhealthy" and one.detail), ""
    )
    return f"{reason}; targets: {shown}{why}"
