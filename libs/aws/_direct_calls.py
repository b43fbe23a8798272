"""The direct transport for a program that guards and repeats its calls by itself.

Owns what such a program has to have beside the transport: credentials that are kept fresh.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from libs.aws._clock import SigningClock
from libs.aws._credentials import Credentials
from libs.aws._transport import direct_transport


@asynccontextmanager
async def direct_calls(
    session: Any, *clients: Any, credentials_check_seconds: float = 30.0
) -> AsyncIterator[None]:
    """Let the calls of clients of DynamoDB, and of its streams, go directly while the context is
    open: the same parameters, answers and exceptions for a fraction of the processor time (ADR 150).

    `session` is the one of aiobotocore's that the clients were made of. Raises DependencyUnavailable
    when no credentials can be had; so does a call when they have ended and no fresh ones came.
    """
    credentials = await Credentials.resolve(session)
    signing_clock = SigningClock()
    async with AsyncExitStack() as stack:
        for client in clients:
            await stack.enter_async_context(
                direct_transport(client, credentials=credentials, clock=signing_clock)
            )
        keeping = asyncio.create_task(credentials.keep_fresh(credentials_check_seconds))
        try:
            yield
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping
