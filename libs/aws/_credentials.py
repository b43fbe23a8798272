"""The credentials that sign, and when they end.

Owns reading the SDK's credentials synchronously, which pre-signing needs, and keeping temporary
ones fresh: without a call to AWS nothing else would refresh them. The chain itself (environment,
container provider, …) is the SDK's.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from aiobotocore.credentials import AioRefreshableCredentials
from botocore.exceptions import NoCredentialsError

from libs.aws._errors import DependencyUnavailable, Executed
from libs.logging import get_logger

_log = get_logger(__name__)


class Signer(NamedTuple):
    """One set of credentials as it stands at one moment; `expires_at` None: they do not expire."""

    access_key: str
    secret_key: str
    token: str | None
    expires_at: datetime | None


class Credentials:
    """The session's credentials, shared with its clients."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    @classmethod
    async def resolve(cls, session: Any) -> "Credentials":
        """Walk the SDK's chain once. Raises DependencyUnavailable when there is nothing at its
        end, or when the provider does not answer."""
        try:
            found = await session.get_credentials()
            if found is None:
                raise NoCredentialsError
            # A deferred provider fetches only now.
            await found.get_frozen_credentials()
        except Exception as error:
            # Not only botocore's: an answer of another shape raises a KeyError there.
            raise _unavailable("Resolve") from error
        return cls(found)

    def signer(self) -> Signer:
        """What signs now. Raises DependencyUnavailable when it has ended and no fresh one came."""
        # botocore has no public, synchronous way to the frozen set and its end; both attributes
        # are set together, without an await in between (a test holds this to the pinned version).
        refreshable = self._credentials
        if not isinstance(refreshable, AioRefreshableCredentials):
            return Signer(refreshable.access_key, refreshable.secret_key, refreshable.token, None)
        frozen = cast(Any, refreshable)._frozen_credentials
        expires_at = cast(datetime, cast(Any, refreshable)._expiry_time).astimezone(UTC)
        if expires_at <= datetime.now(UTC):
            raise _unavailable("Sign")
        return Signer(frozen.access_key, frozen.secret_key, frozen.token, expires_at)

    def expire_at(self) -> datetime | None:
        """When what signs now ends, in UTC; None for credentials that do not."""
        refreshable = self._credentials
        if not isinstance(refreshable, AioRefreshableCredentials):
            return None
        return cast(datetime, cast(Any, refreshable)._expiry_time).astimezone(UTC)

    async def ensure(self) -> None:
        """Let the SDK renew what is near its end (tried from 15 minutes before, required from 10).

        Raises DependencyUnavailable when a required renewal fails.
        """
        try:
            await self._credentials.get_frozen_credentials()
        except Exception as error:
            raise _unavailable("Refresh") from error

    async def refresh(self) -> None:
        """As `ensure`, with a log line in place of the exception: what is left signs on as long as
        it lives, and the next turn tries again."""
        try:
            await self.ensure()
        except DependencyUnavailable as error:
            _log.warning("credentials_refresh_failed", error=type(error.__cause__).__name__)

    async def keep_fresh(self, interval_seconds: float) -> None:
        """Run until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            await self.refresh()


def _unavailable(operation: str) -> DependencyUnavailable:
    return DependencyUnavailable(
        "credentials", operation, reason="credentials", executed=Executed.NO
    )
