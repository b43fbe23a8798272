"""Leads a share of a service's requests somewhere else, watches, and goes on or takes it back.

Changes the service's stage and, before that, how many tasks the ECS service behind the canary has.
Nothing else: which image runs there is `_deploy.py`'s, and which contract the stage shows is Terraform's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deploy.release._calls import AwsError, Calls, TransientAwsError
from deploy.release._ecs import Ecs, Snapshot
from deploy.release._errors import ReleaseError
from deploy.release._judgement import Judgement, Outcome, Policy, Side, judge
from deploy.release._report import COMMAND, Report
from deploy.release._services import Service
from deploy.release._stages import Stage, Stages, Traffic
from deploy.release._watch import LostSightError
from libs.console import Style

DONE, ABORTED, BAD_INPUT, UNKNOWN = 0, 1, 2, 3

# What a stage led to before any canary is read of so much time.
_BEFORE = timedelta(minutes=30)
_SCALE_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Rhythm:
    """In which rhythm requests are counted where the gateway is.

    Args:
        period: seconds that are counted together.
        lag: seconds after which what was answered has been counted.
        poll: seconds between two looks.
    """

    period: int
    lag: float
    poll: float


# API Gateway tells CloudWatch every minute, and CloudWatch shows it a minute or two later.
ON_AWS = Rhythm(period=60, lag=150.0, poll=15.0)
LOCALLY = Rhythm(period=5, lag=3.0, poll=1.0)


@dataclass(frozen=True)
class CanaryTools:
    """What is used.

    Args:
        calls: AWS.
        cluster: of ECS; None where no ECS runs the services.
        report: told.
        clock: monotonic seconds.
        now: the time of day, which metrics have.
        sleep: pauses for seconds.
        rhythm: of the metrics.
    """

    calls: Calls
    cluster: str | None
    report: Report
    clock: Callable[[], float]
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    rhythm: Rhythm


@dataclass(frozen=True)
class CanaryLimits:
    """What a canary gets and must keep to.

    Args:
        policy: see `judge`.
        watch_for: seconds that each step is watched; None: it is not.
        tasks: of all requests the canary's ECS service would need so many; None: as many as the stable
            side has.
        timeout: seconds within which they run.
    """

    policy: Policy
    watch_for: float | None = 600.0
    tasks: int | None = None
    timeout: float = 900.0


class CanaryRelease:
    """Canaries of one service."""

    def __init__(self, service: Service, tools: CanaryTools, limits: CanaryLimits) -> None:
        self._service = service
        self._tools = tools
        self._limits = limits
        self._report = tools.report
        self._stages = Stages(tools.calls)
        self._ecs = Ecs(tools.calls, tools.cluster) if tools.cluster is not None else None
        self._standing: Stage | None = None
        self._is_known = True  # that it stands so

    def walk(
        self,
        steps: Sequence[float],
        to: str | None,
        *,
        promote: bool = False,
        dry_run: bool = False,
    ) -> int:
        """Takes these percentages one after another, each as soon as the one before has passed.

        Args:
            steps: percentages, rising.
            to: the name of the target; None: the service, or its candidate where it leads there already.
            promote: leads all requests there once the last one has passed.
            dry_run: only tells what it would do.

        Gives the exit code. Raises ReleaseError: nothing was changed.
        """
        try:
            stage = self._stages.find(self._service)
            target = self._chosen(stage, to)
            self._refuse_strangers(stage, target)
            self._tell_plan(stage, target, steps)
            if dry_run:
                return self._show(stage, target, steps, promote=promote)
            before = self._before(stage)
        except AwsError as error:
            raise ReleaseError(str(error)) from None
        self._standing = stage
        try:
            for percent in _ahead(steps, stage):
                trouble = self._step(percent, target, before)
                if trouble is not None:
                    return self._take_back(trouble)
            return self._passed(steps[-1], target, promote=promote)
        except _Superseded as superseded:
            return self._left(str(superseded))
        except LostSightError as lost:
            return self._lost(str(lost))
        except ReleaseError as error:
            if self._stage.canary is None:
                raise
            return self._take_back(str(error))

    def promote(self, *, force: bool = False, dry_run: bool = False) -> int:
        """Leads all requests where the canary's go; gives the exit code.

        Args:
            force: though the canary gets fewer than all of them.
            dry_run: only tells what it would do.

        Raises ReleaseError: nothing was changed.
        """
        try:
            stage = self._stages.find(self._service)
            if stage.canary is None or stage.canary.address is None:
                raise ReleaseError(
                    f"{self._service.name} has no canary (requests go {stage}): there is nothing"
                    " to promote"
                )
            if stage.canary.percent < 100 and not force:
                raise ReleaseError(
                    f"the canary of {self._service.name} gets {stage.canary.percent:g} % of the"
                    " requests: `canary --percent 100` leads all of them there first; --force promotes"
                    " it as it is"
                )
        except AwsError as error:
            raise ReleaseError(str(error)) from None
        if dry_run:
            return self._would("promote", stage, f"all to {stage.canary_target}")
        try:
            return self._promote(stage)
        except LostSightError as lost:
            return self._lost(str(lost))

    def abort(self, *, dry_run: bool = False) -> int:
        """Leads all requests where the stable ones go; gives the exit code.

        Raises ReleaseError: nothing was changed.
        """
        try:
            stage = self._stages.find(self._service)
        except AwsError as error:
            raise ReleaseError(str(error)) from None
        if stage.canary is None:
            self._report.came_out(
                "nothingToAbort",
                f"{self._service.name} has no canary: requests go {stage}",
                {"service": self._service.name, "target": stage.target},
            )
            return DONE
        if dry_run:
            return self._would("abort", stage, f"all to {stage.target}")
        word = self._word(f"{stage.canary.percent:g} % to {stage.canary_target} aborted by hand")
        try:
            self._changed(stage, lambda: self._stages.end_canary(stage, word))
        except LostSightError as lost:
            return self._lost(str(lost))
        self._report.came_out(
            "canaryAborted",
            f"{self._service.name}: all requests go to {stage.target} again",
            {"service": self._service.name, "target": stage.target, "reason": "by hand"},
            style=Style.GREEN,
        )
        return DONE

    def stopped(self, exit_code: int) -> int:
        """Somebody stopped the program: says what goes on without it."""
        self._report.end_progress()
        self._tell_of_standing("stopped", "stopped")
        return exit_code

    # Before.

    def _chosen(self, stage: Stage, to: str | None) -> str:
        """The target's name."""
        name = to or ("service" if stage.target != "service" else "candidate")
        if name not in stage.targets:
            there = ", ".join(sorted(stage.targets)) or "none"
            what = "no target is named and it leads to the service already" if not to else ""
            raise ReleaseError(
                f"{self._service.name}: {what or f'there is no target {name!r}'}; there are {there}"
            )
        if stage.targets[name] == stage.address:
            raise ReleaseError(f"{self._service.name}: requests go to {name} already")
        return name

    def _refuse_strangers(self, stage: Stage, target: str) -> None:
        canary = stage.canary
        if canary is not None and canary.percent > 0 and stage.canary_target != target:
            raise ReleaseError(
                f"{self._service.name} has a canary to {stage.canary_target or stage.target}"
                f" already ({canary.percent:g} %): `abort` takes it back"
            )

    def _before(self, stage: Stage) -> Side:
        now = self._tools.now()
        period = self._tools.rhythm.period
        since = _floor(now - _BEFORE, period)
        return self._stages.traffic(stage, since, _floor(now, period), period=period).stable

    # A step.

    def _step(self, percent: float, target: str, before: Side) -> str | None:
        """Takes a step and watches; None where it has passed, else why not."""
        stage = self._stage
        try:
            trouble = self._scaled(stage, target, percent)
        except AwsError as error:
            trouble = str(error)
        self._report.end_progress()
        if trouble is not None:
            return trouble
        address = stage.targets[target]
        is_there = (
            stage.canary is not None
            and stage.canary.percent == percent
            and stage.canary.address == address
        )
        if not is_there:
            watched = ", being watched" if self._limits.watch_for is not None else ""
            word = self._word(f"{percent:g} % to {target}{watched}")
            self._changed(stage, lambda: self._stages.lead(stage, percent, address, word))
        self._report.goes_on(
            "trafficLed",
            f"{self._service.name}: {percent:g} % of the requests go to {target}, {address}",
            {
                "service": self._service.name,
                "percent": percent,
                "target": target,
                "address": address,
                "wasThere": is_there,
            },
        )
        if self._limits.watch_for is None:
            return None
        judgement = self._watched(percent, target, before, self._limits.watch_for)
        self._report.end_progress()
        passed = judgement.outcome is Outcome.PASSED
        self._report.goes_on(
            "stepPassed" if passed else "stepFailed",
            f"{self._service.name}: {percent:g} % to {target}"
            f" {'passed' if passed else judgement.outcome}: {judgement.reason}",
            {
                "service": self._service.name,
                "percent": percent,
                "target": target,
                "outcome": judgement.outcome,
                "reason": judgement.reason,
            },
            style=Style.GREEN if passed else Style.RED,
        )
        if not passed:
            return judgement.reason
        word = self._word(f"{percent:g} % to {target} passed: {judgement.reason}")
        try:
            self._standing = self._stages.describe(self._stage, word)
        except AwsError as error:
            # It tells; nothing depends on it.
            self._report.warn(
                "notDescribed", f"the stage does not say so: {error}", {"reason": str(error)}
            )
        return None

    def _changed(self, stage: Stage, change: Callable[[], Stage]) -> None:
        """Changes the stage. Raises ReleaseError where nothing was changed and nothing stands,
        LostSightError."""
        self._standing = stage
        try:
            self._standing = change()
        except AwsError as error:
            is_done = isinstance(error, TransientAwsError) and error.may_have_been_done
            if is_done:
                self._is_known = False
            if is_done or stage.canary is not None:
                raise LostSightError(str(error)) from None
            raise ReleaseError(f"no request was led elsewhere: {error}") from None

    def _watched(self, percent: float, target: str, before: Side, watch_for: float) -> Judgement:
        """Looks until the time is over, or the counts leave no doubt. What can't be seen has not
        passed."""
        tools, rhythm = self._tools, self._tools.rhythm
        # From the next full period on: what is counted before has requests of before in it.
        since = _floor(tools.now(), rhythm.period) + timedelta(seconds=rhythm.period)
        until = since + timedelta(seconds=math.ceil(watch_for / rhythm.period) * rhythm.period)
        ends = until + timedelta(seconds=rhythm.lag)
        began = tools.now()
        total = (ends - began).total_seconds()
        progress = self._report.progress(total, "", counted="s")
        said = silent = ""
        while True:
            tools.sleep(rhythm.poll)
            now = tools.now()
            time_is_over = now >= ends
            try:
                self._refuse_others_moves()
                # Before its first period has begun there is nothing to ask for.
                traffic = (
                    self._stages.traffic(self._stage, since, min(now, until), period=rhythm.period)
                    if now > since
                    else Traffic(Side(), Side())
                )
            except TransientAwsError as error:
                if not silent:
                    self._report.warn(
                        "awsUnavailable", f"AWS does not answer: {error}", {"reason": str(error)}
                    )
                silent = str(error)
                if time_is_over:
                    return Judgement(Outcome.UNDECIDED, f"AWS does not answer: {silent}")
                continue
            except AwsError as error:
                return Judgement(Outcome.UNDECIDED, str(error))
            silent = ""
            judgement = judge(
                self._limits.policy,
                traffic.canary,
                traffic.stable,
                before,
                time_is_over=time_is_over,
            )
            if judgement.outcome is not Outcome.WATCHING:
                return judgement
            if progress is not None:
                progress.doing(f"{percent:g} % to {target}: {judgement.reason}")
                progress.reach((now - began).total_seconds())
            if judgement.reason != said:
                said = judgement.reason
                self._tell_counts(percent, target, traffic.canary, traffic.stable)

    def _refuse_others_moves(self) -> None:
        """Raises _Superseded where somebody else has moved the traffic."""
        ours = self._stage
        found = self._stages.read(ours.api, ours.api_name)
        if (found.canary, found.address) != (ours.canary, ours.address):
            raise _Superseded(f"somebody else leads its requests now: {found}")

    @property
    def _stage(self) -> Stage:
        assert self._standing is not None
        return self._standing

    # Tasks.

    def _scaled(self, stage: Stage, target: str, percent: float) -> str | None:
        """Gives the canary's ECS service the tasks for its share; None where they run."""
        name = self._ecs_service(target)
        if self._ecs is None or name is None:
            why = "no ECS service runs it" if name is None else "no ECS runs the services here"
            self._report.quietly(
                "notPreScaled", {"service": self._service.name, "target": target, "reason": why}
            )
            return None
        snapshot = self._ecs.services([name])[0]
        wanted = max(snapshot.desired, math.ceil(self._tasks(stage) * percent / 100))
        if wanted > snapshot.desired:
            self._report.goes_on(
                "preScaled",
                f"{name} gets {wanted} tasks, instead of {snapshot.desired}, for {percent:g} %",
                {"service": name, "from": snapshot.desired, "to": wanted, "percent": percent},
            )
            snapshot = self._ecs.scale(name, wanted)
        return self._awaited(name, wanted)

    def _tasks(self, stage: Stage) -> int:
        """Of all requests the canary would need so many."""
        stable = self._ecs_service(stage.target)
        if self._limits.tasks is not None or self._ecs is None or stable is None:
            return self._limits.tasks or 0
        return self._ecs.services([stable])[0].desired

    def _awaited(self, name: str, wanted: int) -> str | None:
        assert self._ecs is not None
        deadline = self._tools.clock() + self._limits.timeout
        while True:
            try:
                snapshot = self._ecs.services([name])[0]
                healthy = self._healthy(snapshot)
            except TransientAwsError:
                snapshot, healthy = None, 0
            if snapshot is not None and min(snapshot.primary.running, healthy) >= wanted > 0:
                return None
            if snapshot is not None and wanted == 0:
                return f"{name} has no tasks: --tasks says how many it is to have"
            if self._tools.clock() >= deadline:
                return (
                    f"{name} has {healthy} healthy tasks of {wanted} after"
                    f" {self._limits.timeout:g} s"
                )
            self._report.doing(f"waiting for {wanted} tasks of {name}: {healthy} are healthy")
            self._tools.sleep(_SCALE_POLL_SECONDS)

    def _healthy(self, snapshot: Snapshot) -> int:
        assert self._ecs is not None
        if not snapshot.target_groups:
            return snapshot.primary.running
        targets = self._ecs.targets(snapshot.target_groups)
        return sum(1 for one in targets if one.state == "healthy")

    def _ecs_service(self, target: str) -> str | None:
        """The ECS service that a target is; None where it is none."""
        return {
            "service": self._service.listens,
            "candidate": f"{self._service.listens}-candidate",
            "monolith": "monolith",
        }.get(target)

    # How it ends.

    def _passed(self, percent: float, target: str, *, promote: bool) -> int:
        if promote:
            return self._promote(self._stage)
        watched = self._limits.watch_for is not None
        self._report.came_out(
            "canaryPassed" if watched else "canarySet",
            f"{self._service.name}: {percent:g} % of the requests go to {target}"
            + (", and it has passed. " if watched else ", and nobody watches it. ")
            + (
                f"{COMMAND} -- promote {self._service.name} leads all of them there for good"
                if percent >= 100
                else f"{COMMAND} -- canary {self._service.name} --percent … takes the next step"
            ),
            {"service": self._service.name, "percent": percent, "target": target},
            style=Style.GREEN if watched else Style.YELLOW,
        )
        return DONE

    def _promote(self, stage: Stage) -> int:
        assert stage.canary is not None
        assert stage.canary.address is not None
        address, target = stage.canary.address, stage.canary_target
        word = self._word(f"all to {target}, promoted (before: {stage.target})")
        self._changed(stage, lambda: self._stages.promote(stage, address, word))
        self._report.came_out(
            "canaryPromoted",
            f"{self._service.name}: all requests go to {target} now. Set `routes` of deploy/terraform"
            " to what is, so that it does not warn",
            {"service": self._service.name, "from": stage.target, "target": target},
            style=Style.GREEN,
        )
        return DONE

    def _take_back(self, reason: str) -> int:
        """Ends the canary; gives the exit code."""
        stage = self._stage
        fields = {"service": self._service.name, "target": stage.target, "reason": reason}
        if stage.canary is not None:
            to = stage.canary_target
            word = self._word(f"{stage.canary.percent:g} % to {to} aborted: {reason}")
            try:
                self._standing = self._stages.end_canary(stage, word)
            except AwsError as error:
                self._report.came_out(
                    "abortFailed",
                    f"{self._service.name}: the canary could not be taken back: {error}. It was to be,"
                    f" because: {reason}. Do it: {COMMAND} -- abort {self._service.name}",
                    {**fields, "trouble": str(error)},
                    style=Style.RED,
                )
                return UNKNOWN
        self._report.came_out(
            "canaryAborted",
            f"{self._service.name}: all requests go to {stage.target}, because: {reason}",
            fields,
            style=Style.RED,
        )
        return ABORTED

    def _left(self, reason: str) -> int:
        self._report.came_out(
            "leftAsItIs",
            f"{self._service.name} was left as it is: {reason}",
            {"service": self._service.name, "reason": reason},
            style=Style.RED,
        )
        return UNKNOWN

    def _lost(self, reason: str) -> int:
        self._report.end_progress()
        self._tell_of_standing("lostSight", reason)
        return UNKNOWN

    # What is told.

    def _word(self, text: str) -> str:
        """What the next operator finds on the stage."""
        return f"canary, {self._tools.now().astimezone(UTC):%Y-%m-%d %H:%MZ}: {text}"

    def _tell_of_standing(self, event: str, reason: str) -> None:
        stage = self._standing
        canary = stage.canary if stage is not None else None
        goes_on = (
            f"what became of it is not known: {COMMAND} -- status {self._service.name} shows it"
            if not self._is_known
            else f"{canary.percent:g} % of the requests still go to the canary, and nobody watches it: the"
            f" same command takes it up again; {COMMAND} -- abort {self._service.name} takes it back"
            if canary is not None
            else "no canary was begun"
        )
        self._report.warn(
            event,
            f"{self._service.name}: {reason}; {goes_on}",
            {
                "service": self._service.name,
                "hasBegun": canary is not None or not self._is_known,
                "reason": f"{reason}; {goes_on}",
            },
        )

    def _tell_counts(self, percent: float, target: str, canary: Side, stable: Side) -> None:
        self._report.quietly(
            "canaryCounted",
            {
                "service": self._service.name,
                "percent": percent,
                "target": target,
                **{
                    name: {
                        "requests": side.requests,
                        "errors": side.errors,
                        "p99Ms": side.p99_ms,
                    }
                    for name, side in (("canary", canary), ("stable", stable))
                },
            },
        )

    def _tell_plan(self, stage: Stage, target: str, steps: Sequence[float]) -> None:
        self._report.goes_on(
            "canaryPlanned",
            f"{self._service.name}: requests go {stage}; {_written(steps)} % are to go to {target},"
            f" {stage.targets[target]}",
            {
                "service": self._service.name,
                "from": stage.target,
                "target": target,
                "address": stage.targets[target],
                "steps": list(steps),
                "description": stage.description,
            },
        )

    def _show(self, stage: Stage, target: str, steps: Sequence[float], *, promote: bool) -> int:
        for percent in steps:
            name = self._ecs_service(target)
            if self._ecs is not None and name is not None:
                desired = self._ecs.services([name])[0].desired
                wanted = max(desired, math.ceil(self._tasks(stage) * percent / 100))
            else:
                desired = wanted = 0
            tasks = f", {name} with {wanted} tasks instead of {desired}" if wanted > desired else ""
            self._would("canary", stage, f"{percent:g} % to {target}{tasks}")
        if promote:
            self._would("promote", stage, f"all to {target}")
        return DONE

    def _would(self, what: str, stage: Stage, then: str) -> int:
        self._report.came_out(
            "wouldLead",
            f"{self._service.name}: requests go {stage}; {what} would lead {then}",
            {"service": self._service.name, "what": what, "now": str(stage), "then": then},
        )
        return DONE


