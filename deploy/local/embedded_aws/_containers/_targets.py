"""Target groups: who is registered, whether they are healthy, and which of them get requests.

The states and reasons are those of DescribeTargetHealth. A target enters service with its first good
check ("it must pass one health check to be considered healthy") and comes back after as many as the
healthy threshold says; with no healthy target at all, requests go to all that are registered ("the load
balancer routes requests to all targets, regardless of their health status").
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import aiohttp
from yarl import URL


class TargetState(StrEnum):
    """A target's state, as DescribeTargetHealth names it."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    UNUSED = "unused"


@dataclass(frozen=True)
class TargetGroupSettings:
    """A target group, as its owner set it up."""

    arn: str
    port: int = 80
    path: str = "/"
    check_port: int | None = None  # None: the port of the target
    interval_seconds: float = 30.0
    timeout_seconds: float = 5.0
    healthy_threshold: int = 5
    unhealthy_threshold: int = 2
    codes: str = "200"
    deregistration_seconds: float = 300.0
    attached: bool = False  # a listener forwards to it


@dataclass(frozen=True, order=True)
class Endpoint:
    """Where a target listens."""

    address: str
    port: int


@dataclass(frozen=True)
class TargetHealth:
    """What DescribeTargetHealth says of a target."""

    endpoint: Endpoint
    state: TargetState
    reason: str | None = None
    description: str | None = None


@dataclass(eq=False)
class _Target:
    endpoint: Endpoint
    state: TargetState = TargetState.INITIAL
    description: str | None = "Initial health checks in progress"
    reason: str | None = "Elb.InitialHealthChecking"
    good: int = 0
    bad: int = 0
    routed: bool = False  # it has been given to the load balancer at some time
    checks: asyncio.Task[None] | None = None

    @property
    def health(self) -> TargetHealth:
        return TargetHealth(self.endpoint, self.state, self.reason, self.description)


@dataclass(eq=False)
class _Group:
    settings: TargetGroupSettings
    targets: dict[Endpoint, _Target] = field(default_factory=dict)


Changed = Callable[[str, Endpoint], None]
Route = Callable[[], Awaitable[None]]
Check = Callable[[URL, float], Awaitable[int]]


