"""Starts the whole platform on this machine, and stops it. See README.md beside this file.

Exit codes: 0 stopped cleanly, 1 it could not start or something had to be killed, 2 it was called
wrongly (an argument, a taken port, a state folder in use) or the machine can not run what was asked for. Of a command: 0 it gave what was asked for,
1 it could not (the platform does not run), 2 it was called wrongly: an argument, an unknown trace.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
from pathlib import Path

from pydantic import ValidationError

from deploy.local._cluster import Containers, engine_host, problems
from deploy.local._errors import PlatformError, reason_of
from deploy.local._gateway import Stage
from deploy.local._monolith import DEFAULT_ITEMS, FEWEST_ITEMS, MOST_ITEMS
from deploy.local._platform import Options, Platform, traces_sent_to
from deploy.local._ports import PortTakenError, listen
from deploy.local._provision import DEMO_USERS, PREFIXES
from deploy.local._report import COMMAND, Console
from deploy.local._state import DEFAULT_FOLDER, StateError, StateFolder
from deploy.local._tokens import fresh_token
from deploy.local._traces import Platform as TracedPlatform
from deploy.local._traces import add_arguments, query_of, show_traces

_EXAMPLES = f"""examples:
  {COMMAND}                            on port 8080, state in .lyceum/
  {COMMAND} -- --port 0 --fresh        on a free port, starting empty
  {COMMAND} -- --json                  one line of JSON when it is ready
  {COMMAND} -- token learner-a         a fresh token, while it runs
  {COMMAND} -- traces                  the last traces; traces --help says more
  {COMMAND} -- --canary course_catalog=10@http://127.0.0.1:9000
                                       10 % of the catalog's requests go elsewhere
  {COMMAND} -- --containers            the services from their images, two containers each
  {COMMAND} -- --monolith              before a migration: a monolith on one table, 20,000 items
