"""Releases the services: what was changed, build, push, roll out, watch, roll back, and lead traffic by
canaries. See README.md.

Exit codes: 0 done; 1 the deployment failed and was rolled back, the canary failed and was taken back, or
`changed` found an error, or what `status` shows has failed; 2 bad input or configuration, nothing was changed; 3 it is not known what
runs now, or the roll-back failed: look; 130, 143 stopped, and what ECS had begun goes on by itself.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from deploy.release._build import build_images
from deploy.release._calls import AwsError, Calls
from deploy.release._canary import (
    LOCALLY,
    ON_AWS,
    CanaryLimits,
    CanaryRelease,
    CanaryTools,
    show_traffic,
)
from deploy.release._changed import changes
from deploy.release._changes import State
from deploy.release._command import parse
from deploy.release._credentials import Aws, Local, aws_of, find_local, login_to
from deploy.release._deploy import Limits, Release, Tools
from deploy.release._docker import Docker
from deploy.release._ecs import Ecs
from deploy.release._errors import ReleaseError, raise_all
from deploy.release._judgement import Policy
from deploy.release._push import push_image
from deploy.release._registry import Registry, RegistryClient, registry_named
from deploy.release._report import Report
from deploy.release._services import SERVICES, Service, services_named
from deploy.release._status import Status
from deploy.release._verify import VersionPage, version_url

ROOT = Path(__file__).resolve().parents[2]

CLUSTER = "lyceum"

DONE, FAILED, BAD_INPUT, UNKNOWN = 0, 1, 2, 3


class Stopped(BaseException):
    """A signal wants the program to end; no `except Exception` holds it up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    try:
        options = parse(arguments)
    except ReleaseError as error:
        Report(sys.stdout, sys.stderr, as_json=False, clock=time.monotonic).can_not(*error.problems)
        return BAD_INPUT
    report = Report(sys.stdout, sys.stderr, as_json=options.json, clock=time.monotonic)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    command: Callable[[argparse.Namespace, Report], int] = _COMMANDS[options.command]
    try:
        return command(options, report)
    except ReleaseError as error:
        report.can_not(*error.problems)
        return BAD_INPUT
    except AwsError as error:
        report.can_not(str(error))
        return BAD_INPUT
    except Stopped as stopped:
        report.can_not("stopped; nothing that runs was changed")
        return stopped.exit_code
    except Exception:
        # A defect of ours must not leave with the exit code of a deployment that was taken back.
        traceback.print_exc()
        report.can_not("this is a defect of the tool; what runs now is not known: look at status")
        return UNKNOWN


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # Once: what is done on the way out is not to be cut short by an impatient second one.
    signal.signal(number, signal.SIG_IGN)
    raise Stopped(number)


def _changed(options: argparse.Namespace, report: Report) -> int:
    found = changes(ROOT, options.since, tell=report.doing)
    for change in found:
        lines = [f"{change.service.name} {change.version}: {change.state}"]
        if change.since is None:
            lines.append("  it was never released")
        else:
            lines[0] += f" (compared with {change.since[:12]}, {change.since_version})"
        lines += [f"  changed: {reason}" for reason in change.reasons]
        lines += [f"  error: {problem}" for problem in change.problems]
        report.came_out(
            "serviceCompared",
            "\n".join(lines),
            {
                "service": change.service.name,
                "version": change.version,
                "state": _STATES[change.state],
                "since": change.since,
                "sinceVersion": change.since_version,
                "reasons": change.reasons,
                "problems": change.problems,
            },
        )
    return FAILED if any(change.problems for change in found) else DONE


_STATES = {
    State.UNCHANGED: "unchanged",
    State.MUST_BE_RELEASED: "mustBeReleased",
    State.MUST_BE_BUMPED: "mustBeBumped",
}


