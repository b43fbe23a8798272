"""A service's traffic split by weight, per request."""

from __future__ import annotations

from collections import Counter

import aiohttp
from aiohttp import web

from deploy.local._gateway import Target
from tests.integration.gateway.conftest import Bench, Handler, routes


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


async def test_the_split_follows_the_weights_request_by_request(
    bench: Bench, client: aiohttp.ClientSession
) -> None:
    targets = [
        Target("stable", await bench.service(_named("stable")), 90),
        Target("canary", await bench.service(_named("canary")), 10),
    ]
    gateway = await bench.gateway(targets, seed=7)
    answers = await _answers(client, gateway.url + "/things", 200)
    assert 8 <= Counter(answers)["canary"] <= 32  # 20 expected; the seed makes it the same each run
    assert [access.target for access in gateway.accesses] == answers
    again = await bench.gateway(targets, seed=7)
    assert await _answers(client, again.url + "/things", 200) == answers


async def test_a_weight_of_zero_gets_nothing(bench: Bench, client: aiohttp.ClientSession) -> None:
    stable = await bench.service(_named("stable"))
    gateway = await bench.gateway([Target("stable", stable, 1), Target("canary", stable, 0)])
    await _answers(client, gateway.url + "/things", 50)
    assert {access.target for access in gateway.accesses} == {"stable"}


async def test_weights_change_while_it_runs(bench: Bench, client: aiohttp.ClientSession) -> None:
    stable, canary = [await bench.service(_named(name)) for name in ("stable", "canary")]
    gateway = await bench.gateway([Target("stable", stable, 100), Target("canary", canary, 0)])
    assert await _answers(client, gateway.url + "/things", 3) == ["stable"] * 3
    gateway.gateway.replace(
        {"things": routes([Target("stable", stable, 0), Target("canary", canary, 100)])}
    )
    assert await _answers(client, gateway.url + "/things", 3) == ["canary"] * 3