"""
_MOST_TASKS = 8
# An image's name with a tag or a digest, or its id; the engine knows what is really one.
_REFERENCE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,511}")


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    folder = StateFolder(options.state)
    console = Console(sys.stdout, sys.stderr, as_json=getattr(options, "json", False))
    if options.command == "token":
        return _token(folder, options.user, console)
    if options.command == "traces":
        return _traces(folder, options, console)
    missing = _missing(options)
    for problem in missing:
        console.failed(problem)
    if missing:
        return 2
    try:
        with folder.claim() as claim, listen(options.port) as listener:
            if options.fresh:
                claim.clear()
            claim.prepare()
            return _up(Platform(folder, claim, listener, _chosen(options), console), console)
    except (PortTakenError, StateError) as error:
        console.failed(str(error))
        return 2
    except OSError as error:  # a full disk
        console.failed(reason_of(error))
        return 1


def _up(platform: Platform, console: Console) -> int:
    try:
        return 0 if asyncio.run(_run(platform, console)) else 1
    except PlatformError as error:
        console.failed(str(error), error.last_lines)
        return 1


def _missing(options: argparse.Namespace) -> list[str]:
    """All that keeps this machine from running what was asked for."""
    containers = _containers(options)
    if containers is None:
        return []
    return asyncio.run(problems(containers, port=options.port))


def _containers(options: argparse.Namespace) -> Containers | None:
    if not options.containers:
        return None
    return Containers(engine_host(), options.tasks, dict(options.image))


def _chosen(options: argparse.Namespace) -> Options:
    return Options(
        canaries=dict(options.canary),
        containers=_containers(options),
        cors_origins=options.cors_origin,
        tracing_daemon=options.xray,
        verbose=options.verbose,
        monolith_items=options.items if options.monolith else None,
    )


async def _run(platform: Platform, console: Console) -> bool:
    stop = asyncio.Event()

    killing: asyncio.Task[None] | None = None

    async def kill() -> None:
        try:
            await platform.kill()
        finally:
            os._exit(1)

    def told_to_stop() -> None:
        nonlocal killing
        if killing is not None:  # it hangs at what is not its own
            os._exit(1)
        if stop.is_set():
            console.warn("Told to stop a second time: everything is killed, unsaved state is lost.")
            killing = asyncio.ensure_future(kill())
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told_to_stop)
    # Ignored by whoever started it (nohup): it is to outlive its terminal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, told_to_stop)
    return await platform.run(stop)


def _token(folder: StateFolder, user: str, console: Console) -> int:
    try:
        token = asyncio.run(fresh_token(folder, user))
    except PlatformError as error:
        console.failed(str(error))
        return 1
    sys.stdout.write(token.token + "\n")
    return 0


def _traces(folder: StateFolder, options: argparse.Namespace, console: Console) -> int:
    return show_traces(
        folder.traces,
        options.query,
        TracedPlatform(folder.root, COMMAND, folder.is_in_use(), traces_sent_to(folder)),
        as_json=options.json,
        output=sys.stdout,
        say=console.note,
        fail=console.failed,
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="up.py",
        description="The whole platform on this machine, on 127.0.0.1 only: an embedded AWS, the"
        " three services, a gateway and sample courses. Ctrl-C stops it and keeps its state.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    state_help = "where its state is kept (default: .lyceum)"
    parser.add_argument(
        "--state", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help=state_help
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8080,
        metavar="N",
        help="the gateway's port, 0 takes a free one",
    )
    parser.add_argument("--fresh", action="store_true", help="forget the state and start empty")
    parser.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    parser.add_argument("--verbose", action="store_true", help="show the processes' logs as well")
    parser.add_argument(
        "--canary",
        type=_canary,
        action="append",
        default=[],
        metavar="SERVICE=PERCENT@URL",
        help="send that share of a service's requests to another deployment of it",
    )
    parser.add_argument(
        "--cors-origin",
        action="append",
        default=[],
        metavar="URL",
        help="a web origin that may call the services; may be repeated",
    )
    parser.add_argument(
        "--xray",
        type=_address,
        metavar="HOST:PORT",
        help="send every trace to this daemon (UDP) instead of keeping it for traces",
    )
    parser.add_argument(
        "--containers",
        action="store_true",
        help="run the services from their images, as tasks of the embedded AWS's ECS behind its load"
        " balancer; needs Linux and Docker",
    )
    parser.add_argument(
        "--tasks",
        type=_tasks,
        default=2,
        metavar="N",
        help=f"with --containers: how many of each service, 1 to {_MOST_TASKS} (default: 2)",
    )
    parser.add_argument(
        "--image",
        type=_image,
        action="append",
        default=[],
        metavar="SERVICE=REFERENCE",
        help="with --containers: an image that the engine has, in the place of building the service's",
    )
    parser.add_argument(
        "--monolith",
        action="store_true",
        help="the state before a migration: the gateway leads to a monolith on one table, and the"
        " services' own tables are empty",
    )
    parser.add_argument(
        "--items",
        type=_items,
        default=DEFAULT_ITEMS,
        metavar="N",
        help=f"with --monolith: how many items its table is filled with (default: {DEFAULT_ITEMS:,})",
    )
    commands = parser.add_subparsers(dest="command", title="commands", metavar="")
    token = commands.add_parser("token", help="print a fresh token of a demo user")
    # Absent here, it must not undo the one before the command.
    token.add_argument(
        "--state", type=Path, default=argparse.SUPPRESS, metavar="DIR", help=state_help
    )
    token.add_argument("user", choices=list(DEMO_USERS), metavar="USER")
    traces = commands.add_parser("traces", help="show the last traces, or one as a waterfall")
    traces.add_argument(
        "--state", type=Path, default=argparse.SUPPRESS, metavar="DIR", help=state_help
    )
    add_arguments(traces, COMMAND)
    options = parser.parse_args(arguments)
    if not options.containers and (options.image or options.tasks != parser.get_default("tasks")):
        parser.error("--tasks and --image go with --containers")
    if not options.monolith and options.items != parser.get_default("items"):
        parser.error("--items goes with --monolith")
    if options.monolith and options.containers:
        parser.error("--monolith and --containers do not go together")
    if options.command == "traces":
        options.query = query_of(traces, options)
    return options


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


def _tasks(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= _MOST_TASKS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of tasks (1 to {_MOST_TASKS})")
    return int(text)


def _items(text: str) -> int:
    number = text.replace(",", "").replace("_", "")
    if (
        not number.isascii()
        or not number.isdecimal()
        or not FEWEST_ITEMS <= int(number) <= MOST_ITEMS
    ):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of items ({FEWEST_ITEMS:,} to {MOST_ITEMS:,})"
        )
    return int(number)


def _image(text: str) -> tuple[str, str]:
    service, _, reference = text.partition("=")
    if service not in PREFIXES:
        raise argparse.ArgumentTypeError(f"{service!r} is none of {', '.join(PREFIXES)}")
    if _REFERENCE.fullmatch(reference) is None:
        raise argparse.ArgumentTypeError(f"{reference!r} is not like lyceum/{service}:0.3.0")
    return service, reference


def _canary(text: str) -> tuple[str, tuple[float, str]]:
    service, _, rest = text.partition("=")
    percent, _, url = rest.partition("@")
    if service not in PREFIXES:
        raise argparse.ArgumentTypeError(f"{service!r} is none of {', '.join(PREFIXES)}")
    if not percent.isdecimal() or int(percent) > 100:
        raise argparse.ArgumentTypeError(f"{percent!r} is not a percentage (0 to 100)")
    address = url.removeprefix("http://")
    try:
        Stage.leading_to(address)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"{url!r} is not like http://127.0.0.1:9000") from None
    return service, (float(percent), address)


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not like 127.0.0.1:2000")
    return text


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
