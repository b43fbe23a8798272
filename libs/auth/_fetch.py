"""Fetches the key set over HTTP, bounded in time and size, from the configured place only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp


class JwksFetchError(Exception):
    """The issuer answered, but not with a key set that can be taken."""


def http_fetch(
    session: aiohttp.ClientSession,
    url: str,
    *,
    timeout_seconds: float = 3.0,
    max_bytes: int = 262_144,
) -> Callable[[], Awaitable[bytes]]:
    """A fetch for `JwksKeySource` that GETs ``url``.

    The fetch raises JwksFetchError for any status but 200 (redirects are not followed: the keys
    come from where the configuration says) and for more than ``max_bytes``; TimeoutError after
    ``timeout_seconds`` in all; aiohttp.ClientError when the issuer cannot be reached.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def fetch() -> bytes:
        async with session.get(
            url,
            allow_redirects=False,
            timeout=timeout,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        ) as response:
            if response.status != 200:
                raise JwksFetchError(f"the issuer answered {response.status}")
            if response.headers.get("Content-Encoding", "identity") != "identity":
                # Not asked for, and what it unpacks to has no bound.
                raise JwksFetchError("the issuer answered with a compressed key set")
            document = bytearray()
            async for chunk in response.content.iter_any():
                document += chunk
                if len(document) > max_bytes:
                    raise JwksFetchError(f"the key set has more than {max_bytes} bytes")
            return bytes(document)

    return fetch
