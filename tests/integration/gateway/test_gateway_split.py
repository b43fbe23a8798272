"""A service's traffic led by its stage: a variable, and a canary that overrides it request by request."""

from __future__ import annotations

from collections import Counter

import aiohttp
import pytest
from aiohttp import web
from pydantic import ValidationError

from deploy.local._gateway import Stage
from tests.integration.gateway.conftest import Bench, Handler, leading_to


def _named(name: str) -> Handler:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(text=name)

    return handler


async def _answers(client: aiohttp.ClientSession, url: str, count: int) -> list[str]:
    answers = []
    for _ in range(count):
        async with client.get(url) as answer:
            answers.append(await answer.text())
    return answers


async def test_the_canary_gets_its_share_request_by_request(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    stable, canary = [await bench.service(_named(name)) for name in ("stable", "canary")]
    stage = leading_to(stable, canary=(10, canary))
    gateway = await bench.gateway(stage, seed=7)
    answers = await _answers(client, gateway.url + "/things", 200)
    assert 8 <= Counter(answers)["canary"] <= 32  # 20 expected; the seed makes it the same each run
    assert [access.target for access in gateway.accesses] == answers
    again = await bench.gateway(stage, seed=7)
    assert await _answers(client, again.url + "/things", 200) == answers


@pytest.mark.parametrize(("percent", "answering"), [(0, "stable"), (100, "canary")])
async def test_none_and_all(
    bench: Bench, client: aiohttp.ClientSession, percent: float, answering: str
) -> None:
    stable, canary = [await bench.service(_named(name)) for name in ("stable", "canary")]
    gateway = await bench.gateway(leading_to(stable, canary=(percent, canary)))
    assert set(await _answers(client, gateway.url + "/things", 50)) == {answering}


async def test_a_larger_share_holds_the_requests_of_a_smaller_one(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    """By one seed, so that steps of a canary can be compared."""
    stable, canary = [await bench.service(_named(name)) for name in ("stable", "canary")]
    answers = {}
    for percent in (10, 50):
        gateway = await bench.gateway(leading_to(stable, canary=(percent, canary)), seed=3)
        answers[percent] = await _answers(client, gateway.url + "/things", 100)
    both = zip(answers[10], answers[50], strict=True)
    assert all(more == "canary" for less, more in both if less == "canary")


async def test_the_stage_changes_while_it_runs(bench: Bench, client: aiohttp.ClientSession) -> None:
    stable, canary = [await bench.service(_named(name)) for name in ("stable", "canary")]
    gateway = await bench.gateway(stable)
    assert await _answers(client, gateway.url + "/things", 3) == ["stable"] * 3
    gateway.gateway.lead("things", leading_to(stable, canary=(100, canary)))
    assert await _answers(client, gateway.url + "/things", 3) == ["canary"] * 3
    gateway.gateway.lead("things", leading_to(stable))
    assert await _answers(client, gateway.url + "/things", 3) == ["stable"] * 3


async def test_what_the_canary_does_not_override_is_the_stages(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    stable = await bench.service(_named("stable"))
    stage = Stage.of(
        {
            "variables": {"target": stable.removeprefix("http://")},
            "canarySettings": {"percentTraffic": 100, "stageVariableOverrides": {}},
        }
    )
    gateway = await bench.gateway(stage)
    assert await _answers(client, gateway.url + "/things", 2) == ["stable"] * 2
    assert [access.target for access in gateway.accesses] == ["canary"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"variables": {"other": "127.0.0.1:1"}},
        {"variables": {"target": "http://127.0.0.1:1"}},
        {"variables": {"target": "127.0.0.1:1"}, "canarySettings": {"percentTraffic": 101}},
    ],
)
def test_what_is_no_stage(answer: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Stage.of(answer)