class TargetGroups:
    """All target groups.

    Args:
        check: asks a URL, with a time-out, and gives the status of the answer.
        route: brings the load balancer up to date and returns when it is.
        changed: is told of a target whose state changed, by group and endpoint.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        *,
        check: Check,
        route: Route,
        changed: Changed,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._check = check
        self._route = route
        self._changed = changed
        self._sleep = sleep
        self._groups: dict[str, _Group] = {}

    async def configure(self, settings: Iterable[TargetGroupSettings]) -> None:
        """What target groups there are from now on; their targets stay."""
        wanted = {one.arn: one for one in settings}
        for arn in [arn for arn in self._groups if arn not in wanted]:
            for target in self._groups.pop(arn).targets.values():
                _end(target)
        for arn, one in wanted.items():
            self._groups.setdefault(arn, _Group(one)).settings = one
        await self._route()

    def settings(self, group: str) -> TargetGroupSettings | None:
        """The target group's settings; None for one that is not known."""
        known = self._groups.get(group)
        return known.settings if known else None

    async def register(self, group: str, endpoint: Endpoint) -> None:
        """Checks the target from now on; one that is registered already is left as it is."""
        targets = self._groups[group].targets
        known = targets.get(endpoint)
        if known is not None and known.state is not TargetState.DRAINING:
            return
        target = targets[endpoint] = _Target(endpoint)
        target.checks = asyncio.create_task(self._watch(group, target))
        await self._route()

    async def deregister(self, group: str, endpoint: Endpoint) -> bool:
        """Sends it no more requests, from the return on; gives whether it has had any chance of some."""
        known = self._groups.get(group)
        target = known.targets.get(endpoint) if known else None
        if target is None:
            return False
        _end(target)
        target.state = TargetState.DRAINING
        target.reason = "Target.DeregistrationInProgress"
        target.description = "Target deregistration is in progress"
        await self._route()
        return target.routed

    def forget(self, group: str, endpoint: Endpoint) -> None:
        """The deregistration is over."""
        if known := self._groups.get(group):
            known.targets.pop(endpoint, None)

    async def forget_later(self, group: str, endpoint: Endpoint) -> None:
        """The deregistration is over when the group's delay is."""
        known = self._groups.get(group)
        if known is None or endpoint not in known.targets:
            return
        target = known.targets[endpoint]

        async def forget() -> None:
            await self._sleep(known.settings.deregistration_seconds)
            if target.state is TargetState.DRAINING and known.targets.get(endpoint) is target:
                del known.targets[endpoint]

        target.checks = asyncio.create_task(forget())

    def health(self, group: str) -> Sequence[TargetHealth]:
        """Every registered target's health."""
        known = self._groups[group]
        found = [target.health for target in known.targets.values()]
        if known.settings.attached:
            return found
        return [
            TargetHealth(
                one.endpoint,
                TargetState.UNUSED,
                "Target.NotInUse",
                "Target group is not configured to receive traffic from the load balancer",
            )
            for one in found
        ]

    def health_of(self, group: str, endpoint: Endpoint) -> TargetHealth | None:
        """One target's health; None where it is not registered."""
        if group not in self._groups:
            return None
        return next((one for one in self.health(group) if one.endpoint == endpoint), None)

    def routed(self) -> Mapping[str, Sequence[Endpoint]]:
        """Who gets requests, by target group."""
        routed = {}
        for arn, group in self._groups.items():
            registered = [
                one for one in group.targets.values() if one.state is not TargetState.DRAINING
            ]
            healthy = [one for one in registered if one.state is TargetState.HEALTHY]
            chosen = healthy or registered
            for target in chosen:
                target.routed = True
            routed[arn] = [target.endpoint for target in chosen]
        return routed

    async def close(self) -> None:
        """Ends all checks."""
        for group in self._groups.values():
            for target in group.targets.values():
                _end(target)

    async def _watch(self, group: str, target: _Target) -> None:
        while group in self._groups:
            settings = self._groups[group].settings
            failure = await self._look(settings, target.endpoint)
            if self._judge(settings, target, failure):
                await self._route()
                self._changed(group, target.endpoint)
            await self._sleep(settings.interval_seconds)

    async def _look(
        self, settings: TargetGroupSettings, endpoint: Endpoint
    ) -> tuple[str, str] | None:
        """None for a good answer, else DescribeTargetHealth's reason and description."""
        port = settings.check_port or endpoint.port
        url = URL(f"http://{endpoint.address}:{port}{settings.path}", encoded=True)
        try:
            status = await self._check(url, settings.timeout_seconds)
        except TimeoutError:
            return "Target.Timeout", "Request timed out"
        except (aiohttp.ClientError, OSError):
            return "Target.FailedHealthChecks", "Health checks failed"
        if _matches(settings.codes, status):
            return None
        return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]"

    def _judge(
        self, settings: TargetGroupSettings, target: _Target, failure: tuple[str, str] | None
    ) -> bool:
        """Counts a check; gives whether the state has changed."""
        before = target.state
        if failure is None:
            target.good, target.bad = target.good + 1, 0
            enough = 1 if before is TargetState.INITIAL else settings.healthy_threshold
            if before is not TargetState.HEALTHY and target.good >= enough:
                target.state, target.reason, target.description = TargetState.HEALTHY, None, None
        else:
            target.good, target.bad = 0, target.bad + 1
            if before is TargetState.UNHEALTHY or target.bad >= settings.unhealthy_threshold:
                target.state = TargetState.UNHEALTHY
                target.reason, target.description = failure
        return target.state is not before


def _end(target: _Target) -> None:
    if target.checks is not None:
        target.checks.cancel()


def _matches(codes: str, status: int) -> bool:
    """Whether a status is among `200`, `200,202` or `200-299`."""
    for part in codes.split(","):
        first, _, last = part.partition("-")
        if int(first) <= status <= int(last or first):
            return True
    return False


@contextlib.asynccontextmanager
async def http_checks() -> AsyncIterator[Check]:
    """Asks over HTTP, each time by a new connection, as the load balancer does."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(
        connector=connector, headers={"User-Agent": "ELB-HealthChecker/2.0"}
    ) as session:

        async def check(url: URL, seconds: float) -> int:
            timeout = aiohttp.ClientTimeout(total=seconds)
            async with session.get(url, timeout=timeout, allow_redirects=False) as answer:
                return answer.status

        yield check