def _build(options: argparse.Namespace, report: Report) -> int:
    services = _to_build(options, report)
    if not services:
        report.came_out("nothingToBuild", "no service was changed since its last release", {})
        return DONE
    for image in build_images(services, root=ROOT, tell=report.doing):
        if image.revision.endswith("-dirty"):
            report.warn(
                "notCommitted",
                f"{image.service.name} is made of files that no commit has: {image.revision}",
                {"service": image.service.name, "revision": image.revision},
            )
        lines = (
            f"{image.reference}  {image.size / 1e6:.1f} MB",
            f"  hash      {image.hash}",
            f"  revision  {image.revision}",
            f"  id        {image.id}",
            f"  sbom      {image.sbom}",
        )
        report.came_out("imageBuilt", "\n".join(lines), image.document())
    return DONE


def _to_build(options: argparse.Namespace, report: Report) -> list[Service]:
    if not options.changed:
        return services_named(options.services)
    found = changes(ROOT, options.since, tell=report.doing)
    raise_all(
        f"{change.service.name}: {problem}" for change in found for problem in change.problems
    )
    return [change.service for change in found if change.state is State.MUST_BE_RELEASED]


def _push(options: argparse.Namespace, report: Report) -> int:
    services = services_named(options.services)
    local = _local(options)
    registry = _registry(options, local)
    login = login_to(registry, aws_of(options.local), is_ecr=local is not None)
    docker = Docker(ROOT)
    for service in services:
        report.doing(f"pushing {service.name} to {registry}")
        pushed = push_image(service, login, root=ROOT, docker=docker, drafts=options.allow_dirty)
        how = "was there already" if pushed.was_there else "pushed"
        report.came_out(
            "imagePushed",
            f"{pushed.repository}:{pushed.version} {how}, {pushed.size / 1e6:.1f} MB compressed\n"
            f"  digest    {pushed.digest}",
            pushed.document(),
        )
    return DONE


def _deploy(options: argparse.Namespace, report: Report) -> int:
    (service,) = services_named([options.service])
    where = _Where.of(options, service)
    release = Release(service, where.tools(report), where.limits, alarms=options.alarm)
    return _until_stopped(
        release,
        lambda: release.deploy(
            options.digest or options.version,
            registry=where.registry,
            wait=options.wait,
            dry_run=options.dry_run,
        ),
    )


def _rollback(options: argparse.Namespace, report: Report) -> int:
    (service,) = services_named([options.service])
    where = _Where.of(options, service)
    to = _revisions(options.to, service)
    release = Release(service, where.tools(report), where.limits, alarms=options.alarm)
    return _until_stopped(release, lambda: release.rollback(to, dry_run=options.dry_run))


def _until_stopped(release: Release | CanaryRelease, run: Callable[[], int]) -> int:
    try:
        return run()
    except Stopped as stopped:
        return release.stopped(stopped.exit_code)


def _status(options: argparse.Namespace, report: Report) -> int:
    services = services_named([options.service] if options.service else list(SERVICES))
    local = _local(options)
    calls = Calls(aws_of(options.local), sleep=time.sleep, chance=random.random)
    cluster = options.cluster or (local and local.cluster) or CLUSTER
    status = Status(Ecs(calls, cluster), report, clock=time.monotonic, sleep=time.sleep)
    is_well = status.follow(services) if options.watch else status.show(services)
    for service in services:
        show_traffic(service, calls, report)
    return DONE if is_well else FAILED


def _canary(options: argparse.Namespace, report: Report) -> int:
    canary = _canary_release(options, report)
    steps = options.steps or [options.percent]
    return _until_stopped(
        canary,
        lambda: canary.walk(steps, options.to, promote=options.promote, dry_run=options.dry_run),
    )


def _promote(options: argparse.Namespace, report: Report) -> int:
    canary = _canary_release(options, report)
    return _until_stopped(
        canary, lambda: canary.promote(force=options.force, dry_run=options.dry_run)
    )


def _abort(options: argparse.Namespace, report: Report) -> int:
    canary = _canary_release(options, report)
    return _until_stopped(canary, lambda: canary.abort(dry_run=options.dry_run))


