"""The receiver's process: ``python -m deploy.local._traces --fd N --folder DIR``.

A process of its own, so that whatever is sent to its port takes nothing from the platform's. It
inherits the socket: while it is started again, segments wait there. SIGTERM: what has come is kept,
exit 0.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from pathlib import Path

from deploy.local._traces._log import TraceLog
from deploy.local._traces._receiver import Receiver

READY_LINE = "receiving"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="traces", description="Keeps the platform's traces.")
    parser.add_argument("--fd", type=int, required=True, help="a bound UDP socket, inherited")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        with socket.socket(fileno=options.fd) as source:
            source.setblocking(False)
            asyncio.run(_receive(source, options.folder))
    except OSError as error:
        _say(f"traces: {error}")
        return 2
    return 0


async def _receive(source: socket.socket, folder: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    log = TraceLog(folder)
    receiver = Receiver(source, log, _say)
    loop.add_reader(source, receiver.read)
    _say(READY_LINE)
    await stop.wait()
    loop.remove_reader(source)
    receiver.drain()
    log.close()
    _say(f"kept {receiver.kept}, dropped {receiver.dropped.total()}")


def _say(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError:  # a full disk is no reason to stop
        return


if __name__ == "__main__":
    sys.exit(main())
