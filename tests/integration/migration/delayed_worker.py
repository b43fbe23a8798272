"""`python -m tests.integration.migration.delayed_worker SEED SECONDS ARGUMENTS…`

The migration's command line with delays at its failpoints: between what is read, of a table or of a
stream, and what is written of it, as where a machine is slow. Without them a copy that loses what is
written meanwhile loses it too seldom to be seen.

It is loaded once. For each line on standard input a process of its own begins to work, whose id is the
answer: to load one takes longer than what is tried with it. They end with this one.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from deploy.local.embedded_aws._parent import stop_with_parent
from deploy.migration import _dynamodb, migrate


def main() -> int:
    if not stop_with_parent():
        return 0
    seed, longest, *arguments = sys.argv[1:]
    # The kernel forgets those that were killed.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    loader = os.getpid()
    for _ in sys.stdin:
        worker = os.fork()
        if worker == 0:
            os._exit(_work(loader, f"{seed} {os.getpid()}", float(longest), arguments))
        sys.stdout.write(f"{worker}\n")
        sys.stdout.flush()
    return 0


def _work(loader: int, seed: str, longest: float, arguments: list[str]) -> int:
    if not stop_with_parent(loader):
        return 0
    os.dup2(os.open(os.devnull, os.O_RDWR), sys.stdin.fileno())
    os.dup2(sys.stdin.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    chance = random.Random(seed)
    database = _dynamodb.DynamoDBDatabase
    for method in ("scan", "read_shard"):
        setattr(database, method, _late(getattr(database, method), chance, longest))
    return migrate.main(arguments)


def _late(
    call: Callable[..., Awaitable[Any]], chance: random.Random, longest: float
) -> Callable[..., Awaitable[Any]]:
    """The call, whose answer is of some time ago when it comes."""

    async def late(*arguments: Any, **options: Any) -> Any:
        answer = await call(*arguments, **options)
        await asyncio.sleep(chance.uniform(0.0, longest))
        return answer

    return late


if __name__ == "__main__":
    sys.exit(main())
