"""Target groups: states as a load balancer counts them, and who gets requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from yarl import URL

from deploy.local.embedded_aws._containers._targets import (
    Endpoint,
    TargetGroups,
    TargetGroupSettings,
    TargetState,
)

GROUP = "arn:group"
ONE, TWO = Endpoint("127.9.9.2", 8080), Endpoint("127.9.9.3", 8080)


@dataclass
class Probes:
    """Answers checks, and lets them go on one at a time."""

    answers: dict[str, int | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    changes: list[Endpoint] = field(default_factory=list)
    routes: int = 0

    def __post_init__(self) -> None:
        self._turn = asyncio.Event()

    async def check(self, url: URL, _seconds: float) -> int:
        self.asked.append(str(url))
        answer = self.answers.get(url.host or "", 200)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, _seconds: float) -> None:
        await self._turn.wait()

    async def route(self) -> None:
        self.routes += 1

    async def next_round(self) -> None:
        """Every target is asked once more."""
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture()
async def probes() -> Probes:
    return Probes()


@pytest.fixture()
async def groups(probes: Probes) -> AsyncIterator[TargetGroups]:
    made = TargetGroups(
        check=probes.check,
        route=probes.route,
        changed=lambda _group, endpoint: probes.changes.append(endpoint),
        sleep=probes.sleep,
    )
    await made.configure(
        [
            TargetGroupSettings(
                GROUP,
                path="/readyz",
                healthy_threshold=3,
                unhealthy_threshold=2,
                codes="200,204-206",
                attached=True,
            )
        ]
    )
    yield made
    await made.close()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def state_of(groups: TargetGroups, endpoint: Endpoint = ONE) -> TargetState:
    health = groups.health_of(GROUP, endpoint)
    assert health is not None
    return health.state


async def test_one_good_check_brings_a_new_target_into_service(
    groups: TargetGroups, probes: Probes
) -> None:
    await groups.register(GROUP, ONE)
    assert state_of(groups) is TargetState.INITIAL
    await settle()
    assert state_of(groups) is TargetState.HEALTHY
    assert probes.asked == ["http://127.9.9.2:8080/readyz"]
    assert probes.changes == [ONE]


async def test_it_leaves_after_the_unhealthy_threshold_and_comes_back_after_the_healthy_one(
    groups: TargetGroups, probes: Probes
) -> None:
    await groups.register(GROUP, ONE)
    await settle()
    probes.answers[ONE.address] = 503
    await probes.next_round()
    assert state_of(groups) is TargetState.HEALTHY
    await probes.next_round()
    assert state_of(groups) is TargetState.UNHEALTHY
    health = groups.health_of(GROUP, ONE)
    assert health is not None
    assert (health.reason, health.description) == (
        "Target.ResponseCodeMismatch",
        "Health checks failed with these codes: [503]",
    )
    probes.answers[ONE.address] = 204
    for expected in (TargetState.UNHEALTHY, TargetState.UNHEALTHY, TargetState.HEALTHY):
        await probes.next_round()
        assert state_of(groups) is expected


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (TimeoutError(), "Target.Timeout"),
        (ConnectionRefusedError(), "Target.FailedHealthChecks"),
        (203, "Target.ResponseCodeMismatch"),
    ],
)
async def test_a_new_target_that_fails_says_why(
    groups: TargetGroups, probes: Probes, failure: int | Exception, reason: str
) -> None:
    probes.answers[ONE.address] = failure
    await groups.register(GROUP, ONE)
    await settle()
    assert state_of(groups) is TargetState.INITIAL
    await probes.next_round()
    health = groups.health_of(GROUP, ONE)
    assert health is not None
    assert (health.state, health.reason) == (TargetState.UNHEALTHY, reason)


async def test_healthy_targets_get_the_requests_and_all_of_them_where_none_is(
    groups: TargetGroups, probes: Probes
) -> None:
    probes.answers[TWO.address] = 503
    await groups.register(GROUP, ONE)
    await groups.register(GROUP, TWO)
    await settle()
    assert groups.routed() == {GROUP: [ONE]}
    probes.answers[ONE.address] = 503
    for _ in range(2):
        await probes.next_round()
    assert groups.routed() == {GROUP: [ONE, TWO]}


async def test_a_target_that_leaves_gets_nothing_more_and_is_asked_no_more(
    groups: TargetGroups, probes: Probes
) -> None:
    await groups.register(GROUP, ONE)
    await settle()
    groups.routed()
    routes = probes.routes
    assert await groups.deregister(GROUP, ONE)  # it may have requests under way
    assert probes.routes == routes + 1
    assert groups.routed() == {GROUP: []}
    assert state_of(groups) is TargetState.DRAINING
    asked = len(probes.asked)
    await probes.next_round()
    assert len(probes.asked) == asked
    groups.forget(GROUP, ONE)
    assert groups.health(GROUP) == []


async def test_a_target_that_never_had_requests_is_known_as_such(groups: TargetGroups) -> None:
    await groups.register(GROUP, ONE)
    await settle()
    groups.routed()
    await groups.register(GROUP, TWO)  # beside a healthy one it gets none before its first check
    groups.routed()
    assert not await groups.deregister(GROUP, TWO)


async def test_without_a_listener_targets_are_unused(groups: TargetGroups) -> None:
    await groups.configure([TargetGroupSettings(GROUP)])
    await groups.register(GROUP, ONE)
    await settle()
    assert state_of(groups) is TargetState.UNUSED
