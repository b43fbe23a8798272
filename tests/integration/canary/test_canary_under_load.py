"""`release canary` against the local gateway under load, with services that are bad on purpose.

The gateway is its real process; stages and metrics are the embedded AWS's, under its IAM; the command is a
process with the operator's rights. What a client of the stable side got is looked at, answer by answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from deploy.local._apis import SERVICE_TARGET, STAGE, Api, Leading, ensure_apis, ensure_stages
from deploy.local._environment import REPOSITORY_ROOT
from deploy.local._operator import GATEWAY, OPERATOR, ensure_users, variables_of_user
from deploy.local._provision import EmbeddedAws
from tests.backends import Backend
from tests.integration.gateway.conftest import leading_to, listening
from tests.integration.gateway.gateway_process import Process, configure, environment, running

SERVICE = "content_delivery"
MONOLITH = "monolith"

pytestmark = pytest.mark.timeout(600)


@dataclass
class Side:
    """A small service. Each answer says whose it is."""

    name: str
    status: int = 200
    seconds: float = 0.0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(self.seconds)
        return web.Response(text=self.name, status=self.status)


@dataclass
class Load:
    """Requests at a steady rate, of which none is sent again."""

    url: str
    requests_a_second: int = 50
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How many there were of (whose, status)."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(session, group))
            try:
                yield
            finally:
                sending.cancel()

    async def _send(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        for _ in range(200 * self.requests_a_second):  # an end, whatever happens
            group.create_task(self._request(session))
            await asyncio.sleep(1 / self.requests_a_second)

    async def _request(self, session: aiohttp.ClientSession) -> None:
        async with session.get(self.url + "/things/1") as answer:
            self.answers[await answer.text(), answer.status] += 1


@dataclass
class Setting:
    """A service whose requests the monolith answers, and its own that may."""

    aws: EmbeddedAws
    api: Api
    state: Path
    stable: Side
    canary: Side
    gateway: Process
    load: Load

    async def stage(self) -> dict[str, Any]:
        async with self.aws.client("apigateway") as gateway:
            found: dict[str, Any] = await gateway.get_stage(restApiId=self.api.id, stageName=STAGE)
        return found

    async def release(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Runs the command; gives its exit code and what it told."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.release.release"),
            *(arguments[0], SERVICE, *arguments[1:], "--json", "--local", str(self.state)),
            cwd=REPOSITORY_ROOT,
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        told = [json.loads(line) for line in output.decode().splitlines()]
        assert process.returncode is not None
        assert told or process.returncode == 2, errors.decode()
        return process.returncode, told


Given = Callable[[Side], Awaitable[Setting]]


@pytest.fixture()
async def given(ministack_backend: Backend, tmp_path: Path) -> AsyncIterator[Given]:
    async with AsyncExitStack() as stack:

        async def setting(canary: Side) -> Setting:
            aws = EmbeddedAws(
                ministack_backend.endpoint_url,
                ministack_backend.region,
                ministack_backend.access_key,
                ministack_backend.secret_key,
            )
            stable = Side("stable", seconds=0.01)
            urls = [
                await stack.enter_async_context(listening(web.Server(side.answer, access_log=None)))
                for side in (stable, canary)
            ]
            api = await _stage(aws, urls)
            state = await _state(aws, api, tmp_path)
            configuration = configure(
                tmp_path / "gateway.json", leading_to(urls[0]), service=SERVICE
            )
            gateway = await stack.enter_async_context(
                running(
                    configuration,
                    "--control-plane",
                    str(state / "control-plane.json"),
                    "--seed",
                    "1",
                )
            )
            await gateway.until_said("stage_followed", urls[0].removeprefix("http://"))
            # From here on nobody reads what it says: its pipe must not fill up.
            assert gateway.process.stdout is not None
            reading = asyncio.create_task(gateway.process.stdout.read())
            stack.callback(reading.cancel)
            return Setting(aws, api, state, stable, canary, gateway, Load(gateway.url))

        yield setting


async def _stage(aws: EmbeddedAws, urls: list[str]) -> Api:
    """A new stage that leads to the first of the URLs."""
    api = (await ensure_apis(aws))[SERVICE]
    async with aws.client("apigateway") as gateway:
        for one in (await gateway.get_stages(restApiId=api.id))["item"]:
            await gateway.delete_stage(restApiId=api.id, stageName=one["stageName"])
    stable, canary = (url.removeprefix("http://") for url in urls)
    leading = Leading({MONOLITH: stable, SERVICE_TARGET: canary}, begins_with=MONOLITH)
    await ensure_stages(aws, {SERVICE: api}, {SERVICE: leading})
    return api


async def _state(aws: EmbeddedAws, api: Api, folder: Path) -> Path:
    """The state folder of a platform, as far as the command and the gateway read it."""
    keys = await ensure_users(aws, {SERVICE: api.id})
    operator = variables_of_user(aws, keys[OPERATOR])
    (folder / "operator.env").write_text("".join(f"{k}={v}\n" for k, v in operator.items()))
    (folder / "platform.json").write_text(json.dumps({"services": {}}))
    (folder / "control-plane.json").write_text(
        json.dumps(
            {
                "endpoint": aws.endpoint_url,
                "region": aws.region,
                "stage": STAGE,
                "accessKeyId": keys[GATEWAY].id,
                "secretAccessKey": keys[GATEWAY].secret,
                "apis": {SERVICE: {"id": api.id, "name": api.name}},
            }
        )
    )
    return folder


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (Side("canary", status=500), "requests failed"),
        # Slow beyond what a busy machine makes of the stable side.
        (Side("canary", seconds=5.0), "p99"),
    ],
    ids=["errors", "slow"],
)
async def test_a_bad_one_is_aborted_at_the_first_step_and_the_stable_side_notices_nothing(
    given: Given, bad: Side, why: str
) -> None:
    me = await given(bad)
    async with me.load.running():
        code, told = await me.release(
            *("canary", "--steps", "10,50,100", "--promote"),
            *("--watch-for", "30", "--min-requests", "20"),
        )
        before = me.load.answers.copy()
        await until(lambda: (me.load.answers - before)["stable", 200] >= 100)
    assert code == 1
    assert told[-1]["event"] == "canaryAborted"
    assert why in told[-1]["reason"]
    assert [one["percent"] for one in told if one["event"] == "trafficLed"] == [10]
    stage = await me.stage()
    assert not stage.get("canarySettings")
    assert stage["variables"]["target"] == stage["variables"]["target_monolith"]
    assert told[-1]["reason"] in stage["description"]
    # Whoever got the stable side got a good answer, and all that was bad was the canary's few.
    assert {status for whose, status in me.load.answers if whose == "stable"} == {200}
    canary, all_of_them = me.load.answers["canary", bad.status], me.load.answers.total()
    assert 0 < canary < all_of_them / 5
    assert me.load.answers["stable", 200] + canary == all_of_them


async def test_a_good_one_is_led_all_the_way(given: Given) -> None:
    me = await given(Side("canary", seconds=0.01))
    async with me.load.running():
        code, told = await me.release(
            *("canary", "--steps", "50,100", "--promote"),
            # A busy machine may make either side slow: here it is not latency that is tried.
            *("--watch-for", "10", "--min-requests", "20", "--slowdown", "100"),
        )
        before = me.load.answers.copy()
        await until(lambda: (me.load.answers - before).total() >= 100)
    assert code == 0, told
    assert [one["event"] for one in told if one["event"] == "stepPassed"] == ["stepPassed"] * 2
    assert told[-1]["event"] == "canaryPromoted"
    stage = await me.stage()
    assert not stage.get("canarySettings")
    assert stage["variables"]["target"] == stage["variables"]["target_service"]
    assert {status for _, status in me.load.answers} == {200}
    assert (me.load.answers - before)["canary", 200] >= 90  # the last stable ones may come late
    counted = [one for one in told if one["event"] == "canaryCounted"][-1]
    assert counted["canary"]["requests"] > 20
    assert counted["canary"]["errors"] == 0


async def test_by_hand_and_seen_by_the_next_operator(given: Given) -> None:
    me = await given(Side("canary"))
    code, told = await me.release("canary", "--percent", "100", "--no-watch")
    assert (code, told[-1]["event"]) == (0, "canarySet")
    async with me.load.running():
        await until(lambda: me.load.answers["canary", 200] > 0)
    code, told = await me.release("abort")
    assert (code, told[-1]["event"]) == (0, "canaryAborted")
    assert "100 % to service aborted by hand" in (await me.stage())["description"]
    code, told = await me.release("promote")
    assert code == 2
    code, told = await me.release("canary", "--percent", "10", "--to", "nowhere")
    assert (code, told) == (2, [])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.05)
