"""Why a token was refused, in words that are stable, safe to send, and never the token's own."""

from __future__ import annotations

from typing import Literal, TypeAlias

Reason: TypeAlias = Literal[
    "malformed",
    "too_large",
    "algorithm",
    "header",
    "unknown_key",
    "signature",
    "issuer",
    "client",
    "token_use",
    "expired",
    "not_yet_valid",
    "claims",
    "subject",
]

# RFC 6750 section 3: error_description is printable ASCII without quotes and backslashes.
_DESCRIPTIONS: dict[Reason, str] = {
    "malformed": "The token is not a signed JWT in compact form",
    "too_large": "The token is too large",
    "algorithm": "The token is not signed with an accepted algorithm",
    "header": "The token header carries a parameter that is not accepted",
    "unknown_key": "The token is signed with an unknown key",
    "signature": "The token signature is not valid",
    "issuer": "The token is from another issuer",
    "client": "The token is for another client",
    "token_use": "The token is not an access token",
    "expired": "The token has expired",
    "not_yet_valid": "The token is not valid yet",
    "claims": "The token lacks a claim or has a malformed one",
    "subject": "The token has no acceptable subject",
}


class InvalidTokenError(Exception):
    """A token that proves nothing. Neither text nor attributes hold any part of it."""

    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason
        super().__init__(reason)

    @property
    def description(self) -> str:
        """A sentence for the ``error_description`` of ``WWW-Authenticate`` (RFC 6750)."""
        return _DESCRIPTIONS[self.reason]


class KeysUnavailableError(Exception):
    """No token can be judged: the issuer's keys were never read and it cannot be reached now."""

    def __init__(self, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__("the issuer's keys have not been read yet")
