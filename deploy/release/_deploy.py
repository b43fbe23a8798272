"""Rolls a service to an image, and back: what is done in which order, and what if it fails.

Changes nothing but which task definition the service's own ECS services run. Nothing is changed
before all that can be looked at beforehand was looked at, and every wait has its bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.release._calls import AwsError, Calls, TransientAwsError
from deploy.release._ecs import Ecs, Snapshot, TaskDefinition, short_name
from deploy.release._errors import ReleaseError, raise_all
from deploy.release._push import said_by
from deploy.release._registry import Registry, RegistryClient, StoredImage
from deploy.release._report import COMMAND, Report
from deploy.release._rollout import SETTLES_WITHIN_SECONDS, Rollout
from deploy.release._services import Service
from deploy.release._task_definition import (
    PREVIOUS_TAG,
    VERSION_TAG,
    difference,
    image_of,
    main_container,
    with_image,
)
from deploy.release._verify import Identity, Said, verify
from deploy.release._watch import POLL_SECONDS, End, Followed, LostSightError, Watch
from libs.console import Style

DONE, ROLLED_BACK, UNKNOWN = 0, 1, 3


@dataclass(frozen=True)
class Limits:
    """Bounds in seconds, and how many answers convince."""

    timeout: float = 900.0
    verify_within: float = 60.0
    verify_pause: float = 0.5
    consecutive: int = 10


@dataclass(frozen=True)
class Tools:
    """What is used.

    Args:
        calls: AWS.
        cluster: of ECS.
        registry: a client of the registry at a host.
        report: told.
        clock: monotonic seconds.
        sleep: pauses for seconds.
        ask: what `/version` says from outside; None: it is not asked.
    """

    calls: Calls
    cluster: str
    registry: Callable[[str], RegistryClient]
    report: Report
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    ask: Callable[[], Said] | None


@dataclass(frozen=True)
class Move:
    """One ECS service on its way.

    Args:
        snapshot: as it was.
        current: what it runs, or is rolling out already.
        previous: what it goes back to.
        goal: where to; None while it is not registered.
        document: what is to be registered; None where nothing is.
        is_under_way: ECS rolls it out already, by an earlier run of this command.
    """

    snapshot: Snapshot
    current: TaskDefinition
    previous: str | None
    goal: str | None
    document: Mapping[str, Any] | None = field(default=None, repr=False)
    is_under_way: bool = False

    @property
    def name(self) -> str:
        return self.snapshot.name

    @property
    def needs_update(self) -> bool:
        """Whether ECS is to be told."""
        return not self.is_under_way and self.goal != self.current.arn

    @property
    def moves(self) -> bool:
        """Whether it goes anywhere: what ran the goal before is not taken back when others are."""
        return self.needs_update or self.is_under_way


class Release:
    """Deploys and rolls back one service."""

    def __init__(
        self, service: Service, tools: Tools, limits: Limits, *, alarms: Sequence[str] = ()
    ) -> None:
        self._service = service
        self._tools = tools
        self._limits = limits
        self._alarms = alarms
        self._ecs = Ecs(tools.calls, tools.cluster)
        self._report = tools.report
        self._watch = Watch(self._ecs, tools.report, tools.clock, tools.sleep, alarms)
        self._deployments: dict[str, str] = {}
        self.has_begun = False
        """Whether ECS was told to change anything."""

    def deploy(
        self,
        wanted: str,
        *,
        registry: Registry | None = None,
        wait: bool = False,
        dry_run: bool = False,
    ) -> int:
        """Rolls the service to an image, and back if it fails; gives the exit code.

        Args:
            wanted: the image's digest or version.
            registry: where it is; None: where the running one is from.
            wait: for a roll-out in progress, instead of refusing.
            dry_run: only tells what it would do.

        Raises ReleaseError: nothing was changed.
        """
        try:
            snapshots = self._ready(wanted, wait=wait)
            definitions = [
                self._ecs.task_definition(one.primary.task_definition) for one in snapshots
            ]
            host, path = self._repository(definitions[0], registry)
            image = self._tools.registry(host).image(path, wanted)
        except AwsError as error:
            raise ReleaseError(str(error)) from None
        if image is None:
            raise ReleaseError(f"the registry {host} has no {path} of {wanted}: release push it")
        identity = self._identity(image, f"{path} of {wanted}")
        reference = f"{host}/{path}@{image.digest}"
        moves = [
            self._towards(snapshot, definition, reference, image.digest)
            for snapshot, definition in zip(snapshots, definitions, strict=True)
        ]
        self._refuse_strangers(moves)
        self._tell_plan(moves, identity, reference)
        if dry_run:
            return self._show(moves, identity, reference)
        old = self._identity_before(moves)
        self._check_alarms()
        moves = [self._registered(move, identity) for move in moves]
        return self._roll(moves, identity, old, take_back=True)

    def rollback(self, to: Mapping[str, int], *, dry_run: bool = False) -> int:
        """Rolls the service to the task definitions it came from; gives the exit code.

        Args:
            to: other revisions, by family.
            dry_run: only tells what it would do.

        Raises ReleaseError: nothing was changed.
        """
        try:
            snapshots = self._ecs.services(self._service.rollouts)
            moves = [self._backwards(one, to.get(one.name)) for one in snapshots]
            targets = [self._ecs.task_definition(move.goal or "") for move in moves]
        except AwsError as error:
            raise ReleaseError(str(error)) from None
        raise_all(
            f"{target.name} was deregistered: ECS does not run it any more"
            for target in targets
            if not target.is_active
        )
        identity = self._identity_of(targets[0])
        outgoing = self._identity_of(moves[0].current)
        self._tell_plan(moves, identity, main_container(targets[0])["image"])
        if dry_run:
            return self._show(moves, identity, main_container(targets[0])["image"])
        return self._roll(moves, identity, outgoing, take_back=False)

    def stopped(self, exit_code: int) -> int:
        """Somebody stopped the program: says what goes on without it."""
        self._goes_on_by_itself("stopped", f"stopped; {self._goes_on}")
        return exit_code

    # Before.

    def _ready(self, wanted: str, *, wait: bool) -> list[Snapshot]:
        snapshots = self._ecs.services(self._service.rollouts)
        raise_all(
            problem
            for one in snapshots
            for problem in (
                [f"the ECS service {one.name} is {one.status}"] if one.status != "ACTIVE" else []
            )
            + (
                [f"the ECS service {one.name} is not deployed by ECS but by {one.controller}"]
                if one.controller != "ECS"
                else []
            )
        )
        if not wait:
            return snapshots
        deadline = self._tools.clock() + self._limits.timeout
        while any(one.is_rolling and not self._is_ours(one, wanted) for one in snapshots):
            if self._tools.clock() >= deadline:
                raise ReleaseError(
                    f"the roll-out in progress did not end within {self._limits.timeout:g} s"
                )
            self._report.doing("waiting for the roll-out that is in progress")
            self._tools.sleep(POLL_SECONDS)
            snapshots = self._ecs.services(self._service.rollouts)
        return snapshots

    def _is_ours(self, snapshot: Snapshot, wanted: str) -> bool:
        definition = self._ecs.task_definition(snapshot.primary.task_definition)
        image = image_of(main_container(definition)["image"])
        return wanted in (image.digest, definition.tags.get(VERSION_TAG))

    def _refuse_strangers(self, moves: Sequence[Move]) -> None:
        raise_all(
            f"{move.name}: a roll-out is in progress, to {move.current.name}"
            f" ({move.snapshot.primary.state}): --wait waits for it"
            for move in moves
            if move.snapshot.is_rolling and not move.is_under_way
        )

    def _repository(self, definition: TaskDefinition, registry: Registry | None) -> tuple[str, str]:
        if registry is not None:
            return registry.host, registry.repository(self._service.repository)
        image = image_of(main_container(definition)["image"])
        if not image.host or not f"/{image.path}".endswith(f"/{self._service.repository}"):
            raise ReleaseError(
                f"{definition.name} runs {image.repository}, which is no"
                f" {self._service.repository}: say where its image is with --registry"
            )
        return image.host, image.path

    def _identity(self, image: StoredImage, name: str) -> Identity:
        version, image_hash = said_by(self._service, image)
        if version is None or image_hash is None:
            raise ReleaseError(
                f"{name} does not say its version and hash ({self._service.prefix}VERSION,"
                f" {self._service.prefix}IMAGE_HASH): release build makes images that do"
            )
        return Identity(version, image_hash)

    def _identity_of(self, definition: TaskDefinition) -> Identity | None:
        """Of the image that a task definition names; None where it can not be told."""
        image = image_of(main_container(definition)["image"])
        if not image.host:
            return None
        try:
            stored = self._tools.registry(image.host).image(image.path, image.digest or image.tag)
        except ReleaseError:
            return None
        version, image_hash = said_by(self._service, stored) if stored else (None, None)
        return Identity(version, image_hash) if version and image_hash else None

    def _identity_before(self, moves: Sequence[Move]) -> Identity | None:
        previous = moves[0].previous
        try:
            known = self._identity_of(self._ecs.task_definition(previous)) if previous else None
        except AwsError:
            known = None
        if known is None and self._tools.ask is not None:
            said = self._tools.ask()
            known = None if said.trouble else Identity(said.version, said.image_hash)
        return known

    def _towards(
        self, snapshot: Snapshot, definition: TaskDefinition, reference: str, digest: str
    ) -> Move:
        runs = image_of(main_container(definition)["image"])
        if runs.digest == digest and f"{runs.repository}@{runs.digest}" == reference:
            return Move(
                snapshot=snapshot,
                current=definition,
                previous=self._came_from(snapshot, definition),
                goal=definition.arn,
                is_under_way=snapshot.is_rolling,
            )
        return Move(
            snapshot=snapshot,
            current=definition,
            previous=definition.arn,
            goal=None,
            document=with_image(definition, reference),
        )

    def _backwards(self, snapshot: Snapshot, revision: int | None) -> Move:
        current = self._ecs.task_definition(snapshot.primary.task_definition)
        if revision is not None:
            goal: str | None = self._ecs.task_definition(f"{current.family}:{revision}").arn
        else:
            goal = self._came_from(snapshot, current) or self._older(current)
        if goal is None:
            raise ReleaseError(
                f"{current.name} is the first of its family; there is nothing to go back to"
            )
        return Move(snapshot=snapshot, current=current, previous=current.arn, goal=goal)

    def _came_from(self, snapshot: Snapshot, current: TaskDefinition) -> str | None:
        """What a task definition took the place of."""
        replaced = [
            one.task_definition
            for one in snapshot.deployments
            if one.task_definition != current.arn and one.state == "COMPLETED"
        ]
        return current.tags.get(PREVIOUS_TAG) or (replaced[0] if replaced else None)

    def _older(self, current: TaskDefinition) -> str | None:
        """The newest older revision: where no deployment of ours says what was before."""
        for arn in self._ecs.revisions(current.family):
            if int(arn.rpartition(":")[2]) < current.revision:
                return arn
        return None

    def _check_alarms(self) -> None:
        try:
            states = self._ecs.alarms(self._alarms)
        except AwsError as error:
            raise ReleaseError(str(error)) from None
        raise_all(
            problem
            for name in self._alarms
            for problem in (
                [f"there is no alarm {name}"]
                if name not in states
                else [f"the alarm {name} is on already: {states[name][1]}"]
                if states[name][0] == "ALARM"
                else []
            )
        )

    def _registered(self, move: Move, identity: Identity) -> Move:
        if move.document is None:
            return move
        tags = {
            **move.current.tags,
            PREVIOUS_TAG: move.current.arn,
            VERSION_TAG: identity.version,
        }
        try:
            made = self._ecs.register(move.document, tags)
        except AwsError as error:
            raise ReleaseError(f"nothing was rolled out: {error}") from None
        self._report.goes_on(
            "taskDefinitionRegistered",
            f"registered {made.name}",
            {"service": move.name, "taskDefinition": made.arn, "previous": move.current.arn},
        )
        return Move(move.snapshot, move.current, move.current.arn, made.arn)

    # The roll-out.

    def _roll(
        self,
        moves: Sequence[Move],
        identity: Identity | None,
        outgoing: Identity | None,
        *,
        take_back: bool,
    ) -> int:
        began = self._tools.clock()
        self._watch.know(move.snapshot for move in moves if not move.is_under_way)
        self._watch.know(
            (move.snapshot for move in moves if move.is_under_way), but_of_roll_outs=True
        )
        try:
            followed = self._updated(moves) or self._follow(moves, began)
            if followed.end is End.DONE:
                trouble = self._verified(moves, identity, outgoing, "expected")
                if trouble is None:
                    return self._succeeded(moves, identity, began)
                followed = Followed(End.FAILED, trouble)
        except LostSightError as lost:
            self._goes_on_by_itself("lostSight", f"{lost}; {self._goes_on}")
            return UNKNOWN
        self._report.goes_on(
            "rolloutFailed",
            f"{self._service.name}: the roll-out failed: {followed.reason}",
            {"service": self._service.name, "end": followed.end, "reason": followed.reason},
            style=Style.RED,
        )
        if followed.end is not End.SUPERSEDED:
            self._tell_stopped_tasks(moves)
        moved = [move for move in moves if move.moves]
        if not take_back or not moved or followed.end is End.SUPERSEDED:
            return self._left(followed)
        return self._take_back(moved, followed, identity, outgoing)

    def _updated(self, moves: Sequence[Move]) -> Followed | None:
        """Tells ECS; None where all went well."""
        for move in moves:
            if not move.needs_update or move.goal is None:
                continue
            had_begun, self.has_begun = self.has_begun, True
            try:
                snapshot = self._ecs.update(move.name, move.goal)
            except AwsError as error:
                if isinstance(error, TransientAwsError) and error.may_have_been_done:
                    raise LostSightError(str(error)) from None
                self.has_begun = had_begun
                if not had_begun:
                    raise ReleaseError(f"nothing was rolled out: {error}") from None
                return Followed(End.FAILED, str(error))
            self._deployments[move.name] = snapshot.primary.id
            self._report.goes_on(
                "rolloutStarted",
                f"{move.name} rolls from {move.current.name} to {short_name(move.goal)};"
                f" circuit breaker {move.snapshot.breaker}",
                {
                    "service": move.name,
                    "from": move.current.arn,
                    "to": move.goal,
                    "circuitBreaker": move.snapshot.breaker.enabled,
                    "circuitBreakerRollsBack": move.snapshot.breaker.rolls_back,
                },
            )
        self.has_begun = self.has_begun or any(move.moves for move in moves)
        return None

    def _follow(self, moves: Sequence[Move], began: float) -> Followed:
        rollouts = [
            Rollout(
                move.name,
                move.goal,
                move.previous,
                began,
                self._deployments.get(move.name, move.snapshot.primary.id),
            )
            for move in moves
            if move.goal
        ]
        return self._watch.follow(rollouts, what=self._service.name, timeout=self._limits.timeout)

    def _verified(
        self,
        moves: Sequence[Move],
        identity: Identity | None,
        outgoing: Identity | None,
        whose: str,
    ) -> str | None:
        """Asks from outside; None where the right version answers, else what is wrong."""
        has_tasks = any(
            move.snapshot.desired for move in moves if move.name == self._service.listens
        )
        if self._tools.ask is None or not has_tasks:
            why = "--no-verify" if self._tools.ask is None else "none of its tasks listens"
            self._report.warn(
                "notVerified",
                f"{self._service.name} was not asked from outside ({why})",
                {"service": self._service.name, "reason": why},
            )
            return None
        limits = self._limits
        self._report.doing(f"asking {self._service.name} for its version")
        found = verify(
            self._tools.ask,
            identity,
            outgoing=outgoing if outgoing != identity else None,
            consecutive=limits.consecutive,
            within=limits.verify_within,
            pause=limits.verify_pause,
            clock=self._tools.clock,
            sleep=self._tools.sleep,
        )
        self._report.end_progress()
        self._report.goes_on(
            "verified" if found.is_right else "verificationFailed",
            f"from outside: {found.reason}"
            + "".join(f"; {count} of {said}" for said, count in found.unexpected.items()),
            {
                "service": self._service.name,
                "whose": whose,
                "isRight": found.is_right,
                "answers": found.answers,
                "reason": found.reason,
                "unexpected": found.unexpected,
            },
            style=Style.GREEN if found.is_right else Style.RED,
        )
        return None if found.is_right else found.reason

    def _succeeded(self, moves: Sequence[Move], identity: Identity | None, began: float) -> int:
        seconds = self._tools.clock() - began
        running = ", ".join(short_name(move.goal or "") for move in moves)
        self._report.came_out(
            "deployed",
            f"{self._service.name} runs {identity or 'what it ran before'} as {running},"
            f" after {seconds:.1f} s",
            {
                "service": self._service.name,
                "version": identity.version if identity else None,
                "hash": identity.image_hash if identity else None,
                "taskDefinitions": [move.goal for move in moves],
                "seconds": round(seconds, 3),
            },
            style=Style.GREEN,
        )
        return DONE

    # When it failed.

    def _take_back(
        self,
        moves: Sequence[Move],
        followed: Followed,
        identity: Identity | None,
        outgoing: Identity | None,
    ) -> int:
        try:
            ended = self._back(moves, followed)
            trouble = (
                self._verified(moves, outgoing, identity, "previous")
                if ended.end is End.DONE
                else ended.reason
            )
        except (AwsError, LostSightError, ReleaseError) as error:
            trouble = str(error)
        names = ", ".join(short_name(move.previous or "") for move in moves)
        fields = {
            "service": self._service.name,
            "reason": followed.reason,
            "taskDefinitions": [move.previous for move in moves],
        }
        if trouble is not None:
            self._report.came_out(
                "rollbackFailed",
                f"{self._service.name}: rolling back to {names} failed: {trouble}."
                f" It was rolled back because: {followed.reason}. Look:"
                f" {COMMAND} -- status {self._service.name}",
                {**fields, "trouble": trouble},
                style=Style.RED,
            )
            return UNKNOWN
        self._report.came_out(
            "rolledBack",
            f"{self._service.name} was rolled back to {names}"
            + (f", {outgoing}" if outgoing else "")
            + f", because: {followed.reason}",
            {**fields, "version": outgoing.version if outgoing else None},
            style=Style.RED,
        )
        return ROLLED_BACK

    def _back(self, moves: Sequence[Move], followed: Followed) -> Followed:
        began = self._tools.clock()
        raise_all(
            f"it is not known what {move.name} ran before" for move in moves if not move.previous
        )
        snapshots = self._settled(moves, followed)
        back = []
        for move, snapshot in zip(moves, snapshots, strict=True):
            assert move.previous is not None
            deployment = snapshot.primary
            if deployment.task_definition not in (move.previous, move.goal):
                return Followed(End.SUPERSEDED, f"{move.name} goes somewhere else meanwhile")
            # Else ECS did it itself, or it was never updated.
            if deployment.task_definition == move.goal:
                deployment = self._ecs.update(move.name, move.previous).primary
            back.append(Rollout(move.name, move.previous, move.goal, began, deployment.id))
            self._report.goes_on(
                "rollbackStarted",
                f"{move.name} rolls back to {short_name(move.previous)}",
                {"service": move.name, "to": move.previous},
                style=Style.YELLOW,
            )
        self._watch.alarms = ()  # on the way back nothing turns it round again
        return self._watch.follow(
            back, what=f"{self._service.name}, back", timeout=self._limits.timeout
        )

    def _settled(self, moves: Sequence[Move], followed: Followed) -> list[Snapshot]:
        """The services, after ECS had its time to begin rolling back by itself."""
        deadline = self._tools.clock() + SETTLES_WITHIN_SECONDS
        while True:
            snapshots = self._ecs.services([move.name for move in moves])
            waits = followed.end is End.FAILED and any(
                one.breaker.enabled
                and one.breaker.rolls_back
                and one.primary.state == "FAILED"
                and one.primary.task_definition == move.goal
                for move, one in zip(moves, snapshots, strict=True)
            )
            if not waits or self._tools.clock() >= deadline:
                return snapshots
            self._report.doing("waiting for ECS to roll back by itself")
            self._tools.sleep(POLL_SECONDS)

    def _left(self, followed: Followed) -> int:
        self._report.came_out(
            "leftAsItIs",
            f"{self._service.name} was left as it is: {followed.reason}. Look:"
            f" {COMMAND} -- status {self._service.name}",
            {"service": self._service.name, "reason": followed.reason},
            style=Style.RED,
        )
        return UNKNOWN

    def _tell_stopped_tasks(self, moves: Sequence[Move]) -> None:
        for move in moves:
            try:
                stopped = self._ecs.stopped_tasks(move.name, move.goal or "")
            except AwsError:
                continue  # it only explains
            for task in stopped[:5]:
                self._report.goes_on(
                    "taskStopped",
                    f"  task {task.id[:12]}: {task.reason}",
                    {"service": move.name, "task": task.id, "reason": task.reason},
                    style=Style.YELLOW,
                )

    # What is told.

    @property
    def _goes_on(self) -> str:
        name = self._service.name
        if not self.has_begun:
            return "nothing that runs was changed"
        return (
            "ECS goes on with the roll-out by itself, and nothing takes it back if it fails here:"
            f" the same command takes up watching; {COMMAND} -- status {name} --watch shows it;"
            f" {COMMAND} -- rollback {name} undoes it"
        )

    def _goes_on_by_itself(self, event: str, text: str) -> None:
        self._report.end_progress()
        self._report.warn(
            event,
            f"{self._service.name}: {text}",
            {"service": self._service.name, "hasBegun": self.has_begun, "reason": text},
        )

    def _tell_plan(self, moves: Sequence[Move], identity: Identity | None, reference: str) -> None:
        self._report.goes_on(
            "planned",
            f"{self._service.name}: {identity or 'an image that does not say its version'},"
            f" {reference}",
            {
                "service": self._service.name,
                "version": identity.version if identity else None,
                "hash": identity.image_hash if identity else None,
                "image": reference,
                "from": [move.current.arn for move in moves],
            },
        )

    def _show(self, moves: Sequence[Move], identity: Identity | None, reference: str) -> int:
        for move in moves:
            lines = difference(move.current, move.document) if move.document is not None else []
            if move.document is not None:
                text = f"{move.name} would be rolled from {move.current.name} to a new revision:"
            elif move.needs_update:
                text = f"{move.name} would be rolled from {move.current.name} to"
                text += f" {short_name(move.goal or '')}"
            elif move.is_under_way:
                text = f"{move.name} is being rolled to {move.current.name} already"
            else:
                text = f"{move.name} runs it already, as {move.current.name}"
            self._report.came_out(
                "wouldChange",
                "\n".join([text, *lines]),
                {
                    "service": move.name,
                    "from": move.current.arn,
                    "to": move.goal,
                    "changes": move.document is not None or move.needs_update,
                    "difference": lines,
                },
            )
        return DONE