def show_traffic(service: Service, calls: Calls, report: Report) -> None:
    """Tells where a service's requests go, and what the last operator left there."""
    try:
        stage = Stages(calls).find(service)
    except (AwsError, ReleaseError) as error:
        report.warn("noTraffic", f"where requests go is not shown: {error}", {"reason": str(error)})
        return
    report.came_out(
        "serviceTraffic",
        f"{service.name}  requests go {stage}"
        + (f"\n  {stage.description}" if stage.description else ""),
        {
            "service": service.name,
            "target": stage.target,
            "canaryTarget": stage.canary_target,
            "canaryPercent": stage.canary.percent if stage.canary else None,
            "description": stage.description,
        },
        style=Style.YELLOW if stage.canary else None,
    )


class _Superseded(Exception):  # noqa: N818 - nobody's error
    pass


def _ahead(steps: Sequence[float], stage: Stage) -> Sequence[float]:
    """The steps that are yet to be taken: what an earlier run has taken is not taken again."""
    if len(steps) == 1 or stage.canary is None:
        return steps
    at = stage.canary.percent
    return [percent for percent in steps if percent >= at] or steps[-1:]


def _floor(at: datetime, seconds: int) -> datetime:
    """The begin of the period that a time is in."""
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)


def _written(steps: Sequence[float]) -> str:
    return ", ".join(f"{percent:g}" for percent in steps)
