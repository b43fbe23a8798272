"""The process: ``python -m deploy.local._faults --to N --dynamodb N --s3 N --keys N --control N`` (ports).

`GET /faults` says what can fail and does; `PUT /faults/{dependency}` with `{"fault": …}` switches. It
begins without a fault, also when it is started again. SIGTERM: exit 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack

from aiohttp import web

from deploy.local._faults import DynamoDBDialect, Fault, FaultProxy, S3Dialect, WebDialect

READY_LINE = "passing on"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="faults", description="Faults of AWS, on this machine.")
    for name in ("to", "dynamodb", "s3", "keys", "control"):
        parser.add_argument(f"--{name}", type=int, required=True, help="port of 127.0.0.1")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    proxies = {
        "dynamodb": FaultProxy(DynamoDBDialect(), port=options.dynamodb),
        "s3": FaultProxy(S3Dialect(), port=options.s3),
        "keys": FaultProxy(WebDialect(), port=options.keys),
    }
    for proxy in proxies.values():
        proxy.lead_to("127.0.0.1", options.to)
    try:
        asyncio.run(_serve(proxies, options.control))
    except OSError as error:
        sys.stdout.write(f"faults: {error}\n")
        return 2
    return 0


async def _serve(proxies: dict[str, FaultProxy], control: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        for proxy in proxies.values():
            await stack.enter_async_context(proxy.running())
        runner = web.AppRunner(control_app(proxies), access_log=None, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", control, reuse_address=True).start()
        sys.stdout.write(READY_LINE + "\n")
        sys.stdout.flush()
        await stop.wait()


def control_app(proxies: dict[str, FaultProxy]) -> web.Application:
    """Says and switches the faults of these proxies."""

    def said() -> dict[str, object]:
        return {
            name: {"fault": proxy.fault, "requests": proxy.requests.total()}
            for name, proxy in proxies.items()
        }

    async def show(request: web.Request) -> web.Response:
        return web.json_response({"faults": list(Fault), "dependencies": said()})

    async def switch(request: web.Request) -> web.Response:
        proxy = proxies.get(request.match_info["dependency"])
        if proxy is None:
            raise web.HTTPNotFound
        try:
            fault = Fault((await request.json())["fault"])
        except (ValueError, TypeError, KeyError):
            raise web.HTTPUnprocessableEntity from None
        await proxy.switch(fault)
        sys.stdout.write(
            json.dumps({"dependency": request.match_info["dependency"], "fault": fault})
        )
        sys.stdout.write("\n")
        sys.stdout.flush()
        return web.json_response({"faults": list(Fault), "dependencies": said()})

    application = web.Application()
    application.router.add_get("/faults", show)
    application.router.add_put("/faults/{dependency}", switch)
    return application


if __name__ == "__main__":
    sys.exit(main())
