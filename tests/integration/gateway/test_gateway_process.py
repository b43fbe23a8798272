"""The gateway as the process that the platform runs: its socket, its configuration, its end."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.integration.gateway.conftest import Bench, leading_to
from tests.integration.gateway.gateway_process import configure, environment, running


async def named(bench: Bench, name: str) -> str:
    async def handler(request: web.BaseRequest) -> web.Response:
        return web.Response(text=name)

    return await bench.service(handler)


async def test_it_routes_by_the_contract_and_splits_by_the_file_it_reads_again(
    bench: Bench, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    stable, canary = await named(bench, "stable"), await named(bench, "canary")
    configuration = configure(tmp_path / "gateway.json", leading_to(stable))
    async with running(configuration) as gateway:
        # Its socket listens before it runs: the first request waits for it.
        async with client.get(gateway.url + "/things/1") as answer:
            assert await answer.text() == "stable"
        async with client.get(gateway.url + "/other") as answer:
            assert answer.status == 404
        configure(configuration, leading_to(stable, canary=(100, canary)))
        gateway.process.send_signal(signal.SIGUSR1)
        await gateway.until_said("configuration_read")
        async with client.get(gateway.url + "/things/1") as answer:
            assert await answer.text() == "canary"
        configuration.write_text("{")
        gateway.process.send_signal(signal.SIGUSR1)
        await gateway.until_said("configuration_refused")
        async with client.get(gateway.url + "/things/1") as answer:
            assert await answer.text() == "canary"


async def test_sigterm_finishes_what_is_under_way(
    bench: Bench, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.Response:
        arrived.set()
        await go_on.wait()
        return web.Response(text="finished")

    stage = leading_to(await bench.service(handler))
    async with running(configure(tmp_path / "gateway.json", stage)) as gateway:
        answer = asyncio.create_task(client.get(gateway.url + "/things/1"))
        await arrived.wait()
        gateway.process.send_signal(signal.SIGINT)  # a terminal's: left to the supervisor
        gateway.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            while True:  # until nothing new is taken
                try:
                    _, writer = await asyncio.open_connection(
                        "127.0.0.1", int(gateway.url.rpartition(":")[2])
                    )
                except ConnectionResetError:
                    continue  # was in the backlog when the listener closed
                except ConnectionRefusedError:
                    break
                writer.close()
        assert not answer.done()
        go_on.set()
        async with await answer as response:
            assert await response.text() == "finished"
        assert await gateway.process.wait() == 0


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"services": {"things": {"contract": "nowhere.yaml", "stage": {"variables":'
        ' {"target": "127.0.0.1:1"}}}}}',
        '{"services": {"things": {"contract": "c", "stage": {"variables": {}}}}}',
        '{"services": {}, "extra": 1}',
    ],
)
async def test_what_can_not_be_used_is_said_and_ends_it(tmp_path: Path, content: str) -> None:
    configuration = tmp_path / "gateway.json"
    configuration.write_text(content)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.local._gateway"),
        *("--configuration", str(configuration), "--port", "0"),
        env=environment(),
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().startswith(f"gateway: {configuration}: ")
