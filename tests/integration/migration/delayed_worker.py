"""`python -m tests.integration.migration.delayed_worker SEED SECONDS ARGUMENTS…`

The migration's command line with delays at its failpoints: between what is read, of a table or of a
stream, and what is written of it, as where a machine is slow. Without them a copy that loses what is
written meanwhile loses it too seldom to be seen.

Waits for a line on standard input before it begins, so that it can be loaded before it is needed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from deploy.local.embedded_aws._parent import stop_with_parent
from deploy.migration import _dynamodb, migrate


def main() -> int:
    if not stop_with_parent():
        return 0
    seed, longest, *arguments = sys.argv[1:]
    chance = random.Random(f"{seed} {os.getpid()}")
    database = _dynamodb.DynamoDBDatabase
    for method in ("scan", "read_shard"):
        setattr(database, method, _late(getattr(database, method), chance, float(longest)))
    if not sys.stdin.readline():
        return 0  # never needed
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
