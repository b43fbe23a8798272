"""The gateway's process: ``python -m deploy.local._gateway --configuration FILE (--port N | --fd N)``.

With ``--control-plane FILE`` it follows the API Gateway that the file names, see `_control_plane.py`.

SIGTERM: no new connections, requests under way are finished within ``--drain-seconds``, exit 0.
SIGUSR1: the configuration is read again; one that can not be used changes nothing.
SIGINT is left to the supervisor: a terminal sends it to the whole process group at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random, SystemRandom

from aiohttp import web

from deploy.local._gateway._configuration import GatewayConfigurationError, read_configuration
from deploy.local._gateway._control_plane import ControlPlane
from deploy.local._gateway._proxy import Access, Gateway, open_session
from deploy.local._pass_through import create_server
from libs import logging


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="gateway", description="Local API gateway of Lyceum.")
    parser.add_argument("--configuration", type=Path, required=True)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="port of 127.0.0.1")
    where.add_argument("--fd", type=int, help="a bound socket, inherited")
    parser.add_argument("--control-plane", type=Path, help="names an API Gateway to follow")
    parser.add_argument(
        "--seed", type=int, help="of which requests are a canary's; by default nothing to foresee"
    )
    parser.add_argument("--drain-seconds", type=float, default=5.0)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.configure(service="gateway", version="local")
    try:
        listener = _listener(options.port, options.fd)
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(_serve(options, listener))
    except (GatewayConfigurationError, OSError) as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 2
    return 0


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _listener(port: int | None, fd: int | None) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port or 0))
    return listener


async def _serve(options: argparse.Namespace, listener: socket.socket) -> None:
    configuration: Path = options.configuration
    log = logging.get_logger("gateway")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    write_access = _access_log()
    control_plane: ControlPlane | None = None

    def told(access: Access) -> None:
        write_access(access)
        if control_plane is not None:
            control_plane.record(access)

    async with open_session() as session:
        gateway = Gateway(
            read_configuration(configuration),
            session,
            random=SystemRandom() if options.seed is None else Random(options.seed),  # noqa: S311 - a test's
            now=time.time,
            token_hex=secrets.token_hex,
            log=told,
        )

        def read_again() -> None:
            try:
                gateway.replace(read_configuration(configuration))
                log.info("configuration_read")
            except GatewayConfigurationError as error:
                log.error("configuration_refused", reason=str(error))

        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGUSR1, read_again)
        runner = web.ServerRunner(create_server(gateway), shutdown_timeout=options.drain_seconds)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        log.info("listening", port=listener.getsockname()[1])
        stopped = asyncio.create_task(stop.wait())
        following: asyncio.Task[None] | None = None
        if options.control_plane is not None:
            control_plane = ControlPlane(
                options.control_plane, gateway, tell=lambda event, fields: log.info(event, **fields)
            )
            following = asyncio.create_task(control_plane.run())
        await asyncio.wait(
            [stopped, *([following] if following else [])], return_when=asyncio.FIRST_COMPLETED
        )
        stopped.cancel()
        await runner.cleanup()
        if following is not None:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
        log.info("stopped")


def _access_log() -> Callable[[Access], None]:
    log = logging.get_logger("gateway.access")

    def write(access: Access) -> None:
        log.info(
            "request",
            **{
                "requestId": access.request_id,
                "traceId": access.trace_id,
                "method": access.method,
                "route": access.route,
                "target": access.target,
                "status": access.status,
                "durationMs": access.duration_ms,
                "completed": access.completed,
            },
        )

    return write


if __name__ == "__main__":
    sys.exit(main())