def _canary_release(options: argparse.Namespace, report: Report) -> CanaryRelease:
    (service,) = services_named([options.service])
    local = None if options.local is None else find_local(options.local, with_containers=False)
    tools = CanaryTools(
        calls=Calls(aws_of(options.local), sleep=time.sleep, chance=random.random),
        cluster=options.cluster or (local.cluster if local else CLUSTER),
        report=report,
        clock=time.monotonic,
        now=lambda: datetime.now(UTC),
        sleep=time.sleep,
        rhythm=LOCALLY if local else ON_AWS,
    )
    if options.command != "canary":
        return CanaryRelease(service, tools, CanaryLimits(Policy()))
    policy = Policy(
        min_requests=options.min_requests,
        error_margin=options.error_margin / 100,
        slowdown=options.slowdown,
    )
    limits = CanaryLimits(
        policy,
        watch_for=None if options.no_watch else options.watch_for,
        tasks=options.tasks,
        timeout=options.timeout,
    )
    return CanaryRelease(service, tools, limits)


@dataclass(frozen=True)
class _Where:
    """What the options of `deploy` and `rollback` mean: all that is wrong is told at once."""

    cluster: str
    registry: Registry | None
    url: str | None
    limits: Limits
    local: Local | None
    aws: Aws

    @classmethod
    def of(cls, options: argparse.Namespace, service: Service) -> _Where:
        problems: list[str] = []

        def tried(read: Callable[[], Any]) -> Any:
            try:
                return read()
            except ReleaseError as error:
                problems.extend(error.problems)
                return None

        local: Local | None = tried(lambda: _local(options))
        address = options.url or (local.services.get(service.name) if local else None)
        if address is None and not options.no_verify and options.local is None:
            problems.append(
                "--url is missing: where the service answers from outside (--no-verify goes without)"
            )
        url = tried(lambda: version_url(address)) if address and not options.no_verify else None
        named = getattr(options, "registry", None)  # a roll-back goes where its image is
        registry = tried(lambda: registry_named(named)) if named else None
        raise_all(problems)
        return cls(
            cluster=options.cluster or (local and local.cluster) or CLUSTER,
            registry=registry,
            url=url,
            limits=Limits(
                timeout=options.timeout,
                verify_within=options.verify_timeout,
                consecutive=options.answers,
            ),
            local=local,
            aws=aws_of(options.local),
        )

    def tools(self, report: Report) -> Tools:
        return Tools(
            calls=Calls(self.aws, sleep=time.sleep, chance=random.random),
            cluster=self.cluster,
            registry=self._client,
            report=report,
            clock=time.monotonic,
            sleep=time.sleep,
            ask=VersionPage(self.url) if self.url else None,
        )

    def _client(self, host: str) -> RegistryClient:
        own = self.local.registry if self.local is not None else None
        is_ecr = own is not None and host == own.host
        login = login_to(Registry(host), self.aws, is_ecr=is_ecr)
        return RegistryClient(host, login.for_queries)


def _revisions(given: Sequence[str], service: Service) -> dict[str, int]:
    """What `--to` means: a revision by family. Raises ReleaseError."""
    found: dict[str, int] = {}
    problems = []
    for one in given:
        family, _, number = one.rpartition(":")
        if not family and len(service.rollouts) == 1:
            family = service.listens
        if not number.isdecimal() or family not in service.rollouts:
            problems.append(
                f"--to {one!r} is no revision of {service.name}; such as"
                f" {' '.join(f'--to {name}:7' for name in service.rollouts)}"
            )
        else:
            found[family] = int(number)
    raise_all(problems)
    return found


def _local(options: argparse.Namespace) -> Local | None:
    return None if options.local is None else find_local(options.local)


def _registry(options: argparse.Namespace, local: Local | None) -> Registry:
    if options.registry is not None:
        return registry_named(options.registry)
    if local is None or local.registry is None:
        raise ReleaseError("--registry HOST[/PREFIX] is missing; only --local implies one")
    return local.registry


_COMMANDS = {
    "changed": _changed,
    "build": _build,
    "push": _push,
    "deploy": _deploy,
    "status": _status,
    "rollback": _rollback,
    "canary": _canary,
    "promote": _promote,
    "abort": _abort,
}

if __name__ == "__main__":
    sys.exit(main())
