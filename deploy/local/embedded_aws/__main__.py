"""`python -m deploy.local.embedded_aws --port P --state DIR`: start the embedded AWS and serve it.

Prints one JSON line on standard output when it serves:
`{"endpoint", "region", "administrator": path, "previousStop": "none"|"clean"|"unclean", "stateOf": time|null}`.
SIGTERM, SIGINT and the parent's death stop it cleanly: the state is written first. Exit codes: 0 after a
clean stop, 1 when the state could not be written, 2 when it could not start (one line says why).
"""

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ._administrator import ensure_administrator
from ._asgi import Application, Message, Receive, Scope, Send
from ._collector import leave_out_what_lasts
from ._guard import Guard
from ._parent import stop_with_parent
from ._state import StateFolder, StateInUseError
from ._variables import hardened_variables

if TYPE_CHECKING:
    from hypercorn.config import Config  # pants: no-infer-dep

DEFAULT_SERVICES = (
    *(
        "apigateway",
        "cognito-idp",
        "dynamodb",
        "dynamodbstreams",
        "iam",
        "monitoring",
        "pipes",
        "s3",
        "sns",
        "sqs",
        "sts",
    ),
)

# Only with a container engine.
CONTAINER_SERVICES = ("ecr", "ecs", "elasticloadbalancing")

# Longer than a client keeps an idle connection, so that the client is the one who closes it.
_KEEP_ALIVE_SECONDS = 75.0


def main() -> int:
    arguments = _arguments()
    os.umask(0o077)  # MiniStack writes keys and state with the default mode
    if not stop_with_parent(arguments.parent):
        return 0
    state = StateFolder(Path(arguments.state).absolute())
    state.create()
    try:
        with state.claimed():
            return _run(arguments, state)
    except StateInUseError:
        return _fail(f"the state folder {state.root} is in use by another embedded AWS")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deploy.local.embedded_aws", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state", required=True, help="folder that keeps what AWS would keep")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument(
        "--services", default=",".join(DEFAULT_SERVICES), help="signing names, comma separated"
    )
    parser.add_argument(
        "--forwarded-from",
        type=int,
        action="append",
        default=[],
        metavar="PORT",
        help="a port of 127.0.0.1 whose listener forwards to this one; clients may name it as Host."
        " For whoever puts a fault in between",
    )
    parser.add_argument(
        "--docker-host",
        metavar="URL",
        help="the socket of a container engine, unix:///…; with it ECS, ECR and the load balancers"
        " are open, and run containers there",
    )
    parser.add_argument(
        "--task-logs", metavar="DIR", help="where tasks' log files go; STATE/task-logs if not given"
    )
    parser.add_argument("--log-level", default="WARNING")
    parser.add_argument("--parent", type=int, help="process id that this one must not outlive")
    arguments = parser.parse_args()
    if arguments.docker_host and not arguments.docker_host.startswith("unix:///"):
        parser.error("--docker-host: containers share this machine's network: unix:///… only")
    return arguments


def _run(arguments: argparse.Namespace, state: StateFolder) -> int:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", arguments.port))
    except OSError as error:
        return _fail(f"cannot listen on 127.0.0.1:{arguments.port}: {error.strerror}")
    port: int = listener.getsockname()[1]
    services = frozenset(name for name in arguments.services.split(",") if name)
    if arguments.docker_host:
        services |= {*CONTAINER_SERVICES}
    root_access_key = f"ROOT{secrets.token_hex(16)}"
    variables = hardened_variables(
        os.environ,
        port=port,
        region=arguments.region,
        services=services,
        state=state,
        root_access_key=root_access_key,
        root_secret_key=secrets.token_urlsafe(32),
        log_level=arguments.log_level,
    )
    os.environ.clear()
    os.environ.update(variables)

    # Only now: ministack reads its switches while it is imported.
    import ministack.app  # pants: no-infer-dep
    from hypercorn.config import Config  # pants: no-infer-dep

    # It would run the scripts in two folders of its container image, which a host may have too.
    ministack.app._collect_scripts = lambda *_folders: []
    leave_out_what_lasts()

    previous_stop, state_of = state.previous_stop()
    stops: list[Callable[[], Awaitable[None]]] = []

    async def ready() -> None:
        if arguments.docker_host:
            from ._containers._install import install

            installed = install(
                engine=arguments.docker_host,
                port=port,
                state=state.root,
                logs=Path(arguments.task_logs or state.root / "task-logs").absolute(),
            )
            stops.append(installed.stop)
            guard.registry = installed.login
        await ensure_administrator(
            ministack.app.app, state, root_access_key=root_access_key, region=arguments.region
        )
        state.mark_running()  # from here on there is something to lose
        listener.listen(128)
        report = {
            "endpoint": f"http://127.0.0.1:{port}",
            "region": arguments.region,
            "administrator": str(state.administrator),
            "previousStop": previous_stop,
            "stateOf": state_of.isoformat() if state_of else None,
        }
        print(json.dumps(report), flush=True)  # noqa: T201 - the line its parent waits for

    failures = _PersistenceFailures()
    logging.getLogger("persistence").addHandler(failures)
    application = _AfterStartup(ministack.app.app, ready)
    guard = Guard(
        application,
        port=port,
        services=services,
        refused_keys=frozenset({root_access_key}),
        forwarding_ports=frozenset(arguments.forwarded_from),
    )
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.loglevel = arguments.log_level
    try:
        asyncio.run(_serve(guard, config, stops))
    except Exception:
        if application.failure is None:
            raise
    if application.failure is not None:
        return _fail(f"it did not start: {application.failure}")
    if failures.seen:
        return 1
    state.mark_stopped(datetime.now(UTC))
    return 0


async def _serve(
    guard: Guard, config: "Config", stops: Sequence[Callable[[], Awaitable[None]]]
) -> None:
    """Serves until SIGTERM or SIGINT; `stops` are awaited first: what they end is served until then."""
    from hypercorn.asyncio import serve  # pants: no-infer-dep

    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)

    async def stopped() -> None:
        await ending.wait()
        for stop in stops:
            await stop()

    await serve(guard, config, shutdown_trigger=stopped)


class _AfterStartup:
    """Runs `action` when the application has started, before the server hears of it.

    A failure until then ends the server: left to itself, it would serve an application half started.
    """

    def __init__(self, application: Application, action: Callable[[], Awaitable[None]]) -> None:
        self._application = application
        self._action = action
        self.failure: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return
        started = False

        async def send_after_action(message: Message) -> None:
            nonlocal started
            if message["type"] == "lifespan.startup.complete":
                await self._action()
                started = True
            await send(message)

        try:
            await self._application(scope, receive, send_after_action)
        except Exception as error:
            if started:
                raise
            self.failure = error
            await send({"type": "lifespan.startup.failed", "message": str(error)})


class _PersistenceFailures(logging.Handler):
    """Notices that MiniStack could not read or write its state, which it only logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen = False

    def emit(self, record: logging.LogRecord) -> None:
        self.seen = True


def _fail(reason: str) -> int:
    print(f"embedded AWS: {reason}", file=sys.stderr)  # noqa: T201 - the process's only output
    return 2


if __name__ == "__main__":
    sys.exit(main())
